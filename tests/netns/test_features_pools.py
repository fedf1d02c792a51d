# SPDX-License-Identifier: Apache-2.0
"""Every option of a pool, its members and its monitor, with traffic through a real amphora."""

import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from octavia.domain.tree import (
    Algorithm,
    HealthMonitor,
    Member,
    MonitorType,
    PersistenceType,
    Protocol,
    SessionPersistence,
)
from tests import pki
from tests.netns.agent_lab import CLIENT, VIP, eventually, ip, needs_haproxy, needs_root
from tests.netns.feature_lab import (
    CLIENT_6,
    ELSEWHERE,
    ELSEWHERE_6,
    OTHER_CLIENT,
    VIP_6,
    Echo,
    World,
    ask,
    opened_world,
)
from tests.netns.tls_lab import TlsMember
from tests.unit.dataplane.samples import listener, member, member_id, monitor, pool, pool_id

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[World]:
    with opened_world() as one:
        for number in range(30, 46):
            ip("addr", "add", f"10.88.0.{number}/24", "dev", "vip")
        yield one


def members(*echoes: Echo) -> tuple[Member, ...]:
    return tuple(one.member(number) for number, one in enumerate(echoes, start=1))


def watched(type_: MonitorType = MonitorType.HTTP, **fields: Any) -> HealthMonitor:
    quick: dict[str, Any] = {"delay": 1, "timeout": 1, "max_retries": 1, "max_retries_down": 1}
    return monitor(type_, **{**quick, **fields})


# --- algorithms and weights -----------------------------------------------------------------------------


def test_round_robin_goes_round_by_weight_and_passes_drained_members_over(world: World) -> None:
    one, two, three = world.echoes(3)
    weighted = (one.member(1, weight=1), two.member(2, weight=3), three.member(3, weight=0))
    world.serve(listener(1), pools=(pool(members=weighted),))
    assert Counter(ask(81).member for _ in range(16)) == {"1": 4, "2": 12}
    # As documented, only who is known to be well is told to be draining.
    assert world.become_statuses({member_id(3): "NO_MONITOR", member_id(1): "NO_MONITOR"})
    world.serve(listener(1), pools=(pool(members=weighted, health_monitor=watched()),))
    assert world.become_statuses({member_id(3): "DRAINING", member_id(1): "ONLINE"})


def test_least_connections_spares_the_busy(world: World) -> None:
    busy, idle = world.echoes(2)
    least = pool(lb_algorithm=Algorithm.LEAST_CONNECTIONS, members=members(busy))
    world.serve(listener(1), pools=(least,))
    # Several, since a request that has just been answered may count for a moment more.
    waiting = [threading.Thread(target=ask, args=(81, "/hang"), kwargs={"timeout": 20}) for _ in range(4)]
    for one in waiting:
        one.start()
    assert eventually(lambda: len(busy.asked) == 4, within=20)
    assert (
        world.serve(listener(1), pools=(replace(least, members=members(busy, idle)),)).reload_reason is None
    )
    answers = {ask(81).member for _ in range(6)}
    busy.release.set()
    for one in waiting:
        one.join()
    assert answers == {idle.name}


def test_source_ip_sends_a_client_to_one_member_and_clients_to_all(world: World) -> None:
    sourced = pool(lb_algorithm=Algorithm.SOURCE_IP, members=members(*world.echoes(2)))
    world.serve(listener(1), pools=(sourced,))
    chosen = {}
    for source in (f"10.88.0.{number}" for number in range(30, 46)):
        answers = {ask(81, source=source).member for _ in range(3)}
        assert len(answers) == 1
        chosen[source] = answers.pop()
    assert set(chosen.values()) == {"1", "2"}


# --- members ---------------------------------------------------------------------------------------------


def test_members_of_other_subnets_are_reached_by_a_leg_there(world: World) -> None:
    far = world.echo("far", f"{ELSEWHERE}.9")
    world.serve(listener(1), pools=(pool(members=(far.member(1, subnet_id="s2"),)),))
    assert ask(81).seen["client"] == f"{ELSEWHERE}.5"


def test_backup_members_serve_when_nobody_else_does(world: World) -> None:
    one, two, three = world.echoes(3)
    every = (one.member(1), two.member(2, backup=True), three.member(3, backup=True))
    world.serve(listener(1), pools=(pool(members=every, health_monitor=watched()),))
    assert world.become({member_id(1): "UP", member_id(2): "UP", member_id(3): "UP"})
    assert {ask(81).member for _ in range(6)} == {"1"}
    one.status = 503
    assert world.become({member_id(1): "DOWN"})
    assert {ask(81).member for _ in range(6)} == {"2", "3"}
    one.status = 200
    assert world.become({member_id(1): "UP"})
    assert {ask(81).member for _ in range(6)} == {"1"}


def test_disabled_members_take_nothing_and_are_offline(world: World) -> None:
    one, two = world.echoes(2)
    every = (one.member(1, admin_state_up=False), two.member(2))
    world.serve(listener(1), pools=(pool(members=every),))
    assert {ask(81).member for _ in range(4)} == {"2"}
    assert world.become_statuses({member_id(1): "OFFLINE", member_id(2): "NO_MONITOR"})


# --- statuses -------------------------------------------------------------------------------------------


def test_statuses_follow_what_monitors_find(world: World) -> None:
    one, two = world.echoes(2)
    whole = pool(members=members(one, two), health_monitor=watched(max_retries=2, max_retries_down=3))
    world.serve(listener(1), pools=(whole,))
    well = {member_id(1): "ONLINE", member_id(2): "ONLINE", pool_id(1): "ONLINE", world.lb.id: "ONLINE"}
    assert world.become_statuses(well)
    before = len(one.asked)
    one.status = 500
    broken = {member_id(1): "ERROR", member_id(2): "ONLINE", pool_id(1): "DEGRADED", world.lb.id: "DEGRADED"}
    assert world.become_statuses(broken)
    assert len(one.asked) - before >= 3
    assert {ask(81).member for _ in range(4)} == {"2"}
    two.status = 500
    assert world.become_statuses({pool_id(1): "ERROR", world.lb.id: "ERROR"})
    assert ask(81).status == 503
    before = len(one.asked)
    one.status = two.status = 200
    assert world.become_statuses(well)
    assert len(one.asked) - before >= 2
    # A monitor that is switched off is as none.
    world.serve(listener(1), pools=(replace(whole, health_monitor=replace(watched(), admin_state_up=False)),))
    assert world.become_statuses({member_id(1): "NO_MONITOR", pool_id(1): "ONLINE"})


# --- monitors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "asked", "status"),
    [
        ({}, "GET / HTTP/1.0", 200),
        ({"http_method": "HEAD", "url_path": "/health?a=b"}, "HEAD /health?a=b HTTP/1.0", 200),
        ({"http_method": "OPTIONS", "http_version": 1.0}, "OPTIONS / HTTP/1.0", 200),
        (
            {"http_version": 1.1, "domain_name": "www.example.com"},
            "GET / HTTP/1.1\nhost: www.example.com",
            200,
        ),
        ({"expected_codes": "200, 202,418"}, "GET / HTTP/1.0", 418),
        ({"expected_codes": "200-204"}, "GET / HTTP/1.0", 203),
    ],
)
def test_http_monitors_ask_what_they_are_told_to(
    world: World, fields: dict[str, Any], asked: str, status: int
) -> None:
    (one,) = world.echoes(1, status=status)
    world.serve(listener(1), pools=(pool(members=members(one), health_monitor=watched(**fields)),))

    def is_asked() -> bool:
        """The last question, since the first may still be of the monitor before."""
        lines = one.asked[-1].split("\n") if one.asked else []
        return "\n".join(lines[: asked.count("\n") + 1]).replace("Host:", "host:") == asked

    assert eventually(is_asked, within=20), one.asked
    assert world.become({member_id(1): "UP"})
    one.status = 205
    assert world.become({member_id(1): "DOWN"})
    one.status = status
    assert world.become({member_id(1): "UP"})


def test_monitors_ask_another_address_and_port_where_they_are_told_to(world: World) -> None:
    one, two = world.echoes(2)
    health, other = world.echo("health", "10.88.0.201", 9000), world.echo("other", f"{ELSEWHERE}.9", 9000)
    every = (
        one.member(1, monitor_port=9000),
        two.member(2, monitor_address=other.address, monitor_port=other.port),
    )
    world.serve(listener(1), pools=(pool(members=every, health_monitor=watched(url_path="/check")),))
    assert world.become({member_id(1): "UP", member_id(2): "UP"})
    assert not any("/check" in asked for asked in (*one.asked, *two.asked))
    other.status = 500
    assert world.become({member_id(1): "UP", member_id(2): "DOWN"})
    assert {ask(81).member for _ in range(4)} == {"1"}
    health.status = 500
    other.status = 200
    assert world.become({member_id(1): "DOWN", member_id(2): "UP"})


def test_checks_that_hang_fail_after_the_timeout_and_are_a_delay_apart(world: World) -> None:
    one, two = world.echoes(2)
    hanging = pool(1, members=(one.member(1),), health_monitor=watched(url_path="/hang"))
    seldom = pool(
        2, members=(two.member(2),), health_monitor=replace(watched(delay=60), id=monitor(number=2).id)
    )
    world.serve(listener(1), listener(2), pools=(hanging, seldom))
    assert world.become({member_id(1): "DOWN", member_id(2): "UP"})
    assert eventually(lambda: len(one.asked) >= 3, within=20)
    assert len(two.asked) <= 1
    one.release.set()
    assert world.become({member_id(1): "UP"})


def test_tcp_monitors_want_a_connection_and_ping_monitors_an_echo(world: World) -> None:
    (one,), six = world.echoes(1), world.echo("six", f"{ELSEWHERE_6}9")
    for type_, closed in ((MonitorType.TCP, "DOWN"), (MonitorType.PING, "UP")):
        every = (
            one.member(1),
            one.member(2, protocol_port=9),  # nobody listens
            one.member(3, address=f"{ELSEWHERE}.77"),  # nobody is there
            six.member(4),
            six.member(5, address=f"{ELSEWHERE_6}77"),
        )
        world.serve(listener(1), pools=(pool(members=every, health_monitor=watched(type_)),))
        wanted = {1: "UP", 2: closed, 3: "DOWN", 4: "UP", 5: "DOWN"}
        assert world.become({member_id(number): state for number, state in wanted.items()}), type_


# --- TLS, beside test_tls.py -----------------------------------------------------------------------------


def test_members_are_spoken_to_with_the_ciphers_of_their_pool(world: World) -> None:
    server = TlsMember(world.lab, 3, pki.Ca("anybody").issue("site.example.org"))
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    server.context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    made = pool(
        members=(member(1, address=server.address, protocol_port=server.port),),
        tls_enabled=True,
        tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256",
    )
    world.serve(listener(1), pools=(made,))
    assert ask(81).status == 503
    world.serve(listener(1), pools=(replace(made, tls_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"),))
    assert ask(81).status == 200


# --- session persistence -----------------------------------------------------------------------------------


def test_a_cookie_of_the_load_balancers_keeps_a_client_with_its_member_even_when_that_drains(
    world: World,
) -> None:
    one, two = world.echoes(2)
    sticky = SessionPersistence(type=PersistenceType.HTTP_COOKIE)
    first = ask_after(world, pool(members=members(one, two), session_persistence=sticky))
    cookie = first.headers["set-cookie"].partition(";")[0]
    assert cookie.startswith("SRV=")
    assert "10.88" not in cookie
    mine = int(first.member)
    assert {ask(81, headers={"Cookie": cookie}).member for _ in range(6)} == {first.member}
    assert "set-cookie" not in ask(81, headers={"Cookie": cookie}).headers
    # The cookie is between client and load balancer: the member does not see it.
    assert ask(81, headers={"Cookie": cookie}).header("Cookie") == []
    drained = tuple(
        replace(each, weight=0 if each.id == member_id(mine) else 1) for each in members(one, two)
    )
    world.serve(listener(1), pools=(pool(members=drained, session_persistence=sticky),))
    assert {ask(81).member for _ in range(4)} == {str(3 - mine)}
    assert {ask(81, headers={"Cookie": cookie}).member for _ in range(4)} == {first.member}
    # A cookie that we did not make leads nowhere in particular.
    assert ask(81, headers={"Cookie": "SRV=10.88.0.1:1"}).status == 200


def ask_after(world: World, one: Any) -> Any:
    world.serve(listener(1), pools=(one,))
    return ask(81)


def test_a_cookie_of_the_applications_keeps_a_client_with_the_member_that_set_it(world: World) -> None:
    sticky = SessionPersistence(type=PersistenceType.APP_COOKIE, cookie_name="JSESSIONID")
    world.serve(listener(1), pools=(pool(members=members(*world.echoes(2)), session_persistence=sticky),))
    for session in ("a", "b", "c"):
        given = ask(81, f"/cookie/JSESSIONID={session}")
        assert given.headers["set-cookie"] == f"JSESSIONID={session}"
        cookie = {"Cookie": f"other=1; JSESSIONID={session}"}
        assert {ask(81, headers=cookie).member for _ in range(5)} == {given.member}
    assert {ask(81).member for _ in range(4)} == {"1", "2"}


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
def test_a_client_stays_with_its_member_by_its_address(world: World, protocol: Protocol) -> None:
    sticky = SessionPersistence(type=PersistenceType.SOURCE_IP)
    made = pool(protocol=protocol, members=members(*world.echoes(2)), session_persistence=sticky)
    world.serve(listener(1, protocol=protocol), pools=(made,))
    assert len({ask(81, source=CLIENT).member for _ in range(4)}) == 1
    assert len({ask(81, source=OTHER_CLIENT).member for _ in range(4)}) == 1
    assert len({ask(81, vip=VIP_6, source=CLIENT_6).member for _ in range(4)}) == 1
    sources = (f"10.88.0.{number}" for number in range(30, 36))
    assert {ask(81, source=source).member for source in sources} == {"1", "2"}


# --- the PROXY protocol -------------------------------------------------------------------------------------


@pytest.mark.parametrize("front", [Protocol.HTTP, Protocol.TCP, Protocol.HTTPS])
@pytest.mark.parametrize(("back", "version"), [(Protocol.PROXY, "v1"), (Protocol.PROXYV2, "v2")])
def test_the_proxy_protocol_tells_members_the_clients_address(
    world: World, front: Protocol, back: Protocol, version: str
) -> None:
    one = world.echo("proxied", "10.88.0.210", proxied=True)
    made = pool(protocol=back, members=members(one), health_monitor=watched())
    world.serve(listener(1, protocol=front), pools=(made,))
    assert world.become({member_id(1): "UP"})
    for vip, source in ((VIP, OTHER_CLIENT), (VIP_6, CLIENT_6)):
        told = ask(81, vip=vip, source=source).seen["proxied"]
        assert (told[0], told[1], told[2], told[4]) == (version, source, vip, "81")
