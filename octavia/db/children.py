# SPDX-License-Identifier: Apache-2.0
"""The rows below a load balancer: which they are, and how they go with all that is theirs.

When they go is not here: see :mod:`octavia.db.statuses`.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t

_OF_LB: Final[sa.BindParameter[str]] = sa.bindparam("lb_id", type_=sa.String)


def below(table: sa.Table, load_balancer_id: str | sa.BindParameter[str]) -> sa.ColumnElement[bool]:
    """Is a row of one of the children's tables below a load balancer?"""
    if table in (t.listener, t.pool):
        return table.c.load_balancer_id == load_balancer_id

    def ids(of: sa.Table) -> sa.Select[tuple[str]]:
        return sa.select(of.c.id).where(of.c.load_balancer_id == load_balancer_id)

    if table is t.l7policy:
        return table.c.listener_id.in_(ids(t.listener))
    if table is t.l7rule:
        policies = sa.select(t.l7policy.c.id).where(t.l7policy.c.listener_id.in_(ids(t.listener)))
        return table.c.l7policy_id.in_(policies)
    return table.c.pool_id.in_(ids(t.pool))


def remove(tx: sa.Connection, load_balancer_id: str, ids: Mapping[sa.Table, Collection[str]]) -> None:
    """Some children are no more, and what is below them: table to ids."""
    _remove(tx, _with_children(tx, {table: list(ids.get(table, ())) for table in t.CHILDREN}))
    if ids.get(t.l7policy):
        _close_up(tx, load_balancer_id)


def remove_all(tx: sa.Connection, load_balancer_id: str) -> None:
    """Nothing is below the load balancer any more."""
    _remove(tx, {table: _ids(tx, table, load_balancer_id) for table in t.CHILDREN})


_POSITIONS: Final = (
    sa.select(t.l7policy.c.id, t.l7policy.c.listener_id, t.l7policy.c.position)
    .where(below(t.l7policy, _OF_LB))
    .order_by(t.l7policy.c.position, t.l7policy.c.id)
)
_MOVE: Final = (
    sa.update(t.l7policy)
    .where(t.l7policy.c.id == sa.bindparam("policy_id"))
    .values(position=sa.bindparam("place", type_=sa.Integer))
)


def _close_up(tx: sa.Connection, load_balancer_id: str) -> None:
    """Policies move up to where others are gone: their positions are 1, 2, 3."""
    taken: dict[str, int] = defaultdict(int)
    for policy_id, listener_id, position in tx.execute(_POSITIONS, {"lb_id": load_balancer_id}).all():
        taken[listener_id] += 1
        if position != taken[listener_id]:
            tx.execute(_MOVE, {"policy_id": policy_id, "place": taken[listener_id]})


def _ids(tx: sa.Connection, table: sa.Table, load_balancer_id: str) -> list[str]:
    return list(tx.execute(sa.select(table.c.id).where(below(table, load_balancer_id))).scalars())


# What goes with what, parents first.
_BELOW: Final = (
    (t.pool, t.member.c.pool_id),
    (t.pool, t.health_monitor.c.pool_id),
    (t.listener, t.l7policy.c.listener_id),
    (t.l7policy, t.l7rule.c.l7policy_id),
)


def _with_children(tx: sa.Connection, gone: Mapping[sa.Table, list[str]]) -> dict[sa.Table, list[str]]:
    """Whatever goes takes its children along."""
    every = dict(gone)
    for parent, column in _BELOW:
        if every[parent]:
            table = column.table
            query = sa.select(table.c.id).where(column.in_(every[parent]))
            every[table] = sorted({*every[table], *tx.execute(query).scalars()})
    return every


def _remove(tx: sa.Connection, ids: Mapping[sa.Table, Collection[str]]) -> None:
    def delete(column: sa.Column[str], of: sa.Table) -> None:
        if ids[of]:
            tx.execute(sa.delete(column.table).where(column.in_(ids[of])))

    for table in t.CHILDREN:
        delete(t.tags.c.resource_id, table)
        delete(t.status_reason.c.object_id, table)
        delete(t.settled_form.c.object_id, table)
    delete(t.listener_cidr.c.listener_id, t.listener)
    delete(t.sni.c.listener_id, t.listener)
    delete(t.listener_statistics.c.listener_id, t.listener)
    delete(t.session_persistence.c.pool_id, t.pool)
    if ids[t.pool]:
        for column in (t.listener.c.default_pool_id, t.l7policy.c.redirect_pool_id):
            tx.execute(sa.update(column.table).where(column.in_(ids[t.pool])).values({column.name: None}))
    for table in t.CHILDREN:
        delete(table.c.id, table)
