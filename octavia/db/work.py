# SPDX-License-Identifier: Apache-2.0
"""The work queue: a row a load balancer, leased by one worker at a time.

The row is written in the transaction of the change it announces, so no worker ever looks for a
change that is not there yet. A lease comes with a fencing number that rises with every lease; each
later write of the worker goes through :func:`guard`, which refuses a number that is no longer the
newest. Whoever changes a row of ``work`` holds the lock of the load balancer's row first.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.domain.errors import Fenced


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act on one load balancer until ``until`` (naive UTC).

    :param attempts: passes since the last one that got further.
    :param wanted_since: time of the oldest write that is not live.
    :param announced: announcements until the lease began; a later one is not served by it.
    """

    load_balancer_id: str
    fence: int
    owner: str
    until: datetime
    attempts: int
    wanted_since: datetime
    announced: int = 0


def announce(tx: sa.Connection, load_balancer_id: str, now: datetime, *, new_deadline: bool = False) -> None:
    """Make a load balancer due now; in the same transaction as what changed.

    :param new_deadline: start the deadline anew, as a write to something in ERROR does.
    """
    values: dict[str, object] = {"due_at": now, "attempts": 0, "announced": t.work.c.announced + 1}
    if new_deadline:
        values["wanted_since"] = now
    mine = t.work.c.load_balancer_id == load_balancer_id
    if tx.execute(sa.update(t.work).where(mine).values(values)).rowcount == 0:
        tx.execute(
            sa.insert(t.work).values(
                load_balancer_id=load_balancer_id, due_at=now, attempts=0, wanted_since=now
            )
        )


def due(tx: sa.Connection, now: datetime, limit: int = 10) -> list[str]:
    """Load balancers that may be leased now, the longest waiting first."""
    query = (
        sa.select(t.work.c.load_balancer_id)
        .where(t.work.c.due_at <= now, _free(now))
        .order_by(t.work.c.due_at)
        .limit(limit)
    )
    return list(tx.execute(query).scalars())


def next_due(tx: sa.Connection, now: datetime) -> datetime | None:
    """When the next row can be leased; None when the queue is empty."""
    ready = sa.case((t.work.c.lease_until > t.work.c.due_at, t.work.c.lease_until), else_=t.work.c.due_at)
    found: datetime | None = tx.execute(sa.select(sa.func.min(ready, type_=t.Moment))).scalar()
    return found


def take(
    tx: sa.Connection, load_balancer_id: str, owner: str, now: datetime, duration: timedelta
) -> Lease | None:
    """Lease a load balancer; None if somebody was faster."""
    locked = (
        sa.select(t.load_balancer.c.fence).where(t.load_balancer.c.id == load_balancer_id).with_for_update()
    )
    fence = tx.execute(locked).scalar()
    mine = t.work.c.load_balancer_id == load_balancer_id
    until = now + duration
    taken = tx.execute(
        sa.update(t.work)
        .where(mine, t.work.c.due_at <= now, _free(now))
        .values(lease_owner=owner, lease_until=until)
    )
    if taken.rowcount != 1:
        return None
    if fence is None:
        # The load balancer was purged under its work row: nothing is left to do.
        tx.execute(sa.delete(t.work).where(mine))
        return None
    tx.execute(
        sa.update(t.load_balancer).where(t.load_balancer.c.id == load_balancer_id).values(fence=fence + 1)
    )
    row = tx.execute(sa.select(t.work).where(mine)).one()
    return Lease(load_balancer_id, fence + 1, owner, until, row.attempts, row.wanted_since, row.announced)


def raise_fence(tx: sa.Connection, lease: Lease, above: int) -> Lease:
    """A lease whose number is above one that an agent has seen.

    After a restore of an older database the agents' numbers are ahead of ours.
    """
    guard(tx, lease)
    mine = t.load_balancer.c.id == lease.load_balancer_id
    tx.execute(sa.update(t.load_balancer).where(mine).values(fence=above + 1))
    return replace(lease, fence=above + 1)


def renew(tx: sa.Connection, lease: Lease, now: datetime, duration: timedelta) -> Lease:
    """The same lease for longer.

    :raises Fenced: it is another's by now.
    """
    guard(tx, lease)
    until = now + duration
    tx.execute(
        sa.update(t.work).where(t.work.c.load_balancer_id == lease.load_balancer_id).values(lease_until=until)
    )
    return replace(lease, until=until)


def guard(tx: sa.Connection, lease: Lease) -> int:
    """Lock the load balancer for this transaction, if the lease still is the newest.

    :returns: the load balancer's present generation.
    :raises Fenced: another worker has leased it since, or it is gone.
    """
    query = (
        sa.select(t.load_balancer.c.fence, t.load_balancer.c.generation)
        .where(t.load_balancer.c.id == lease.load_balancer_id)
        .with_for_update()
    )
    row = tx.execute(query).one_or_none()
    if row is None or row.fence != lease.fence:
        highest = row.fence if row else lease.fence
        raise Fenced(f"Another worker leased load balancer {lease.load_balancer_id}", highest=highest)
    return int(row.generation)


def put_back(tx: sa.Connection, lease: Lease, due_at: datetime, *, further: bool) -> None:
    """Give the lease back and come again at ``due_at``; under :func:`guard`.

    What was announced since the lease began is due as announced.

    :param further: this pass got further, so the back-off starts anew.
    """
    attempts = 0 if further else lease.attempts + 1
    mine = t.work.c.load_balancer_id == lease.load_balancer_id
    unheard = t.work.c.announced == lease.announced
    free = sa.update(t.work).values(lease_owner=None, lease_until=None)
    if tx.execute(free.where(mine, unheard).values(due_at=due_at, attempts=attempts)).rowcount == 0:
        tx.execute(free.where(mine))


def finish(tx: sa.Connection, lease: Lease) -> bool:
    """Nothing is left to do for this load balancer; under :func:`guard`.

    :returns: False if something was announced since the lease began: the row stays, due as announced.
        Not every announcement bumps the generation: a dead amphora and a repair do not.
    """
    mine = t.work.c.load_balancer_id == lease.load_balancer_id
    done = tx.execute(sa.delete(t.work).where(mine, t.work.c.announced == lease.announced))
    if done.rowcount == 0:
        tx.execute(sa.update(t.work).where(mine).values(lease_owner=None, lease_until=None))
        return False
    return True


def free_all(tx: sa.Connection) -> None:
    """Every lease is over: whoever held one is known to be dead. Should he not be, his fence refuses him."""
    tx.execute(sa.update(t.work).values(lease_owner=None, lease_until=None))


def _free(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(t.work.c.lease_until.is_(None), t.work.c.lease_until < now)
