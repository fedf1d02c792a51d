# SPDX-License-Identifier: Apache-2.0
"""What compute and an agent answer, and what that means."""

import pytest

from octavia.domain.errors import OctaviaError, Terminal, Transient, Unreachable
from octavia.domain.tree import Amphora, Role, Topology
from octavia.drivers.amphora.contract import AgentInfo
from octavia.drivers.compute.contract import Server, ServerStatus
from octavia.health.witness import Testimony as Said
from octavia.health.witness import Witness
from tests.fleet import amphora, load_balancer


class Compute:
    """Answers one thing."""

    def __init__(self, answer: Server | OctaviaError | None) -> None:
        self.answer = answer

    def get(self, compute_id: str) -> Server | None:
        if isinstance(self.answer, OctaviaError):
            raise self.answer
        return self.answer


class Agent:
    """Answers one thing."""

    def __init__(self, answer: AgentInfo | OctaviaError) -> None:
        self.answer = answer

    def info(self, amphora: Amphora) -> AgentInfo:
        if isinstance(self.answer, OctaviaError):
            raise self.answer
        return self.answer


RUNS = Server(compute_id="c", amphora_id="a", status=ServerStatus.ACTIVE)
BROKEN = Server(compute_id="c", amphora_id="a", status=ServerStatus.ERROR)
UPSTREAM = AgentInfo(api_version="1.0", haproxy_version="2.6")
OURS = AgentInfo(
    api_version="1.0", haproxy_version="2.6", extensions=frozenset({"fence"}), vrrp_state="BACKUP"
)
NO_KEEPALIVED = AgentInfo(api_version="1.0", haproxy_version="2.6", extensions=frozenset({"fence"}))


@pytest.mark.parametrize(
    ("server", "agent", "expected"),
    [
        (None, UPSTREAM, Said.ABSENT),
        (Transient("nova is down"), UPSTREAM, Said.UNKNOWN),
        (Terminal("forbidden"), UPSTREAM, Said.UNKNOWN),
        (BROKEN, UPSTREAM, Said.UNREACHABLE),
        (RUNS, UPSTREAM, Said.ALIVE),
        (RUNS, OURS, Said.ALIVE),
        (RUNS, NO_KEEPALIVED, Said.CRIPPLED),
        (RUNS, Unreachable("no route"), Said.UNREACHABLE),
        (RUNS, Transient("read timed out"), Said.UNREACHABLE),
        (RUNS, Terminal("401"), Said.UNKNOWN),
    ],
)
def test_testimony_on_one_of_a_pair(
    server: Server | OctaviaError | None, agent: AgentInfo | OctaviaError, expected: Said
) -> None:
    one = amphora(load_balancer(topology=Topology.ACTIVE_STANDBY))
    witness = Witness(Compute(server), Agent(agent))  # type: ignore[arg-type]
    assert witness(one) is expected


def test_who_stands_alone_needs_no_keepalived() -> None:
    one = amphora(load_balancer(), role=Role.STANDALONE)
    assert Witness(Compute(RUNS), Agent(NO_KEEPALIVED))(one) is Said.ALIVE  # type: ignore[arg-type]


def test_what_compute_was_never_asked_for_is_absent() -> None:
    one = amphora(load_balancer(), compute_id=None)
    assert Witness(Compute(RUNS), Agent(UPSTREAM))(one) is Said.ABSENT  # type: ignore[arg-type]
