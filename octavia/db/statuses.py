# SPDX-License-Identifier: Apache-2.0
"""The one writer of statuses of objects that have left their tenant's hands.

``provisioning_status`` follows from generation, observed generation and the last outcome: a write
sets PENDING_* (the rules do, in the tree that :mod:`octavia.db.tree` saves), and everything after
that happens here. ``operating_status`` is written here over what differs.

The functions of the first half are called by the holder of a lease, after :func:`.work.guard`.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import forms
from octavia.db import tables as t
from octavia.domain.statuses import OperatingStatus as O
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import (
    HealthMonitor,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    Pool,
    Resource,
)

_TABLES: Final = {
    "loadbalancer": t.load_balancer,
    "listener": t.listener,
    "pool": t.pool,
    "member": t.member,
    "healthmonitor": t.health_monitor,
    "l7policy": t.l7policy,
    "l7rule": t.l7rule,
}
_KINDS: Final[Mapping[type[Resource], str]] = {
    LoadBalancer: "loadbalancer",
    Listener: "listener",
    Pool: "pool",
    Member: "member",
    HealthMonitor: "healthmonitor",
    L7Policy: "l7policy",
    L7Rule: "l7rule",
}
_SETTLING: Final = (P.PENDING_CREATE, P.PENDING_UPDATE, P.ERROR)


# The code of the reason that stands while an amphora is being replaced.
REPLACING: Final = "REPLACING"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is not as asked: a code for programs, a sentence for people."""

    code: str
    sentence: str


# Under a lease: provisioning


def settle_children(
    tx: sa.Connection, load_balancer_id: str, live: int, now: datetime, failed: Collection[str] = ()
) -> None:
    """What is live up to generation ``live`` turns ACTIVE, or goes, if it was being deleted.

    Later writes keep their PENDING_*: their generation is higher.

    :param failed: ids of objects that are not live although the generation is.
    """
    gone: dict[str, list[str]] = defaultdict(list)
    settled: dict[str, list[str]] = defaultdict(list)
    again: list[str] = []
    for name, object_id, is_leaving, settled_at in tx.execute(
        _CHANGED, {"lb_id": load_balancer_id, "live": live}
    ):
        if is_leaving:
            gone[name].append(object_id)
        elif object_id not in failed:
            settled[name].append(object_id)
            again += [object_id] if settled_at else []
    if again:
        forms.forget(tx, again)
    if gone:
        _remove(tx, _with_children(tx, {table: gone[table.name] for table in t.CHILDREN}))
        if gone[t.l7policy.name]:
            _close_up(tx, load_balancer_id)
    for table in t.CHILDREN:
        if settled[table.name]:
            tx.execute(_TO_ACTIVE[table], {"ids": settled[table.name], "now": now})


def settle_load_balancer(tx: sa.Connection, load_balancer_id: str, now: datetime) -> None:
    """Its newest generation is live everywhere: ACTIVE."""
    tx.execute(_SETTLE, {"lb_id": load_balancer_id, "now": now})


def observed(tx: sa.Connection, load_balancer_id: str, live: int) -> None:
    """Remember the newest generation that is live."""
    tx.execute(_OBSERVED, {"lb_id": load_balancer_id, "live": live})


def fail(
    tx: sa.Connection,
    kind: str,
    object_id: str,
    load_balancer_id: str,
    reason: Reason,
    now: datetime,
    next_try: datetime | None = None,
) -> None:
    """ERROR with a reason; retries go on, and it stays ERROR until one succeeds."""
    table = _TABLES[kind]
    tx.execute(
        sa.update(table)
        .where(table.c.id == object_id, table.c.provisioning_status != P.ERROR)
        .values(provisioning_status=P.ERROR)
    )
    explain(tx, object_id, load_balancer_id, reason, now, next_try)


def fail_pending(
    tx: sa.Connection,
    load_balancer_id: str,
    reason: Reason,
    now: datetime,
    next_try: datetime | None,
) -> None:
    """The deadline has passed: the load balancer and what is pending below it turn ERROR."""
    for table in t.CHILDREN:
        tx.execute(
            sa.update(table)
            .where(_of(table, load_balancer_id), table.c.provisioning_status.like("PENDING%"))
            .values(provisioning_status=P.ERROR)
        )
    fail(tx, "loadbalancer", load_balancer_id, load_balancer_id, reason, now, next_try)


def show_replacement(tx: sa.Connection, load_balancer_id: str, why: str, now: datetime) -> None:
    """A replacement is under way: PENDING_UPDATE over ACTIVE, with the reason."""
    tx.execute(
        sa.update(t.load_balancer)
        .where(
            t.load_balancer.c.id == load_balancer_id,
            t.load_balancer.c.provisioning_status == P.ACTIVE,
        )
        .values(provisioning_status=P.PENDING_UPDATE)
    )
    explain(tx, load_balancer_id, load_balancer_id, Reason(REPLACING, why), now)


# Third-party providers say themselves what is live


def report(
    tx: sa.Connection,
    kind: str,
    object_id: str,
    load_balancer_id: str,
    *,
    provisioning: P | None,
    operating: O | None,
    now: datetime,
) -> None:
    """Write what a provider says of an object, whose load balancer is locked; it says nothing with None."""
    table = _TABLES[kind]
    values: dict[str, Any] = {} if operating is None else {"operating_status": operating}
    if provisioning is not None:
        values |= {"provisioning_status": provisioning, "delete_requested": provisioning is P.PENDING_DELETE}
    if provisioning is P.ACTIVE:
        values["updated_at"] = now
        if table is t.load_balancer:
            values["observed_generation"] = table.c.generation
        tx.execute(sa.delete(t.status_reason).where(t.status_reason.c.object_id == object_id))
    if provisioning is P.ERROR:
        explain(tx, object_id, load_balancer_id, Reason("PROVIDER", "The provider reports an error."), now)
    if values:
        tx.execute(sa.update(table).where(table.c.id == object_id).values(values))


def remove(tx: sa.Connection, load_balancer_id: str, ids: Mapping[str, Collection[str]]) -> None:
    """Objects below a load balancer are no more, and what is below them: kind to ids."""
    gone: dict[sa.Table, list[str]] = {table: [] for table in t.CHILDREN}
    gone |= {_TABLES[kind]: list(found) for kind, found in ids.items()}
    _remove(tx, _with_children(tx, gone))
    if gone[t.l7policy]:
        _close_up(tx, load_balancer_id)


def kind_of(type_: type[Resource]) -> str:
    """The name of a kind here."""
    return _KINDS[type_]


def delete_load_balancer(tx: sa.Connection, load_balancer_id: str, now: datetime) -> None:
    """All it owned is gone: everything below goes, its own row stays DELETED for a while."""
    ids = {table: _ids(tx, table, load_balancer_id) for table in t.CHILDREN}
    _remove(tx, ids)
    tx.execute(sa.delete(t.tags).where(t.tags.c.resource_id == load_balancer_id))
    tx.execute(sa.delete(t.status_reason).where(t.status_reason.c.load_balancer_id == load_balancer_id))
    tx.execute(
        sa.update(t.load_balancer)
        .where(t.load_balancer.c.id == load_balancer_id)
        .values(provisioning_status=P.DELETED, operating_status=O.OFFLINE, updated_at=now)
    )


# Reasons


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


def clear_reasons(tx: sa.Connection, load_balancer_id: str, keep: Collection[str] = ()) -> None:
    """What was wrong is no more, except with the objects to ``keep``."""
    query = sa.delete(t.status_reason).where(t.status_reason.c.load_balancer_id == load_balancer_id)
    if keep:
        query = query.where(t.status_reason.c.object_id.not_in(keep))
    tx.execute(query)


# Operating statuses


def write_operating(tx: sa.Connection, changes: Mapping[tuple[str, str], O]) -> None:
    """Write measured statuses: (kind, id) → status, each over a differing one only.

    Load balancers first, as every writer does, then rows in the order of their ids, so that several
    writers cannot deadlock.
    """
    by_kind: dict[str, list[dict[str, str]]] = defaultdict(list)
    for (kind, object_id), status in sorted(changes.items()):
        by_kind[kind].append({"object_id": object_id, "status": status})
    _count_write(tx, {kind: [row["object_id"] for row in rows] for kind, rows in by_kind.items()})
    for kind, rows in by_kind.items():
        table = _TABLES[kind]
        measured: sa.BindParameter[str] = sa.bindparam("status", type_=sa.String)
        tx.execute(
            sa.update(table)
            .where(
                table.c.id == sa.bindparam("object_id"),
                table.c.operating_status != measured,
                table.c.provisioning_status != P.DELETED,
            )
            .values(operating_status=measured),
            rows,
        )


def _count_write(tx: sa.Connection, ids: Mapping[str, list[str]]) -> None:
    """Raise the operating version of the load balancers that these objects are in, and lock them."""
    touched = set(ids.get("loadbalancer", ()))
    for kind, wanted in ids.items():
        table = _TABLES[kind]
        if table in (t.listener, t.pool):
            query = sa.select(table.c.load_balancer_id).where(table.c.id.in_(wanted))
        elif table is not t.load_balancer:
            query = (
                sa.select(t.pool.c.load_balancer_id)
                .join(table, table.c.pool_id == t.pool.c.id)
                .where(table.c.id.in_(wanted))
            )
        else:
            continue
        touched.update(one for one in tx.execute(query).scalars() if one)
    for load_balancer_id in sorted(touched):
        tx.execute(_RAISE_VERSION, {"lb_id": load_balancer_id})


_RAISE_VERSION: Final = (
    sa.update(t.load_balancer)
    .where(t.load_balancer.c.id == sa.bindparam("lb_id"))
    .values(operating_version=t.load_balancer.c.operating_version + 1)
)


# Rows


_LIVE: Final[sa.BindParameter[int]] = sa.bindparam("live", type_=sa.BigInteger)
_OF_LB: Final[sa.BindParameter[str]] = sa.bindparam("lb_id", type_=sa.String)


def _of(table: sa.Table, load_balancer_id: str | sa.BindParameter[str]) -> sa.ColumnElement[bool]:
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


def _changed(table: sa.Table) -> sa.Select[Any]:
    """Ids of what is live now, or not rendered any more."""
    is_leaving = table.c.delete_requested.is_(sa.true())
    what = (table.c.id, table.c.delete_requested, table.c.updated_at)
    return sa.select(sa.literal_column(f"'{table.name}'"), *what).where(
        _of(table, _OF_LB),
        table.c.generation <= _LIVE,
        sa.or_(is_leaving, table.c.provisioning_status.in_(_SETTLING)),
    )


def _to_active(table: sa.Table) -> sa.Update:
    update = sa.update(table).where(table.c.id.in_(sa.bindparam("ids", expanding=True)))
    update = update.values(provisioning_status=P.ACTIVE, updated_at=sa.bindparam("now", type_=t.Moment))
    if table in (t.health_monitor, t.l7policy, t.l7rule):
        # Not measured: they work as soon as they are live.
        working = sa.case((table.c.enabled.is_(sa.true()), O.ONLINE), else_=O.OFFLINE)
        update = update.values(operating_status=working)
    return update


# Built once: building a statement costs more than running it.
_CHANGED: Final = sa.union_all(*(_changed(table) for table in t.CHILDREN))
_TO_ACTIVE: Final = {table: _to_active(table) for table in t.CHILDREN}
_SETTLE: Final = (
    sa.update(t.load_balancer)
    .where(t.load_balancer.c.id == _OF_LB, t.load_balancer.c.provisioning_status.in_(_SETTLING))
    .values(provisioning_status=P.ACTIVE, updated_at=sa.bindparam("now", type_=t.Moment))
)
_OBSERVED: Final = (
    sa.update(t.load_balancer)
    .where(t.load_balancer.c.id == _OF_LB, t.load_balancer.c.observed_generation != _LIVE)
    .values(observed_generation=_LIVE)
)
_POSITIONS: Final = (
    sa.select(t.l7policy.c.id, t.l7policy.c.listener_id, t.l7policy.c.position)
    .where(_of(t.l7policy, _OF_LB))
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
    return list(tx.execute(sa.select(table.c.id).where(_of(table, load_balancer_id))).scalars())


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


def _remove(tx: sa.Connection, ids: Mapping[sa.Table, Iterable[str]]) -> None:
    def delete(column: sa.Column[str], of: sa.Table) -> None:
        wanted = list(ids[of])
        if wanted:
            tx.execute(sa.delete(column.table).where(column.in_(wanted)))

    for table in t.CHILDREN:
        delete(t.tags.c.resource_id, table)
        delete(t.status_reason.c.object_id, table)
        delete(t.settled_form.c.object_id, table)
    delete(t.listener_cidr.c.listener_id, t.listener)
    delete(t.sni.c.listener_id, t.listener)
    delete(t.listener_statistics.c.listener_id, t.listener)
    delete(t.session_persistence.c.pool_id, t.pool)
    gone_pools = list(ids[t.pool])
    if gone_pools:
        for column in (t.listener.c.default_pool_id, t.l7policy.c.redirect_pool_id):
            tx.execute(sa.update(column.table).where(column.in_(gone_pools)).values({column.name: None}))
    for table in t.CHILDREN:
        delete(table.c.id, table)
