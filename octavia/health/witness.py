# SPDX-License-Identifier: Apache-2.0
"""The second witness: what compute and the agent itself say of an amphora that was not heard."""

from enum import Enum

from octavia.domain.errors import OctaviaError, Transient
from octavia.domain.tree import Amphora, Role
from octavia.drivers.amphora.contract import AgentInfo, AmphoraDriver
from octavia.drivers.compute.contract import ComputeDriver, ServerStatus


class Testimony(Enum):
    """What was found out."""

    ABSENT = "compute has no such server"
    UNREACHABLE = "its agent does not answer"
    CRIPPLED = "its agent answers, but no keepalived runs"
    ALIVE = "its agent answers"
    UNKNOWN = "it could not be found out"


class Witness:
    """Asks compute first, which has nothing to lose, then the agent."""

    def __init__(self, compute: ComputeDriver, agents: AmphoraDriver) -> None:
        self._compute = compute
        self._agents = agents

    def __call__(self, amphora: Amphora) -> Testimony:
        """Takes about two seconds at most where nobody answers; never raises what a driver may raise."""
        try:
            server = self._compute.get(amphora.compute_id) if amphora.compute_id else None
        except OctaviaError:
            return Testimony.UNKNOWN
        if server is None:
            return Testimony.ABSENT
        if server.status is ServerStatus.ERROR:
            return Testimony.UNREACHABLE
        return self._ask_agent(amphora)

    def _ask_agent(self, amphora: Amphora) -> Testimony:
        try:
            info = self._info(amphora)
        except Transient:
            # Nobody there, or a host that still accepts connections for programs that hang.
            return Testimony.UNREACHABLE
        except OctaviaError:
            # It answers, only not as expected: the fault may be ours.
            return Testimony.UNKNOWN
        # An amphora of a pair is silent on purpose when its keepalived is dead (contract:
        # heartbeat.md section 3); only our own agents tell whether it is.
        if info.extensions and amphora.role is not Role.STANDALONE and info.vrrp_state is None:
            return Testimony.CRIPPLED
        return Testimony.ALIVE

    def _info(self, amphora: Amphora) -> AgentInfo:
        try:
            return self._agents.info(amphora)
        except Transient:
            # One packet may get lost, and an amphora that serves is too much to lose with it.
            return self._agents.info(amphora)
