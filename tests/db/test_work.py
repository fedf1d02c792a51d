# SPDX-License-Identifier: Apache-2.0
"""The work queue: one lease at a time, nothing lost, nothing served twice for nothing."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db import work
from octavia.db.engine import Database
from octavia.db.tree import loading, saving
from octavia.db.work import Lease
from octavia.domain.errors import Fenced
from tests.fleet import NOW, load_balancer, uuid

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def announced(database: Database) -> Callable[..., None]:
    """Makes load balancers due, each a second after the one before."""

    def make(*numbers: int, at: datetime = NOW) -> None:
        def change(tx: sa.Connection) -> None:
            for index, number in enumerate(numbers):
                saving.insert(tx, load_balancer(number, listeners=0))
                work.announce(tx, uuid(number * 1000), at + index * SECOND)

        database.write(change)

    return make


LB = uuid(1000)


def take(database: Database, owner: str = "w", now: datetime = NOW, lb: str = LB) -> Lease | None:
    return database.write(lambda tx: work.take(tx, lb, owner, now, MINUTE))


def taken(database: Database, owner: str = "w", now: datetime = NOW, lb: str = LB) -> Lease:
    lease = take(database, owner, now, lb)
    assert lease is not None
    return lease


def due(database: Database, now: datetime, limit: int = 10) -> list[str]:
    with database.read() as tx:
        return work.due(tx, now, limit)


def next_due(database: Database) -> datetime | None:
    with database.read() as tx:
        return work.next_due(tx, NOW)


def announce(database: Database, now: datetime, *, new_deadline: bool = False) -> None:
    database.write(lambda tx: work.announce(tx, LB, now, new_deadline=new_deadline))


def put_back(database: Database, lease: Lease, due_at: datetime, *, further: bool = False) -> None:
    def change(tx: sa.Connection) -> None:
        work.guard(tx, lease)
        work.put_back(tx, lease, due_at, further=further)

    database.write(change)


def finish(database: Database, lease: Lease) -> bool:
    def change(tx: sa.Connection) -> bool:
        work.guard(tx, lease)
        return work.finish(tx, lease)

    return database.write(change)


def test_the_longest_waiting_comes_first(database: Database, announced: Callable[..., None]) -> None:
    announced(3, 1, 2)
    assert due(database, NOW - SECOND) == []
    assert due(database, NOW + SECOND) == [uuid(3000), uuid(1000)]
    assert due(database, NOW + MINUTE) == [uuid(3000), uuid(1000), uuid(2000)]
    assert due(database, NOW + MINUTE, limit=1) == [uuid(3000)]


def test_what_is_leased_is_nobody_elses_until_its_time_is_over(
    database: Database, announced: Callable[..., None]
) -> None:
    announced(1)
    lease = taken(database, "a")
    assert lease.until == NOW + MINUTE
    assert due(database, NOW + SECOND) == []
    assert take(database, "b", NOW + SECOND) is None
    assert next_due(database) == NOW + MINUTE
    # Its owner died.
    assert due(database, NOW + MINUTE + SECOND) == [LB]
    assert taken(database, "b", NOW + MINUTE + SECOND).fence > lease.fence


def test_a_renewed_lease_lasts_longer(database: Database, announced: Callable[..., None]) -> None:
    announced(1)
    lease = taken(database)
    renewed = database.write(lambda tx: work.renew(tx, lease, NOW + 50 * SECOND, MINUTE))
    assert renewed.until == NOW + 110 * SECOND
    assert renewed.fence == lease.fence
    assert take(database, "b", NOW + 70 * SECOND) is None


def test_a_lost_lease_can_neither_renew_nor_finish_nor_put_back(
    database: Database, announced: Callable[..., None]
) -> None:
    announced(1)
    lost = taken(database, "a")
    taken(database, "b", NOW + 2 * MINUTE)
    for use in (
        lambda: database.write(lambda tx: work.renew(tx, lost, NOW, MINUTE)),
        lambda: database.write(lambda tx: work.raise_fence(tx, lost, 100)),
        lambda: finish(database, lost),
        lambda: put_back(database, lost, NOW),
    ):
        with pytest.raises(Fenced):
            use()
    assert take(database, "c", NOW + 2 * MINUTE) is None


def test_what_is_finished_is_gone(database: Database, announced: Callable[..., None]) -> None:
    announced(1)
    assert finish(database, taken(database))
    assert due(database, NOW + timedelta(days=1)) == []
    assert next_due(database) is None


def test_what_is_announced_during_a_pass_is_not_taken_for_done(
    database: Database, announced: Callable[..., None]
) -> None:
    """A dead amphora bumps no generation: only the announcement tells that there is more to do."""
    announced(1)
    lease = taken(database)
    announce(database, NOW)  # within the same tick of the clock
    assert not finish(database, lease)
    assert due(database, NOW) == [LB]
    assert finish(database, taken(database, "next"))


def test_what_is_announced_during_a_pass_does_not_wait_for_its_next_try(
    database: Database, announced: Callable[..., None]
) -> None:
    announced(1)
    lease = taken(database)
    announce(database, NOW + SECOND)
    put_back(database, lease, NOW + timedelta(hours=1))
    assert due(database, NOW + SECOND) == [LB]


def test_attempts_count_until_a_pass_gets_further(database: Database, announced: Callable[..., None]) -> None:
    announced(1)
    now, attempts = NOW, []
    for further in (False, False, True, False):
        lease = taken(database, now=now)
        attempts.append(lease.attempts)
        now += MINUTE
        put_back(database, lease, now, further=further)
    assert attempts == [0, 1, 2, 0]
    assert taken(database, now=now).attempts == 1


def test_a_write_makes_it_due_at_once_and_keeps_the_oldest_deadline(
    database: Database, announced: Callable[..., None]
) -> None:
    announced(1)
    put_back(database, taken(database), NOW + timedelta(hours=1))
    announce(database, NOW + MINUTE)
    lease = taken(database, now=NOW + MINUTE)
    assert (lease.attempts, lease.wanted_since) == (0, NOW)
    put_back(database, lease, NOW + timedelta(hours=1))
    announce(database, NOW + 2 * MINUTE, new_deadline=True)
    assert taken(database, now=NOW + 2 * MINUTE).wanted_since == NOW + 2 * MINUTE


def test_fences_rise_above_what_an_agent_has_seen(database: Database, announced: Callable[..., None]) -> None:
    announced(1)
    lease = taken(database)
    announce(database, NOW)
    raised = database.write(lambda tx: work.raise_fence(tx, lease, 41))
    assert raised.fence == 42
    with pytest.raises(Fenced):
        finish(database, lease)
    assert not finish(database, raised), "what was announced before is still to be done"
    assert taken(database, "next").fence == 43


def test_fences_survive_the_row_of_the_queue(database: Database, announced: Callable[..., None]) -> None:
    announced(1)
    first = taken(database)
    finish(database, first)
    announce(database, NOW)
    assert taken(database).fence > first.fence


def test_work_of_a_load_balancer_that_was_purged_is_dropped(database: Database) -> None:
    announce(database, NOW)
    assert take(database) is None
    assert due(database, NOW) == []


def test_many_workers_share_the_work_and_never_hold_the_same(
    database: Database, announced: Callable[..., None]
) -> None:
    """Each load balancer is served exactly as often as it was announced, by one worker at a time."""
    lbs = list(range(1, 11))
    announced(*lbs)
    rounds = 3
    holding: dict[str, str] = {}
    served: dict[str, int] = dict.fromkeys((uuid(one * 1000) for one in lbs), 0)
    clashes: list[str] = []
    guard = threading.Lock()
    later = NOW + MINUTE

    def serve(owner: str) -> None:
        while any(count < rounds for count in served.values()):
            with database.read() as tx:
                found = work.due(tx, later)
            for lb in found:
                lease = take(database, owner, later, lb)
                if lease is None:
                    continue
                with guard:
                    if lb in holding:
                        clashes.append(f"{owner} and {holding[lb]} hold {lb}")
                    holding[lb] = owner
                    served[lb] += 1
                    again = served[lb] < rounds
                with guard:
                    del holding[lb]

                def let_go(tx: sa.Connection, lease: Lease = lease, again: bool = again) -> None:
                    work.guard(tx, lease)
                    if again:
                        work.put_back(tx, lease, later, further=True)
                    else:
                        work.finish(tx, lease)

                database.write(let_go)

    workers = [threading.Thread(target=serve, args=(f"w{number}",)) for number in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
    assert clashes == []
    assert set(served.values()) == {rounds}
    assert due(database, later) == []


def test_announcing_and_finishing_at_once_loses_nothing(
    database: Database, announced: Callable[..., None]
) -> None:
    """Whatever the order, after the last announcement a pass begins."""
    announced(1)
    stop = threading.Event()
    passes_begun: list[int] = []
    announcements = 60

    def work_on() -> None:
        while not stop.is_set() or due(database, NOW):
            lease = take(database)
            if lease is not None:
                with database.read() as tx:
                    seen = tx.execute(sa.select(t.load_balancer.c.generation)).scalar_one()
                passes_begun.append(seen)
                finish(database, lease)

    worker = threading.Thread(target=work_on)
    worker.start()
    for number in range(2, announcements + 2):

        def write(tx: sa.Connection, number: int = number) -> None:
            loading.lock(tx, LB)
            tx.execute(sa.update(t.load_balancer).values(generation=number))
            work.announce(tx, LB, NOW)

        database.write(write)
    stop.set()
    worker.join(60)
    assert passes_begun[-1] == announcements + 1
