# SPDX-License-Identifier: Apache-2.0
"""Batches of heartbeats on real databases."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from octavia.db import amphorae, statistics, statuses
from octavia.db import tables as t
from octavia.db.engine import Database
from octavia.db.statistics import MAX_TOTAL, Counters
from octavia.db.tree import saving
from octavia.domain.clock import SystemClock
from octavia.domain.statuses import AmphoraStatus, OperatingStatus, ProvisioningStatus
from octavia.domain.tree import LoadBalancer, Topology
from octavia.drivers.bus.local import LocalDoorbell
from octavia.health.receive import Receiver, ReceiverSettings
from octavia.wire.heartbeat import Heartbeat, ListenerReport
from tests.fleet import NOW, amphora, heard_at, load_balancer, operating, report, store, uuid

LATER = NOW + timedelta(seconds=10)


def receiver(database: Database, doorbell: LocalDoorbell | None = None) -> Receiver:
    return Receiver(database, SystemClock(), doorbell or LocalDoorbell(), ReceiverSettings(key="k"))


def stored(database: Database, *lbs: LoadBalancer) -> None:
    def insert(tx: sa.Connection) -> None:
        for lb in lbs:
            store(tx, lb)

    database.write(insert)


def status(database: Database, table: sa.Table, object_id: str) -> str:
    with database.read() as tx:
        return operating(tx, table, object_id)


def counters(database: Database, listener_id: str) -> Counters:
    with database.read() as tx:
        return statistics.of_listeners(tx, [listener_id])[listener_id]


def statements(database: Database) -> list[str]:
    """Collects what is sent to the database from now on."""
    sent: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith(("PRAGMA", "BEGIN", "SELECT 1")):
            sent.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    return sent


def test_a_member_that_fails_is_in_error_and_degrades_what_is_above_it(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    pool = lb.pools[0]
    down = report(lb)
    down = replace(
        down, pools=(replace(down.pools[0], members={pool.members[0].id: "DOWN", pool.members[1].id: "UP"}),)
    )
    receiver(database).handle([down], LATER)
    assert status(database, t.member, pool.members[0].id) == "ERROR"
    assert status(database, t.member, pool.members[1].id) == "ONLINE"
    assert status(database, t.pool, pool.id) == "DEGRADED"
    assert status(database, t.load_balancer, lb.id) == "DEGRADED"
    assert status(database, t.listener, lb.listeners[0].id) == "ONLINE"


def test_every_report_is_liveness_whatever_it_says(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    receiver(database).handle([report(lb, listeners={}, pools=())], LATER)
    with database.read() as tx:
        assert heard_at(tx, uuid(1001)) == LATER


def test_what_a_report_says_of_its_sender_is_kept(database: Database) -> None:
    lb = load_balancer(topology=Topology.ACTIVE_STANDBY)
    stored(database, lb)
    ear = receiver(database)
    ear.handle([report(lb, 0), report(lb, 1)], LATER)
    ear.handle([report(lb, 1, vrrp_state="MASTER", generation=7)], LATER + timedelta(seconds=3))
    with database.read() as tx:
        heard = amphorae.health(tx, lb.id)
    assert (heard[uuid(1001)].vrrp_state, heard[uuid(1001)].generation) == ("MASTER", 1)
    assert (heard[uuid(1002)].vrrp_state, heard[uuid(1002)].generation) == ("MASTER", 7)
    assert heard[uuid(1001)].at == LATER
    assert heard[uuid(1002)].at == LATER + timedelta(seconds=3)


def test_a_quiet_batch_is_one_select_and_one_update_however_large(database: Database) -> None:
    lbs = [load_balancer(number) for number in range(1, 101)]
    stored(database, *lbs)
    ear = receiver(database)
    ear.handle([report(lb) for lb in lbs], LATER)
    sent = statements(database)
    ear.handle([report(lb) for lb in lbs], LATER + timedelta(seconds=10))
    words = [one.split()[0] for one in sent]
    # The second update is of connections that are no longer active.
    assert words == ["SELECT", "UPDATE", "UPDATE"]


def test_three_receivers_hear_in_turn_and_the_last_word_counts(database: Database) -> None:
    """What one wrote, the next one's memory does not know: the database is the truth."""
    lb = load_balancer()
    stored(database, lb)
    member = lb.pools[0].members[0].id
    ears = [receiver(database) for _ in range(3)]
    now = LATER
    for turn, said in enumerate(["UP", "DOWN", "UP", "UP", "DOWN", "DOWN", "UP", "DOWN", "UP"]):
        now += timedelta(seconds=10)
        ears[turn % 3].handle([report(lb, member=said)], now)
        expected = "ONLINE" if said == "UP" else "ERROR"
        assert status(database, t.member, member) == expected, turn
    # One of them is gone; the others go on with what it left.
    for turn, said in enumerate(["DOWN", "UP", "DOWN"]):
        now += timedelta(seconds=10)
        ears[turn % 2].handle([report(lb, member=said)], now)
        assert status(database, t.member, member) == ("ONLINE" if said == "UP" else "ERROR")


def test_a_member_added_since_is_not_missing_yet(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    ear = receiver(database)
    ear.handle([report(lb)], LATER)
    new = replace(
        lb.pools[0].members[0],
        id=uuid(9),
        generation=2,
        provisioning_status=ProvisioningStatus.PENDING_CREATE,
        operating_status=OperatingStatus.OFFLINE,
    )
    pool = replace(lb.pools[0], members=(*lb.pools[0].members, new))
    after = replace(lb.bumped(), provisioning_status=ProvisioningStatus.PENDING_UPDATE).with_pool(pool)
    database.write(lambda tx: saving.save(tx, lb, after))
    old = replace(new, id=uuid(8), generation=1, operating_status=OperatingStatus.ONLINE)
    missing = after.with_pool(replace(pool, members=(*pool.members, old)))
    database.write(lambda tx: saving.save(tx, after, missing))
    ear.handle([report(lb)], LATER)
    # Absent from a report that is older than itself: nothing is known. Older than the report: missing.
    assert status(database, t.member, uuid(9)) == "OFFLINE"
    assert status(database, t.member, uuid(8)) == "OFFLINE"
    ear.handle([report(after, pools=report(after).pools)], LATER)
    assert status(database, t.member, uuid(9)) == "ONLINE"


def test_the_owner_of_the_vip_is_believed_over_the_standby(database: Database) -> None:
    lb = load_balancer(topology=Topology.ACTIVE_STANDBY)
    stored(database, lb)
    ear = receiver(database)
    member = lb.pools[0].members[0].id
    ear.handle([report(lb, 0)], LATER)
    ear.handle([report(lb, 1, member="DOWN")], LATER)
    assert status(database, t.member, member) == "ONLINE"
    long_after = LATER + timedelta(seconds=61)
    ear.handle([report(lb, 1, member="DOWN")], long_after)
    assert status(database, t.member, member) == "ERROR"  # the owner has fallen silent


def test_a_pair_that_lost_one_is_degraded_until_it_is_two_again(database: Database) -> None:
    lb = load_balancer(topology=Topology.ACTIVE_STANDBY)
    stored(database, lb)
    ear = receiver(database)
    ear.handle([report(lb, 0), report(lb, 1)], LATER)
    assert status(database, t.load_balancer, lb.id) == "ONLINE"
    failed = {"status": AmphoraStatus.ERROR}
    database.write(lambda tx: amphorae.update(tx, uuid(1002), LATER, **failed))
    ear.handle([report(lb, 0)], LATER + timedelta(seconds=3))
    assert status(database, t.load_balancer, lb.id) == "DEGRADED"
    back = {"status": AmphoraStatus.ALLOCATED}
    database.write(lambda tx: amphorae.update(tx, uuid(1002), LATER + timedelta(seconds=20), **back))
    ear.handle([report(lb, 0), report(lb, 1)], LATER + timedelta(seconds=23))
    assert status(database, t.load_balancer, lb.id) == "ONLINE"


def test_a_pair_is_degraded_when_one_has_long_been_silent(database: Database) -> None:
    lb = load_balancer(topology=Topology.ACTIVE_STANDBY)
    stored(database, lb)
    ear = receiver(database)
    ear.handle([report(lb, 0), report(lb, 1)], LATER)
    ear.handle([report(lb, 0)], LATER + timedelta(seconds=59))
    assert status(database, t.load_balancer, lb.id) == "ONLINE"
    ear.handle([report(lb, 0)], LATER + timedelta(seconds=61))
    assert status(database, t.load_balancer, lb.id) == "DEGRADED"


def test_listeners_that_differ_twice_are_sent_again_once(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    doorbell = LocalDoorbell()
    ear = receiver(database, doorbell)
    wrong = report(lb, listeners={}, pools=())
    assert ear.handle([wrong], LATER).repairs == []
    assert ear.handle([wrong], LATER + timedelta(seconds=3)).repairs == [uuid(1001)]
    with database.read() as tx:
        assert tx.execute(sa.select(t.amphora.c.config_digest)).scalar() is None
        assert tx.execute(sa.select(t.work.c.load_balancer_id)).scalars().all() == [lb.id]
    assert doorbell.wait(0)
    # Once more only when there was time for it to have worked.
    again = {"config_digest": "digest"}
    database.write(lambda tx: amphorae.update(tx, uuid(1001), LATER, **again))
    assert ear.handle([wrong], LATER + timedelta(seconds=33)).repairs == []
    assert ear.handle([wrong], LATER + timedelta(seconds=64)).repairs == [uuid(1001)]


def test_a_sender_that_should_not_exist_changes_nothing(database: Database) -> None:
    lb = load_balancer()
    deleted = amphora(lb, status=AmphoraStatus.DELETED)
    database.write(lambda tx: store(tx, lb, fleet=(deleted,)))
    ear = receiver(database)
    handled = ear.handle([report(lb, member="DOWN"), Heartbeat(amphora_id="nobody")], LATER)
    assert handled.zombies == [uuid(1001), "nobody"]
    assert set(ear.zombies) == {uuid(1001), "nobody"}
    assert status(database, t.member, lb.pools[0].members[0].id) == "ONLINE"
    with database.read() as tx:
        assert heard_at(tx, uuid(1001)) is None
        assert heard_at(tx, "nobody") is None


def test_who_is_marked_failed_is_heard_but_not_believed(database: Database) -> None:
    lb = load_balancer()
    database.write(lambda tx: store(tx, lb, fleet=(amphora(lb, status=AmphoraStatus.ERROR),)))
    receiver(database).handle([report(lb, member="DOWN")], LATER)
    assert status(database, t.member, lb.pools[0].members[0].id) == "ONLINE"
    with database.read() as tx:
        assert heard_at(tx, uuid(1001)) == LATER


def test_differences_are_added_and_active_connections_replaced(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    listener = lb.listeners[0].id
    ear = receiver(database)

    def said(**stats: int) -> Heartbeat:
        return report(lb, listeners={listener: ListenerReport(status="OPEN", **stats)})

    ear.handle([said(rx=10, tx=20, conns=5, totconns=7, ereq=1)], LATER)
    ear.handle([said(rx=1, tx=2, conns=3, totconns=1), said(rx=1, conns=2)], LATER)
    assert counters(database, listener) == Counters(
        bytes_in=12, bytes_out=22, active_connections=2, total_connections=8, request_errors=1
    )
    ear.handle([said()], LATER)
    assert counters(database, listener).active_connections == 0


def test_sums_of_old_agents_replace_what_was_known(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    listener = lb.listeners[0].id
    ear = receiver(database)
    for bytes_in in (100, 150):
        stats = {listener: ListenerReport(status="OPEN", rx=bytes_in)}
        ear.handle([report(lb, version=2, listeners=stats)], LATER)
    assert counters(database, listener).bytes_in == 150


def test_counters_stop_at_what_a_column_holds(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    listener = lb.listeners[0].id
    ear = receiver(database)
    for _ in range(2):
        stats = {listener: ListenerReport(status="OPEN", rx=2**63 - 1, conns=2**40)}
        ear.handle([report(lb, listeners=stats)], LATER)
    assert counters(database, listener).bytes_in == MAX_TOTAL
    assert counters(database, listener).active_connections == 2**31 - 1


def test_listeners_of_somebody_else_are_not_counted(database: Database) -> None:
    mine, other = load_balancer(1), load_balancer(2)
    stored(database, mine, other)
    stats = {
        other.listeners[0].id: ListenerReport(status="FULL", rx=5),
        "invented": ListenerReport(status="OPEN", rx=5),
    }
    receiver(database).handle([report(mine, listeners=stats)], LATER)
    with database.read() as tx:
        assert tx.execute(sa.select(t.listener_statistics)).all() == []
    assert status(database, t.listener, other.listeners[0].id) == "ONLINE"


def test_totals_survive_the_amphora_but_its_connections_do_not(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    listener = lb.listeners[0].id
    stats = {listener: ListenerReport(status="OPEN", rx=5, conns=3)}
    receiver(database).handle([report(lb, listeners=stats)], LATER)
    database.write(lambda tx: amphorae.delete(tx, uuid(1001), LATER))
    assert counters(database, listener) == Counters(bytes_in=5)
    with database.read() as tx:
        assert statistics.of_load_balancer(tx, lb.id) == Counters(bytes_in=5)


def test_counters_of_listeners_that_are_gone_are_forgotten(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    kept = statistics.Counted(lb.listeners[0].id, uuid(1001), Counters(bytes_in=1))
    lost = statistics.Counted(uuid(77), uuid(1001), Counters(bytes_in=1))
    database.write(lambda tx: statistics.add(tx, [kept, lost]))
    assert database.write(statistics.forget_gone) == 1
    assert counters(database, kept.listener_id).bytes_in == 1


def test_receivers_at_once_count_every_byte_and_leave_one_truth(database: Database) -> None:
    """Deadlocks included: a transaction that loses is run again whole."""
    lbs = [load_balancer(number) for number in range(1, 21)]
    stored(database, *lbs)
    rounds, ears = 15, 3
    errors: list[BaseException] = []

    def hear(seed: int) -> None:
        ear = receiver(database)
        order = lbs if seed % 2 else list(reversed(lbs))
        try:
            for turn in range(rounds):
                said = "DOWN" if (turn + seed) % 2 else "UP"
                stats = {"status": "OPEN", "rx": 1}
                batch = [
                    report(lb, member=said, listeners={lb.listeners[0].id: ListenerReport(**stats)})  # type: ignore[arg-type]
                    for lb in order
                ]
                ear.handle(batch, LATER + timedelta(seconds=turn))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=hear, args=(seed,)) for seed in range(ears)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert errors == []
    for lb in lbs:
        assert counters(database, lb.listeners[0].id).bytes_in == rounds * ears
    # Whatever came last, the next report is the truth.
    receiver(database).handle([report(lb) for lb in lbs], LATER + timedelta(minutes=1))
    for lb in lbs:
        assert status(database, t.member, lb.pools[0].members[0].id) == "ONLINE"
        assert status(database, t.load_balancer, lb.id) == "ONLINE"


def test_statuses_written_by_others_are_seen_at_once(database: Database) -> None:
    lb = load_balancer()
    stored(database, lb)
    ear = receiver(database)
    ear.handle([report(lb)], LATER)
    changed = {("loadbalancer", lb.id): OperatingStatus.OFFLINE}
    database.write(lambda tx: statuses.write_operating(tx, changed))
    ear.handle([report(lb)], LATER)
    assert status(database, t.load_balancer, lb.id) == "ONLINE"
