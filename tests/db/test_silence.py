# SPDX-License-Identifier: Apache-2.0
"""The judge over real databases, with compute and agents in memory and a clock of its own."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.db import amphorae, duty, events, work
from octavia.db import tables as t
from octavia.db.amphorae import Heard
from octavia.db.engine import Database
from octavia.domain.errors import Transient
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, LoadBalancer, Topology
from octavia.drivers.bus.local import LocalDoorbell
from octavia.health.receive import Vitals
from octavia.health.stale import Judge, Limits, Ruling
from octavia.health.witness import Testimony as Said
from tests.fleet import NOW, load_balancer, operating, store, uuid

TIMEOUT = timedelta(seconds=60)


class ManualClock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - datetime(2026, 1, 1)).total_seconds()


class Scene:
    """A judge with everything around it."""

    def __init__(self, database: Database, **limits: Any) -> None:
        self.database = database
        self.clock = ManualClock()
        self.doorbell = LocalDoorbell()
        self.says: dict[str, Said] = {}
        self.asked: list[str] = []
        self.limits = Limits(timeout=TIMEOUT, **limits)
        self.judge = self.another("me")
        self.vitals = Vitals(self.clock.monotonic(), 0, 0)

    def another(self, owner: str, *, with_ear: bool = False) -> Judge:
        ear = (lambda: self.vitals) if with_ear else None
        return Judge(
            self.database, self.clock, self.doorbell, self.witness, self.limits, owner=owner, ear=ear
        )

    def witness(self, amphora: Amphora) -> Said:
        self.asked.append(amphora.id)
        return self.says.get(amphora.id, Said.UNREACHABLE)

    def have(self, *lbs: LoadBalancer) -> None:
        def insert(tx: sa.Connection) -> None:
            for lb in lbs:
                store(tx, lb, since=self.clock.at)

        self.database.write(insert)

    def hear(self, *amphora_ids: str) -> None:
        heard = {one: Heard(self.clock.at) for one in amphora_ids}
        self.database.write(lambda tx: amphorae.record_heard(tx, heard))

    def hear_all_but(self, *amphora_ids: str) -> None:
        with self.database.read() as tx:
            every = amphorae.all_ids(tx)
        self.hear(*(every - set(amphora_ids)))

    def pass_time(self, seconds: int, *silent: str, judge: Judge | None = None) -> list[tuple[str, Ruling]]:
        """All but the silent report every ten seconds; the judge looks each time."""
        ruled = []
        for _ in range(seconds // 10):
            self.clock.at += timedelta(seconds=10)
            self.hear_all_but(*silent)
            verdicts = (judge or self.judge).once(self.clock.at)
            ruled += [(one.amphora_id, one.ruling) for one in verdicts]
        return ruled

    def status(self, amphora_id: str) -> str:
        with self.database.read() as tx:
            query = sa.select(t.amphora.c.status).where(t.amphora.c.id == amphora_id)
            return str(tx.execute(query).scalar_one())

    def set_status(self, amphora_id: str, status: AmphoraStatus) -> None:
        self.database.write(lambda tx: amphorae.update(tx, amphora_id, self.clock.at, status=status))

    def replaced(self, amphora_id: str, replacement: str | None) -> None:
        """The worker has taken an amphora away, and perhaps made another."""

        def change(tx: sa.Connection) -> None:
            gone = amphorae.get(tx, amphora_id)
            assert gone is not None
            amphorae.delete(tx, amphora_id, self.clock.at)
            if replacement:
                new = replace(gone, id=replacement, status=AmphoraStatus.ALLOCATED)
                amphorae.insert(tx, new, self.clock.at)

        self.database.write(change)

    def due(self) -> list[str]:
        with self.database.read() as tx:
            return work.due(tx, self.clock.at)

    def told(self, lb: LoadBalancer) -> list[str]:
        with self.database.read() as tx:
            return [one.text for one in events.last(tx, lb.id)]

    def shown(self, lb: LoadBalancer) -> str:
        with self.database.read() as tx:
            return operating(tx, t.load_balancer, lb.id)


@pytest.fixture
def scene(database: Database) -> Scene:
    return Scene(database)


PAIR = load_balancer(1, topology=Topology.ACTIVE_STANDBY)
ACTIVE, STANDBY = uuid(1001), uuid(1002)


def test_a_dead_amphora_is_marked_failed_and_its_load_balancer_queued(scene: Scene) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    assert scene.pass_time(60, ACTIVE) == []
    assert scene.pass_time(20, ACTIVE) == [(ACTIVE, Ruling.REPLACE)]
    assert scene.status(ACTIVE) == "ERROR"
    assert scene.status(STANDBY) == "ALLOCATED"
    assert scene.due() == [PAIR.id]
    assert scene.doorbell.wait(0)
    assert scene.shown(PAIR) == "DEGRADED"
    assert "its agent does not answer: it is replaced" in scene.told(PAIR)[-1]


def test_a_load_balancer_that_nobody_reports_for_is_offline(scene: Scene) -> None:
    lb = load_balancer(1)
    scene.have(lb)
    scene.pass_time(80, ACTIVE)
    assert scene.status(ACTIVE) == "ERROR"
    assert scene.shown(lb) == "OFFLINE"


def test_who_never_reported_is_judged_as_well(scene: Scene) -> None:
    scene.have(load_balancer(1))
    assert scene.pass_time(60, ACTIVE) == []
    assert scene.pass_time(10, ACTIVE) == [(ACTIVE, Ruling.REPLACE)]


def test_alive_but_unheard_is_an_event_and_a_repair(scene: Scene) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    scene.says[ACTIVE] = Said.ALIVE
    assert scene.pass_time(100, ACTIVE) == [(ACTIVE, Ruling.REPAIR), (ACTIVE, Ruling.REPAIR)]
    assert scene.status(ACTIVE) == "ALLOCATED"
    assert scene.due() == [PAIR.id]
    assert len(scene.told(PAIR)) == 1
    assert "but its agent answers" in scene.told(PAIR)[0]


def test_nobody_is_judged_for_one_timeout_after_a_start(scene: Scene) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    scene.clock.at += timedelta(days=1)  # the controller was off, the amphorae were not heard
    started = scene.another("me")
    assert scene.pass_time(50, ACTIVE, judge=started) == []
    assert scene.pass_time(10, ACTIVE, judge=started) == [(ACTIVE, Ruling.REPLACE)]


def test_nobody_is_judged_for_one_timeout_after_an_outage_of_the_database(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    scene.pass_time(60)

    def down(_change: object) -> object:
        raise Transient("it is down")

    with monkeypatch.context() as outage:
        outage.setattr(scene.database, "write", down)
        for _ in range(10):
            scene.clock.at += timedelta(seconds=10)
            assert scene.judge.once(scene.clock.at) == []
    scene.hear(STANDBY)
    assert scene.pass_time(50, ACTIVE) == []
    assert scene.pass_time(20, ACTIVE) == [(ACTIVE, Ruling.REPLACE)]


def test_nobody_is_judged_right_after_the_machine_was_suspended(scene: Scene) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    scene.pass_time(60)
    scene.clock.at += timedelta(hours=8)
    assert scene.judge.once(scene.clock.at) == []
    assert scene.asked == []
    assert scene.pass_time(60) == []


def test_a_judge_does_not_trust_an_ear_that_is_not_well(scene: Scene) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    judge = scene.another("other", with_ear=True)
    scene.pass_time(60, ACTIVE, judge=judge)  # the ear has not turned since the beginning
    assert scene.pass_time(60, ACTIVE, judge=judge) == []
    scene.vitals = Vitals(scene.clock.monotonic() + 1000, 3, 0)  # it dropped something
    assert scene.pass_time(50, ACTIVE, judge=judge) == []
    assert scene.pass_time(20, ACTIVE, judge=judge) == [(ACTIVE, Ruling.REPLACE)]


def test_both_of_a_pair_are_dead_and_one_comes_after_the_other(scene: Scene) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    assert scene.pass_time(120, ACTIVE, STANDBY) == [(ACTIVE, Ruling.REPLACE)]
    scene.replaced(ACTIVE, uuid(4711))
    assert scene.pass_time(10, STANDBY) == [(STANDBY, Ruling.REPLACE)]


@pytest.mark.parametrize("going", [True, False])
def test_the_last_of_a_pair_waits_until_its_peer_is_replaced(scene: Scene, going: bool) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    assert scene.pass_time(120, ACTIVE, STANDBY) == [(ACTIVE, Ruling.REPLACE)]
    if going:
        scene.set_status(ACTIVE, AmphoraStatus.PENDING_DELETE)
    else:
        scene.replaced(ACTIVE, None)
    assert scene.pass_time(60, STANDBY) == []


def test_both_of_a_pair_are_gone_and_nothing_is_lost_by_replacing_them_at_once(scene: Scene) -> None:
    scene.have(PAIR)
    scene.says = {ACTIVE: Said.ABSENT, STANDBY: Said.ABSENT}
    assert scene.pass_time(70, ACTIVE, STANDBY) == [(ACTIVE, Ruling.REPLACE), (STANDBY, Ruling.REPLACE)]


def test_a_whole_host_that_was_rebooted_is_rebuilt_without_a_limit(scene: Scene) -> None:
    lbs = [load_balancer(number) for number in range(1, 31)]
    ids = [uuid(number * 1000 + 1) for number in range(1, 31)]
    scene.have(*lbs)
    scene.says = dict.fromkeys(ids, Said.ABSENT)
    ruled = scene.pass_time(90, *ids)
    assert sorted(ruled) == sorted((one, Ruling.REPLACE) for one in ids)


def test_a_failover_storm_does_not_happen(scene: Scene) -> None:
    """Forty of a hundred do not answer, though they serve: the limit holds the healer back."""
    lbs = [load_balancer(number) for number in range(1, 101)]
    ids = [uuid(number * 1000 + 1) for number in range(1, 41)]
    scene.have(*lbs)
    scene.hear_all_but()
    ruled = scene.pass_time(200, *ids)
    replaced = [one for one, ruling in ruled if ruling is Ruling.REPLACE]
    assert len(replaced) == 5
    assert {scene.status(one) for one in ids if one not in replaced} == {
        "FAILOVER_STOPPED",
    }
    # They come back by themselves.
    ruled = scene.pass_time(10)
    assert {ruling for _, ruling in ruled} == {Ruling.RESUME}
    assert {scene.status(one) for one in ids if one not in replaced} == {"ALLOCATED"}


def test_a_deaf_judge_replaces_nobody(scene: Scene) -> None:
    lbs = [load_balancer(number) for number in range(1, 21)]
    scene.have(*lbs)
    scene.hear_all_but()
    with scene.database.read() as tx:
        every = amphorae.all_ids(tx)
    assert scene.pass_time(300, *every) == []


def test_the_operators_threshold_stops_all_failovers(database: Database) -> None:
    scene = Scene(database, threshold=2)
    scene.have(load_balancer(1), load_balancer(2), load_balancer(3))
    scene.hear_all_but()
    first, second = uuid(1001), uuid(2001)
    ruled = scene.pass_time(80, first, second)
    assert ruled == [(first, Ruling.HOLD_BACK), (second, Ruling.HOLD_BACK)]
    assert scene.status(first) == "FAILOVER_STOPPED"
    assert scene.asked == []
    # One is heard again: below the threshold, the other is judged as always.
    ruled = scene.pass_time(10, second)
    assert (first, Ruling.RESUME) in ruled
    assert (second, Ruling.REPLACE) in ruled


def test_of_two_judges_one_judges_until_it_is_gone(scene: Scene) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    other = scene.another("other")
    scene.pass_time(60)
    for _ in range(7):
        scene.clock.at += timedelta(seconds=10)
        scene.hear_all_but(ACTIVE)
        # The first one keeps the duty ...
        scene.database.write(lambda tx: scene.judge._look(tx, scene.clock.at))
        assert other.once(scene.clock.at) == []
    assert scene.asked == []
    # ... until it is heard of no more.
    assert scene.pass_time(40, ACTIVE, judge=other) == [(ACTIVE, Ruling.REPLACE)]


def test_a_duty_is_held_by_one_and_passes_on(database: Database) -> None:
    def hold(owner: str, at: datetime) -> bool:
        return database.write(lambda tx: duty.hold(tx, "d", owner, at, timedelta(seconds=30)))

    assert hold("a", NOW)
    assert not hold("b", NOW + timedelta(seconds=29))
    assert hold("a", NOW + timedelta(seconds=29))
    assert not hold("b", NOW + timedelta(seconds=59))
    assert hold("b", NOW + timedelta(seconds=60))
    database.write(lambda tx: duty.give_up(tx, "d", "a"))  # it is not a's any more
    assert not hold("a", NOW + timedelta(seconds=61))
    database.write(lambda tx: duty.give_up(tx, "d", "b"))
    assert hold("a", NOW + timedelta(seconds=61))


def test_who_is_heard_while_the_witness_is_asked_is_not_failed(scene: Scene) -> None:
    scene.have(PAIR)
    scene.hear(ACTIVE, STANDBY)
    scene.pass_time(60, ACTIVE)
    scene.clock.at += timedelta(seconds=10)
    asked: list[str] = []

    def slow(amphora: Amphora) -> Said:
        asked.append(amphora.id)
        scene.hear(amphora.id)
        return Said.UNREACHABLE

    scene.judge._witness = slow
    assert scene.judge.once(scene.clock.at) == []
    assert ACTIVE in asked
    assert scene.status(ACTIVE) == "ALLOCATED"
    assert scene.due() == []


@pytest.mark.parametrize(
    "status",
    [AmphoraStatus.BOOTING, AmphoraStatus.ERROR, AmphoraStatus.PENDING_DELETE, AmphoraStatus.DELETED],
)
def test_who_is_not_in_service_is_not_judged(scene: Scene, status: AmphoraStatus) -> None:
    scene.have(load_balancer(1))
    scene.set_status(ACTIVE, status)
    assert scene.pass_time(120, ACTIVE) == []
    assert scene.asked == []


def test_only_a_few_are_asked_about_in_one_pass_and_all_in_turn(scene: Scene) -> None:
    lbs = [load_balancer(number) for number in range(1, 91)]
    ids = [uuid(number * 1000 + 1) for number in range(1, 31)]
    scene.have(*lbs)
    scene.says = dict.fromkeys(ids, Said.UNKNOWN)
    scene.pass_time(70, *ids)
    assert len(scene.asked) == 20
    scene.pass_time(10, *ids)
    assert len(scene.asked) == 40
    assert set(scene.asked) == set(ids)
