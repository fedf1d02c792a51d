# SPDX-License-Identifier: Apache-2.0
"""What is outside of the controller: machines, networks, agents, and who owns a VIP.

The in-memory drivers say what the controller sees; this module is what is true. It is the judge of
physics only: whether the controller did right is asked in :mod:`tests.simulation.invariants`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from octavia.dataplane.cloud_init.agent_conf import AGENT_CONF
from octavia.domain.clock import Clock
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import Configuration
from octavia.drivers.amphora.memory import AgentState, MemoryAmphorae
from octavia.drivers.certificates.memory import MemoryCertificates
from octavia.drivers.compute.contract import Server
from octavia.drivers.compute.memory import MemoryCompute
from octavia.drivers.faults import Faults, Hook, Moment, gated
from octavia.drivers.network.memory import MemoryNetwork
from octavia.wire.heartbeat import Heartbeat, ListenerReport, PoolReport
from tests.simulation.faults import Gates

BOOT_TIME: Final = timedelta(seconds=1)
BAD_ADDRESS: Final = "198.18.65.66"  # HAProxy refuses a member of this address, whatever else it is

BAD_WEIGHT: Final = 255  # and of this weight

_SECTION = re.compile(r"^(frontend|backend) (\S+)$", re.MULTILINE)
_SERVER = re.compile(r"^    server (\S+) (\S+):\d+ .*?weight (\d+)(.*)$", re.MULTILINE)
_PEERS = re.compile(r"unicast_peer \{\n(.*?)\}", re.DOTALL)
_PRIORITY = re.compile(r"priority (\d+)\n")


@dataclass(frozen=True)
class Running:
    """What a HAProxy configuration comes to.

    :param listeners: ids of listeners that are bound.
    :param pools: (pool, listener) to its members' weights by id.
    :param watched: members that HAProxy asks whether they are well.
    """

    listeners: frozenset[str]
    pools: dict[tuple[str, str], dict[str, int]]
    watched: frozenset[str]

    @property
    def members(self) -> dict[str, int]:
        """Weights of all members by id."""
        return {one: weight for members in self.pools.values() for one, weight in members.items()}


@lru_cache(4096)
def running(text: str | None) -> Running:
    """Read a haproxy.cfg as far as the world needs it."""
    listeners, pools, watched = set(), {}, set()
    pieces = _SECTION.split(text or "")
    for kind, name, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        if kind == "frontend":
            listeners.add(name)
        else:
            pool_id, _, listener_id = name.partition(":")
            servers = _SERVER.findall(body)
            pools[pool_id, listener_id] = {one[0]: int(one[2]) for one in servers}
            watched |= {one[0] for one in servers if " check" in one[3]}
    return Running(frozenset(listeners), pools, frozenset(watched))


class Machines(MemoryCompute):
    """Servers that can be switched off and on again.

    :ivar off: server to when it is up again.
    :ivar before_loss: hears of a server that is about to be deleted.
    :ivar after_loss: hears of a server that is gone, with all that was on it.
    """

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, BOOT_TIME, faults)
        self.off: dict[str, datetime] = {}
        self.before_loss: Callable[[str], None] = lambda _: None
        self.after_loss: Callable[[str], None] = lambda _: None

    def is_running(self, compute_id: str) -> bool:
        return super().is_running(compute_id) and not self._clock.now() < self.off.get(
            compute_id, datetime.min
        )

    @gated
    def delete(self, compute_id: str) -> None:
        self.before_loss(compute_id)
        self.vanish(compute_id)

    def vanish(self, compute_id: str) -> None:
        super().vanish(compute_id)
        self.after_loss(compute_id)

    def servers(self) -> list[Server]:
        """All there are, asked by nobody."""
        return [self._server(one) for one in self._machines]

    def exists(self, amphora_id: str) -> bool:
        """Is there a server of it, on or off?"""
        return any(one.amphora_id == amphora_id for one in self.servers())

    def load_balancer_of(self, compute_id: str) -> str:
        """For whom a server was made."""
        return self._machines[compute_id].spec.load_balancer_id

    def is_one_of_a_pair(self, compute_id: str) -> bool:
        """Does it share the VIP through keepalived?"""
        return b"ACTIVE_STANDBY" in self.files(compute_id)[AGENT_CONF]


class Agents(MemoryAmphorae):
    """Agents whose amphora gives up the VIP when it is told to.

    :ivar before_loss: hears of an amphora that is about to hand its VIP over.
    """

    def __init__(self, compute: MemoryCompute, faults: Faults) -> None:
        super().__init__(compute, faults)
        self.refuses = _refusal
        self.before_loss: Callable[[str], None] = lambda _: None

    @gated
    def stop_vrrp(self, amphora: Amphora, *, fence: int) -> None:
        state = self._fenced(amphora, fence)
        self.before_loss(amphora.id)
        self.remember(amphora.id, replace(state, vrrp_state=None))


@dataclass
class World:
    """Everything physical.

    :ivar silent: amphora to when its heartbeats get through again.
    :ivar deaf: amphora to when its agent can be reached again.
    :ivar split: load balancer to when its amphorae hear each other again.
    """

    clock: Clock
    gates: Gates
    silent: dict[str, datetime] = field(default_factory=dict)
    deaf: dict[str, datetime] = field(default_factory=dict)
    split: dict[str, datetime] = field(default_factory=dict)
    _beats: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.compute = Machines(self.clock, Faults(self.gates.hook("compute")))
        self.network = MemoryNetwork(faults=Faults(self.gates.hook("network")))
        self.certificates = MemoryCertificates(self.clock, faults=Faults(self.gates.hook("certificates")))
        self.agents = Agents(self.compute, Faults(self._agent_gate()))

    def _agent_gate(self) -> Hook:
        gate = self.gates.hook("agent")

        def hook(call: str, moment: Moment) -> None:
            gate(call, moment)
            now = self.clock.now()
            self.agents.unreachable = {one for one, until in self.deaf.items() if now < until}

        return hook

    # --- amphorae ------------------------------------------------------------------------------

    def running(self) -> Iterator[tuple[Server, AgentState]]:
        """Every amphora whose machine is on."""
        for server in self.compute.servers():
            if self.compute.is_running(server.compute_id):
                yield server, self.agents.state(server.amphora_id)

    def serving(self, load_balancer_id: str) -> list[str]:
        """Amphorae through which traffic of a load balancer could flow."""
        return [
            server.amphora_id
            for server, state in self.running()
            if state.configuration is not None
            and state.vip is not None
            and state.configuration.load_balancer_id == load_balancer_id
            and (state.vrrp_state or not self.compute.is_one_of_a_pair(server.compute_id))
        ]

    def switch_off(self, amphora_id: str, seconds: float) -> None:
        """Power is back after a while; memory is lost, the disk is not."""
        self.compute.off[amphora_id] = self.clock.now() + timedelta(seconds=seconds)
        state = self.agents.state(amphora_id)
        if state.configuration is not None and state.configuration.keepalived is not None:
            self.agents.remember(amphora_id, replace(state, vrrp_state="BACKUP"))

    def forget_configuration(self, amphora_id: str) -> None:
        """Somebody cleaned up in it: HAProxy and keepalived have nothing to run."""
        state = self.agents.state(amphora_id)
        self.agents.remember(amphora_id, replace(state, configuration=None, vrrp_state=None))

    def peace(self) -> None:
        """Whatever can come back is back."""
        self.silent.clear()
        self.deaf.clear()
        self.split.clear()
        self.compute.off.clear()
        self.agents.unreachable = set()

    # --- who owns a VIP ------------------------------------------------------------------------

    def owners(self, load_balancer_id: str) -> list[str]:
        """Amphorae that answer for the VIP now."""
        self._elect()
        return [
            server.amphora_id
            for server, state in self.running()
            if state.vip is not None
            and self.compute.load_balancer_of(server.compute_id) == load_balancer_id
            # Of a pair the VIP is keepalived's to bring up; the plug alone does it for a SINGLE.
            and (state.vrrp_state == "MASTER" or not self.compute.is_one_of_a_pair(server.compute_id))
        ]

    def _elect(self) -> None:
        """VRRP without preemption, as it is a few seconds after the last change."""
        states = {
            server.amphora_id: state
            for server, state in self.running()
            if state.vrrp_state is not None and state.configuration and state.configuration.keepalived
        }
        order = sorted(states, key=lambda one: (-_priority(states[one].configuration), one))
        masters = {one for one in order if states[one].vrrp_state == "MASTER"}
        for position, one in enumerate(order):  # the strongest first
            heard = [other for other in masters if other != one and self._hears(states[one], states[other])]
            if one in masters and any(other in order[:position] for other in heard):
                masters.discard(one)
            elif one not in masters and not heard:
                masters.add(one)
        for one, state in states.items():
            now = "MASTER" if one in masters else "BACKUP"
            if state.vrrp_state != now:
                self.agents.remember(one, replace(state, vrrp_state=now))

    def _hears(self, one: AgentState, other: AgentState) -> bool:
        """Advertisements go to the peers that the sender's configuration names, whoever listens."""
        assert other.configuration is not None
        if self.clock.now() < self.split.get(other.configuration.load_balancer_id, datetime.min):
            return False
        peers = _PEERS.search(other.configuration.keepalived or "")
        return one.vip is not None and peers is not None and one.vip.vrrp_ip in peers[1].split()

    # --- heartbeats ----------------------------------------------------------------------------

    def heartbeats(self) -> list[Heartbeat]:
        """What every amphora sends now, if it has anything to say and its network works."""
        self._elect()
        now = self.clock.now()
        sent = []
        for server, state in self.running():
            one = server.amphora_id
            if state.configuration is None or now < self.silent.get(one, datetime.min):
                continue
            if self.compute.is_one_of_a_pair(server.compute_id) and state.vrrp_state is None:
                continue  # an amphora whose keepalived is gone keeps silent on purpose
            self._beats[one] = self._beats.get(one, 0) + 1
            sent.append(_heartbeat(one, self._beats[one], state))
        return sent


def _heartbeat(amphora_id: str, sequence: int, state: AgentState) -> Heartbeat:
    assert state.configuration is not None
    now = running(state.configuration.haproxy)
    return Heartbeat(
        amphora_id=amphora_id,
        seq=sequence,
        listeners={one: ListenerReport(status="OPEN") for one in sorted(now.listeners)},
        pools=tuple(
            PoolReport(
                pool_id=pool_id,
                listener_id=listener_id,
                status="UP",
                members={one: "UP" if one in now.watched else "no check" for one in members},
            )
            for (pool_id, listener_id), members in now.pools.items()
        ),
        generation=state.configuration.generation,
        vrrp_state=state.vrrp_state,
    )


def _priority(configuration: Configuration | None) -> int:
    found = _PRIORITY.search((configuration and configuration.keepalived) or "")
    return int(found[1]) if found else 0


def _refusal(configuration: Configuration) -> str | None:
    """HAProxy's words about the first member that it does not like."""
    for name, address, weight, _ in _SERVER.findall(configuration.haproxy or ""):
        if address == BAD_ADDRESS:
            return f"[ALERT] config: 'server {name}' : it does not like the address {address}."
        if int(weight) == BAD_WEIGHT:
            return f"[ALERT] config: 'server {name}' : it does not like the weight {weight}."
    return None
