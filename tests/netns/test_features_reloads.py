# SPDX-License-Identifier: Apache-2.0
"""What a reload leaves behind is bounded, and the agent tells how many there were, and why."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from octavia.amphora_agent.haproxy import OLD_PROCESSES
from octavia.domain.tree import PersistenceType, Protocol, SessionPersistence
from tests.netns.agent_lab import (
    PORT,
    VIP,
    AgentProcess,
    Lab,
    eventually,
    needs_haproxy,
    needs_root,
    opened_lab,
)
from tests.netns.feature_lab import World, ask, echo_server
from tests.netns.http2 import Http2
from tests.netns.tls_lab import Site
from tests.unit.dataplane.samples import listener, pool

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]


NAME: Final = "site.example.org"


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with opened_lab() as one:
        yield one


def serve(world: World, limit: int) -> Any:
    (one,) = world.echoes(1)
    passed_on = pool(protocol=Protocol.TCP, members=(one.member(1),))
    return world.serve(listener(1, protocol=Protocol.TCP, connection_limit=limit), pools=(passed_on,))


def workers(amphora: AgentProcess) -> list[str]:
    """Processes of HAProxy beside its master."""
    pid = amphora.pid_of(f"{amphora.lab.lb_id}/{amphora.lab.lb_id}.pid")
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def is_alive(connection: socket.socket) -> bool:
    """Does a connection of before still reach its member?"""
    try:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return b"200" in connection.recv(65536)
    except ConnectionError:
        return False


def exchange(connection: socket.socket) -> tuple[int, bool]:
    """One request: the answer's status, and whether the connection ends with it."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with contextlib.closing(http.client.HTTPResponse(connection)) as response:
        response.begin()
        response.read()
        return response.status, response.will_close


def details(lab: Lab, amphora: AgentProcess) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(lab.authority.path))
    context.load_cert_chain(lab.directory / "client.pem")
    context.check_hostname = False
    connection = http.client.HTTPSConnection(amphora.address, PORT, context=context, timeout=5)
    try:
        connection.request("GET", "/1.0/details")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def test_connections_outlive_reloads_up_to_a_number_of_processes_and_reloads_are_counted(lab: Lab) -> None:
    world = World(lab)
    serve(world, 100)
    assert details(lab, world.amphora)["reloads"] == {}
    with socket.create_connection((VIP, 81), timeout=5) as first:
        assert is_alive(first)
        for number in range(OLD_PROCESSES):
            assert serve(world, 101 + number).reload_reason
            assert is_alive(first)
        with socket.create_connection((VIP, 81), timeout=5) as second:
            assert is_alive(second)
            serve(world, 200)
            assert eventually(lambda: len(workers(world.amphora)) == 2, within=10)
            assert not is_alive(first)
            assert is_alive(second)
    assert ask(81).status == 200
    assert details(lab, world.amphora)["reloads"] == {"process": OLD_PROCESSES + 1}


def test_a_kept_connection_gets_one_more_answer_after_a_reload_and_is_told_that_it_ends(lab: Lab) -> None:
    world = World(lab)
    (one,) = world.echoes(1)
    web = pool(members=(one.member(1),))
    world.serve(listener(1, connection_limit=100), pools=(web,))
    with (
        socket.create_connection((VIP, 81), timeout=10) as untried,
        socket.create_connection((VIP, 81)) as kept,
    ):
        assert exchange(kept) == (200, False)
        assert world.serve(listener(1, connection_limit=101), pools=(web,)).reload_reason
        assert eventually(lambda: len(workers(world.amphora)) == 2, within=10)
        assert exchange(kept) == (200, True)
        assert exchange(untried)[0] == 200
    assert eventually(lambda: len(workers(world.amphora)) == 1, within=10)


def test_an_idle_http_2_connection_is_told_to_go_and_is_answered_if_it_asks_all_the_same(lab: Lab) -> None:
    amphora = lab.amphora()
    amphora.attach_vip()
    lab.driver.plug_vip(amphora.amphora, amphora.plug, fence=1)
    site = Site(lab, amphora)
    site.keep(cert=site.ca.issue(NAME))
    secured = listener(
        1,
        protocol=Protocol.TERMINATED_HTTPS,
        default_tls_container_ref="cert",
        tls_versions=("TLSv1.3",),
        alpn_protocols=("h2",),
        connection_limit=100,
    )
    web = pool(members=(echo_server(lab, "1", "10.88.0.201").member(1),))
    site.serve(secured, web)
    context = site.context()
    context.set_alpn_protocols(["h2"])
    with contextlib.ExitStack() as stack:
        attentive, hasty, untried = (
            Http2(stack.enter_context(site.connected(NAME, context))) for _ in range(3)
        )
        assert [one.get("/")[0] for one in (attentive, hasty)] == [200, 200]
        assert not any(one.look() for one in (attentive, hasty, untried))
        assert site.serve(replace(secured, connection_limit=101), web).reload_reason
        assert eventually(attentive.look, within=10)
        for one in (hasty, untried):
            assert one.get("/")[0] == 200
            assert one.is_going_away
        assert Http2(stack.enter_context(site.connected(NAME, context))).get("/")[0] == 200
    assert eventually(lambda: len(workers(amphora)) == 1, within=10)


def test_sessions_are_known_after_reloads_one_upon_the_other_from_the_first_second_on(lab: Lab) -> None:
    """A new HAProxy asks five seconds long what others remember, and says nothing itself meanwhile."""
    world = World(lab)
    sticky = SessionPersistence(type=PersistenceType.APP_COOKIE, cookie_name="sid")
    made = pool(members=tuple(one.member(1 + n) for n, one in enumerate(world.echoes(2))))
    made = replace(made, session_persistence=sticky)
    world.serve(listener(1, connection_limit=100), pools=(made,))
    sessions = {f"sid=s{number}": ask(81, f"/cookie/sid=s{number}").member for number in range(8)}
    assert set(sessions.values()) == {"1", "2"}
    for limit in range(101, 105):
        assert world.serve(listener(1, connection_limit=limit), pools=(made,)).reload_reason
    table = f"show table {made.id}:{listener(1).id}"
    assert eventually(lambda: world.amphora.ask_haproxy(table).count("server_id=") == 8, within=10)
    for cookie, chosen in sessions.items():
        assert {ask(81, headers={"Cookie": cookie}).member for _ in range(3)} == {chosen}


def test_connections_of_before_a_reload_end_when_their_time_is_over(lab: Lab) -> None:
    world = World(lab, agent_options="haproxy_hard_stop_after = 2\n")
    serve(world, 100)
    with socket.create_connection((VIP, 81), timeout=10) as connection:
        assert is_alive(connection)
        serve(world, 101)
        assert is_alive(connection)
        assert len(workers(world.amphora)) == 2
        assert connection.recv(1) == b""
    assert eventually(lambda: len(workers(world.amphora)) == 1, within=5)
