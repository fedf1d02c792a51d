# SPDX-License-Identifier: Apache-2.0
"""Networks of one machine: a bridge a network, and an address book in the state directory.

The host has the gateway's address on each bridge, so that whoever sits at the machine reaches the
VIPs. It routes nothing between them. Ports get their wires when compute attaches them: see
:mod:`octavia.drivers.compute.local`.
"""

import logging
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from octavia.domain.errors import Terminal
from octavia.drivers.local import links
from octavia.drivers.local.addresses import FileBook, Topology, mac_address
from octavia.drivers.local.installation import Installation
from octavia.drivers.local.process import Interface
from octavia.drivers.network.book import BookNetwork
from octavia.drivers.network.contract import Port

LOG = logging.getLogger(__name__)


class LocalNetwork(BookNetwork):
    """Implements :class:`octavia.drivers.network.contract.NetworkDriver`."""

    def __init__(self, topology: Topology, installation: Installation) -> None:
        super().__init__(topology, FileBook(installation.address_book))
        self._installation = installation

    def ensure(self) -> None:
        """Bring up the bridges, the host's addresses and the routes; safe to call again.

        :raises Terminal: a range is in use on this machine by something else.
        :raises Transient: the kernel refused.
        """
        self._refuse_taken_ranges()
        for obstacle in self.obstacles():
            LOG.warning(obstacle)
        for subnet in self._usable_subnets().values():
            links.ensure_unreachable(subnet, metric=self._installation.route_metric)
        for network in self.list_networks():
            links.ensure_bridge(
                self.bridge(network.id),
                mac_address=mac_address(network.id),
                mtu=network.mtu,
                interfaces=[
                    f"{subnet.gateway_ip}/{ip_network(subnet.cidr).prefixlen}"
                    for subnet in self._topology.subnets_of(network.id)
                    if subnet.gateway_ip and subnet.id in self._usable_subnets()
                ],
            )

    def obstacles(self) -> Sequence[str]:
        """What on this machine keeps packets from arriving, and what to do about it."""
        found = []
        if not links.has_ipv6() and any(subnet.ip_version == 6 for subnet in self.list_subnets()):
            found.append("This kernel has no IPv6: subnets of version 6 carry no traffic.")
        if links.bridges_are_filtered():
            found.append(
                "Packets between ports of a bridge pass this machine's firewall, which drops what is "
                "forwarded (Docker sets that up); if load balancers do not reach their members, run "
                "'sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0'."
            )
        return found

    def remove_all(self) -> None:
        """Take away every bridge, pair and route of this installation, configured still or not."""
        links.remove(*filter(self._installation.owns, links.names()))
        links.remove_unreachable(metric=self._installation.route_metric)

    def bridge(self, network_id: str) -> str:
        """The name of the bridge that is a network."""
        return self._installation.bridge(network_id)

    def interface(self, port: Port, name: str, *, with_addresses: bool) -> Interface:
        """What a process needs to be on a port's network.

        :param name: what the process calls it.
        :param with_addresses: the port's addresses are on it, and it is up, before the process starts.
        """
        return Interface(
            port_id=port.id,
            bridge=self.bridge(port.network_id),
            name=name,
            mac_address=port.mac_address,
            mtu=self.get_network(port.network_id).mtu,
            interfaces=self.interfaces(port) if with_addresses else (),
        )

    def interfaces(self, port: Port) -> tuple[str, ...]:
        """The addresses of a port with their prefix lengths, ``198.18.0.7/20``."""
        subnets = self._topology.subnets
        return tuple(
            f"{fixed.ip_address}/{ip_network(subnets[fixed.subnet_id].cidr).prefixlen}"
            for fixed in port.fixed_ips
            if fixed.subnet_id in self._usable_subnets()
        )

    def _usable_subnets(self) -> Mapping[str, str]:
        """Range by subnet id; without IPv6 where the kernel has none."""
        speaks_ipv6 = links.has_ipv6()
        return {
            subnet.id: subnet.cidr for subnet in self.list_subnets() if speaks_ipv6 or subnet.ip_version == 4
        }

    def _refuse_taken_ranges(self) -> None:
        ours = {self.bridge(network.id) for network in self.list_networks()}
        for address in links.addresses():
            if address.link in ours:
                continue
            for subnet in self.list_subnets():
                cidr = ip_network(subnet.cidr)
                if cidr.version == address.interface.version and cidr.overlaps(address.interface.network):
                    raise Terminal(
                        f"Subnet {subnet.name} ({cidr}) overlaps {address.interface} of {address.link} on "
                        "this machine; configure another range for it, or take the other down."
                    )
