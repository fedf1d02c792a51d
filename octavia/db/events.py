# SPDX-License-Identifier: Apache-2.0
"""What happened to a load balancer, in sentences, for whoever asks why."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t

_KEPT = 50


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; ``at`` is naive UTC."""

    at: datetime
    text: str


def record(tx: sa.Connection, load_balancer_id: str, now: datetime, text: str) -> None:
    """Remember a sentence."""
    tx.execute(_RECORD, {"load_balancer_id": load_balancer_id, "at": now, "text": text})


_RECORD: Final = sa.insert(t.event)


def last(tx: sa.Connection, load_balancer_id: str, count: int = 10) -> list[Event]:
    """The newest events, the oldest of them first."""
    query = (
        sa.select(t.event.c.at, t.event.c.text)
        .where(t.event.c.load_balancer_id == load_balancer_id)
        .order_by(t.event.c.id.desc())
        .limit(count)
    )
    return [Event(row.at, row.text) for row in reversed(tx.execute(query).all())]


def trim(tx: sa.Connection) -> None:
    """Keep the newest few of each load balancer."""
    newer = t.event.alias()
    crowded = (
        sa.select(newer.c.load_balancer_id).group_by(newer.c.load_balancer_id).having(sa.func.count() > _KEPT)
    )
    for load_balancer_id in list(tx.execute(crowded).scalars()):
        oldest_kept = (
            sa.select(t.event.c.id)
            .where(t.event.c.load_balancer_id == load_balancer_id)
            .order_by(t.event.c.id.desc())
            .offset(_KEPT - 1)
            .limit(1)
        )
        boundary = tx.execute(oldest_kept).scalar()
        tx.execute(
            sa.delete(t.event).where(t.event.c.load_balancer_id == load_balancer_id, t.event.c.id < boundary)
        )
