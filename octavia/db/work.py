# SPDX-License-Identifier: Apache-2.0
"""The work queue: a row a load balancer, leased by one worker at a time.

The row is written in the transaction of the change it announces, so no worker ever looks for a
change that is not there yet. A lease comes with a fencing number that rises with every lease; each
later write of the worker goes through :func:`guard`, which refuses a number that is no longer the
newest. Whoever changes a row of ``work`` holds the lock of the load balancer's row first.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.upsert import Incoming, upsert
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
    row = {"load_balancer_id": load_balancer_id, "due_at": now, "attempts": 0, "wanted_since": now}
    tx.execute(_announce(tx.dialect.name, new_deadline), row)


@cache
def _announce(dialect: str, new_deadline: bool) -> sa.Executable:
    def again(incoming: Incoming) -> dict[str, sa.ColumnElement[Any]]:
        values = {name: incoming(name) for name in ("due_at", "attempts")}
        if new_deadline:
            values["wanted_since"] = incoming("wanted_since")
        return values | {"announced": t.work.c.announced + 1}

    return upsert(dialect, t.work, again)


def due(tx: sa.Connection, now: datetime, limit: int = 10) -> list[str]:
    """Load balancers that may be leased now, the longest waiting first."""
    return list(tx.execute(_DUE, {"now": now, "most": limit}).scalars())


def next_due(tx: sa.Connection, now: datetime) -> datetime | None:
    """When the next row can be leased; None when the queue is empty."""
    found: datetime | None = tx.execute(_NEXT_DUE).scalar()
    return found


# Built once: building a statement costs more than running it.
_NOW: Final[sa.BindParameter[datetime]] = sa.bindparam("now", type_=t.Moment)
_READY: Final = sa.case((t.work.c.lease_until > t.work.c.due_at, t.work.c.lease_until), else_=t.work.c.due_at)
_MINE: Final = t.work.c.load_balancer_id == sa.bindparam("lb_id")
_DUE_NOW: Final = sa.and_(
    t.work.c.due_at <= _NOW, sa.or_(t.work.c.lease_until.is_(None), t.work.c.lease_until < _NOW)
)
_DUE: Final = (
    sa.select(t.work.c.load_balancer_id)
    .where(_DUE_NOW)
    .order_by(t.work.c.due_at)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_NEXT_DUE: Final = sa.select(sa.func.min(_READY, type_=t.Moment))
_QUEUED: Final = sa.select(t.work).where(_MINE)
_LEASE: Final = sa.update(t.work).where(_MINE, _DUE_NOW)
_CHANGE: Final = sa.update(t.work).where(_MINE)
_FREE: Final = sa.update(t.work).values(lease_owner=None, lease_until=None)
_FREE_MINE: Final = _FREE.where(_MINE)
_UNHEARD: Final = t.work.c.announced == sa.bindparam("heard")
_COME_AGAIN: Final = _FREE.where(_MINE, _UNHEARD).values(
    due_at=sa.bindparam("again_at", type_=t.Moment), attempts=sa.bindparam("tried", type_=sa.Integer)
)
_FORGET: Final = sa.delete(t.work).where(_MINE)
_FINISH: Final = _FORGET.where(_UNHEARD)
_LOCK: Final = (
    sa.select(t.load_balancer.c.fence, t.load_balancer.c.generation)
    .where(t.load_balancer.c.id == sa.bindparam("lb_id"))
    .with_for_update()
)
_FENCE: Final = sa.update(t.load_balancer).where(t.load_balancer.c.id == sa.bindparam("lb_id"))


def take(
    tx: sa.Connection, load_balancer_id: str, owner: str, now: datetime, duration: timedelta
) -> Lease | None:
    """Lease a load balancer; None if somebody was faster."""
    mine = {"lb_id": load_balancer_id}
    locked = tx.execute(_LOCK, mine).one_or_none()
    until = now + duration
    taken = tx.execute(_LEASE, mine | {"now": now, "lease_owner": owner, "lease_until": until})
    if taken.rowcount != 1:
        return None
    if locked is None:
        # The load balancer was purged under its work row: nothing is left to do.
        tx.execute(_FORGET, mine)
        return None
    fence = locked.fence + 1
    tx.execute(_FENCE, mine | {"fence": fence})
    row = tx.execute(_QUEUED, mine).one()
    return Lease(load_balancer_id, fence, owner, until, row.attempts, row.wanted_since, row.announced)


def raise_fence(tx: sa.Connection, lease: Lease, above: int) -> Lease:
    """A lease whose number is above one that an agent has seen.

    After a restore of an older database the agents' numbers are ahead of ours.
    """
    guard(tx, lease)
    tx.execute(_FENCE, {"lb_id": lease.load_balancer_id, "fence": above + 1})
    return replace(lease, fence=above + 1)


def renew(tx: sa.Connection, lease: Lease, now: datetime, duration: timedelta) -> Lease:
    """The same lease for longer.

    :raises Fenced: it is another's by now.
    """
    guard(tx, lease)
    until = now + duration
    tx.execute(_CHANGE, {"lb_id": lease.load_balancer_id, "lease_until": until})
    return replace(lease, until=until)


def guard(tx: sa.Connection, lease: Lease) -> int:
    """Lock the load balancer for this transaction, if the lease still is the newest.

    :returns: the load balancer's present generation.
    :raises Fenced: another worker has leased it since, or it is gone.
    """
    row = tx.execute(_LOCK, {"lb_id": lease.load_balancer_id}).one_or_none()
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
    mine = {"lb_id": lease.load_balancer_id}
    again = mine | {"heard": lease.announced, "again_at": due_at, "tried": attempts}
    if tx.execute(_COME_AGAIN, again).rowcount == 0:
        tx.execute(_FREE_MINE, mine)


def finish(tx: sa.Connection, lease: Lease) -> bool:
    """Nothing is left to do for this load balancer; under :func:`guard`.

    :returns: False if something was announced since the lease began: the row stays, due as announced.
        Not every announcement bumps the generation: a dead amphora and a repair do not.
    """
    mine = {"lb_id": lease.load_balancer_id}
    if tx.execute(_FINISH, mine | {"heard": lease.announced}).rowcount == 0:
        tx.execute(_FREE_MINE, mine)
        return False
    return True


def free_all(tx: sa.Connection) -> None:
    """Every lease is over: whoever held one is known to be dead. Should he not be, his fence refuses him."""
    tx.execute(_FREE)
