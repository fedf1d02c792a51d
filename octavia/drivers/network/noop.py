# SPDX-License-Identifier: Apache-2.0
"""``network_noop_driver``: every network, subnet, port, QoS policy and security group that has a UUID exists.

Nothing is stored: what belongs together is computed, so that all processes agree. A network has one subnet
that holds every address, of either IP version; nobody notices that two ports have the same address; a sweep
finds no ports (contract: api.md section 24.1, drivers.md section 5).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Final

from oslo_config import cfg

from octavia.domain.errors import Invalid, NotFound
from octavia.domain.tree import AdditionalVip, Vip
from octavia.drivers.local.addresses import mac_address
from octavia.drivers.network.contract import (
    OWNER,
    FixedIp,
    Network,
    Port,
    Subnet,
    VipAllocation,
    member_port_name,
    vip_port_name,
    vrrp_port_name,
)
from octavia.drivers.noop import derived, known, twin

# For tests between networks (RFC 2544) and for documentation (RFC 3849): no site routes them.
_RANGES: Final = {4: ip_network("198.18.0.0/15"), 6: ip_network("2001:db8::/32")}
_PLENTY: Final = 1000


class _EverySubnet(Subnet):
    """A subnet on which any address may be."""

    __slots__ = ()

    def holds(self, address: str) -> bool:
        """Yes."""
        return True


class _EveryNetwork(Network):
    """A network that any subnet may be on."""

    __slots__ = ()

    def has(self, subnet: Subnet) -> bool:
        """Yes."""
        return True


class NoopNetwork:
    """Implements :class:`octavia.drivers.network.contract.NetworkDriver`."""

    def __init__(self, _conf: cfg.ConfigOpts | None = None) -> None:
        pass

    def get_network(self, network_id: str) -> Network:
        """See the contract."""
        return _EveryNetwork(id=network_id, name="", subnet_ids=(twin("Network", network_id),))

    def get_subnet(self, subnet_id: str) -> Subnet:
        """See the contract; the range is of version 4, whatever addresses are used on it."""
        network_id = twin("Subnet", subnet_id)
        return _EverySubnet(id=subnet_id, name="", network_id=network_id, cidr=str(_RANGES[4]), ip_version=4)

    def get_port(self, port_id: str) -> Port:
        """See the contract: somebody's port, on a network of its own."""
        known("Port", port_id)
        return _port(port_id, "", twin("Port", port_id), (4,))

    def has_qos_policy(self, policy_id: str) -> bool:
        """See the contract."""
        return _exists("QoS policy", policy_id)

    def has_security_group(self, group_id: str) -> bool:
        """See the contract."""
        return _exists("Security group", group_id)

    def free_addresses(self, subnet_id: str) -> int:
        """See the contract."""
        known("Subnet", subnet_id)
        return _PLENTY

    def create_vip_port(
        self,
        load_balancer_id: str,
        project_id: str | None,
        vip: Vip,
        additional_vips: Sequence[AdditionalVip],
    ) -> VipAllocation:
        """See the contract; the network and the addresses are the ones that were asked for."""
        try:
            made = self._vip(load_balancer_id, vip)
        except NotFound as unknown:
            raise Invalid(unknown.why) from unknown
        others = tuple(
            replace(
                one,
                ip_address=_address(one.ip_address, f"{load_balancer_id} {one.subnet_id}"),
                network_id=made.network_id,
                port_id=made.port_id,
            )
            for one in additional_vips
        )
        return VipAllocation(vip=made, additional_vips=others)

    def _vip(self, load_balancer_id: str, vip: Vip) -> Vip:
        ours = str(derived(vip_port_name(load_balancer_id)))
        if vip.port_id and vip.port_id != ours:
            port = self.get_port(vip.port_id)
            fixed = port.fixed_ips[0]
            return replace(
                vip,
                ip_address=_address(vip.ip_address or fixed.ip_address, ""),
                subnet_id=vip.subnet_id or fixed.subnet_id,
                network_id=vip.network_id or port.network_id,
            )
        if not vip.network_id and not vip.subnet_id:
            raise Invalid("A VIP needs a network, a subnet or a port.")
        return replace(
            vip,
            ip_address=_address(vip.ip_address, load_balancer_id),
            subnet_id=vip.subnet_id or twin("Network", vip.network_id or ""),
            network_id=vip.network_id or twin("Subnet", vip.subnet_id or ""),
            port_id=ours,
            octavia_owned=True,
        )

    def release_vip_port(self, load_balancer_id: str, vip: Vip) -> None:
        """See the contract."""

    def create_vrrp_port(
        self, amphora_id: str, load_balancer_id: str, vip: Vip, addresses: Sequence[str]
    ) -> Port:
        """See the contract; its address is of the VIP's version."""
        name = vrrp_port_name(amphora_id)
        version = ip_address(vip.ip_address).version if vip.ip_address else 4
        network_id = vip.network_id or twin("Subnet", vip.subnet_id or "")
        port = _port(str(derived(name)), name, network_id, (version,), subnet_ids=(vip.subnet_id,))
        return replace(port, device_id=amphora_id, device_owner=OWNER)

    def create_member_port(
        self, amphora_id: str, load_balancer_id: str, network_id: str, subnet_ids: Sequence[str]
    ) -> Port:
        """See the contract."""
        name = member_port_name(amphora_id)
        port_id = str(derived(f"{name} on {network_id}"))
        subnets = subnet_ids or (twin("Network", network_id),)
        port = _port(port_id, name, network_id, (4,) * len(subnets), subnet_ids=subnets)
        return replace(port, device_id=amphora_id, device_owner=OWNER)

    def delete_port(self, port_id: str) -> None:
        """See the contract."""

    def ports_of_amphora(self, amphora_id: str) -> Sequence[Port]:
        """See the contract; there is nothing to delete."""
        return ()

    def owned_ports(self) -> Iterable[tuple[str, Port]]:
        """See the contract."""
        return ()

    def list_networks(self) -> Sequence[Network]:
        """See the contract."""
        return ()

    def list_subnets(self) -> Sequence[Subnet]:
        """See the contract."""
        return ()

    def list_ports(self) -> Sequence[Port]:
        """See the contract."""
        return ()


def _exists(noun: str, identifier: str) -> bool:
    try:
        known(noun, identifier)
    except NotFound:
        return False
    return True


def _port(
    port_id: str,
    name: str,
    network_id: str,
    versions: Sequence[int],
    *,
    subnet_ids: Sequence[str | None] = (None,),
) -> Port:
    """With an address on each subnet; None is the network's own."""
    fixed_ips = tuple(
        FixedIp(
            subnet_id=subnet_id or twin("Network", network_id),
            ip_address=_address(None, f"{port_id} {subnet_id or ''}", version),
        )
        for version, subnet_id in zip(versions, subnet_ids, strict=True)
    )
    mac = mac_address(port_id)
    return Port(id=port_id, name=name, network_id=network_id, mac_address=mac, fixed_ips=fixed_ips)


def _address(wanted: str | None, whose: str, version: int = 4) -> str:
    """The one that is wanted, else always the same for the same ``whose``."""
    if wanted:
        try:
            return str(ip_address(wanted))
        except ValueError:
            raise Invalid(f"{wanted} is not an IP address.") from None
    within = _RANGES[version]
    # Neither the network's own address nor the broadcast address.
    return str(within[1 + derived(f"address of {whose}").int % (within.num_addresses - 2)])
