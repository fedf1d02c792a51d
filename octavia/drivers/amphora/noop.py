# SPDX-License-Identifier: Apache-2.0
"""``amphora_noop_driver``: an agent that agrees to everything, and is as old as an agent can be.

It keeps no fence, so workers are fenced by the database alone, and sends no heartbeats: what is measured
keeps the operating status that it was created with (contract: api.md section 4.3).
"""

from collections.abc import Sequence
from typing import Final

from oslo_config import cfg

from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import AgentInfo, Applied, Configuration, Machine, VipPlug
from octavia.drivers.network.contract import Network, Port, Subnet

_INFO: Final = AgentInfo(api_version="1.0", haproxy_version="2.6")


class NoopAmphorae:
    """Implements :class:`octavia.drivers.amphora.contract.AmphoraDriver`."""

    def __init__(self, _conf: cfg.ConfigOpts | None = None) -> None:
        pass

    def info(self, amphora: Amphora) -> AgentInfo:
        """See the contract."""
        return _INFO

    def machine(self, amphora: Amphora) -> Machine:
        """See the contract."""
        return Machine()

    def plug_vip(self, amphora: Amphora, plug: VipPlug, *, fence: int) -> str:
        """See the contract."""
        return "eth1"

    def plug_network(
        self, amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet], *, fence: int
    ) -> None:
        """See the contract."""

    def apply(self, amphora: Amphora, configuration: Configuration, *, fence: int) -> Applied:
        """See the contract."""
        return Applied(generation=configuration.generation)

    def stop_vrrp(self, amphora: Amphora, *, fence: int) -> None:
        """See the contract."""

    def update_certificate(self, amphora: Amphora, bundle: bytes, *, fence: int) -> None:
        """See the contract."""

    def update_agent_configuration(self, amphora: Amphora, configuration: bytes, *, fence: int) -> bool:
        """See the contract."""
        return True
