# SPDX-License-Identifier: Apache-2.0
"""Interface files: what an interface should have, as JSON (contract: amphora-agent.md section 11).

Pure: payloads in, documents out. Making it so is not here: see :mod:`octavia.amphora_agent.interfaces`.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any, Final

from octavia.wire.agent import FixedAddress, MemberNetwork, Network, Route, VipAddress, VipNetwork

VIP_TABLE: Final = 1  # routes for what comes from a VIP
_MASQUERADE: Final = "/usr/local/bin/lvs-masquerade.sh"

Document = dict[str, Any]


def loopback_file() -> Document:
    """``lo.json``."""
    return {
        "name": "lo",
        "if_type": "lo",
        "addresses": [{"address": "127.0.0.1", "prefixlen": 8}],
        "routes": [],
        "rules": [],
        "scripts": {"up": [], "down": []},
    }


def vip_file(
    name: str, vip: VipNetwork, fixed_ips: Iterable[FixedAddress] = (), *, is_single: bool
) -> Document:
    """The interface that carries the VIPs.

    :param fixed_ips: further addresses, where members share the VIP's network.
    :param is_single: the agent owns the VIPs; else keepalived does, with their routes and rules.
    """
    addresses: list[Document] = list(_own_addresses(vip))
    routes: list[Document] = []
    rules: list[Document] = []
    for one in vip.vips:
        addresses.append({**_host(one.ip_address), "octavia_owned": is_single})
        routes += _vip_routes(one, is_single=is_single)
        if is_single:
            host = _host(one.ip_address)
            rules.append({"src": host["address"], "src_len": host["prefixlen"], "table": VIP_TABLE})
    for fixed in fixed_ips:
        if (address := _fixed(fixed)) not in addresses:
            addresses.append(address)
        if fixed.gateway:
            routes.append(_default_route(fixed.gateway))
        routes += _host_routes(fixed.host_routes)
    document = _document(name, "vip", vip.mtu, addresses, _distinct(routes))
    document["rules"] = rules
    document["is_sriov"] = vip.is_sriov
    document["scripts"] = _scripts(name, is_sriov=vip.is_sriov)
    return document


def backend_file(name: str, network: MemberNetwork) -> Document:
    """An interface towards members: no default route, they are its neighbours or behind host routes."""
    addresses = [_fixed(one) for one in network.fixed_ips] or [{"dhcp": True}, {"ipv6auto": True}]
    routes = [route for one in network.fixed_ips for route in _host_routes(one.host_routes)]
    document = _document(name, "backend", network.mtu, addresses, _distinct(routes))
    document["is_sriov"] = network.is_sriov
    document["scripts"] = _scripts(name, is_sriov=network.is_sriov)
    return document


def owned_addresses(document: Document) -> list[str]:
    """The addresses that the interface itself should have, without those that keepalived moves."""
    return [
        one["address"] for one in document["addresses"] if "address" in one and one.get("octavia_owned", True)
    ]


def vip_addresses(document: Document) -> list[str]:
    """The VIPs of the file, whoever owns them."""
    return [one["address"] for one in document["addresses"] if "octavia_owned" in one]


def _document(
    name: str, kind: str, mtu: int | None, addresses: list[Document], routes: list[Document]
) -> Document:
    return {
        "name": name,
        "if_type": kind,
        **({"mtu": mtu} if mtu is not None else {}),
        "addresses": addresses,
        "routes": routes,
        "rules": [],
    }


def _own_addresses(vip: VipNetwork) -> Iterator[Document]:
    first = vip.vips[0]
    if vip.vrrp_ip is None:
        yield {"ipv6auto": True} if first.subnet_cidr.version == 6 else {"dhcp": True}
        return
    same_family = [one for one in vip.vips if one.subnet_cidr.version == ip_address(vip.vrrp_ip).version]
    prefix = (same_family or [first])[0].subnet_cidr.prefixlen
    yield {"address": vip.vrrp_ip, "prefixlen": prefix}


def _vip_routes(vip: VipAddress, *, is_single: bool) -> Iterator[Document]:
    if vip.gateway:
        yield _default_route(vip.gateway)
        if is_single:
            yield {**_default_route(vip.gateway), "table": VIP_TABLE}
    yield {"dst": str(vip.subnet_cidr), "scope": "link"}
    if is_single:
        prefsrc = {"prefsrc": vip.ip_address, "table": VIP_TABLE}
        yield {"dst": str(vip.subnet_cidr), "scope": "link", **prefsrc}
    for route in _host_routes(vip.host_routes):
        yield route
        if is_single:
            yield {**route, "table": VIP_TABLE}


def _default_route(gateway: str) -> Document:
    everything = "::/0" if ip_address(gateway).version == 6 else "0.0.0.0/0"
    return {"dst": everything, "gateway": gateway, "flags": ["onlink"]}


def _host_routes(routes: Iterable[Route]) -> list[Document]:
    return [{"dst": str(one.destination), "gateway": one.nexthop, "flags": ["onlink"]} for one in routes]


def _host(address: str) -> Document:
    return {"address": address, "prefixlen": ip_address(address).max_prefixlen}


def _fixed(one: FixedAddress) -> Document:
    subnet: Network = one.subnet_cidr
    return {"address": one.ip_address, "prefixlen": subnet.prefixlen}


def _distinct(routes: Iterable[Document]) -> list[Document]:
    found: list[Document] = []
    for route in routes:
        if route not in found:
            found.append(route)
    return found


def _scripts(name: str, *, is_sriov: bool) -> Document:
    tail = " sriov" if is_sriov else ""

    def commands(verb: str) -> list[Document]:
        return [{"command": f"{_MASQUERADE} {verb} {family} {name}{tail}"} for family in ("ipv4", "ipv6")]

    return {"up": commands("add"), "down": commands("delete")}
