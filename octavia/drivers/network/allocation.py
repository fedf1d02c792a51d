# SPDX-License-Identifier: Apache-2.0
"""Which addresses a port of the address book gets, and which VIP is at which of them.

What ports are for is not here: see :mod:`octavia.drivers.network.book`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from octavia.domain.errors import Invalid
from octavia.domain.tree import AdditionalVip, Vip
from octavia.drivers.local.addresses import Book, Entry, canonical, mac_address, take
from octavia.drivers.network.contract import FixedIp, Port, Subnet, VipAllocation


@dataclass(frozen=True, slots=True)
class Wish:
    """An address that somebody asks for: any, where ``address`` is None."""

    subnet: Subnet
    address: str | None = None


def allocation_on(port: Port, vip: Vip, additional_vips: Sequence[AdditionalVip]) -> VipAllocation:
    """Which address of the port is which VIP's.

    :raises Invalid: a user's port does not have what was asked for.
    """
    left = list(port.fixed_ips)

    def pick(subnet_id: str | None, address: str | None) -> FixedIp:
        found = _first(left, subnet_id, canonical(address))
        if found is None:
            raise Invalid(f"Port {port.id} has no address {address or ''} on subnet {subnet_id or ''}.")
        left.remove(found)
        return found

    primary = pick(vip.subnet_id, vip.ip_address)
    others = [(one, pick(one.subnet_id, one.ip_address)) for one in additional_vips]
    return VipAllocation(
        vip=replace(
            vip,
            ip_address=primary.ip_address,
            subnet_id=primary.subnet_id,
            network_id=port.network_id,
            port_id=port.id,
            qos_policy_id=vip.qos_policy_id or port.qos_policy_id,
        ),
        additional_vips=tuple(
            replace(one, ip_address=fixed.ip_address, network_id=port.network_id, port_id=port.id)
            for one, fixed in others
        ),
    )


def _first(among: Sequence[FixedIp], subnet_id: str | None, address: str | None) -> FixedIp | None:
    return next(
        (
            fixed
            for fixed in among
            if subnet_id in {None, fixed.subnet_id} and address in {None, fixed.ip_address}
        ),
        None,
    )


def with_addresses(book: Book, entry: Entry, wishes: Sequence[Wish]) -> tuple[Book, Entry]:
    """Put the port into the book with what is wished for, keeping what it has of that."""
    left = list(entry.port.fixed_ips)
    fixed_ips: list[FixedIp] = []
    after = book
    for wish in wishes:
        fixed = _first(left, wish.subnet.id, wish.address)
        if fixed is None:
            after, fixed = take(after, wish.subnet, wish.address)
            # Seen by the next wish, which may be for the same subnet.
            after = after.with_entry(_with_fixed_ips(entry, [*left, *fixed_ips, fixed]))
        else:
            left.remove(fixed)
        fixed_ips.append(fixed)
    entry = _with_fixed_ips(entry, fixed_ips)
    if book.entries.get(entry.port.id) == entry:
        return book, entry
    return after.with_entry(entry), entry


def _with_fixed_ips(entry: Entry, fixed_ips: Sequence[FixedIp]) -> Entry:
    mac = entry.port.mac_address or mac_address(entry.port.id)
    return replace(entry, port=replace(entry.port, mac_address=mac, fixed_ips=tuple(fixed_ips)))
