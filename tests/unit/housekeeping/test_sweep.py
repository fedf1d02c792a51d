# SPDX-License-Identifier: Apache-2.0
"""Who is an orphan, and which orphans are deleted: pure functions."""

from datetime import timedelta

import pytest

from octavia.drivers.compute.contract import Server, ServerStatus
from octavia.drivers.network.contract import Port, member_port_name, vip_port_name, vrrp_port_name
from octavia.housekeeping.sweep import Orphan, condemned, orphans
from tests.fleet import NOW

INTERVAL = timedelta(seconds=30)


def server(amphora_id: str) -> Server:
    return Server(compute_id=f"s-{amphora_id}", amphora_id=amphora_id, status=ServerStatus.ACTIVE)


def port(name: str) -> Port:
    return Port(id=f"p-{name}", name=name, network_id="n", mac_address="02:00:00:00:00:01")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"lb", "a"}, []),
        ({"lb"}, ["1 server", "2 port", "2 port"]),  # the amphora is gone, its load balancer is not
        ({"a"}, ["2 port"]),  # only the VIP's port: the amphora is still being deleted
        (set(), ["1 server", "2 port", "2 port", "2 port"]),
    ],
)
def test_what_no_row_owns_is_an_orphan(known: set[str], expected: list[str]) -> None:
    ports = [("lb", port(name)) for name in (vip_port_name("lb"), vrrp_port_name("a"), member_port_name("a"))]
    assert [one.kind for one in orphans([server("a")], ports, frozenset(known))] == expected


def some(count: int) -> list[Orphan]:
    return [Orphan("2 port", f"{number:03}", "x") for number in range(count)]


@pytest.mark.parametrize(("age_s", "deleted"), [(0, 0), (29, 0), (30, 3), (300, 3)])
def test_an_orphan_is_deleted_when_it_was_one_an_interval_ago(age_s: int, deleted: int) -> None:
    seen = dict.fromkeys(some(3), NOW - timedelta(seconds=age_s))
    doomed, why = condemned(some(3), seen, 100, NOW, INTERVAL)
    assert (len(doomed), why) == (deleted, None)


def test_an_orphan_that_is_new_is_spared() -> None:
    assert condemned(some(3), {}, 100, NOW, INTERVAL) == ([], None)


def test_at_most_a_share_is_deleted_in_one_pass() -> None:
    seen = dict.fromkeys(some(50), NOW - timedelta(minutes=5))
    doomed, why = condemned(some(50), seen, 200, NOW, INTERVAL)
    assert len(doomed) == 20
    assert why is not None
    assert "50 servers and ports have no owner; 20 are deleted" in why


def test_a_database_that_knows_nothing_costs_nobody_its_life() -> None:
    seen = dict.fromkeys(some(60), NOW - timedelta(minutes=5))
    doomed, why = condemned(some(60), seen, 100, NOW, INTERVAL)
    assert doomed == []
    assert why is not None
    assert "60 of 100" in why
    assert "nothing is deleted" in why


def test_a_few_orphans_are_deleted_even_if_there_is_nothing_else() -> None:
    seen = dict.fromkeys(some(4), NOW - timedelta(minutes=5))
    assert condemned(some(4), seen, 4, NOW, INTERVAL) == (some(4), None)
