# SPDX-License-Identifier: Apache-2.0
"""The address book of one machine: networks from configuration, ports and who has which address.

The book is a frozen value; a change is a function from book to book, and a store makes it one step.
Allocating is committed before an address is used, so that no crash gives it out twice. What ports
are for is not here: see :mod:`octavia.drivers.network.book`.
"""

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, overload

from octavia.domain.errors import Conflict, Invalid, NotFound, Terminal, Transient
from octavia.drivers.local.storage import locked, make_private_directory, write_private
from octavia.drivers.network.contract import FixedIp, HostRoute, Network, Port, Subnet

_T = TypeVar("_T")
_IDS: Final = uuid.UUID("6f637461-7669-5a00-8000-6c6f63616c00")  # of networks and subnets, by name


class SubnetFull(Invalid):
    """A subnet has no address left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetSettings:
    """A subnet, as configured; ``gateway_ip`` is the host's own address on it, if it has one."""

    name: str
    cidr: str
    gateway_ip: str | None = None
    host_routes: tuple[HostRoute, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """A network, as configured; ``mtu`` in bytes."""

    name: str
    subnets: tuple[SubnetSettings, ...]
    mtu: int = 1500


def network_id(name: str) -> str:
    """The same for the same name, on every machine."""
    return str(uuid.uuid5(_IDS, f"network:{name}"))


def subnet_id(name: str) -> str:
    """The same for the same name, on every machine."""
    return str(uuid.uuid5(_IDS, f"subnet:{name}"))


@dataclass(frozen=True)
class Topology:
    """The configured networks, by id and checked.

    :raises ValueError: two of the same name, ranges that overlap, a gateway outside its range.
    """

    settings: tuple[NetworkSettings, ...]

    def __post_init__(self) -> None:
        subnets = [subnet for network in self.settings for subnet in network.subnets]
        _refuse_doubles("network", [network.name for network in self.settings])
        _refuse_doubles("subnet", [subnet.name for subnet in subnets])
        ranges = [(subnet.name, ip_network(subnet.cidr)) for subnet in subnets]
        for position, (name, one) in enumerate(ranges):
            for other_name, other in ranges[:position]:
                if one.version == other.version and one.overlaps(other):
                    raise ValueError(f"Subnets {name} and {other_name} overlap: {one}, {other}.")
        for subnet in subnets:
            if subnet.gateway_ip and ip_address(subnet.gateway_ip) not in ip_network(subnet.cidr):
                raise ValueError(
                    f"Gateway {subnet.gateway_ip} is outside subnet {subnet.name}, {subnet.cidr}."
                )

    @cached_property
    def networks(self) -> Mapping[str, Network]:
        """By id."""
        return {
            network_id(one.name): Network(
                id=network_id(one.name),
                name=one.name,
                subnet_ids=tuple(subnet_id(subnet.name) for subnet in one.subnets),
                mtu=one.mtu,
            )
            for one in self.settings
        }

    @cached_property
    def subnets(self) -> Mapping[str, Subnet]:
        """By id."""
        return {
            subnet_id(one.name): Subnet(
                id=subnet_id(one.name),
                name=one.name,
                network_id=network_id(network.name),
                cidr=str(ip_network(one.cidr)),
                ip_version=ip_network(one.cidr).version,
                gateway_ip=str(ip_address(one.gateway_ip)) if one.gateway_ip else None,
                host_routes=one.host_routes,
            )
            for network in self.settings
            for one in network.subnets
        }

    def network(self, wanted: str) -> Network:
        """:raises NotFound: there is no such network."""
        if wanted not in self.networks:
            raise NotFound("Network", wanted)
        return self.networks[wanted]

    def subnet(self, wanted: str) -> Subnet:
        """:raises NotFound: there is no such subnet."""
        if wanted not in self.subnets:
            raise NotFound("Subnet", wanted)
        return self.subnets[wanted]

    def subnets_of(self, wanted: str) -> Sequence[Subnet]:
        """In the order of the configuration."""
        return [self.subnets[one] for one in self.network(wanted).subnet_ids]


def _refuse_doubles(noun: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two {noun}s are called {name}; give each a name of its own.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A port and what only this book knows of it.

    :param load_balancer_id: for which it was made; None for a user's port.
    :param allowed_addresses: may be used on it besides its own.
    """

    port: Port
    load_balancer_id: str | None = None
    allowed_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All ports by id, and per subnet the address given out last."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    last: Mapping[str, str] = field(default_factory=dict)

    def entry(self, port_id: str) -> Entry:
        """:raises NotFound: there is no such port."""
        if port_id not in self.entries:
            raise NotFound("Port", port_id)
        return self.entries[port_id]

    def named(self, name: str, on_network: str | None = None) -> Entry | None:
        """The first port of that name, on that network if one is given."""
        return next(
            (
                entry
                for entry in self.entries.values()
                if entry.port.name == name and on_network in {None, entry.port.network_id}
            ),
            None,
        )

    def used(self, of_subnet: str) -> Iterable[str]:
        """The addresses of a subnet that ports have."""
        return (
            fixed.ip_address
            for entry in self.entries.values()
            for fixed in entry.port.fixed_ips
            if fixed.subnet_id == of_subnet
        )

    def with_entry(self, entry: Entry) -> "Book":
        """This book with one port added or replaced."""
        return replace(self, entries={**self.entries, entry.port.id: entry})

    def without(self, port_id: str) -> "Book":
        """This book without one port; absent is fine."""
        return replace(self, entries={one: kept for one, kept in self.entries.items() if one != port_id})


def take(book: Book, subnet: Subnet, wanted: str | None = None) -> tuple[Book, FixedIp]:
    """An address of a subnet: the wanted one, or the next that is free.

    Onwards from the last one, so that an address rests before it is given out again: neighbours
    remember for a while which machine it was on. The caller puts the result on a port.

    :raises Conflict: the wanted address is in use.
    :raises Invalid: it is no address of the subnet.
    :raises SubnetFull: no address is left.
    """
    used = {int(ip_address(one)) for one in book.used(subnet.id)}
    if subnet.gateway_ip:
        used.add(int(ip_address(subnet.gateway_ip)))
    first, final = _bounds(ip_network(subnet.cidr))
    if wanted is not None:
        return book, FixedIp(subnet_id=subnet.id, ip_address=_checked(wanted, subnet, used))
    make = IPv4Address if subnet.ip_version == 4 else IPv6Address
    size = final - first + 1
    last = book.last.get(subnet.id)
    # A range may have been made smaller since.
    start = int(ip_address(last)) - first + 1 if last and ip_address(last) in ip_network(subnet.cidr) else 0
    for step in range(min(size, len(used) + 1)):
        candidate = first + (start + step) % size
        if candidate not in used:
            address = str(make(candidate))
            onwards = replace(book, last={**book.last, subnet.id: address})
            return onwards, FixedIp(subnet_id=subnet.id, ip_address=address)
    raise SubnetFull(f"Subnet {subnet.name or subnet.id} has no free address left; delete what is unused.")


def _bounds(cidr: IPv4Network | IPv6Network) -> tuple[int, int]:
    """The first and the last address that a host may have."""
    first, final = int(cidr.network_address), int(cidr.broadcast_address)
    if cidr.num_addresses <= 2:
        return first, final
    return first + 1, final - 1 if cidr.version == 4 else final


def _checked(wanted: str, subnet: Subnet, used: set[int]) -> str:
    if not holds(subnet, wanted):
        raise Invalid(f"IP address {wanted} is not a valid address of subnet {subnet.id} ({subnet.cidr}).")
    address = ip_address(wanted)
    if int(address) in used:
        raise Conflict(f"IP address {address} is already in use on subnet {subnet.id}.")
    return str(address)


def holds(subnet: Subnet, wanted: str) -> bool:
    """Is this an address that a host on the subnet may have?

    :raises Invalid: it is no address at all.
    """
    address = ip_address(canonical(wanted))
    first, final = _bounds(ip_network(subnet.cidr))
    return address.version == subnet.ip_version and first <= int(address) <= final


@overload
def canonical(address: str) -> str: ...
@overload
def canonical(address: str | None) -> str | None: ...
def canonical(address: str | None) -> str | None:
    """The usual spelling of an address; None stays None.

    :raises Invalid: it is no address at all.
    """
    try:
        return address if address is None else str(ip_address(address))
    except ValueError as why:
        raise Invalid(f"{address} is not an IP address.") from why


def free(book: Book, subnet: Subnet) -> int:
    """How many addresses can still be given out."""
    first, final = _bounds(ip_network(subnet.cidr))
    gateway = ip_address(subnet.gateway_ip) if subnet.gateway_ip else None
    reserved = 1 if gateway and first <= int(gateway) <= final else 0
    return final - first + 1 - reserved - sum(1 for _ in book.used(subnet.id))


def mac_address(port_id: str) -> str:
    """Locally administered, from the port's id; 40 bits of it."""
    digest = hashlib.sha256(port_id.encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x02, *digest[:5]))


class BookStore(Protocol):
    """Where the book is."""

    def read(self) -> Book:
        """As it is now."""

    def change(self, edit: Callable[[Book], tuple[Book, _T]]) -> _T:
        """Replace the book in one step; nothing changes if ``edit`` raises."""


class MemoryBook:
    """In this process only."""

    def __init__(self) -> None:
        self._book = Book()
        self._lock = threading.Lock()

    def read(self) -> Book:
        """As it is now."""
        return self._book

    def change(self, edit: Callable[[Book], tuple[Book, _T]]) -> _T:
        """One at a time."""
        with self._lock:
            self._book, result = edit(self._book)
            return result


class FileBook:
    """One JSON file, shared by the processes of an installation; its lock is a file beside it."""

    def __init__(self, path: Path) -> None:
        make_private_directory(path.parent)
        self._path = path
        self._lock = threading.Lock()
        self._book = Book()
        # The file that was parsed last stays open, so that its inode cannot come back as a newer one.
        self._parsed: int | None = None

    def read(self) -> Book:
        """As it is now; parsed again only if it changed."""
        # A writer replaces the file, so that what is read is always whole and needs no file lock.
        with self._usable(), self._lock:
            try:
                if self._parsed is None or not os.path.samestat(os.fstat(self._parsed), self._path.stat()):
                    self._parse_again()
            except FileNotFoundError:
                self._book = Book()
            return self._book

    def _parse_again(self) -> None:
        opened = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with open(opened, "rb", closefd=False) as file:
                self._book = _parse(json.load(file))
        except (ValueError, KeyError, TypeError, AttributeError) as damage:
            os.close(opened)
            raise Terminal(
                f"The address book {self._path} is damaged ({damage!r}): restore it, or run "
                "'octavia-standalone down' and remove it."
            ) from damage
        if self._parsed is not None:
            os.close(self._parsed)
        self._parsed = opened

    def change(self, edit: Callable[[Book], tuple[Book, _T]]) -> _T:
        """One at a time, among all processes; on disk when it returns."""
        with self._usable(), locked(self._path.with_suffix(".lock")):
            before = self.read()
            after, result = edit(before)
            if after is not before:
                content = json.dumps(asdict(after), separators=(",", ":"))
                write_private(self._path, content.encode())
            return result

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as why:
            raise Transient(f"The address book {self._path} cannot be used: {why}.") from why


def _parse(found: dict[str, Any]) -> Book:
    return Book(
        entries={port_id: _parse_entry(entry) for port_id, entry in found["entries"].items()},
        last=found["last"],
    )


def _parse_entry(found: dict[str, Any]) -> Entry:
    fixed_ips = tuple(FixedIp(**one) for one in found["port"]["fixed_ips"])
    return Entry(
        port=Port(**{**found["port"], "fixed_ips": fixed_ips}),
        load_balancer_id=found["load_balancer_id"],
        allowed_addresses=tuple(found["allowed_addresses"]),
    )
