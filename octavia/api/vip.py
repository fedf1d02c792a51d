# SPDX-License-Identifier: Apache-2.0
"""Choosing where a VIP goes, by asking the network (contract: api.md section 5.3).

A port decides over a network, a network over a subnet. Making the VIP's port is not here: the network driver
does it, see :mod:`octavia.api.handlers.load_balancers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, Final

from octavia.api.schemas.fields import Schema
from octavia.api.schemas.load_balancer import ADDITIONAL_VIP
from octavia.api.settings import ApiSettings
from octavia.domain.errors import Invalid, NotFound
from octavia.domain.rules import invalid
from octavia.domain.tree import AdditionalVip, LoadBalancer, Topology, Vip
from octavia.drivers.network.contract import Network, NetworkDriver, Port, Subnet, VipAllocation

_SOURCES: Final = ("vip_port_id", "vip_network_id", "vip_subnet_id")
# The VIP, and an address for each amphora.
_ADDRESSES_NEEDED: Final = {Topology.SINGLE: 2, Topology.ACTIVE_STANDBY: 3}


def choose(
    values: Mapping[str, Any], network: NetworkDriver, settings: ApiSettings
) -> tuple[Vip, tuple[AdditionalVip, ...]]:
    """Where the addresses of a new load balancer are to be, not allocated yet.

    :raises Invalid: a source is missing, unknown, not allowed or does not fit another.
    """
    _check_sources(values, settings)
    if values["vip_port_id"] is not None:
        vip = _on_port(values, network)
    elif values["vip_network_id"] is not None:
        vip = _on_network(values, network, settings.loadbalancer_topology)
    else:
        vip = _on_subnet(values, network)
    check_references(values, network)
    if values["vip_qos_policy_id"] is not None:
        vip = replace(vip, qos_policy_id=values["vip_qos_policy_id"])
    vip = replace(vip, sg_ids=tuple(sorted(values["vip_sg_ids"])))
    return vip, _additional(values["additional_vips"], vip, network, settings)


def _check_sources(values: Mapping[str, Any], settings: ApiSettings) -> None:
    allowed = [name for name in _SOURCES if getattr(settings, f"allow_{name}")]
    for name in _SOURCES:
        if values[name] is not None and name not in allowed:
            raise invalid(f"{name} is not allowed in this deployment.")
    if not any(values[name] for name in _SOURCES):
        raise invalid(f"VIP must contain one of: {', '.join(allowed)}.")


def check_references(values: Mapping[str, Any], network: NetworkDriver) -> None:
    """:raises Invalid: a QoS policy or a security group is not known to the network."""
    policy = values.get("vip_qos_policy_id")
    if policy is not None and not network.has_qos_policy(policy):
        raise Invalid(f"qos_policy {policy} not found.")
    for group in values.get("vip_sg_ids", ()):
        if not network.has_security_group(group):
            raise Invalid(f"Security Group {group} not found.")


def _on_port(values: Mapping[str, Any], network: NetworkDriver) -> Vip:
    port = _port(values["vip_port_id"], network)
    if port.device_id:
        raise invalid(f"Port {port.id} is already used by another device: {port.device_id}.")
    subnet_id, address = values["vip_subnet_id"], values["vip_address"]
    if subnet_id is not None:
        _subnet(subnet_id, network)
        fitting = [one for one in port.fixed_ips if one.subnet_id == subnet_id]
        if not fitting:
            raise invalid(f"Port {port.id} has no address on subnet {subnet_id}.")
    elif address is not None:
        fitting = [one for one in port.fixed_ips if ip_address(one.ip_address) == ip_address(address)]
        if not fitting:
            raise invalid(f"Port {port.id} does not have the address {address}.")
    else:
        fitting = list(port.fixed_ips)
        if len(fitting) != 1:
            raise invalid(
                f"Port {port.id} has not exactly one address: say which with vip_subnet_id or vip_address."
            )
    return Vip(
        ip_address=fitting[0].ip_address if subnet_id is not None or address is None else address,
        port_id=port.id,
        subnet_id=fitting[0].subnet_id,
        network_id=port.network_id,
        qos_policy_id=port.qos_policy_id,
    )


def _on_network(values: Mapping[str, Any], network: NetworkDriver, topology: Topology) -> Vip:
    found = _network(values["vip_network_id"], network)
    subnet_id, address = values["vip_subnet_id"], values["vip_address"]
    if subnet_id is not None:
        subnet = _subnet(subnet_id, network)
        if not found.has(subnet):
            raise Invalid(f"Subnet {subnet_id} not found.")
        _check_inside(address, subnet)
    else:
        subnets = [_subnet(one, network) for one in found.subnet_ids]
        if not subnets:
            raise invalid(f"Network {found.id} has no subnets.")
        subnet_id = _subnet_with(address, subnets).id if address else _roomy(subnets, network, topology).id
    return Vip(ip_address=address, subnet_id=subnet_id, network_id=found.id)


def _subnet_with(address: str, subnets: Sequence[Subnet]) -> Subnet:
    for subnet in subnets:
        if subnet.holds(address):
            return subnet
    raise invalid(f"No subnet of the network contains the address {address}.")


def _roomy(subnets: Sequence[Subnet], network: NetworkDriver, topology: Topology) -> Subnet:
    """The first IPv4 subnet with enough free addresses, else the first of all that have."""
    needed = _ADDRESSES_NEEDED[topology]
    roomy = [one for one in subnets if network.free_addresses(one.id) >= needed]
    if not roomy:
        raise invalid(f"Not enough addresses: no subnet of the network has {needed} free ones.")
    return next((one for one in roomy if one.ip_version == 4), roomy[0])


def _on_subnet(values: Mapping[str, Any], network: NetworkDriver) -> Vip:
    subnet = _subnet(values["vip_subnet_id"], network)
    _check_inside(values["vip_address"], subnet)
    return Vip(ip_address=values["vip_address"], subnet_id=subnet.id, network_id=subnet.network_id)


def _check_inside(address: str | None, subnet: Subnet) -> None:
    if address is not None and not subnet.holds(address):
        raise invalid(f"The address {address} is outside of subnet {subnet.id}, {subnet.cidr}.")


def check_network_allowed(vip: Vip, settings: ApiSettings) -> None:
    """:raises Invalid: the operator, or the availability zone, does not want VIPs on that network."""
    network_id = (vip.network_id or "").lower()
    valid = settings.valid_vip_networks
    if network_id in settings.denylist_vip_networks or (valid is not None and network_id not in valid):
        raise invalid(f"This deployment does not allow VIPs on network {vip.network_id}.")


def _additional(
    items: Sequence[Any], vip: Vip, network: NetworkDriver, settings: ApiSettings
) -> tuple[AdditionalVip, ...]:
    schema: Schema = ADDITIONAL_VIP
    typed = [schema.create(item, settings) for item in items]
    taken = {vip.subnet_id}
    for item in typed:
        if item["subnet_id"] in taken:
            raise invalid(f"Subnet {item['subnet_id']} has one VIP already: one address a subnet.")
        taken.add(item["subnet_id"])
    if not typed:
        return ()
    found = []
    of_vip = _network(vip.network_id or "", network)
    for item in typed:
        subnet = _subnet(item["subnet_id"], network)
        if not of_vip.has(subnet):
            raise invalid(f"Subnet {subnet.id} is not on the VIP's network {vip.network_id}.")
        _check_inside(item["ip_address"], subnet)
        found.append(
            AdditionalVip(ip_address=item["ip_address"], subnet_id=subnet.id, network_id=vip.network_id)
        )
    return tuple(found)


def allocated(lb: LoadBalancer, allocation: VipAllocation) -> LoadBalancer:
    """The load balancer with its addresses, in the tenant's spelling where it wrote them."""
    return replace(
        lb,
        vip=replace(allocation.vip, ip_address=_spelt(allocation.vip, lb.vip)),
        additional_vips=tuple(
            replace(one, ip_address=_spelt(one, wished))
            for one, wished in zip(allocation.additional_vips, lb.additional_vips, strict=True)
        ),
    )


def _spelt(found: Vip | AdditionalVip, wished: Vip | AdditionalVip) -> str | None:
    return wished.ip_address if wished.address == found.address else found.ip_address


def check_member_subnets(items: Sequence[Mapping[str, Any]], network: NetworkDriver) -> None:
    """:raises Invalid: a member names a subnet that there is not."""
    for subnet_id in sorted({item["subnet_id"] for item in items if item["subnet_id"] is not None}):
        _subnet(subnet_id, network)


def _port(port_id: str, network: NetworkDriver) -> Port:
    try:
        return network.get_port(port_id)
    except NotFound:
        raise Invalid(f"Port {port_id} not found.") from None


def _network(network_id: str, network: NetworkDriver) -> Network:
    try:
        return network.get_network(network_id)
    except NotFound:
        raise Invalid(f"Network {network_id} not found.") from None


def _subnet(subnet_id: str, network: NetworkDriver) -> Subnet:
    try:
        return network.get_subnet(subnet_id)
    except NotFound:
        raise Invalid(f"Subnet {subnet_id} not found.") from None
