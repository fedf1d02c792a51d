# SPDX-License-Identifier: Apache-2.0
"""The gentlest change, as a table."""

from dataclasses import replace
from typing import Any

import pytest

from octavia.dataplane.haproxy.diff import (
    AddServer,
    RemoveServer,
    SetCheck,
    SetState,
    SetWeight,
    change,
    removed,
)
from octavia.dataplane.haproxy.reload import Cause, Reload
from octavia.dataplane.haproxy.render import render
from octavia.dataplane.haproxy.server import ServerKey, read_server
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.domain.tree import (
    Algorithm,
    Amphora,
    LoadBalancer,
    MonitorType,
    PersistenceType,
    Protocol,
    SessionPersistence,
)
from tests.unit.dataplane.samples import (
    AMPHORA,
    amphorae,
    everything,
    listener,
    listener_id,
    load_balancer,
    member,
    member_id,
    monitor,
    pair,
    pool,
    pool_id,
    simple,
    with_members,
)

BACKEND = f"{pool_id(1)}:{listener_id(1)}"
ONE, TWO = ServerKey(BACKEND, member_id(1)), ServerKey(BACKEND, member_id(2))
A, B = member(1), member(2)


def text(lb: LoadBalancer) -> str:
    made = render(lb, amphorae()[:1], HaproxySettings(), amphora_id=AMPHORA, haproxy_version="2.6")
    assert made is not None
    return made.text


def commands(old: str, new: str) -> list[str]:
    changes = change(old, new)
    assert not isinstance(changes, Reload), changes
    return [
        command.text.replace(BACKEND, "P").replace("44444444-4444-4444-8444-0000000000", "m")
        for one in changes
        for command in one.commands
    ]


def between(before: LoadBalancer, after: LoadBalancer) -> list[str]:
    return commands(text(before), text(after))


def test_lines_of_members_that_are_gone_are_not_remembered_for_ever() -> None:
    read_server.cache_clear()
    for number in range(3, 253):
        assert len(between(with_members(simple(), A, B), with_members(simple(), A, member(number)))) > 1
    assert 0 < read_server.cache_info().currsize < 100


@pytest.mark.parametrize("name", everything())
def test_the_same_again_is_no_change(name: str) -> None:
    assert change(text(everything()[name]), text(everything()[name])) == []


def test_comments_indentation_quotes_and_order_of_servers_mean_nothing() -> None:
    old = "backend b\n balance roundrobin\n server s 1.2.3.4:5 weight 1 check\n server t 1.2.3.4:6\n"
    new = "# new\nbackend 'b'\n\tbalance roundrobin # fair\n\tserver t 1.2.3.4:6\nserver s 1.2.3.4:5 check\n"
    assert change(old, new) == []


ADD = "add server P/m02 10.1.0.2:8002 weight 1{} id 1810649415{} pool-max-conn -1 pool-purge-delay 5s"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((A,), (A, B), [ADD.format("", ""), "set server P/m02 state ready"]),
        ((), (B,), [ADD.format("", ""), "set server P/m02 state ready"]),
        ((A,), (A, replace(B, admin_state_up=False)), [ADD.format("", " disabled")]),
        ((A,), (A, replace(B, backup=True)), [ADD.format(" backup", ""), "set server P/m02 state ready"]),
        ((A, B), (B,), ["set server P/m01 state maint"]),
        ((A,), (replace(A, weight=7),), ["set server P/m01 weight 7"]),
        ((A,), (replace(A, weight=0),), ["set server P/m01 weight 0"]),
        ((A,), (replace(A, admin_state_up=False),), ["set server P/m01 state maint"]),
        ((replace(A, admin_state_up=False),), (A,), ["set server P/m01 state ready"]),
        # What gives capacity comes first, what takes it comes last.
        (
            (A,),
            (B,),
            [ADD.format("", ""), "set server P/m02 state ready", "set server P/m01 state maint"],
        ),
        (
            (replace(A, admin_state_up=False), B),
            (replace(A, weight=3), replace(B, admin_state_up=False)),
            ["set server P/m01 state ready", "set server P/m01 weight 3", "set server P/m02 state maint"],
        ),
    ],
)
def test_members_change_at_runtime(
    before: tuple[object, ...], after: tuple[object, ...], expected: list[str]
) -> None:
    lb = simple()
    assert between(with_members(lb, *before), with_members(lb, *after)) == expected  # type: ignore[arg-type]


def test_an_address_changes_at_runtime_where_no_connection_to_it_is_used_again() -> None:
    elsewhere = replace(A, address="2001:db8::1", protocol_port=9)
    streamed = load_balancer((listener(protocol=Protocol.TCP), pool(protocol=Protocol.TCP)))
    assert between(with_members(streamed, A), with_members(streamed, elsewhere)) == [
        "set server P/m01 addr 2001:db8::1 port 9"
    ]
    reused = change(text(with_members(simple(), A)), text(with_members(simple(), elsewhere)))
    assert isinstance(reused, Reload)
    assert "connections to the old address" in reused.reason


def test_a_checked_server_is_checked_before_it_serves() -> None:
    lb = simple(health_monitor=monitor())
    assert between(with_members(lb, A), with_members(lb, A, B)) == [
        ADD.format("", "")
        .replace(" id", " check fall 3 id")
        .replace(" pool-max", " inter 5s rise 2 pool-max"),
        "enable health P/m02",
        "set server P/m02 state ready",
    ]


def test_a_disabled_server_is_ready_to_be_checked_once_enabled() -> None:
    lb = simple(health_monitor=monitor())
    found = between(with_members(lb, A), with_members(lb, A, replace(B, admin_state_up=False)))
    assert found[1:] == ["enable health P/m02"]


def test_a_server_gets_its_cookie_before_it_serves() -> None:
    lb = everything()["http cookie"]
    found = between(with_members(lb, A), with_members(lb, A, B))
    assert found[1:] == ["enable dynamic-cookie backend P", "set server P/m02 state ready"]


def test_a_pool_of_two_listeners_changes_in_both() -> None:
    lb = everything()["one pool, two listeners"]
    changes = change(text(lb), text(with_members(lb, replace(A, weight=9), B)))
    assert changes == [
        SetWeight(ServerKey(f"{pool_id(1)}:{listener_id(number)}", member_id(1)), 9) for number in (1, 2)
    ]


def test_targets_of_checks_change_at_runtime() -> None:
    lb = simple(health_monitor=monitor())
    elsewhere = replace(A, monitor_port=9)
    further = replace(A, monitor_address="10.9.9.9", monitor_port=10)
    assert between(with_members(lb, A), with_members(lb, elsewhere)) == [
        "set server P/m01 check-addr 0.0.0.0 port 9"
    ]
    assert between(with_members(lb, elsewhere), with_members(lb, further)) == [
        "set server P/m01 check-addr 10.9.9.9 port 10"
    ]
    with_address = replace(A, monitor_address="2001:db8::9")
    assert between(with_members(lb, A), with_members(lb, with_address)) == [
        "set server P/m01 check-addr [2001:db8::9] port 0"
    ]
    assert between(with_members(lb, further), with_members(lb, A)) == [
        "set server P/m01 check-addr 0.0.0.0 port 0"
    ]


def proxied(**fields: object) -> LoadBalancer:
    given: dict[str, Any] = {"protocol": Protocol.PROXY, "health_monitor": monitor(MonitorType.TCP), **fields}
    return load_balancer((listener(), pool(**given)))


PING = simple(health_monitor=monitor(MonitorType.PING))
RELOADS = {
    "monitor added": (
        simple(),
        simple(health_monitor=monitor()),
        Cause.POOL,
        "differs in more than its servers",
    ),
    "algorithm": (
        simple(),
        simple(lb_algorithm=Algorithm.LEAST_CONNECTIONS),
        Cause.POOL,
        "differs in more than its servers",
    ),
    "listener added": (
        simple(),
        load_balancer((listener(), pool()), (listener(2), pool(2))),
        Cause.LISTENER,
        f"frontend {listener_id(2)} is new",
    ),
    "listener gone": (
        load_balancer((listener(), pool()), (listener(2), pool(2))),
        simple(),
        Cause.LISTENER,
        f"frontend {listener_id(2)} is new, gone",
    ),
    "port": (
        simple(),
        load_balancer((listener(protocol_port=99), pool())),
        Cause.LISTENER,
        "differs in more than",
    ),
    "persistence": (
        simple(),
        simple(session_persistence=SessionPersistence(type=PersistenceType.HTTP_COOKIE)),
        Cause.POOL,
        "differs in more than",
    ),
    "backup": (
        with_members(simple(), A),
        with_members(simple(), replace(A, backup=True)),
        Cause.MEMBER,
        "differs in what HAProxy takes only at its start",
    ),
    "delay": (
        simple(health_monitor=monitor()),
        simple(health_monitor=monitor(delay=9)),
        Cause.MEMBER,
        "differs in what HAProxy takes only at its start",
    ),
    "checked by a program": (
        with_members(PING, A),
        with_members(PING, A, B),
        Cause.MEMBER,
        "checked by a program",
    ),
    "check of a proxied server": (
        proxied(members=(A,)),
        proxied(members=(replace(A, monitor_port=9),)),
        Cause.MEMBER,
        "changes whether it sends a PROXY header",
    ),
}


@pytest.mark.parametrize("name", RELOADS)
def test_what_the_socket_cannot_do_is_a_reload_with_the_reason(name: str) -> None:
    before, after, cause, reason = RELOADS[name]
    found = change(text(before), text(after))
    assert isinstance(found, Reload)
    assert found.cause is cause
    assert reason in found.reason


FOREIGN = "defaults\n mode http\nbackend b\n balance {}\n {}\n server s 1.2.3.4:5 {}\n"


@pytest.mark.parametrize(
    ("balance", "line", "server", "reason"),
    [
        ("source", "", "", "fixed at HAProxy's start"),
        ("first", "", "", "fixed at HAProxy's start"),
        ("roundrobin", "cookie SRV insert", "cookie t", "fixed cookie"),
        ("roundrobin", "default-server inter 3s", "", "uses 'default-server'"),
        ("roundrobin", "use-server s if TRUE", "", "uses 'use-server'"),
        ("roundrobin", "", "tfo", "uses 'tfo', which is not ours"),
        ("roundrobin", "", "weight", "uses 'weight', which is not ours"),
        ("roundrobin", "", "weight x", "where a number belongs"),
        ("roundrobin", "", "weight 1 weight 2", "a keyword twice"),
        ("roundrobin", "", "cookie a;quit", "cannot be said at runtime"),
        ("roundrobin", 'errorfile 503 "$HOME/x"', "", "environment variables"),
        ("roundrobin", "server s 1.2.3.4:5", "", "is there twice"),
        ("roundrobin", "server u www.example.com:80", "", "is not IP:port"),
    ],
)
def test_another_controllers_text_is_reloaded_where_it_is_not_fully_understood(
    balance: str, line: str, server: str, reason: str
) -> None:
    old = FOREIGN.format(balance, line, "")
    found = change(old, old + f" server t 1.2.3.4:6 {server}\n")
    assert isinstance(found, Reload)
    assert reason in found.reason


def test_default_servers_of_all_backends_count_too() -> None:
    old = FOREIGN.format("roundrobin", "", "").replace("mode http", "default-server inter 9s")
    found = change(old, old + " server t 1.2.3.4:6\n")
    assert isinstance(found, Reload)
    assert "default-server" in found.reason


def test_another_controllers_text_is_changed_at_runtime_where_it_is_understood() -> None:
    old = FOREIGN.format("roundrobin", "cookie SRV insert indirect nocache", "weight 1 cookie s check")
    assert commands(old, old.replace("weight 1", "weight 4")) == ["set server b/s weight 4"]
    assert commands(old, old.replace("weight 1", "weight 1 disabled")) == ["set server b/s state maint"]


# --- removal in two steps -------------------------------------------------------------------------


def test_a_lost_peer_is_no_reason_to_reload_and_a_new_one_is() -> None:
    sticky = simple(session_persistence=SessionPersistence(type=PersistenceType.SOURCE_IP))

    def of(*peers: Amphora) -> str:
        made = render(pair(sticky), peers, HaproxySettings(), amphora_id=AMPHORA, haproxy_version="2.6")
        assert made is not None
        return made.text

    mine, other = amphorae()
    assert of(mine) != of(mine, other)
    assert change(of(mine, other), of(mine)) == []
    found = change(of(mine), of(mine, other))
    assert isinstance(found, Reload)
    assert "peers" in found.reason


def test_a_removal_says_how_to_finish_it() -> None:
    old, new = text(with_members(simple(), A, B)), text(with_members(simple(), B))
    changes = change(old, new)
    assert changes == [RemoveServer(ONE)]
    removal = changes[0]
    assert isinstance(removal, RemoveServer)
    assert removal.deferred.text == f"del server {ONE}"
    assert removal.at_limit.text == f"shutdown sessions server {ONE}"
    assert list(removed(changes, old)) == [ONE]


@pytest.mark.parametrize(
    ("again", "expected"),
    [
        (A, [SetState(ONE, ready=True)]),
        (replace(A, weight=5), [SetState(ONE, ready=True), SetWeight(ONE, 5)]),
        (
            replace(A, address="10.7.7.7"),
            None,
        ),
        (replace(A, admin_state_up=False), []),
        (replace(A, backup=True), None),
    ],
)
def test_a_server_wanted_again_before_its_removal_is_finished(again: object, expected: object) -> None:
    lb = simple()
    old, new = text(with_members(lb, A, B)), text(with_members(lb, B))
    changes = change(old, new)
    assert isinstance(changes, list)
    found = change(new, text(with_members(lb, again, B)), pending=removed(changes, old))  # type: ignore[arg-type]
    assert found == expected if expected is not None else isinstance(found, Reload)


def test_a_pending_removal_does_not_disturb_other_changes() -> None:
    lb = simple()
    old, new = text(with_members(lb, A, B)), text(with_members(lb, B))
    changes = change(old, new)
    assert isinstance(changes, list)
    pending = removed(changes, old)
    assert change(new, new, pending=pending) == []
    assert change(new, text(with_members(lb, replace(B, weight=2))), pending=pending) == [SetWeight(TWO, 2)]


def test_typed_changes_can_be_told_apart() -> None:
    lb = simple(health_monitor=monitor())
    found = change(text(with_members(lb, A)), text(with_members(lb, replace(A, monitor_port=5), B)))
    assert isinstance(found, list)
    assert [type(one) for one in found] == [AddServer, SetCheck]
