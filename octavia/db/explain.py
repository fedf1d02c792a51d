# SPDX-License-Identifier: Apache-2.0
"""Why a load balancer is as it is: what it waits for, since when, its amphorae, what happened."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from octavia.db import amphorae, events
from octavia.db import tables as t
from octavia.db.amphorae import Heard
from octavia.db.tree import loading
from octavia.domain.errors import NotFound
from octavia.domain.tree import Amphora, LoadBalancer


@dataclass(frozen=True, slots=True)
class Standing:
    """A reason in force, as it is read.

    :param since: naive UTC, like ``next_try``.
    :param attempts: how often it was met since then.
    """

    object_id: str
    code: str
    sentence: str
    since: datetime
    attempts: int
    next_try: datetime | None


@dataclass(frozen=True, slots=True)
class Queued:
    """The load balancer's row in the work queue."""

    due_at: datetime
    attempts: int
    wanted_since: datetime
    lease_owner: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that there is to say."""

    load_balancer: LoadBalancer
    work: Queued | None
    reasons: tuple[Standing, ...]
    amphorae: tuple[Amphora, ...]
    heard: dict[str, Heard]
    events: tuple[events.Event, ...]


def reasons(tx: sa.Connection, load_balancer_id: str) -> tuple[Standing, ...]:
    """The reasons in force of a load balancer and everything below it, the oldest first."""
    return tuple(_standing(row) for row in tx.execute(_REASONS, {"lb_id": load_balancer_id}))


def reason_of(tx: sa.Connection, object_id: str) -> Standing | None:
    """The reason in force of one object."""
    row = tx.execute(_REASON, {"id": object_id}).one_or_none()
    return _standing(row) if row else None


_REASON: Final = sa.select(t.status_reason).where(t.status_reason.c.object_id == sa.bindparam("id"))
_REASONS: Final = (
    sa.select(t.status_reason)
    .where(t.status_reason.c.load_balancer_id == sa.bindparam("lb_id"))
    .order_by(t.status_reason.c.since, t.status_reason.c.object_id)
)


def _standing(row: sa.Row[tuple[object, ...]]) -> Standing:
    return Standing(row.object_id, row.code, row.sentence, row.since, row.attempts, row.next_try)


def explain(tx: sa.Connection, name_or_id: str) -> Explanation:
    """Everything about the load balancer of that id, or of that name if it is the only one.

    :raises NotFound: there is none, or several of that name.
    """
    table = t.load_balancer
    found = tx.execute(
        sa.select(table.c.id).where(
            sa.or_(table.c.id == name_or_id, table.c.name == name_or_id),
            table.c.provisioning_status != "DELETED",
        )
    )
    ids = list(found.scalars())
    lb = loading.load(tx, ids[0]) if len(ids) == 1 else None
    if lb is None:
        raise NotFound("Load Balancer", name_or_id)
    queued = tx.execute(sa.select(t.work).where(t.work.c.load_balancer_id == lb.id)).one_or_none()
    return Explanation(
        load_balancer=lb,
        work=Queued(queued.due_at, queued.attempts, queued.wanted_since, queued.lease_owner)
        if queued
        else None,
        reasons=reasons(tx, lb.id),
        amphorae=amphorae.of_load_balancer(tx, lb.id),
        heard=amphorae.health(tx, lb.id),
        events=tuple(events.last(tx, lb.id)),
    )
