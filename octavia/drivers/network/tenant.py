# SPDX-License-Identifier: Apache-2.0
"""What tenants may see of a deployment's networks.

Where one address book holds the management network too, a VIP or a member on it would put tenants'
traffic beside the agents. For the API there is no such network.
"""

from collections.abc import Sequence
from typing import Any, cast

from octavia.domain.errors import NotFound
from octavia.drivers.network.contract import Network, NetworkDriver, Port, Subnet


def without(driver: NetworkDriver, *hidden: str) -> NetworkDriver:
    """The same driver, as if the networks with the ids ``hidden`` did not exist."""
    return cast(NetworkDriver, _TenantView(driver, frozenset(hidden)))


class _TenantView:
    """Everything that is not about looking goes to the driver unchanged."""

    def __init__(self, driver: NetworkDriver, hidden: frozenset[str]) -> None:
        self._driver = driver
        self._hidden = hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def get_network(self, network_id: str) -> Network:
        if network_id in self._hidden:
            raise NotFound("Network", network_id)
        return self._driver.get_network(network_id)

    def get_subnet(self, subnet_id: str) -> Subnet:
        subnet = self._driver.get_subnet(subnet_id)
        if subnet.network_id in self._hidden:
            raise NotFound("Subnet", subnet_id)
        return subnet

    def get_port(self, port_id: str) -> Port:
        port = self._driver.get_port(port_id)
        if port.network_id in self._hidden:
            raise NotFound("Port", port_id)
        return port

    def list_networks(self) -> Sequence[Network]:
        return [one for one in self._driver.list_networks() if one.id not in self._hidden]

    def list_subnets(self) -> Sequence[Subnet]:
        return [one for one in self._driver.list_subnets() if one.network_id not in self._hidden]

    def list_ports(self) -> Sequence[Port]:
        return [one for one in self._driver.list_ports() if one.network_id not in self._hidden]
