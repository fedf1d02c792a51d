# SPDX-License-Identifier: Apache-2.0
"""Agents in memory: they keep a fence, take configurations, and are there when their server is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from octavia.domain.errors import Fenced, Refused, Transient, Unreachable
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import AgentInfo, Applied, Configuration, Lacks, Machine, VipPlug
from octavia.drivers.compute.memory import MemoryCompute
from octavia.drivers.faults import Faults, Faulty, gated
from octavia.drivers.network.contract import Network, Port, Subnet

EXTENSIONS: Final = frozenset({"apply", "fence", "generation", "certificates", "l4", "sctp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """What one agent has on its disk and in its kernel.

    :param fence: the highest number it has seen; a reboot does not lose it.
    :param applications: how many configurations it was given.
    :param networks: interface name, port and subnets of each member network.
    """

    fence: int | None = None
    configuration: Configuration | None = None
    applications: int = 0
    vip: VipPlug | None = None
    networks: tuple[tuple[str, Port, tuple[Subnet, ...]], ...] = ()
    vrrp_state: str | None = None
    certificate: bytes | None = None
    agent_configuration: bytes | None = None


class MemoryAmphorae(Faulty):
    """Implements :class:`octavia.drivers.amphora.contract.AmphoraDriver`.

    :param compute: where the amphorae are; one that does not run is unreachable.
    :ivar refuses: the reason why HAProxy would refuse a configuration, or None.
    :ivar extensions: what agents offer.
    :ivar describes: what their machines are said to be, at each question.
    :ivar unreachable: ids of amphorae that run but cannot be reached by the controller.
    """

    def __init__(self, compute: MemoryCompute, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.refuses: Callable[[Configuration], str | None] = lambda _: None
        self.extensions = EXTENSIONS
        self.describes: Callable[[Amphora], Machine] = lambda _: Machine()
        self.unreachable: set[str] = set()
        self._compute = compute
        self._states: dict[str, AgentState] = {}

    def state(self, amphora_id: str) -> AgentState:
        """What its agent keeps; empty if it was never spoken to."""
        return self._states.get(amphora_id, AgentState())

    def remember(self, amphora_id: str, state: AgentState) -> None:
        """Put an agent into a state."""
        self._states[amphora_id] = state

    def forget(self, amphora_id: str) -> None:
        """Its machine is gone; another of the same name begins anew."""
        self._states.pop(amphora_id, None)

    @gated
    def info(self, amphora: Amphora) -> AgentInfo:
        """See the contract."""
        state = self._reach(amphora)
        return AgentInfo(
            api_version="1.0",
            haproxy_version="2.6",
            extensions=self.extensions,
            fence=state.fence,
            generation=state.configuration.generation if state.configuration else None,
            vrrp_state=state.vrrp_state,
        )

    @gated
    def machine(self, amphora: Amphora) -> Machine:
        """See the contract."""
        self._reach(amphora)
        return self.describes(amphora)

    @gated
    def plug_vip(self, amphora: Amphora, plug: VipPlug, *, fence: int) -> str:
        """See the contract."""
        state = self._fenced(amphora, fence)
        self._require_arrived(amphora, plug.port)
        self._states[amphora.id] = replace(state, vip=plug)
        return "eth1"

    @gated
    def plug_network(
        self, amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet], *, fence: int
    ) -> None:
        """See the contract."""
        state = self._fenced(amphora, fence)
        self._require_arrived(amphora, port)
        names = {known.id: name for name, known, _ in state.networks}
        name = names.get(port.id, f"eth{2 + len(names)}")
        others = tuple(one for one in state.networks if one[0] != name)
        self._states[amphora.id] = replace(state, networks=(*others, (name, port, tuple(subnets))))

    @gated
    def apply(self, amphora: Amphora, configuration: Configuration, *, fence: int) -> Applied:
        """See the contract."""
        state = self._fenced(amphora, fence)
        why = self.refuses(configuration)
        if why is not None:
            raise Refused(why)
        present = state.configuration.certificates if state.configuration else {}
        files = {name: content or present.get(name) for name, content in configuration.certificates.items()}
        if lacking := [name for name, content in files.items() if content is None]:
            raise Lacks(amphora.id, lacking)
        configuration = replace(configuration, certificates=files)
        changed = state.configuration is None or (
            replace(state.configuration, generation=configuration.generation) != configuration
        )
        vrrp_state = state.vrrp_state or "BACKUP" if configuration.keepalived is not None else None
        self._states[amphora.id] = replace(
            state,
            configuration=configuration,
            applications=state.applications + 1,
            vrrp_state=vrrp_state,
        )
        return Applied(generation=configuration.generation, reload_reason="it differs" if changed else None)

    @gated
    def stop_vrrp(self, amphora: Amphora, *, fence: int) -> None:
        """See the contract."""
        self._states[amphora.id] = replace(self._fenced(amphora, fence), vrrp_state=None)

    @gated
    def update_certificate(self, amphora: Amphora, bundle: bytes, *, fence: int) -> None:
        """See the contract."""
        self._states[amphora.id] = replace(self._fenced(amphora, fence), certificate=bundle)

    @gated
    def update_agent_configuration(self, amphora: Amphora, configuration: bytes, *, fence: int) -> bool:
        """See the contract."""
        self._states[amphora.id] = replace(self._fenced(amphora, fence), agent_configuration=configuration)
        return True

    def _reach(self, amphora: Amphora) -> AgentState:
        running = amphora.compute_id is not None and self._compute.is_running(amphora.compute_id)
        if not running or amphora.id in self.unreachable:
            raise Unreachable(f"Amphora {amphora.id} does not answer.")
        return self.state(amphora.id)

    def _fenced(self, amphora: Amphora, fence: int) -> AgentState:
        """The state, with the fence kept before anything else is done."""
        state = self._reach(amphora)
        if state.fence is not None and fence < state.fence:
            raise Fenced(f"Amphora {amphora.id} has seen fence {state.fence}.", highest=state.fence)
        state = replace(state, fence=fence)
        self._states[amphora.id] = state
        return state

    def _require_arrived(self, amphora: Amphora, port: Port) -> None:
        if port.id not in self._compute.ports(amphora.compute_id or ""):
            raise Transient(f"The interface of port {port.id} has not arrived in amphora {amphora.id}.")
