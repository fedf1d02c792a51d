# SPDX-License-Identifier: Apache-2.0
"""Why objects are not as they were asked for, written beside their statuses.

Reading them is not here: see :mod:`octavia.db.explain`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t

REPLACING: Final = "REPLACING"
"""The code of the reason that stands while an amphora is being replaced."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is not as asked: a code for programs, a sentence for people."""

    code: str
    sentence: str


def explain(
    tx: sa.Connection,
    object_id: str,
    load_balancer_id: str,
    reason: Reason,
    now: datetime,
    next_try: datetime | None = None,
) -> None:
    """Remember why an object is not as asked; the same reason again counts an attempt."""
    table = t.status_reason
    values = {"code": reason.code, "sentence": reason.sentence, "next_try": next_try}
    same = sa.case((table.c.code == reason.code, table.c.since), else_=now)
    again = sa.case((table.c.code == reason.code, table.c.attempts + 1), else_=1)
    # "since" and "attempts" come first: MySQL evaluates assignments from left to right.
    update = (
        sa.update(table)
        .where(table.c.object_id == object_id)
        .ordered_values(
            (table.c.since, same), (table.c.attempts, again), *((table.c[k], v) for k, v in values.items())
        )
    )
    if tx.execute(update).rowcount == 0:
        tx.execute(
            sa.insert(table).values(
                object_id=object_id,
                load_balancer_id=load_balancer_id,
                since=now,
                attempts=1,
                **values,
            )
        )


def next_try(tx: sa.Connection, object_id: str, at: datetime) -> None:
    """The reason in force stays; say when it is tried again."""
    table = t.status_reason
    tx.execute(sa.update(table).where(table.c.object_id == object_id).values(next_try=at))


def clear(tx: sa.Connection, load_balancer_id: str, keep: Collection[str] = ()) -> None:
    """What was wrong is no more, except with the objects to ``keep``."""
    query = sa.delete(t.status_reason).where(t.status_reason.c.load_balancer_id == load_balancer_id)
    if keep:
        query = query.where(t.status_reason.c.object_id.not_in(keep))
    tx.execute(query)
