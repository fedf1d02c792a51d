# SPDX-License-Identifier: Apache-2.0
"""UDP through a real amphora: requests and answers between namespaces, without IPVS and without HAProxy."""

import contextlib
import http.client
import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from octavia.dataplane.l4.build import build
from octavia.domain.errors import Refused
from octavia.domain.tree import Algorithm, Listener, MonitorType, Protocol
from octavia.drivers.amphora.contract import Configuration
from tests.netns.agent_lab import (
    CLIENT,
    VIP,
    AgentProcess,
    Lab,
    eventually,
    haproxy_config,
    ip,
    needs_haproxy,
    needs_root,
    opened_lab,
)
from tests.netns.udp_lab import (
    LISTENER_ID,
    POOL_ID,
    Servers,
    affinity,
    answered,
    ask,
    asked,
    asks,
    client,
    member,
    monitor,
    needs_programs,
    push,
    tree,
    with_members,
)

pytestmark = [pytest.mark.netns, needs_root, *needs_programs]


@dataclass(frozen=True)
class World:
    lab: Lab
    amphora: AgentProcess
    servers: Servers


@pytest.fixture(name="world")
def _world() -> Iterator[World]:
    with opened_lab() as lab:
        one = lab.amphora()
        one.attach_vip()
        lab.driver.plug_vip(one.amphora, one.plug, fence=1)
        with contextlib.closing(Servers()) as servers:
            yield World(lab, one, servers)


def statuses(world: World) -> dict[str, str]:
    report = world.lab.latest(world.amphora)
    return dict(report.pools[0].members) if report and report.pools else {}


def test_members_take_turns_by_weight_and_see_the_amphora(world: World) -> None:
    one, two = (world.servers.start(number) for number in (1, 2))
    push(world.lab, world.amphora, tree(world.lab, member(one, weight=3), member(two, weight=1)))
    assert asks(40) == {"1": 30, "2": 10}
    with client() as flow:
        flow.send(b"x" * 4000)  # in fragments
        _, seen, size = flow.recv(65535).decode().split()
    assert (seen, size) == (world.amphora.vrrp_ip, "4000")
    assert not list(world.amphora.base.glob("*/haproxy.cfg"))


def test_a_flow_stays_with_its_member_while_others_come_and_go(world: World) -> None:
    addresses = [world.servers.start(number) for number in (1, 2, 3)]
    members = [member(address) for address in addresses]
    lb = tree(world.lab, members[0])
    push(world.lab, world.amphora, lb)
    with client() as flow:
        assert asked(flow) == "1"
        push(world.lab, world.amphora, with_members(lb, *members))
        assert asked(flow) == "1"
        assert asks(9) == {"1": 3, "2": 3, "3": 3}


def test_a_removed_member_loses_its_flows_at_once(world: World) -> None:
    members = [member(world.servers.start(number)) for number in (1, 2)]
    lb = tree(world.lab, *members)
    push(world.lab, world.amphora, lb)
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(client()) for _ in range(6)]
        assert {asked(flow) for flow in flows} == {"1", "2"}
        push(world.lab, world.amphora, with_members(lb, members[1]))
        assert {asked(flow) for flow in flows} == {"2"}  # the same ports, without a lost question


def test_a_member_of_weight_0_finishes_what_it_has(world: World) -> None:
    members = [member(world.servers.start(number)) for number in (1, 2)]
    lb = tree(world.lab, members[0])
    push(world.lab, world.amphora, lb)
    with client() as old:
        assert asked(old) == "1"
        lb = with_members(lb, replace(members[0], weight=0), members[1])
        push(world.lab, world.amphora, lb)
        assert asked(old) == "1"
        assert asks(5) == {"2": 5}
        assert eventually(lambda: statuses(world).get(members[0].id) == "DRAIN", within=20)
        lb = with_members(lb, replace(members[0], weight=0))
        push(world.lab, world.amphora, lb)
        assert asked(old) == "1"
        with pytest.raises(ConnectionRefusedError):
            ask()
        push(
            world.lab, world.amphora, with_members(lb, replace(members[0], admin_state_up=False), members[1])
        )
        assert asked(old) == "2"
        assert eventually(lambda: statuses(world).get(members[0].id) == "MAINT", within=20)


def test_backups_serve_only_when_nobody_else_does(world: World) -> None:
    first = member(world.servers.start(1))
    spare = member(world.servers.start(2), backup=True)
    lb = tree(world.lab, first, spare)
    push(world.lab, world.amphora, lb)
    assert asks(4) == {"1": 4}
    push(world.lab, world.amphora, with_members(lb, replace(first, admin_state_up=False), spare))
    assert asks(4) == {"2": 4}


def test_a_member_that_nobody_listens_at_goes_down_and_comes_back(world: World) -> None:
    members = [member(world.servers.start(number)) for number in (1, 2)]
    push(world.lab, world.amphora, tree(world.lab, *members, health_monitor=monitor()))
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(client()) for _ in range(4)]
        assert {asked(flow) for flow in flows} == {"1", "2"}
        world.servers.stop(1)
        assert eventually(lambda: statuses(world).get(members[0].id) == "DOWN", within=20)
        assert statuses(world)[members[1].id] == "UP"
        assert {asked(flow) for flow in flows} == {"2"}
        world.servers.stop(2)

        def refused() -> bool:
            with contextlib.suppress(TimeoutError), client() as one:
                one.settimeout(0.2)
                try:
                    asked(one)
                except ConnectionRefusedError:
                    return statuses(world).get(members[1].id) == "DOWN"
            return False

        assert eventually(refused, within=20)
        report = world.lab.latest(world.amphora)
        assert report
        assert report.pools[0].status == "DOWN"
        world.servers.start(1)
        assert eventually(lambda: statuses(world).get(members[0].id) == "UP", within=20)
        # A client that has asked all the time with one port is served again: it was never remembered.
        assert asks(2) == {"1": 2}
        assert {asked(flow) for flow in flows} == {"1"}


def test_a_host_that_is_not_there_is_down(world: World) -> None:
    members = [member(world.servers.start(1)), member("10.88.0.249")]
    check = monitor(timeout=5)  # the kernel looks for it for three seconds
    push(world.lab, world.amphora, tree(world.lab, *members, health_monitor=check))
    assert eventually(lambda: statuses(world).get(members[1].id) == "DOWN", within=15)
    assert statuses(world)[members[0].id] == "UP"
    assert asks(4) == {"1": 4}


@pytest.mark.parametrize("type_", [MonitorType.TCP, MonitorType.HTTP])
def test_members_can_be_asked_over_tcp_at_another_port(world: World, type_: MonitorType) -> None:
    addresses = [world.servers.start(number) for number in (1, 2)]
    members = [member(address, monitor_port=8080) for address in addresses]
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"{self.request_version} {self.path} {self.headers['Host']}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing of it is of interest."""

    server = http.server.ThreadingHTTPServer((addresses[1], 8080), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        more = {"http_version": 1.1, "domain_name": "well.example", "url_path": "/health?deep=1"}
        check = monitor(type_, expected_codes="200-204", **(more if type_ is MonitorType.HTTP else {}))
        push(world.lab, world.amphora, tree(world.lab, *members, health_monitor=check))
        wanted = {members[0].id: "DOWN", members[1].id: "UP"}
        assert eventually(lambda: statuses(world) == wanted, within=20)
        assert asks(4) == {"2": 4}
    finally:
        server.shutdown()
        server.server_close()
    if type_ is MonitorType.HTTP:
        assert set(seen) == {"HTTP/1.1 /health?deep=1 well.example"}
    assert eventually(lambda: statuses(world).get(members[1].id) == "DOWN", within=20)


def sources(count: int) -> list[str]:
    found = [f"10.88.0.{20 + number}" for number in range(count)]
    for address in found:
        ip("addr", "add", f"{address}/24", "dev", "vip")
    return found


def test_a_source_keeps_its_member_and_a_lost_member_moves_only_its_own(world: World) -> None:
    members = [member(world.servers.start(number)) for number in (1, 2, 3)]
    lb = tree(world.lab, *members, lb_algorithm=Algorithm.SOURCE_IP)
    push(world.lab, world.amphora, lb)
    clients = sources(48)  # so many that each member has some, whatever its id
    before = {source: ask(source) for source in clients}
    assert set(before.values()) == {"1", "2", "3"}
    assert {source: ask(source) for source in clients} == before
    push(world.lab, world.amphora, with_members(lb, *members[1:]))
    after = {source: ask(source) for source in clients}
    assert {source for source in clients if before[source] != after[source]} == {
        source for source in clients if before[source] == "1"
    }


def test_session_persistence_by_source_survives_changes(world: World) -> None:
    members = [member(world.servers.start(number)) for number in (1, 2)]
    lb = tree(world.lab, *members, session_persistence=affinity(600, "255.255.255.254"))
    push(world.lab, world.amphora, lb)
    clients = sources(4)  # two networks of two
    chosen = [ask(source) for source in clients]
    assert chosen[0] == chosen[1] != chosen[2] == chosen[3]
    third = member(world.servers.start(3))
    push(world.lab, world.amphora, with_members(lb, *members, third))
    assert [ask(source) for source in clients for _ in range(3)] == [who for who in chosen for _ in range(3)]
    leaving = members[int(chosen[0]) - 1]
    stays = [one for one in (*members, third) if one is not leaving]
    push(world.lab, world.amphora, with_members(lb, replace(leaving, weight=0), *stays).bumped())
    moved = {ask(source) for source in clients[:2] for _ in range(3)}
    assert len(moved) == 1
    assert moved != {chosen[0]}


def test_others_than_the_allowed_are_not_served(world: World) -> None:
    lb = tree(world.lab, member(world.servers.start(1)))
    listener = replace(lb.listeners[0], allowed_cidrs=("10.88.0.20/32", "2001:db8::/32"))
    push(world.lab, world.amphora, lb.with_listener(listener))
    (allowed,) = sources(1)
    assert ask(allowed) == "1"
    with client(CLIENT) as one, pytest.raises(TimeoutError):
        asked(one)


def test_flows_beyond_the_limit_are_refused_while_those_within_go_on(world: World) -> None:
    lb = tree(world.lab, member(world.servers.start(1)))
    lb = lb.with_listener(replace(lb.listeners[0], connection_limit=3))
    push(world.lab, world.amphora, lb)
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(client()) for _ in range(3)]
        assert [asked(flow) for flow in flows] == ["1"] * 3
        with pytest.raises(ConnectionRefusedError):
            ask()
        push(world.lab, world.amphora, lb.bumped())
        assert [asked(flow) for flow in flows] == ["1"] * 3
        with pytest.raises(ConnectionRefusedError):
            ask()


def test_listeners_are_closed_by_disabling_and_by_deleting_them(world: World) -> None:
    lb = tree(world.lab, member(world.servers.start(1)))
    listener = lb.listeners[0]
    push(world.lab, world.amphora, lb.with_listener(replace(listener, admin_state_up=False)))
    with client() as flow:
        with pytest.raises(ConnectionRefusedError):
            asked(flow)
        push(world.lab, world.amphora, lb.bumped())
        assert asked(flow) == "1"  # although it has asked before
        push(world.lab, world.amphora, replace(lb.bumped().bumped(), listeners=()))
        with pytest.raises(ConnectionRefusedError):
            asked(flow)
    assert "octavia_l4" not in world.amphora.inside("nft", "list", "ruleset", netns="amphora-haproxy")
    assert not (world.amphora.base / "l4.json").exists()


def test_statistics_are_counted_and_survive_changes(world: World) -> None:
    members = [member(world.servers.start(number)) for number in (1, 2)]
    lb = tree(world.lab, *members)
    push(world.lab, world.amphora, lb)
    with client() as one, client() as two:
        for _ in range(3):
            one.send(b"12345678")
            one.recv(100)
        two.send(b"12345678")
        two.recv(100)
        push(world.lab, world.amphora, with_members(lb, *members, member("10.88.0.250", weight=0)))

        def totals() -> tuple[int, int, int, int]:
            reports = [
                message.listeners[LISTENER_ID]
                for _, message in list(world.lab.heartbeats)
                if message.listeners
            ]
            sums = [sum(getattr(each, name) for each in reports) for name in ("totconns", "rx")]
            return (
                *sums,
                int(all(each.status == "OPEN" for each in reports)),
                reports[-1].conns if reports else 0,
            )

        # Four questions of 8 bytes with 28 bytes of headers.
        assert eventually(lambda: totals() == (2, 4 * 36, 1, 2), within=20), totals()
        report = world.lab.latest(world.amphora)
        assert report
        assert report.pools[0].pool_id == POOL_ID
        assert report.pools[0].listener_id is None
        assert (
            sum(message.listeners[LISTENER_ID].tx for _, message in world.lab.heartbeats if message.listeners)
            > 4 * 28
        )


def test_a_reboot_brings_listeners_back_before_any_controller_speaks(world: World) -> None:
    members = [member(world.servers.start(number)) for number in (1, 2)]
    push(world.lab, world.amphora, tree(world.lab, *members, health_monitor=monitor()))
    assert asks(4) == {"1": 2, "2": 2}
    mode = (world.amphora.base / "l4.json").stat().st_mode & 0o777
    assert mode == 0o600
    world.amphora.kill()  # the agent is PID 1: its namespaces end with it
    world.amphora.start(with_vip=True)
    world.amphora.await_listening()
    assert eventually(answered, within=20)
    assert asks(4) == {"1": 2, "2": 2}
    world.servers.stop(2)
    assert eventually(lambda: statuses(world).get(members[1].id) == "DOWN", within=20)
    assert asks(4) == {"1": 4}


def test_what_makes_no_sense_is_refused_and_what_ran_still_runs(world: World) -> None:
    lb = tree(world.lab, member(world.servers.start(1)))
    push(world.lab, world.amphora, lb)
    built = build(lb).config
    assert built
    wrong = Configuration(load_balancer_id=world.lab.lb_id, generation=2, haproxy=None, l4=built)
    object.__setattr__(built, "vips", ("10.88.0.100; flush ruleset",))
    with pytest.raises(Refused, match="vips"):
        world.lab.driver.apply(world.amphora.amphora, wrong, fence=1)
    assert ask() == "1"
    assert world.lab.driver.info(world.amphora.amphora).generation == 1


@needs_haproxy
def test_http_beside_it_is_served_and_not_tracked(world: World) -> None:
    lab, amphora = world.lab, world.amphora
    web = {"m5": (*lab.member(5), 1)}
    lb = tree(lab, member(world.servers.start(1)))
    lb = replace(lb, listeners=(*lb.listeners, Listener(id="web", protocol=Protocol.HTTP, protocol_port=80)))
    push(lab, amphora, lb, haproxy=haproxy_config(amphora, web))
    assert eventually(lab.answers, within=20)
    assert ask() == "1"
    with contextlib.closing(http.client.HTTPConnection(VIP, 80, timeout=2)) as kept:

        def got() -> bytes:
            kept.request("GET", "/")
            return kept.getresponse().read()

        assert got() == b"5"
        shown = amphora.inside("conntrack", "--dump", netns="amphora-haproxy")
        assert "udp" in shown
        assert "tcp" not in shown
        push(lab, amphora, replace(lb.bumped(), listeners=()), haproxy=haproxy_config(amphora, web))
        assert got() == b"5"
        push(lab, amphora, lb.bumped().bumped(), haproxy=haproxy_config(amphora, web))
        assert got() == b"5"
    assert ask() == "1"
    report = lab.latest(amphora)
    assert report
    assert eventually(lambda: (beat := lab.latest(amphora)) and len(beat.listeners) == 2, within=20)


def test_changes_under_load_lose_no_question(world: World) -> None:
    members = [member(world.servers.start(number), weight=number) for number in (1, 2, 3)]
    lb = tree(world.lab, *members[:2])
    push(world.lab, world.amphora, lb)
    stop, failures, answers = threading.Event(), list[str](), Counter[str]()

    def ask_on_and_on(*, one_port: bool) -> None:
        with client() as kept:
            while not stop.is_set():
                try:
                    answers[asked(kept) if one_port else ask()] += 1
                except OSError as error:
                    failures.append(repr(error))
                stop.wait(0.002)  # the processors are needed elsewhere too

    threads = [threading.Thread(target=ask_on_and_on, kwargs={"one_port": kept}) for kept in (True, False)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            for now in (
                members,
                [*members[:2], replace(members[2], weight=0)],  # nobody may be cut off by its removal
                [members[0], replace(members[1], weight=9)],
                members[:2],
            ):
                lb = with_members(lb, *now)
                push(world.lab, world.amphora, lb)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert set(answers) == {"1", "2", "3"}
    assert answers.total() > 200
