# SPDX-License-Identifier: Apache-2.0
"""The one writer of statuses of objects that have left their tenant's hands.

``provisioning_status`` follows from generation, observed generation and the last outcome: a write
sets PENDING_* (the rules do, in the tree that :mod:`octavia.db.tree.saving` stores), and everything after
that happens here. ``operating_status`` is written here over what differs.

The functions of the first half are called by the holder of a lease, after :func:`.work.guard`.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import children, forms, reasons
from octavia.db import tables as t
from octavia.db.children import below
from octavia.db.reasons import Reason
from octavia.db.tree.mapping import KINDS, LOAD_BALANCER, Kind
from octavia.domain.statuses import OperatingStatus as O
from octavia.domain.statuses import ProvisioningStatus as P

_TABLES: Final = {kind.name: kind.table for kind in KINDS}
_SETTLING: Final = (P.PENDING_CREATE, P.PENDING_UPDATE, P.ERROR)


# Under a lease: provisioning


def settle_children(
    tx: sa.Connection, load_balancer_id: str, live: int, now: datetime, failed: Collection[str] = ()
) -> None:
    """What is live up to generation ``live`` turns ACTIVE, or goes, if it was being deleted.

    Later writes keep their PENDING_*: their generation is higher.

    :param failed: ids of objects that are not live although the generation is.
    """
    gone: dict[sa.Table, list[str]] = defaultdict(list)
    settled: dict[sa.Table, list[str]] = defaultdict(list)
    again: list[str] = []
    for name, object_id, is_leaving, settled_at in tx.execute(
        _CHANGED, {"lb_id": load_balancer_id, "live": live}
    ):
        if is_leaving:
            gone[t.metadata.tables[name]].append(object_id)
        elif object_id not in failed:
            settled[t.metadata.tables[name]].append(object_id)
            again += [object_id] if settled_at else []
    if again:
        forms.forget(tx, again)
    if gone:
        children.remove(tx, load_balancer_id, gone)
    for table in t.CHILDREN:
        if settled[table]:
            tx.execute(_TO_ACTIVE[table], {"ids": settled[table], "now": now})


def settle_load_balancer(tx: sa.Connection, load_balancer_id: str, now: datetime) -> None:
    """Its newest generation is live everywhere: ACTIVE."""
    tx.execute(_SETTLE, {"lb_id": load_balancer_id, "now": now})


def observed(tx: sa.Connection, load_balancer_id: str, live: int) -> None:
    """Remember the newest generation that is live."""
    tx.execute(_OBSERVED, {"lb_id": load_balancer_id, "live": live})


def fail(
    tx: sa.Connection,
    kind: Kind[Any],
    object_id: str,
    load_balancer_id: str,
    reason: Reason,
    now: datetime,
    next_try: datetime | None = None,
) -> None:
    """ERROR with a reason; retries go on, and it stays ERROR until one succeeds."""
    table = kind.table
    tx.execute(
        sa.update(table)
        .where(table.c.id == object_id, table.c.provisioning_status != P.ERROR)
        .values(provisioning_status=P.ERROR)
    )
    reasons.explain(tx, object_id, load_balancer_id, reason, now, next_try)


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
            .where(below(table, load_balancer_id), table.c.provisioning_status.like("PENDING%"))
            .values(provisioning_status=P.ERROR)
        )
    fail(tx, LOAD_BALANCER, load_balancer_id, load_balancer_id, reason, now, next_try)


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
    reasons.explain(tx, load_balancer_id, load_balancer_id, Reason(reasons.REPLACING, why), now)


# Third-party providers say themselves what is live


def report(
    tx: sa.Connection,
    kind: Kind[Any],
    object_id: str,
    load_balancer_id: str,
    *,
    provisioning: P | None,
    operating: O | None,
    now: datetime,
) -> None:
    """Write what a provider says of an object, whose load balancer is locked; it says nothing with None."""
    table = kind.table
    values: dict[str, Any] = {} if operating is None else {"operating_status": operating}
    if provisioning is not None:
        values |= {"provisioning_status": provisioning, "delete_requested": provisioning is P.PENDING_DELETE}
    if provisioning is P.ACTIVE:
        values["updated_at"] = now
        if table is t.load_balancer:
            values["observed_generation"] = table.c.generation
        tx.execute(sa.delete(t.status_reason).where(t.status_reason.c.object_id == object_id))
    if provisioning is P.ERROR:
        reasons.explain(
            tx, object_id, load_balancer_id, Reason("PROVIDER", "The provider reports an error."), now
        )
    if values:
        tx.execute(sa.update(table).where(table.c.id == object_id).values(values))


def delete_load_balancer(tx: sa.Connection, load_balancer_id: str, now: datetime) -> None:
    """All it owned is gone: everything below goes, its own row stays DELETED for a while."""
    children.remove_all(tx, load_balancer_id)
    tx.execute(sa.delete(t.tags).where(t.tags.c.resource_id == load_balancer_id))
    reasons.clear(tx, load_balancer_id)
    tx.execute(
        sa.update(t.load_balancer)
        .where(t.load_balancer.c.id == load_balancer_id)
        .values(provisioning_status=P.DELETED, operating_status=O.OFFLINE, updated_at=now)
    )


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


def _changed(table: sa.Table) -> sa.Select[Any]:
    """Ids of what is live now, or not rendered any more."""
    is_leaving = table.c.delete_requested.is_(sa.true())
    what = (table.c.id, table.c.delete_requested, table.c.updated_at)
    return sa.select(sa.literal_column(f"'{table.name}'"), *what).where(
        below(table, _OF_LB),
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
