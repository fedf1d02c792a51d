# SPDX-License-Identifier: Apache-2.0
"""Counters of listeners, load balancers and amphorae (contract: api.md sections 5.8 and 19)."""

from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.views.objects import LISTENER, LOAD_BALANCER
from octavia.db.views.one import exists
from octavia.db.views.shape import Column, Record, View
from octavia.domain.errors import NotFound
from octavia.domain.statuses import AmphoraStatus

COUNTERS: Final = ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors")
_statistics: Final = t.listener_statistics
_LIVE: Final = sa.or_(
    t.amphora.c.status == AmphoraStatus.ALLOCATED,
    # How third-party providers report.
    _statistics.c.amphora_id == _statistics.c.listener_id,
)


def _counter(name: str) -> Column:
    column: Column = _statistics.c[name]
    if name == "active_connections":
        # Connections through an amphora that is gone are gone; what it has counted stays.
        column = sa.case((_LIVE, column), else_=0)
    return sa.func.coalesce(sa.func.sum(column), 0).label(name)


_SUMS: Final = sa.select(*(_counter(name) for name in COUNTERS)).select_from(
    _statistics.outerjoin(t.amphora, t.amphora.c.id == _statistics.c.amphora_id)
)
_STATISTICS: Final = {
    LISTENER.noun: _SUMS.where(_statistics.c.listener_id == sa.bindparam("id", type_=sa.String)),
    LOAD_BALANCER.noun: _SUMS.where(
        _statistics.c.listener_id.in_(
            sa.select(t.listener.c.id).where(
                t.listener.c.load_balancer_id == sa.bindparam("id", type_=sa.String)
            )
        )
    ),
}


def statistics(tx: sa.Connection, view: View, object_id: str) -> Record:
    """The counters of a listener, or of all listeners of a load balancer.

    :raises NotFound: there is no such object.
    """
    if not exists(tx, view, object_id):
        raise NotFound(view.noun, object_id)
    row = tx.execute(_STATISTICS[view.noun], {"id": object_id}).mappings().one()
    # SUM of a BIGINT is a DECIMAL on MySQL and PostgreSQL.
    return {name: int(value) for name, value in row.items()}


_OF_AMPHORA: Final = (
    sa.select(_statistics, t.amphora.c.load_balancer_id)
    .join(t.amphora, t.amphora.c.id == _statistics.c.amphora_id)
    .where(_statistics.c.amphora_id == sa.bindparam("id", type_=sa.String))
    .order_by(_statistics.c.listener_id)
)


def amphora_statistics(tx: sa.Connection, amphora_id: str) -> list[Record]:
    """The counters of an amphora, a row a listener.

    :raises NotFound: there are none.
    """
    rows = tx.execute(_OF_AMPHORA, {"id": amphora_id}).mappings().all()
    if not rows:
        raise NotFound("Amphora stats for", amphora_id)
    return [
        {
            "id": row["amphora_id"],
            "listener_id": row["listener_id"],
            "loadbalancer_id": row["load_balancer_id"],
            **{name: row[name] for name in COUNTERS},
        }
        for row in rows
    ]
