# SPDX-License-Identifier: Apache-2.0
"""Tables A and B of contract/heartbeat.md section 4.1, and what goes beyond them."""

from dataclasses import replace
from typing import Any

import pytest

from octavia.db.heartbeats import Parts, Seen, SeenLoadBalancer, SeenPool, Sender
from octavia.domain.statuses import OperatingStatus as O
from octavia.health.derive import believed, derive, differs_from_wanted, is_redundant
from octavia.wire.heartbeat import Heartbeat, ListenerReport, PoolReport

LB = SeenLoadBalancer("lb", True, "ACTIVE", "OFFLINE", False, (5, 5, 0))
MEMBER = Seen("member", "OFFLINE", True, False, 3)
POOL = SeenPool("pool", "OFFLINE", True, False, 3, members=(MEMBER,))
LISTENER = Seen("listener", "OFFLINE", True, False, 3)
PARTS = Parts((LISTENER,), (POOL,))


def pool_report(status: str = "UP", listener_id: str = "listener", **members: str) -> PoolReport:
    return PoolReport(pool_id="pool", listener_id=listener_id, status=status, members=members)


def said(*pools: PoolReport, listener: str | None = "OPEN", **more: Any) -> Heartbeat:
    values: dict[str, Any] = {"amphora_id": "a", "pools": pools, "generation": 5}
    values["listeners"] = {} if listener is None else {"listener": ListenerReport(status=listener)}
    return Heartbeat(**(values | more))


def statuses(
    report: Heartbeat, parts: Parts = PARTS, lb: SeenLoadBalancer = LB, *, redundant: bool = True
) -> dict[str, O]:
    return {name: status for (_, name), status in derive(lb, parts, report, redundant=redundant).items()}


@pytest.mark.parametrize(
    ("frontend", "listener", "lb"),
    [("OPEN", O.ONLINE, O.ONLINE), ("FULL", O.DEGRADED, O.DEGRADED), ("STOP", None, O.ONLINE)],
)
def test_a_reported_listener(frontend: str, listener: O | None, lb: O) -> None:
    found = statuses(said(pool_report(member="UP"), listener=frontend))
    assert (found.get("listener"), found["lb"]) == (listener, lb)


@pytest.mark.parametrize(
    ("enabled", "lb_enabled", "provisioning", "generation", "expected"),
    [
        (True, True, "ACTIVE", 5, O.ERROR),
        (True, True, "PENDING_UPDATE", 5, O.ERROR),  # the report is of a generation that has it
        (True, True, "ACTIVE", 2, None),  # it is not: nothing is known
        (True, True, "ACTIVE", None, O.ERROR),
        (True, True, "PENDING_UPDATE", None, O.OFFLINE),
        (False, True, "ACTIVE", 5, O.OFFLINE),
        (True, False, "ACTIVE", 5, O.OFFLINE),
    ],
)
def test_a_missing_listener(
    enabled: bool, lb_enabled: bool, provisioning: str, generation: int | None, expected: O | None
) -> None:
    listener = replace(LISTENER, enabled=enabled, operating_status="ONLINE")
    lb = replace(LB, enabled=lb_enabled, provisioning_status=provisioning)
    report = said(listener=None, generation=generation)
    found = statuses(report, Parts((listener,), ()), lb)
    assert found.get("listener") == expected
    assert found.get("lb", O.OFFLINE) == (O.ONLINE if lb_enabled else O.OFFLINE)


@pytest.mark.parametrize(
    ("status", "member", "expected"),
    [
        ("UP", "UP", (O.ONLINE, O.ONLINE, O.ONLINE)),
        ("UP", "UP 1/3", (O.ONLINE, O.ONLINE, O.ONLINE)),
        ("UP", "DOWN", (O.ERROR, O.DEGRADED, O.DEGRADED)),
        ("UP", "DOWN 1/2", (O.ERROR, O.DEGRADED, O.DEGRADED)),
        ("UP", "DRAIN", (O.DRAINING, O.ONLINE, O.ONLINE)),
        ("UP", "MAINT", (None, O.ONLINE, O.ONLINE)),  # OFFLINE, as it is
        ("UP", "no check", (O.NO_MONITOR, O.ONLINE, O.ONLINE)),
        ("UP", "RESTARTING", (None, O.ONLINE, O.ONLINE)),
        ("UP", "gibberish", (None, O.ONLINE, O.ONLINE)),
        ("DOWN", "DOWN", (O.ERROR, O.ERROR, O.ERROR)),
        ("gibberish", "DOWN", (O.ERROR, None, O.ONLINE)),
    ],
)
def test_a_pool_and_its_member(status: str, member: str, expected: tuple[O | None, O | None, O]) -> None:
    found = statuses(said(pool_report(status, member=member)))
    assert (found.get("member"), found.get("pool"), found["lb"]) == expected


@pytest.mark.parametrize(
    ("before", "generation", "expected"),
    [
        ("ONLINE", 5, O.OFFLINE),
        ("ONLINE", 3, O.OFFLINE),
        ("ONLINE", 2, None),
        ("ONLINE", None, O.OFFLINE),
        ("NO_MONITOR", 5, None),
    ],
)
def test_a_missing_member(before: str, generation: int | None, expected: O | None) -> None:
    pool = replace(POOL, members=(replace(MEMBER, operating_status=before),))
    found = statuses(said(pool_report(), generation=generation), Parts((LISTENER,), (pool,)))
    assert found.get("member") == expected


def test_a_pool_without_a_report_is_offline_and_its_members_stay_as_they_are() -> None:
    pool = replace(POOL, operating_status="ONLINE", members=(replace(MEMBER, operating_status="ONLINE"),))
    assert statuses(said(), Parts((LISTENER,), (pool,))) == {
        "listener": O.ONLINE,
        "pool": O.OFFLINE,
        "lb": O.ONLINE,
    }


def test_a_pool_that_is_disabled_is_offline_and_harms_nobody() -> None:
    pool = replace(POOL, enabled=False, operating_status="ONLINE")
    found = statuses(said(pool_report("DOWN", member="DOWN")), Parts((LISTENER,), (pool,)))
    assert (found["pool"], found["lb"]) == (O.OFFLINE, O.ONLINE)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (pool_report("UP", member="UP"), pool_report("UP", "other", member="UP"), (O.ONLINE, O.ONLINE)),
        (pool_report("DOWN", member="DOWN"), pool_report("UP", "other", member="UP"), (O.ERROR, O.DEGRADED)),
        (pool_report("DOWN", member="DOWN"), pool_report("DOWN", "other", member="DOWN"), (O.ERROR, O.ERROR)),
        (pool_report("UP", member="DRAIN"), pool_report("UP", "other", member="UP"), (O.DRAINING, O.ONLINE)),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_of_what_two_listeners_see_the_worst_is_shown(
    first: PoolReport, second: PoolReport, expected: tuple[O, O], swapped: bool
) -> None:
    pools = (second, first) if swapped else (first, second)
    found = statuses(said(*pools))
    assert (found["member"], found["pool"]) == expected


def test_what_is_being_deleted_is_left_alone() -> None:
    parts = Parts(
        (replace(LISTENER, leaving=True),),
        (replace(POOL, leaving=True), replace(POOL, id="kept", members=(replace(MEMBER, leaving=True),))),
    )
    assert set(statuses(said(pool_report("DOWN", member="DOWN"), listener="FULL"), parts)) == {"lb"}


def test_a_load_balancer_without_listeners_is_online_once_its_amphora_reports() -> None:
    assert statuses(said(listener=None), Parts()) == {"lb": O.ONLINE}


def test_a_disabled_load_balancer_is_offline_whatever_is_reported() -> None:
    lb = replace(LB, enabled=False, operating_status="ONLINE")
    assert statuses(said(pool_report("DOWN", member="DOWN")), lb=lb)["lb"] == O.OFFLINE


def test_lost_redundancy_degrades_but_does_not_hide_an_error() -> None:
    assert statuses(said(pool_report(member="UP")), redundant=False)["lb"] == O.DEGRADED
    assert statuses(said(pool_report("DOWN", member="DOWN")), redundant=False)["lb"] == O.ERROR


def test_only_differences_are_named() -> None:
    parts = Parts(
        (replace(LISTENER, operating_status="ONLINE"),),
        (replace(POOL, operating_status="ONLINE", members=(replace(MEMBER, operating_status="ONLINE"),)),),
    )
    lb = replace(LB, operating_status="ONLINE")
    assert statuses(said(pool_report(member="UP")), parts, lb) == {}


# Who is believed


def sender(name: str, *, fresh: bool = True, vrrp: str | None = None, **more: Any) -> Sender:
    values: dict[str, Any] = {"status": "ALLOCATED", "known": True, "generation": 5, "repairing": False}
    lb = replace(LB, is_pair=True)
    return Sender(id=name, load_balancer=lb, fresh=fresh, vrrp_state=vrrp, **(values | more))


@pytest.mark.parametrize(
    ("peer", "own", "believed_one"),
    [
        ({"vrrp": "MASTER"}, "BACKUP", False),
        ({"vrrp": "MASTER"}, "FAULT", False),
        ({"vrrp": "MASTER", "fresh": False}, "BACKUP", True),
        ({"vrrp": "MASTER", "status": "ERROR"}, "BACKUP", True),
        ({"vrrp": "BACKUP"}, "BACKUP", True),
        ({"vrrp": "MASTER"}, "MASTER", True),  # it has just taken over
        ({"vrrp": "MASTER"}, None, True),  # an agent that does not tell
    ],
)
def test_a_standby_is_believed_when_no_owner_is_fresh(
    peer: dict[str, Any], own: str | None, believed_one: bool
) -> None:
    report = said(amphora_id="a", vrrp_state=own)
    found = believed([sender("a"), sender("b", **peer)], {"a": report})
    assert found == (report if believed_one else None)


def test_of_two_in_one_batch_the_owner_is_believed_in_any_order() -> None:
    owner, standby = said(amphora_id="a", vrrp_state="MASTER"), said(amphora_id="b", vrrp_state="BACKUP")
    for fleet in ([sender("a"), sender("b")], [sender("b"), sender("a")]):
        assert believed(fleet, {"a": owner, "b": standby}) is owner


@pytest.mark.parametrize("status", ["BOOTING", "PENDING_CREATE", "ERROR", "PENDING_DELETE"])
def test_who_is_not_in_service_is_not_believed(status: str) -> None:
    assert believed([sender("a", status=status)], {"a": said(amphora_id="a")}) is None


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        ([sender("a"), sender("b")], True),
        ([sender("a"), sender("b", fresh=False)], False),
        ([sender("a"), sender("b", status="BOOTING")], False),
        ([sender("a"), sender("b", status="ERROR"), sender("c")], True),
        ([sender("a")], False),
    ],
)
def test_redundancy_is_two_that_are_allocated_and_fresh(fleet: list[Sender], expected: bool) -> None:
    assert is_redundant(fleet, {}) == expected


def test_a_report_of_this_moment_is_fresh() -> None:
    assert is_redundant([sender("a"), sender("b", fresh=False)], {"b": said(amphora_id="b")})


def test_one_that_was_never_meant_to_be_a_pair_misses_nothing() -> None:
    assert is_redundant([replace(sender("a"), load_balancer=LB)], {})


def test_a_pair_that_is_still_being_made_has_lost_nothing() -> None:
    lb = replace(LB, is_pair=True, provisioning_status="PENDING_CREATE")
    assert is_redundant([replace(sender("a"), load_balancer=lb)], {})


# Repairs


@pytest.mark.parametrize(
    ("report", "lb", "expected"),
    [
        (said(), LB, False),
        (said(listener=None), LB, True),
        (said(listeners={"stranger": ListenerReport(status="OPEN")}), LB, True),
        (said(listener=None, generation=4), LB, False),
        (said(listener=None, generation=None), LB, True),
        (said(listener=None), replace(LB, provisioning_status="PENDING_UPDATE"), False),
        (said(listener=None), replace(LB, enabled=False), False),
        (said(listener=None, version=0, generation=None), LB, False),
    ],
)
def test_listeners_that_differ_call_for_a_repair(
    report: Heartbeat, lb: SeenLoadBalancer, expected: bool
) -> None:
    assert differs_from_wanted(lb, PARTS, report) == expected


@pytest.mark.parametrize("change", [{"enabled": False}, {"leaving": True}, {"settled": False}])
def test_what_cannot_be_there_is_not_missed(change: dict[str, Any]) -> None:
    assert not differs_from_wanted(LB, Parts((replace(LISTENER, **change),)), said(listener=None))


def test_a_pool_of_datagrams_is_told_without_its_listener() -> None:
    report = PoolReport(pool_id="pool", listener_id=None, status="DOWN", members={"member": "DOWN"})
    found = statuses(said(report))
    assert found == {"listener": O.ONLINE, "pool": O.ERROR, "member": O.ERROR, "lb": O.ERROR}
    drained = PoolReport(pool_id="pool", listener_id=None, status="UP", members={"member": "DRAIN"})
    assert statuses(said(drained))["member"] is O.DRAINING
