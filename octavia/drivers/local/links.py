# SPDX-License-Identifier: Apache-2.0
"""Bridges, veth pairs, addresses and routes of this machine, over netlink.

Each function may be called again. A kernel's refusal becomes
:class:`octavia.domain.errors.Transient` in its words. Which links there should be is not here: see
:mod:`octavia.drivers.network.local` and :mod:`octavia.drivers.compute.local`.
"""

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any, Final, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.nftables.main import NFTables

from octavia.domain.errors import Terminal, Transient

_T = TypeVar("_T")
_CLONE_NEWNET: Final = 0x40000000
_UNREACHABLE: Final = 7  # RTN_UNREACHABLE
_IFA_F_NODAD: Final = 0x02
_NF_INET_FORWARD: Final = 2
_NF_DROP: Final = 0
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """An address that this machine has on one of its links."""

    link: str
    interface: IPv4Interface | IPv6Interface


@contextmanager
def _netlink() -> Iterator[Any]:
    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as refusal:
        raise Transient(f"The kernel refused a change of the network: {refusal}.") from refusal


@contextmanager
def _unless(*codes: int) -> Iterator[None]:
    try:
        yield
    except NetlinkError as refusal:
        if refusal.code not in codes:
            raise


def _index(netlink: Any, name: str) -> int | None:
    found: Sequence[int] = netlink.link_lookup(ifname=name)
    return found[0] if found else None


def _required(netlink: Any, name: str) -> int:
    index = _index(netlink, name)
    if index is None:
        raise Transient(f"There is no link {name} here; 'octavia-standalone up' makes the bridges.")
    return index


def names() -> frozenset[str]:
    """Of all links in this network namespace."""
    return frozenset(name for _, name in socket.if_nameindex())


def addresses() -> Sequence[HostAddress]:
    """All that this machine has on its links."""
    by_index = dict(socket.if_nameindex())
    with _netlink() as netlink:
        return [
            HostAddress(
                link=by_index.get(message["index"], "?"),
                interface=ip_interface(f"{message.get('address')}/{message['prefixlen']}"),
            )
            for message in netlink.get_addr()
        ]


def ensure_bridge(name: str, *, mac_address: str, mtu: int, interfaces: Sequence[str]) -> None:
    """A bridge that is up, with the host's addresses on it (``address/prefix length``).

    Its MAC address is fixed: a bridge without one takes its ports' lowest, and changes it as they
    come and go, which makes everybody's neighbour cache wrong.
    """
    with _netlink() as netlink:
        with _unless(errno.EEXIST):
            # Multicast is flooded: VRRP must not depend on somebody querying for groups.
            netlink.link(
                "add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0
            )
        index = _required(netlink, name)
        netlink.link("set", index=index, address=mac_address, mtu=mtu, state="up")
        _add_addresses(netlink, index, name, interfaces)


def _add_addresses(netlink: Any, index: int, name: str, interfaces: Sequence[str]) -> None:
    for text in interfaces:
        one = ip_interface(text)
        if one.version == 6:
            _allow_ipv6(name)
        # Nobody else can have it: the address book gave it out. Detection would only cost a second.
        flags = _IFA_F_NODAD if one.version == 6 else 0
        with _unless(errno.EEXIST):
            netlink.addr(
                "add",
                index=index,
                address=str(one.ip),
                prefixlen=one.network.prefixlen,
                **({"flags": flags} if flags else {}),
            )


def _allow_ipv6(name: str) -> None:
    switch = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    if switch.exists() and switch.read_text().strip() != "0":
        switch.write_text("0")


def has_ipv6() -> bool:
    """Does this kernel speak IPv6 at all?"""
    return Path("/proc/sys/net/ipv6").exists()


def bridges_are_filtered() -> bool:
    """Can a firewall of this machine drop packets from one port of a bridge to another?

    Without the switches of br_netfilter, which Docker sets, bridged packets pass no firewall at all.
    """
    switches = Path("/proc/sys/net/bridge")
    passes = any(
        (switches / name).exists() and (switches / name).read_text().strip() == "1"
        for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
    )
    return passes and _forwarding_is_dropped()


def _forwarding_is_dropped() -> bool:
    try:
        with NFTables(nfgen_family=0) as firewall:
            chains = list(firewall.get_chains())
    except (NetlinkError, OSError):
        return False  # this kernel has no nftables, so nobody can have told it to drop anything
    return any(
        dict(hook["attrs"]).get("NFTA_HOOK_HOOKNUM") == _NF_INET_FORWARD
        and chain.get_attr("NFTA_CHAIN_POLICY") == _NF_DROP
        for chain in chains
        if (hook := chain.get_attr("NFTA_CHAIN_HOOK")) is not None
    )


def ensure_unreachable(cidr: str, *, metric: int) -> None:
    """Whatever is down, no packet for ``cidr`` follows the default route."""
    with _netlink() as netlink:
        netlink.route("replace", dst=cidr, type="unreachable", priority=metric, **_family(cidr))


def _family(cidr: str) -> dict[str, int]:
    return {"family": socket.AF_INET6 if ":" in cidr else socket.AF_INET}


def remove_unreachable(*, metric: int) -> None:
    """All the ``unreachable`` routes of this metric."""
    with _netlink() as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            for route in netlink.get_routes(family=family, type=_UNREACHABLE):
                if route["type"] == _UNREACHABLE and route.get("priority") == metric:
                    cidr = f"{route.get('dst')}/{route['dst_len']}"
                    with _unless(errno.ESRCH):
                        netlink.route("del", dst=cidr, type="unreachable", priority=metric, **_family(cidr))


def remove(*links: str) -> None:
    """Links that are gone are a success. The other end of a veth pair goes with it."""
    present = names()
    doomed = [link for link in links if link in present]
    if not doomed:
        return
    with _netlink() as netlink:
        for link in doomed:
            with _unless(errno.ENODEV):
                netlink.link("del", ifname=link)


def ensure_pair(
    name: str, *, bridge: str, far_namespace: int, far_name: str, mac_address: str, mtu: int
) -> None:
    """A veth pair from a bridge into a network namespace; an existing one is a success.

    One message makes it all, so that a crash leaves a whole pair or none.

    :param far_namespace: descriptor of the network namespace of the far end, which has the MAC address.
    """
    with _netlink() as netlink, _unless(errno.EEXIST):
        netlink.link(
            "add",
            ifname=name,
            kind="veth",
            mtu=mtu,
            master=_required(netlink, bridge),
            state="up",
            peer={
                "ifname": far_name,
                "address": mac_address,
                "mtu": mtu,
                "net_ns_fd": far_namespace,
            },
        )


def configure_inside(namespace: int, name: str, interfaces: Sequence[str]) -> None:
    """Addresses for a link in another network namespace; then it goes up.

    :param namespace: descriptor of the network namespace.
    """

    def configure() -> None:
        with _netlink() as netlink:
            index = _required(netlink, name)
            _add_addresses(netlink, index, name, interfaces)
            netlink.link("set", index=index, state="up")

    run_inside(namespace, configure)


def run_inside(namespace: int, work: Callable[[], _T]) -> _T:
    """Call ``work`` in another network namespace.

    In a thread that ends with it: a thread has a network namespace of its own, so that nothing else
    in this process moves.
    """

    def enter() -> _T:
        if _libc.setns(namespace, _CLONE_NEWNET) != 0:
            why = os.strerror(ctypes.get_errno())
            raise Terminal(f"Cannot enter a network namespace: {why}. Run as root.")
        return work()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(enter).result()
