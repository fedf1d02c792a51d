# SPDX-License-Identifier: Apache-2.0
"""Changes of rules and members: live when the agent has answered, and nobody notices anything else."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from octavia.domain.tree import CompareType, L7Action, MonitorType, Pool, Protocol, RuleType
from tests.netns.agent_lab import VIP, Lab, eventually, needs_haproxy, needs_root, opened_lab
from tests.netns.feature_lab import World, ask, opened_world
from tests.unit.dataplane.samples import listener, member_id, monitor, policy, pool, pool_id, rule

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]

C, R = CompareType, RuleType


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[World]:
    with opened_world() as one:
        yield one


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with opened_lab() as one:
        yield one


@contextmanager
def load(*headers: dict[str, str]) -> Iterator[list[str]]:
    """A client for each of these headers, that asks all the time; the list of what did not get a 200."""
    stop, failures, answered = threading.Event(), list[str](), threading.Semaphore(0)

    def keep_asking(sent: dict[str, str]) -> None:
        while not stop.wait(0.002):  # the processors are needed elsewhere too
            try:
                answer = ask(81, headers=sent)
            except OSError as error:
                failures.append(f"{sent}: {error!r}")
            else:
                if answer.status != 200:
                    failures.append(f"{sent}: {answer.status}")
            answered.release()

    clients = [threading.Thread(target=keep_asking, args=(sent,)) for sent in headers]
    for client in clients:
        client.start()
    try:
        for _ in range(2 * len(clients)):
            assert answered.acquire(timeout=20)
        yield failures
    finally:
        stop.set()
        for client in clients:
            client.join()


VALUES = {
    C.EQUAL_TO: ("a b", "c;d", "e\\f"),
    C.STARTS_WITH: ("-f", "<<", "'x'"),
    C.REGEX: ("^a{2}$", "^(b|c)+$", r"^\d+ *$"),
}
MATCHING = {**VALUES, C.REGEX: ("aa", "bcb", "123")}


@pytest.mark.parametrize("compare", VALUES)
def test_the_value_of_a_rule_changes_under_load_without_a_reload_or_a_failed_request(
    world: World, compare: CompareType
) -> None:
    usual, particular = world.echoes(2)

    def serve(value: str, *more: Pool) -> str | None:
        made = rule(R.HEADER, compare, value, key="X-Kind")
        leads = policy(1, L7Action.REDIRECT_TO_POOL, redirect_pool_id=pool_id(2), rules=(made,))
        pools = (pool(1, members=(usual.member(1),)), pool(2, members=(particular.member(2),)))
        return world.serve(listener(1, l7_policies=(leads,)), pools=pools).reload_reason

    first, *others = VALUES[compare]
    serve(first)
    process = world.amphora.worker()
    with load(*({"X-Kind": one} for one in MATCHING[compare]), {}) as failures:
        for value, matching in zip(
            (*others, first), (*MATCHING[compare][1:], MATCHING[compare][0]), strict=True
        ):
            assert serve(value) is None
            for one in MATCHING[compare]:
                wanted = particular if one == matching else usual
                assert ask(81, headers={"X-Kind": one}).member == wanted.name
            assert ask(81).member == usual.name
    assert failures == []
    assert world.amphora.worker() == process


@pytest.mark.parametrize("checked", [None, MonitorType.HTTP, MonitorType.TCP])
def test_no_heartbeat_says_anything_bad_of_a_member_that_is_added_in_good_health(
    world: World, checked: MonitorType | None
) -> None:
    first, *others = world.echoes(4)
    usual = pool(1, health_monitor=monitor(checked, delay=1, timeout=1) if checked else None)
    members = [first.member(1)]
    world.serve(listener(1), pools=(replace(usual, members=tuple(members)),))
    well = "ONLINE" if checked else "NO_MONITOR"
    assert world.become_statuses({member_id(1): well})
    seen: dict[str, set[str]] = {}
    for number, echo in enumerate(others, 2):
        members.append(echo.member(number))
        heard = len(world.lab.heartbeats)
        served = world.serve(listener(1), pools=(replace(usual, members=tuple(members)),))
        assert served.reload_reason is None

        def statuses(since: int = heard) -> list[dict[str, str]]:
            reports = [world.statuses_of(one) for _, one in world.lab.heartbeats[since:]]
            return [found for found in reports if found]

        # More than one, so that the first checks are over.
        assert eventually(lambda: len(statuses()) > 4, within=20)
        for found in statuses():
            for name, status in found.items():
                seen.setdefault(name, set()).add(status)
    assert {name: seen[name] for name in seen if name.startswith("4444")} == {
        member_id(number): {well} for number in range(1, 5)
    }
    assert set().union(*seen.values()) <= {"ONLINE", "NO_MONITOR"}


def test_the_last_sessions_of_a_removed_member_end_at_the_drain_limit(lab: Lab) -> None:
    world = World(lab, agent_options="haproxy_drain_limit = 4\n")
    one, other = world.echoes(2)
    passed_on = pool(protocol=Protocol.TCP, members=(one.member(1),))
    world.serve(listener(1, protocol=Protocol.TCP), pools=(passed_on,))
    with socket.create_connection((VIP, 81), timeout=20) as session:
        session.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'"member": "1"' in session.recv(65536)
        without = replace(passed_on, members=(other.member(2),))
        assert world.serve(listener(1, protocol=Protocol.TCP), pools=(without,)).reload_reason is None
        assert ask(81).member == "2"  # at once
        session.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'"member": "1"' in session.recv(65536)  # while a session goes on
        assert session.recv(65536) == b""  # until its time is over
    assert eventually(lambda: set(world.states()) == {member_id(2)}, within=20)
