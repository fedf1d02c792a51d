# SPDX-License-Identifier: Apache-2.0
"""Networks in memory: a real address book, no wires, and faults on purpose."""

import uuid
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Final

from octavia.domain.tree import AdditionalVip, Vip
from octavia.drivers.faults import Faults, Faulty, gated
from octavia.drivers.local.addresses import MemoryBook, NetworkSettings, SubnetSettings, Topology
from octavia.drivers.network.book import BookNetwork
from octavia.drivers.network.contract import Network, Port, Subnet, VipAllocation

SAMPLE: Final = Topology(
    (
        NetworkSettings(
            name="demo",
            subnets=(
                SubnetSettings(name="demo", cidr="198.18.64.0/24", gateway_ip="198.18.64.1"),
                SubnetSettings(
                    name="demo-6", cidr="fd00:6f63:7461:64::/64", gateway_ip="fd00:6f63:7461:64::1"
                ),
            ),
        ),
        NetworkSettings(
            name="members",
            subnets=(SubnetSettings(name="members", cidr="198.18.65.0/24", gateway_ip="198.18.65.1"),),
        ),
    )
)


class MemoryNetwork(BookNetwork, Faulty):
    """Implements :class:`octavia.drivers.network.contract.NetworkDriver`.

    The ids of ports are the same in every run, so that a history can be played again.
    """

    def __init__(self, topology: Topology = SAMPLE, faults: Faults | None = None) -> None:
        numbers = count(1)
        super().__init__(topology, MemoryBook(), lambda: str(uuid.UUID(int=next(numbers))))
        self.faults = faults or Faults()

    @gated
    def get_network(self, network_id: str) -> Network:
        """See the contract."""
        return super().get_network(network_id)

    @gated
    def get_subnet(self, subnet_id: str) -> Subnet:
        """See the contract."""
        return super().get_subnet(subnet_id)

    @gated
    def get_port(self, port_id: str) -> Port:
        """See the contract."""
        return super().get_port(port_id)

    @gated
    def free_addresses(self, subnet_id: str) -> int:
        """See the contract."""
        return super().free_addresses(subnet_id)

    @gated
    def create_vip_port(
        self,
        load_balancer_id: str,
        project_id: str | None,
        vip: Vip,
        additional_vips: Sequence[AdditionalVip],
    ) -> VipAllocation:
        """See the contract."""
        return super().create_vip_port(load_balancer_id, project_id, vip, additional_vips)

    @gated
    def release_vip_port(self, load_balancer_id: str, vip: Vip) -> None:
        """See the contract."""
        super().release_vip_port(load_balancer_id, vip)

    @gated
    def create_vrrp_port(
        self, amphora_id: str, load_balancer_id: str, vip: Vip, addresses: Sequence[str]
    ) -> Port:
        """See the contract."""
        return super().create_vrrp_port(amphora_id, load_balancer_id, vip, addresses)

    @gated
    def create_member_port(
        self, amphora_id: str, load_balancer_id: str, network_id: str, subnet_ids: Sequence[str]
    ) -> Port:
        """See the contract."""
        return super().create_member_port(amphora_id, load_balancer_id, network_id, subnet_ids)

    @gated
    def delete_port(self, port_id: str) -> None:
        """See the contract."""
        super().delete_port(port_id)

    @gated
    def ports_of_amphora(self, amphora_id: str) -> Sequence[Port]:
        """See the contract."""
        return super().ports_of_amphora(amphora_id)

    @gated
    def owned_ports(self) -> Iterable[tuple[str, Port]]:
        """See the contract."""
        return super().owned_ports()

    @gated
    def list_networks(self) -> Sequence[Network]:
        """See the contract."""
        return super().list_networks()

    @gated
    def list_subnets(self) -> Sequence[Subnet]:
        """See the contract."""
        return super().list_subnets()

    @gated
    def list_ports(self) -> Sequence[Port]:
        """See the contract."""
        return super().list_ports()
