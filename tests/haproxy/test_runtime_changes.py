# SPDX-License-Identifier: Apache-2.0
"""Changes at runtime lead a real HAProxy to the state that a fresh start would give it."""

import itertools
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from octavia.dataplane.haproxy.diff import AddServer, RemoveServer, RuntimeChange, change, removed
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.reload import Reload
from octavia.dataplane.haproxy.runtime import (
    SHOW_POOLS,
    RowType,
    Verdict,
    parse_info,
    parse_servers_state,
    parse_stat,
    state_for_reload,
)
from octavia.domain.tree import (
    Algorithm,
    LoadBalancer,
    Member,
    MonitorType,
    PersistenceType,
    Protocol,
    SessionPersistence,
)
from tests import luck
from tests.haproxy.live import (
    Haproxy,
    directory,
    eventually,
    needs_haproxy,
    needs_root,
    rendered,
    running,
    state,
)
from tests.unit.dataplane.samples import (
    listener,
    listener_id,
    load_balancer,
    member,
    member_id,
    monitor,
    pool,
    pool_id,
    simple,
    with_members,
)

pytestmark = [pytest.mark.haproxy, needs_haproxy, needs_root]

SEED = luck.seed("OCTAVIA_RUNTIME_SEED")
BACKEND = f"{pool_id(1)}:{listener_id(1)}"
SESSION = SessionPersistence
CALM = monitor(delay=60, max_retries=2, max_retries_down=2)  # one probe, at the beginning
KINDS = {
    "plain": simple(),
    "monitored": simple(health_monitor=CALM),
    "monitored by TCP": simple(health_monitor=replace(CALM, type=MonitorType.TCP)),
    "least connections": simple(lb_algorithm=Algorithm.LEAST_CONNECTIONS),
    "source ip": simple(lb_algorithm=Algorithm.SOURCE_IP, health_monitor=CALM),
    "sticky": simple(session_persistence=SESSION(type=PersistenceType.SOURCE_IP)),
    "http cookie": simple(session_persistence=SESSION(type=PersistenceType.HTTP_COOKIE)),
    "application cookie": simple(
        session_persistence=SESSION(type=PersistenceType.APP_COOKIE, cookie_name="JSESSIONID")
    ),
    "tcp": load_balancer((listener(protocol=Protocol.TCP), pool(protocol=Protocol.TCP))),
    "proxy": load_balancer((listener(), pool(protocol=Protocol.PROXYV2))),
    "ipv6": simple(members=(member(1, address="2001:db8::1"),)),
}


@pytest.fixture
def base() -> Iterator[Path]:
    with directory() as made:
        yield made


def apply(haproxy: Haproxy, running_text: str, wanted_text: str) -> list[RuntimeChange]:
    changes = change(running_text, wanted_text)
    assert not isinstance(changes, Reload), changes
    for one in changes:
        for command in one.commands:
            answer = haproxy.ask(command.text)
            assert command.verdict(answer) == Verdict.DONE, (command.text, answer)
    for one in changes:
        if isinstance(one, RemoveServer):
            assert haproxy.tell(one.deferred) == Verdict.DONE
    return changes


# Which check ran last, and when anything changed, says nothing about what is configured. The
# initial weight is what the file said at the start, and the admin state's bit 4 where it came from.
INCIDENTAL = {
    "be_id",
    "srv_iweight",
    "srv_time_since_last_change",
    "srv_check_status",
    "srv_check_result",
    "srv_check_health",
    "srv_agent_addr",
    "srv_agent_port",
}


def assert_same(haproxy: Haproxy, other: Haproxy) -> None:
    one, two = picture(haproxy), picture(other)
    assert one.keys() == two.keys()
    differences = [
        (name.rpartition("/")[2], column, one[name].get(column), two[name].get(column))
        for name in one
        for column in one[name]
        if one[name].get(column) != two[name].get(column)
    ]
    assert differences == []


def picture(haproxy: Haproxy) -> dict[str, dict[str, str]]:
    """What the process is, as far as its configuration decides it."""
    table = parse_servers_state(haproxy.ask("show servers state"))
    seen = {}
    for row in table.rows:
        kept = {name: word for name, word in row.items() if name not in INCIDENTAL}
        if kept["srv_check_addr"] == "0.0.0.0":  # HAProxy's own word for none
            kept["srv_check_addr"] = "-"
        kept["srv_admin_state"] = str(int(row["srv_admin_state"]) & ~4)
        # Configured, enabled, paused; they mean something only where there is a check.
        checking = int(row["srv_check_state"]) & 0b1110
        kept["srv_check_state"] = str(checking if checking & 0b0010 else 0)
        seen[f"{row['be_name']}/{row['srv_name']}"] = kept
    for one in parse_stat(haproxy.ask(SHOW_POOLS)):
        if one.type == RowType.MEMBER:
            known = seen[f"{one.proxy}/{one.server}"]
            status = "UP" if one.status.startswith("UP") else one.status
            known.update(cookie=one.cookie, status=status)
            if status != "MAINT":  # HAProxy works out the effective weight once it is used
                known["weight"] = str(one.weight)
    for line in haproxy.ask("show servers conn").splitlines():
        words = line.split()
        if words and words[0] in seen:
            seen[words[0]].update(purge_delay=words[5], idle_limit=words[11])
    for line in haproxy.ask("show acl").splitlines():
        if (number := line.split()[:1]) and number[0].isdigit():
            patterns = haproxy.ask(f"show acl #{number[0]}").splitlines()
            seen[f"acl/{number[0]}"] = {"patterns": str([one.partition(" ")[2] for one in patterns])}
    return seen


def random_members(rng: random.Random) -> tuple[Member, ...]:
    numbers = sorted(rng.sample(range(1, 7), rng.randint(0, 5)))
    return tuple(
        member(
            number,
            weight=rng.choice([0, 1, 7, 256]),
            admin_state_up=rng.random() < 0.7,
            # What cannot change at runtime stays what it is, and differs between members.
            backup=number == 3,
            monitor_port=rng.choice([None, 8050, 8051]),
            monitor_address=rng.choice([None, "10.1.0.9", "2001:db8::9"]),
            address="2001:db8::5" if number == 5 else f"10.1.0.{number}",
        )
        for number in numbers
    )


@pytest.mark.parametrize("kind", KINDS)
def test_runtime_changes_equal_a_reload(kind: str, base: Path) -> None:
    print(f"OCTAVIA_RUNTIME_SEED={SEED}")  # noqa: T201 - shown when a test fails
    rng = random.Random(f"{kind} {SEED}")
    history = [with_members(KINDS[kind], *random_members(rng)) for _ in range(5)]
    with directory() as fresh, running(rendered(history[0], base).text, base) as haproxy:
        before = parse_info(haproxy.ask("show info"))["Pid"]
        for old, new in itertools.pairwise(history):
            apply(haproxy, rendered(old, base).text, rendered(new, base).text)
            with running(rendered(new, fresh).text, fresh) as other:
                assert_same(haproxy, other)
        assert parse_info(haproxy.ask("show info"))["Pid"] == before


@pytest.mark.parametrize("kind", ["plain", "monitored", "source ip", "http cookie"])
def test_a_member_added_at_runtime_serves(kind: str, base: Path) -> None:
    old = with_members(KINDS[kind])
    new = with_members(KINDS[kind], member(1))
    with running(rendered(old, base).text, base) as haproxy:
        assert "503" in haproxy.get()[0]
        apply(haproxy, rendered(old, base).text, rendered(new, base).text)
        assert haproxy.get()[0] == "10.1.0.1"


def test_an_added_member_is_never_reported_down_while_it_is_well(base: Path) -> None:
    old = with_members(simple(health_monitor=monitor(delay=1, max_retries=2)), member(1))
    new = with_members(old, member(1), member(2))
    with running(rendered(old, base).text, base) as haproxy:
        apply(haproxy, rendered(old, base).text, rendered(new, base).text)
        seen: set[str] = set()
        checks: list[int] = []

        def checked() -> bool:
            rows = parse_servers_state(haproxy.ask("show servers state")).rows
            row = next(one for one in rows if one["srv_name"] == member_id(2))
            seen.add(row["srv_op_state"])
            checks.append(int(row["srv_check_status"]))
            return checks[-1] == 15  # L7OK: its check has really run

        eventually(checked)
        assert seen == {"2"}  # running, from the first look on


def test_an_added_member_that_is_dead_is_found_out(base: Path) -> None:
    old = with_members(simple(health_monitor=monitor(delay=1, max_retries_down=1)), member(1))
    new = with_members(old, member(1), member(2, protocol_port=9999))
    with running(rendered(old, base).text, base) as haproxy:
        apply(haproxy, rendered(old, base).text, rendered(new, base).text)

        def down() -> bool:
            rows = parse_stat(haproxy.ask(SHOW_POOLS))
            return any(one.server == member_id(2) and one.status.startswith("DOWN") for one in rows)

        eventually(down)


@pytest.mark.parametrize("elsewhere", [{"monitor_port": 9999}, {"monitor_address": "192.0.2.9"}])
def test_a_check_goes_elsewhere_and_comes_back_to_its_member(elsewhere: dict[str, Any], base: Path) -> None:
    checks = monitor(MonitorType.TCP, delay=1, timeout=1, max_retries=1, max_retries_down=1)
    quick = load_balancer(
        (listener(protocol=Protocol.TCP), pool(protocol=Protocol.TCP, health_monitor=checks))
    )
    usual, moved = with_members(quick, member(1)), with_members(quick, member(1, **elsewhere))
    texts = [rendered(lb, base).text for lb in (usual, moved)]

    def status() -> str:
        rows = parse_stat(haproxy.ask(SHOW_POOLS))
        return next(one.status for one in rows if one.server == member_id(1)).split()[0]

    with running(texts[0], base) as haproxy:
        apply(haproxy, *texts)
        eventually(lambda: status() == "DOWN", within=20)
        apply(haproxy, *reversed(texts))
        eventually(lambda: status() == "UP", within=20)
        # Its own address is wherever it moves, also after all this.
        gone = rendered(with_members(quick, member(1, address="192.0.2.9")), base).text
        apply(haproxy, texts[0], gone)
        eventually(lambda: status() == "DOWN", within=20)


def test_a_cookie_still_leads_to_its_member_after_others_came_and_went(base: Path) -> None:
    kind = KINDS["http cookie"]
    old, new = with_members(kind, member(1)), with_members(kind, member(1), member(2))
    last = with_members(kind, member(2))
    with running(rendered(old, base).text, base) as haproxy:
        apply(haproxy, rendered(old, base).text, rendered(new, base).text)
        answers = [haproxy.get() for _ in range(2)]
        assert {body for body, _ in answers} == {"10.1.0.1", "10.1.0.2"}
        second = next(cookie for body, cookie in answers if body == "10.1.0.2")
        assert second.startswith("SRV=")
        assert {haproxy.get(cookie=second)[0] for _ in range(4)} == {"10.1.0.2"}
        apply(haproxy, rendered(new, base).text, rendered(last, base).text)
        haproxy.reload(rendered(last, base).text)
        assert haproxy.get(cookie=second) == ("10.1.0.2", "")  # no new cookie: this one is known


HOLD = """
import socket, sys
client = socket.create_connection(("127.0.0.1", 81))
client.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
client.recv(65536)
print("open", flush=True)
sys.stdin.readline()
client.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print(len(client.recv(65536)), flush=True)
"""


def test_a_removed_member_takes_no_new_session_and_goes_after_its_last(base: Path) -> None:
    kind = KINDS["tcp"]
    old, new = with_members(kind, member(1)), with_members(kind, member(2))
    with running(rendered(old, base).text, base) as haproxy:
        command = haproxy.inside("python3", "-c", HOLD)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            assert client.stdout.readline() == "open\n"
            changes = change(rendered(old, base).text, rendered(new, base).text)
            assert not isinstance(changes, Reload)
            assert [type(one) for one in changes] == [AddServer, RemoveServer]
            for one in changes:
                assert [haproxy.tell(command) for command in one.commands] == [Verdict.DONE] * len(
                    one.commands
                )
            removal = changes[-1]
            assert isinstance(removal, RemoveServer)
            assert haproxy.tell(removal.deferred) == Verdict.BUSY
            assert {haproxy.get()[0] for _ in range(3)} == {"10.1.0.2"}
            client.stdin.write("\n")
            client.stdin.flush()
            assert int(client.stdout.readline()) > 0  # its session lived on
        eventually(lambda: haproxy.tell(removal.deferred) == Verdict.DONE)
        assert haproxy.tell(removal.deferred) == Verdict.DONE  # absent is a success
        assert haproxy.tell(removal.at_limit) == Verdict.DONE


def test_patience_with_a_session_has_an_end(base: Path) -> None:
    kind = KINDS["tcp"]
    old, new = with_members(kind, member(1)), with_members(kind)
    with running(rendered(old, base).text, base) as haproxy:
        command = haproxy.inside("python3", "-c", HOLD)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "open\n"
            changes = change(rendered(old, base).text, rendered(new, base).text)
            assert isinstance(changes, list)
            removal = changes[-1]
            assert isinstance(removal, RemoveServer)
            assert haproxy.tell(removal.commands[0]) == Verdict.DONE
            assert haproxy.tell(removal.deferred) == Verdict.BUSY
            assert haproxy.tell(removal.at_limit) == Verdict.DONE
            eventually(lambda: haproxy.tell(removal.deferred) == Verdict.DONE)
            client.communicate("\n")


def test_a_member_that_comes_back_while_its_removal_is_pending_serves_again(base: Path) -> None:
    kind = KINDS["tcp"]
    old, new = with_members(kind, member(1), member(2)), with_members(kind, member(2))
    back = with_members(kind, member(1, weight=9), member(2, admin_state_up=False))
    texts = [rendered(lb, base).text for lb in (old, new, back)]
    with running(texts[0], base) as haproxy:
        changes = change(texts[0], texts[1])
        assert isinstance(changes, list)
        assert haproxy.tell(changes[0].commands[0]) == Verdict.DONE  # and not deleted yet
        again = change(texts[1], texts[2], pending=removed(changes, texts[0]))
        assert isinstance(again, list)
        for one in again:
            assert [haproxy.tell(command) for command in one.commands] == [Verdict.DONE] * len(one.commands)
        assert haproxy.get()[0] == "10.1.0.1"
        with directory() as fresh, running(rendered(back, fresh).text, fresh) as other:
            assert_same(haproxy, other)


def test_health_survives_a_reload_and_what_the_socket_was_told_does_not(base: Path) -> None:
    dead = member(1, protocol_port=9999)
    quick = simple(health_monitor=monitor(delay=1, max_retries=10, max_retries_down=1))
    first = with_members(quick, dead, member(2, weight=5), member(3))
    # Weight and state at runtime, then both taken back in the same step that needs a reload.
    second = with_members(quick, dead, member(2, weight=77), member(3, admin_state_up=False))
    third = replace(first, listeners=(replace(first.listeners[0], connection_limit=99),))

    def status(haproxy: Haproxy) -> dict[str, tuple[str, int]]:
        rows = parse_stat(haproxy.ask(SHOW_POOLS))
        return {one.server: (one.status.split()[0], one.weight) for one in rows if one.server != "BACKEND"}

    with running(rendered(first, base).text, base) as haproxy:
        eventually(lambda: status(haproxy)[member_id(1)][0] == "DOWN")
        apply(haproxy, rendered(first, base).text, rendered(second, base).text)
        assert status(haproxy)[member_id(2)] == ("UP", 77)
        assert status(haproxy)[member_id(3)][0] == "MAINT"
        wanted = rendered(third, base).text
        assert isinstance(change(rendered(second, base).text, wanted), Reload)
        state(base, state_for_reload(haproxy.ask("show servers state"), parse(wanted)))
        haproxy.reload(wanted)
        assert status(haproxy) == {
            member_id(1): ("DOWN", 1),
            member_id(2): ("UP", 5),
            member_id(3): ("UP", 1),
        }


def test_without_sanitizing_the_socket_would_win_over_the_file(base: Path) -> None:
    """Why :func:`state_for_reload` exists: HAProxy itself restores weights and maintenance."""
    quick = simple(health_monitor=CALM)
    first = with_members(quick, member(2, weight=5), member(3))
    second = with_members(quick, member(2, weight=77), member(3, admin_state_up=False))
    with running(rendered(first, base).text, base) as haproxy:
        apply(haproxy, rendered(first, base).text, rendered(second, base).text)
        state(base, haproxy.ask("show servers state"))
        haproxy.reload(rendered(first, base).text)
        rows = {one.server: one for one in parse_stat(haproxy.ask(SHOW_POOLS))}
        assert rows[member_id(2)].weight == 77
        assert rows[member_id(3)].status == "MAINT"


def test_the_stick_table_of_a_single_amphora_survives_a_reload(base: Path) -> None:
    lb: LoadBalancer = KINDS["sticky"]
    text = rendered(lb, base).text
    with running(text, base) as haproxy:
        home = haproxy.get()[0]
        # A process hands its table on once it has stopped asking for its own predecessor's.
        eventually(lambda: "resync_timeout=<PAST>" in haproxy.ask("show peers"))
        changed = rendered(replace(lb, listeners=(replace(lb.listeners[0], connection_limit=99),)), base).text
        assert isinstance(change(text, changed), Reload)
        haproxy.reload(changed)
        eventually(lambda: "used:1" in haproxy.ask(f"show table {BACKEND}"))
        assert {haproxy.get()[0] for _ in range(4)} == {home}


def test_many_members_change_without_a_reload(base: Path) -> None:
    old = with_members(KINDS["monitored"])
    new = with_members(
        old,
        *(
            replace(member(1), id=member_id(n), address=f"10.1.0.{n}", protocol_port=8001)
            for n in range(1, 201)
        ),
    )
    with running(rendered(old, base).text, base) as haproxy:
        assert len(apply(haproxy, rendered(old, base).text, rendered(new, base).text)) == 200
        assert len(apply(haproxy, rendered(new, base).text, rendered(old, base).text)) == 200
        assert parse_servers_state(haproxy.ask("show servers state")).rows == ()
