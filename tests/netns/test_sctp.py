# SPDX-License-Identifier: Apache-2.0
"""SCTP, as far as a handshake goes: members and clients are raw sockets.

The health check, from outside and inside of an amphora; and the amphora between client and member, which only
takes a kernel whose conntrack knows SCTP.
"""

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from octavia.amphora_agent import l4_table, netns
from octavia.amphora_agent.l4 import L4, L4Refused
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.sctp import ABORT, INIT_ACK
from octavia.domain.tree import LoadBalancer, Member, MonitorType, Protocol
from tests.netns.agent_lab import VIP, AgentProcess, Lab, eventually, ip, needs_root, opened_lab
from tests.netns.own_network import own_network
from tests.netns.sctp_lab import MEMBER_PORT, Server, answered_by
from tests.netns.udp_lab import member, monitor, needs_programs, push, tree, with_members
from tests.unit.dataplane.l4_samples import config, pool, uuid
from tests.unit.dataplane.l4_samples import member as sample

pytestmark = [pytest.mark.netns, needs_root, *needs_programs]
needs_tracking = pytest.mark.skipif(
    not l4_table.tracks_sctp(), reason="this kernel's conntrack does not know SCTP"
)

SHUTDOWN_COMPLETE = 14
SILENT = None


def checked(address: str, *options: str) -> int:
    """What ``amphora-health-checker`` says."""
    command = (sys.executable, "-m", "octavia.cmd.amphora_health_checker", "sctp", *options)
    return subprocess.run((*command, address, str(MEMBER_PORT)), check=False, timeout=60).returncode


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
@pytest.mark.parametrize(("chunk", "code"), [(INIT_ACK, 0), (ABORT, 1), (SILENT, 2), (SHUTDOWN_COMPLETE, 3)])
def test_the_health_checker_says_what_it_was_answered(address: str, chunk: int | None, code: int) -> None:
    with own_network():
        ip("link", "set", "lo", "up")
        with contextlib.closing(Server(address, chunk)) as server:
            assert checked(address, *(("-t", "1") if chunk is SILENT else ())) == code
            assert server.clients.total() == 1
            if chunk == INIT_ACK:
                assert server.aborted.wait(10)


def test_a_host_that_has_no_sctp_or_no_route_is_not_well() -> None:
    with own_network():
        assert checked("192.0.2.1") == 1
        ip("link", "set", "lo", "up")
        assert checked("127.0.0.2") == 1  # told by ICMP, long before the time is over


def test_what_makes_no_sense_is_not_asked() -> None:
    for words in (
        ("sctp", "example.org", "1"),
        ("sctp", "127.0.0.1", "0"),
        ("sctp", "-t", "nan", "::1", "1"),
    ):
        command = (sys.executable, "-m", "octavia.cmd.amphora_health_checker", *words)
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 2
        assert "usage" in done.stderr


@dataclass(frozen=True)
class World:
    lab: Lab
    amphora: AgentProcess
    stack: contextlib.ExitStack

    def server(self, number: int, chunk: int | None = INIT_ACK) -> Server:
        """A member on the lab's bridge."""
        address = f"10.88.0.{200 + number}"
        ip("addr", "add", f"{address}/24", "dev", "vip")
        return self.stack.enter_context(contextlib.closing(Server(address, chunk, number=number)))

    def statuses(self) -> dict[str, str]:
        report = self.lab.latest(self.amphora)
        return dict(report.pools[0].members) if report and report.pools else {}


@pytest.fixture(name="world")
def _world() -> Iterator[World]:
    with opened_lab() as lab, contextlib.ExitStack() as stack:
        one = lab.amphora()
        one.attach_vip()
        lab.driver.plug_vip(one.amphora, one.plug, fence=1)
        yield World(lab, one, stack)


def of_sctp(lb: LoadBalancer) -> LoadBalancer:
    """The same of another protocol."""
    return replace(
        lb,
        listeners=tuple(replace(one, protocol=Protocol.SCTP) for one in lb.listeners),
        pools=tuple(replace(one, protocol=Protocol.SCTP) for one in lb.pools),
    )


def members(*servers: Server) -> tuple[Member, ...]:
    return tuple(member(one.address) for one in servers)


@needs_tracking
def test_associations_begin_through_the_amphora_with_members_in_turn(world: World) -> None:
    servers = [world.server(number) for number in (1, 2)]
    lb = of_sctp(tree(world.lab, *members(*servers)))
    push(world.lab, world.amphora, lb)
    assert Counter(answered_by(VIP) for _ in range(8)) == {1: 4, 2: 4}
    for one in servers:
        assert set(one.clients) == {world.amphora.vrrp_ip}
        assert one.aborted.wait(10)

    def counted() -> bool:
        report = world.lab.latest(world.amphora)
        return report is not None and sum(one.totconns for one in report.listeners.values()) > 0

    assert eventually(counted, within=30)
    push(world.lab, world.amphora, with_members(lb, lb.pools[0].members[1]))
    assert Counter(answered_by(VIP) for _ in range(4)) == {2: 4}


@needs_tracking
def test_a_member_that_aborts_goes_down_and_comes_back(world: World) -> None:
    well, other = world.server(1), world.server(2, ABORT)
    lb = of_sctp(tree(world.lab, *members(well, other), health_monitor=monitor(MonitorType.SCTP)))
    push(world.lab, world.amphora, lb)
    up, down = (one.id for one in lb.pools[0].members)
    assert eventually(lambda: world.statuses() == {up: "UP", down: "DOWN"}, within=30)
    assert Counter(answered_by(VIP) for _ in range(4)) == {1: 4}
    other.close()
    with contextlib.closing(Server(other.address, number=2)):
        assert eventually(lambda: world.statuses() == {up: "UP", down: "UP"}, within=30)
        assert Counter(answered_by(VIP) for _ in range(4)) == {1: 2, 2: 2}


def test_members_of_udp_can_be_asked_by_sctp(world: World) -> None:
    well, silent = world.server(1), world.server(2, SILENT)
    lb = tree(world.lab, *members(well, silent), health_monitor=monitor(MonitorType.SCTP))
    push(world.lab, world.amphora, lb)
    up, down = (one.id for one in lb.pools[0].members)
    assert eventually(lambda: world.statuses() == {up: "UP", down: "DOWN"}, within=30)
    assert well.aborted.wait(10)


def test_where_the_kernel_tracks_no_sctp_nothing_of_it_is_taken_and_udp_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(l4_table, "_INSIDE", ())
    monkeypatch.setattr(netns, "run_inside", lambda function: function())
    plain = config(pool(sample(1)))
    (udp,) = plain.listeners
    mixed = replace(plain, listeners=(udp, replace(udp, id=uuid(701), protocol="SCTP")))
    with own_network():
        able = L4(tmp_path, Processes(), lambda: None)
        monkeypatch.setattr(l4_table, "tracks_sctp", lambda: True)
        assert able.can_serve_sctp
        able.apply(mixed.to_json())
        assert {one.protocol for one in able.listeners} == {"UDP", "SCTP"}
        monkeypatch.setattr(l4_table, "tracks_sctp", lambda: False)  # another kernel is booted
        rebooted = L4(tmp_path, Processes(), lambda: None)
        assert not rebooted.can_serve_sctp
        rebooted.restore()
        assert {one.protocol for one in rebooted.listeners} == {"UDP"}
        with pytest.raises(L4Refused, match="does not track SCTP"):
            rebooted.apply(mixed.to_json())
        assert {one.protocol for one in rebooted.listeners} == {"UDP"}
        assert rebooted.apply(plain.to_json())
