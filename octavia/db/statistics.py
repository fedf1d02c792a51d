# SPDX-License-Identifier: Apache-2.0
"""Traffic counters: a row a listener and amphora, so that totals survive the amphora.

Contract: heartbeat.md section 4.2. Turning reports into counters is not here: see
:mod:`octavia.health.statistics`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.upsert import Incoming, upsert
from octavia.domain.statuses import AmphoraStatus

MAX_TOTAL: Final = 2**63 - 1  # BIGINT
MAX_ACTIVE: Final = 2**31 - 1  # INT


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Bytes and connections; ``active_connections`` is of the moment, the others are sums."""

    bytes_in: int = 0
    bytes_out: int = 0
    active_connections: int = 0
    total_connections: int = 0
    request_errors: int = 0

    def __add__(self, other: "Counters") -> "Counters":
        """The sum, each within what a column holds."""
        return Counters(
            **{name: bounded(name, getattr(self, name) + getattr(other, name)) for name in _NAMES}
        )


NONE: Final = Counters()
_TOTALS: Final = ("bytes_in", "bytes_out", "total_connections", "request_errors")
_ACTIVE: Final = "active_connections"
_NAMES: Final = (*_TOTALS, _ACTIVE)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one amphora counted for one listener."""

    listener_id: str
    amphora_id: str
    counters: Counters


def bounded(name: str, value: int) -> int:
    """The value that a column takes: from 0 to the largest that fits."""
    return max(0, min(value, MAX_ACTIVE if name == _ACTIVE else MAX_TOTAL))


def add(tx: sa.Connection, counted: Sequence[Counted]) -> None:
    """Add to the sums and replace what is of the moment; each (listener, amphora) once."""
    idle = [one for one in counted if one.counters == NONE]
    if idle:
        _clear_active(tx, idle)
    busy = [one for one in counted if one.counters != NONE]
    if busy:
        _upsert(tx, busy, adding=True)


def replace(tx: sa.Connection, counted: Sequence[Counted]) -> None:
    """Store counters as they are: of senders and providers that report sums."""
    if counted:
        _upsert(tx, counted, adding=False)


def of_listeners(tx: sa.Connection, listener_ids: Collection[str]) -> dict[str, Counters]:
    """What the API shows: sums over all amphorae that ever served a listener, and what is active now.

    :returns: a value for each id, zeros where nothing was counted.
    """
    table = t.listener_statistics
    # A provider that has no amphorae reports under the listener's own id.
    serving = sa.or_(t.amphora.c.status == AmphoraStatus.ALLOCATED, table.c.amphora_id == table.c.listener_id)
    query = (
        sa.select(
            table.c.listener_id,
            *(sa.func.sum(table.c[name]).label(name) for name in _TOTALS),
            sa.func.sum(sa.case((serving, table.c.active_connections), else_=0)).label(_ACTIVE),
        )
        .outerjoin(t.amphora, t.amphora.c.id == table.c.amphora_id)
        .where(table.c.listener_id.in_(list(listener_ids)))
        .group_by(table.c.listener_id)
    )
    found = dict.fromkeys(listener_ids, NONE)
    for row in tx.execute(query).mappings():
        # Sums of BIGINT are decimals to some databases, and may exceed one.
        values = {name: bounded(name, int(row[name])) for name in _NAMES}
        found[row["listener_id"]] = Counters(**values)
    return found


def of_load_balancer(tx: sa.Connection, load_balancer_id: str) -> Counters:
    """The sum over its listeners."""
    query = sa.select(t.listener.c.id).where(t.listener.c.load_balancer_id == load_balancer_id)
    return sum(of_listeners(tx, list(tx.execute(query).scalars())).values(), NONE)


def forget_gone(tx: sa.Connection) -> int:
    """Delete what was counted for listeners that are gone: a report may overtake a delete."""
    table = t.listener_statistics
    living = sa.exists().where(t.listener.c.id == table.c.listener_id)
    return int(tx.execute(sa.delete(table).where(~living)).rowcount)


def _clear_active(tx: sa.Connection, idle: Sequence[Counted]) -> None:
    # Two lists and not pairs, which MariaDB would search the whole table for. A pair that is in
    # neither but matches both is of a listener that its amphora does not report: idle as well.
    table = t.listener_statistics
    tx.execute(
        sa.update(table)
        .where(
            table.c.listener_id.in_(sorted({one.listener_id for one in idle})),
            table.c.amphora_id.in_(sorted({one.amphora_id for one in idle})),
            table.c.active_connections != 0,
        )
        .values(active_connections=0)
    )


def _upsert(tx: sa.Connection, counted: Sequence[Counted], *, adding: bool) -> None:
    # In the order of the key, so that several writers cannot deadlock.
    rows = [
        {"listener_id": one.listener_id, "amphora_id": one.amphora_id} | _values(one.counters)
        for one in sorted(counted, key=lambda one: (one.listener_id, one.amphora_id))
    ]
    tx.execute(_statement(tx.dialect.name, adding), rows)


def _values(counters: Counters) -> dict[str, int]:
    return {name: bounded(name, getattr(counters, name)) for name in _NAMES}


@cache
def _statement(dialect: str, adding: bool) -> sa.Executable:
    table = t.listener_statistics
    # Spelt out: a bound parameter would cost one round trip a row.
    largest = sa.literal_column(str(MAX_TOTAL), sa.BigInteger)

    def update(incoming: Incoming) -> dict[str, sa.ColumnElement[Any]]:
        values = {name: incoming(name) for name in _NAMES}
        if adding:
            for name in _TOTALS:
                # Compared before it is added: the sum itself would overflow.
                full = table.c[name] > largest - incoming(name)
                values[name] = sa.case((full, largest), else_=table.c[name] + incoming(name))
        return values

    return upsert(dialect, table, update)
