# SPDX-License-Identifier: Apache-2.0
"""What the API and the worker expect of whatever owns networks and addresses.

Names, owners and tags of ports are facts that operators' tooling depends on
(contract: drivers.md section 5): VIP ports are called ``octavia-lb-<load balancer id>``, VRRP ports
``octavia-lb-vrrp-<amphora id>``, member ports ``octavia-lb-member-<amphora id>``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final, Protocol

from octavia.domain.tree import AdditionalVip, Vip

OWNER: Final = "Octavia"  # device_owner of every port that is ours


def vip_port_name(load_balancer_id: str) -> str:
    """What the port that holds a VIP is called."""
    return f"octavia-lb-{load_balancer_id}"


def vrrp_port_name(amphora_id: str) -> str:
    """What an amphora's port on the VIP's network is called."""
    return f"octavia-lb-vrrp-{amphora_id}"


def member_port_name(amphora_id: str) -> str:
    """What an amphora's ports on members' networks are called."""
    return f"octavia-lb-member-{amphora_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRoute:
    """A route that a subnet hands to its hosts."""

    destination: str
    nexthop: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One range of addresses of a network; ``cidr`` in network form."""

    id: str
    name: str
    network_id: str
    cidr: str
    ip_version: int
    gateway_ip: str | None = None
    host_routes: tuple[HostRoute, ...] = ()

    def holds(self, address: str) -> bool:
        """Is the address within the range?"""
        return ip_address(address) in ip_network(self.cidr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One broadcast domain; ``mtu`` in bytes."""

    id: str
    name: str
    subnet_ids: tuple[str, ...]
    mtu: int = 1500
    project_id: str | None = None
    port_security_enabled: bool = True

    def has(self, subnet: Subnet) -> bool:
        """Is the subnet one of this network's?"""
        return subnet.id in self.subnet_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedIp:
    """An address that a port has on a subnet."""

    subnet_id: str
    ip_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A place on a network."""

    id: str
    name: str
    network_id: str
    mac_address: str
    fixed_ips: tuple[FixedIp, ...] = ()
    device_id: str = ""
    device_owner: str = ""
    project_id: str | None = None
    admin_state_up: bool = True
    qos_policy_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VipAllocation:
    """The addresses of a load balancer, complete."""

    vip: Vip
    additional_vips: tuple[AdditionalVip, ...]


class NetworkDriver(Protocol):
    """Networks, subnets, ports. Creating is adopting: names are deterministic."""

    def get_network(self, network_id: str) -> Network:
        """:raises NotFound: there is no such network. :raises Transient: it could not be asked."""

    def get_subnet(self, subnet_id: str) -> Subnet:
        """:raises NotFound: there is no such subnet. :raises Transient: it could not be asked."""

    def get_port(self, port_id: str) -> Port:
        """:raises NotFound: there is no such port. :raises Transient: it could not be asked."""

    def has_qos_policy(self, policy_id: str) -> bool:
        """Is there such a QoS policy? :raises Transient: it could not be asked."""

    def has_security_group(self, group_id: str) -> bool:
        """Is there such a security group? :raises Transient: it could not be asked."""

    def free_addresses(self, subnet_id: str) -> int:
        """How many addresses can still be given out; at most a large number is fine."""

    def create_vip_port(
        self,
        load_balancer_id: str,
        project_id: str | None,
        vip: Vip,
        additional_vips: Sequence[AdditionalVip],
    ) -> VipAllocation:
        """Allocate the addresses, on the user's port if ``vip.port_id`` is given.

        A port of ours that already has the load balancer's name is adopted. A port made here is
        admin-down and never bound: amphorae answer for its addresses on ports of their own.

        :raises Conflict: an address is in use.
        :raises Invalid: an address is outside its subnet, or the subnet is full.
        :raises Transient: the network could not be asked.
        """

    def release_vip_port(self, load_balancer_id: str, vip: Vip) -> None:
        """Delete the VIP port if it is ours, else leave it to its owner; absent is a success."""

    def create_vrrp_port(
        self, amphora_id: str, load_balancer_id: str, vip: Vip, addresses: Sequence[str]
    ) -> Port:
        """An amphora's port on the VIP's subnet, allowed to use the VIP ``addresses`` too.

        Asked again, answer with the same port.
        """

    def create_member_port(
        self, amphora_id: str, load_balancer_id: str, network_id: str, subnet_ids: Sequence[str]
    ) -> Port:
        """An amphora's port on a network of members, with an address on each of the subnets.

        Asked again, answer with the same port, its addresses brought up to date.
        """

    def delete_port(self, port_id: str) -> None:
        """An absent port is a success."""

    def ports_of_amphora(self, amphora_id: str) -> Sequence[Port]:
        """Its VRRP port and its member ports, found by name."""

    def owned_ports(self) -> Iterable[tuple[str, Port]]:
        """Every port of ours with the id of the load balancer that it was made for (sweep)."""

    def list_networks(self) -> Sequence[Network]:
        """All that this installation can see."""

    def list_subnets(self) -> Sequence[Subnet]:
        """All that this installation can see."""

    def list_ports(self) -> Sequence[Port]:
        """All that this installation can see."""
