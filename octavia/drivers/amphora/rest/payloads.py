# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests to agents, made of what drivers know (contract: amphora-agent.md section 5)."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address, ip_network

from octavia.domain.errors import Terminal
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import VipPlug
from octavia.drivers.network.contract import HostRoute, Network, Port, Subnet
from octavia.wire import agent as wire


def certificate_files(
    certificates: Mapping[str, bytes | None], with_content: Collection[str]
) -> dict[str, wire.CertificateFile]:
    """Files by their digests; those that are named with their content too."""
    return {
        name: wire.CertificateFile(
            sha256=None if content is None else hashlib.sha256(content).hexdigest(),
            content=content.decode() if content is not None and name in with_content else None,
        )
        for name, content in certificates.items()
    }


def vip_network(plug: VipPlug) -> wire.VipNetwork:
    """The interface that carries the VIPs."""
    every = ((plug.vip_address, plug.subnet), *plug.additional)
    return wire.VipNetwork(
        vips=tuple(_vip_address(address, subnet) for address, subnet in every),
        mac_address=plug.port.mac_address,
        vrrp_ip=plug.vrrp_ip,
        mtu=plug.network.mtu,
    )


def _vip_address(address: str, subnet: Subnet) -> wire.VipAddress:
    return wire.VipAddress(
        ip_address=address,
        subnet_cidr=ip_network(subnet.cidr),
        gateway=subnet.gateway_ip,
        host_routes=_routes(subnet.host_routes),
    )


def member_network(
    amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet]
) -> wire.MemberNetwork:
    """An interface towards members."""
    by_id = {subnet.id: subnet for subnet in subnets}
    fixed_ips = tuple(
        wire.FixedAddress(
            ip_address=fixed.ip_address,
            subnet_cidr=ip_network(by_id[fixed.subnet_id].cidr),
            gateway=by_id[fixed.subnet_id].gateway_ip,
            host_routes=_routes(by_id[fixed.subnet_id].host_routes),
        )
        for fixed in port.fixed_ips
        if fixed.subnet_id in by_id
    )
    return wire.MemberNetwork(
        mac_address=port.mac_address,
        fixed_ips=fixed_ips,
        mtu=network.mtu,
        vip=_vip_of_shared_port(amphora, port, network, subnets),
    )


def _vip_of_shared_port(
    amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet]
) -> wire.VipNetwork | None:
    """Members on the VIP's network are reached by the VIP's port, which must stay the VIP's."""
    if port.id != amphora.vrrp_port_id or amphora.ha_ip is None:
        return None
    vip = ip_address(amphora.ha_ip)
    subnet = next((one for one in subnets if vip in ip_network(one.cidr)), None)
    if subnet is None:
        raise Terminal(f"None of the subnets of port {port.id} has the VIP {vip}")
    return wire.VipNetwork(
        vips=(_vip_address(amphora.ha_ip, subnet),),
        mac_address=port.mac_address,
        vrrp_ip=amphora.vrrp_ip,
        mtu=network.mtu,
    )


def _routes(routes: Sequence[HostRoute]) -> tuple[wire.Route, ...]:
    return tuple(wire.Route(destination=ip_network(one.destination), nexthop=one.nexthop) for one in routes)
