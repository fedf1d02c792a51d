# SPDX-License-Identifier: Apache-2.0
"""Choosing where a VIP goes, by asking the network (contract: api.md section 5.3).

A port decides over a network, a network over a subnet. Making the VIP's port is not here: the network driver
does it, see :mod:`octavia.api.handlers.load_balancers`.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

from octavia.api.schemas.fields import Schema
from octavia.api.schemas.load_balancer import ADDITIONAL_VIP
from octavia.api.settings import ApiSettings
from octavia.domain.errors import Invalid, NotFound
from octavia.domain.rules import invalid
from octavia.domain.tree import AdditionalVip, Topology, Vip
from octavia.drivers.network.contract import Network, NetworkDriver, Port, Subnet

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
    _check_extensions(values)
    if values["vip_port_id"] is not None:
        vip = _on_port(values, network)
    elif values["vip_network_id"] is not None:
        vip = _on_network(values, network, settings.loadbalancer_topology)
    else:
        vip = _on_subnet(values, network)
    _check_network_allowed(vip, settings)
    return vip, _additional(values["additional_vips"], vip, network, settings)


def _check_sources(values: Mapping[str, Any], settings: ApiSettings) -> None:
    allowed = [name for name in _SOURCES if getattr(settings, f"allow_{name}")]
    for name in _SOURCES:
        if values[name] is not None and name not in allowed:
            raise invalid(f"{name} is not allowed in this deployment.")
    if not any(values[name] for name in _SOURCES):
        raise invalid(f"VIP must contain one of: {', '.join(allowed)}.")


def _check_extensions(values: Mapping[str, Any]) -> None:
    if values["vip_qos_policy_id"] is not None:
        raise Invalid(f"qos_policy {values['vip_qos_policy_id']} not found.")
    for group in values["vip_sg_ids"]:
        raise Invalid(f"Security Group {group} not found.")


def check_update(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an update that reach the load balancer's row.

    :raises Invalid: a policy or a group is not known to the network.
    """
    policy, groups = values.get("vip_qos_policy_id"), values.get("vip_sg_ids", ())
    _check_extensions({"vip_qos_policy_id": policy, "vip_sg_ids": groups})
    return {name: one for name, one in values.items() if name not in ("vip_qos_policy_id", "vip_sg_ids")}


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
        ip_address=fitting[0].ip_address,
        port_id=port.id,
        subnet_id=fitting[0].subnet_id,
        network_id=port.network_id,
        qos_policy_id=port.qos_policy_id,
    )


def _on_network(values: Mapping[str, Any], network: NetworkDriver, topology: Topology) -> Vip:
    found = _network(values["vip_network_id"], network)
    subnet_id, address = values["vip_subnet_id"], values["vip_address"]
    if subnet_id is not None:
        if subnet_id not in found.subnet_ids:
            raise Invalid(f"Subnet {subnet_id} not found.")
        _check_inside(address, _subnet(subnet_id, network))
    else:
        subnets = [_subnet(one, network) for one in found.subnet_ids]
        if not subnets:
            raise invalid(f"Network {found.id} has no subnets.")
        subnet_id = _subnet_with(address, subnets).id if address else _roomy(subnets, network, topology).id
    return Vip(ip_address=address, subnet_id=subnet_id, network_id=found.id)


def _subnet_with(address: str, subnets: Sequence[Subnet]) -> Subnet:
    for subnet in subnets:
        if _contains(subnet, address):
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
    if address is not None and not _contains(subnet, address):
        raise invalid(f"The address {address} is outside of subnet {subnet.id}, {subnet.cidr}.")


def _contains(subnet: Subnet, address: str) -> bool:
    return ip_address(address) in ip_network(subnet.cidr)


def _check_network_allowed(vip: Vip, settings: ApiSettings) -> None:
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
    found = []
    for item in typed:
        subnet = _subnet(item["subnet_id"], network)
        if subnet.network_id != vip.network_id:
            raise invalid(f"Subnet {subnet.id} is not on the VIP's network {vip.network_id}.")
        _check_inside(item["ip_address"], subnet)
        found.append(
            AdditionalVip(ip_address=item["ip_address"], subnet_id=subnet.id, network_id=subnet.network_id)
        )
    return tuple(found)


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
