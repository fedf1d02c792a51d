# SPDX-License-Identifier: Apache-2.0
"""Amphorae that have not been heard of, and what is written about them.

Whom to replace is not decided here: see :mod:`octavia.health.stale`. Each function that writes locks
the load balancer first, and writes only over what is still true.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from octavia.db import amphorae, events, heartbeats, statuses, work
from octavia.db import tables as t
from octavia.domain.statuses import AmphoraStatus as A
from octavia.domain.statuses import OperatingStatus as O
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import Amphora, Topology

_IN_SERVICE: Final = (A.ALLOCATED, A.FAILOVER_STOPPED)
_UNFINISHED: Final = (A.PENDING_CREATE, A.BOOTING, A.ERROR, A.PENDING_DELETE)


@dataclass(frozen=True, slots=True)
class Silent:
    """An amphora in service that was not heard for longer than it may.

    :param since: when it was last heard, or, if it never was, when it last changed; naive UTC.
    """

    amphora_id: str
    load_balancer_id: str
    since: datetime
    stopped: bool = False
    heard_before: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What the judge sees.

    :param total: amphorae in service.
    :param silent: those of them that are, the longest first.
    :param resumed: (amphora, load balancer) of those that are FAILOVER_STOPPED and heard again.
    :param failed: load balancers with an amphora that was judged dead within the window.
    :param unfinished: load balancers with an amphora that is marked failed, going, missing or still being
        made.
    """

    total: int
    silent: tuple[Silent, ...] = ()
    resumed: tuple[tuple[str, str], ...] = ()
    failed: frozenset[str] = frozenset()
    unfinished: frozenset[str] = frozenset()


def fleet(tx: sa.Connection, cutoff: datetime, window_start: datetime) -> Fleet:
    """Everything the judge needs; rows only of what is not as it should be.

    :param cutoff: who was not heard since then is silent.
    :param window_start: failures before it do not count any more.
    """
    amphora, health, lb = t.amphora, t.amphora_health, t.load_balancer
    since = sa.func.coalesce(health.c.last_update, amphora.c.updated_at, amphora.c.created_at)
    served = lb.c.provisioning_status.not_in((P.DELETED, P.PENDING_DELETE))
    joined = amphora.join(lb, lb.c.id == amphora.c.load_balancer_id).outerjoin(
        health, health.c.amphora_id == amphora.c.id
    )
    in_service = sa.and_(amphora.c.status.in_(_IN_SERVICE), served)
    total = tx.execute(sa.select(sa.func.count()).select_from(joined).where(in_service)).scalar_one()
    silent = tx.execute(
        sa.select(
            amphora.c.id,
            amphora.c.load_balancer_id,
            since.label("since"),
            amphora.c.status,
            health.c.last_update,
        )
        .select_from(joined)
        .where(in_service, since < cutoff)
        .order_by(since, amphora.c.id)
    ).all()
    resumed = tx.execute(
        sa.select(amphora.c.id, amphora.c.load_balancer_id)
        .select_from(joined)
        .where(amphora.c.status == A.FAILOVER_STOPPED, health.c.last_update >= cutoff)
        .order_by(amphora.c.id)
    ).all()
    judged = amphora.c.failed_at.is_not(None)
    recent = sa.or_(amphora.c.failed_at >= window_start, sa.and_(judged, amphora.c.status == A.ERROR))
    failed = tx.execute(sa.select(amphora.c.load_balancer_id).where(recent)).scalars()
    unfinished = tx.execute(_unfinished()).scalars()
    return Fleet(
        total=total,
        silent=tuple(
            Silent(
                row.id,
                row.load_balancer_id,
                _moment(row.since),
                row.status == A.FAILOVER_STOPPED,
                row.last_update is not None,
            )
            for row in silent
        ),
        resumed=tuple((row.id, row.load_balancer_id) for row in resumed),
        failed=frozenset(one for one in failed if one),
        unfinished=frozenset(str(one) for one in unfinished if one),
    )


def rows(tx: sa.Connection, amphora_ids: Sequence[str]) -> dict[str, Amphora]:
    """The amphorae themselves, for a witness to find them."""
    found = (amphorae.get(tx, one) for one in amphora_ids)
    return {one.id: one for one in found if one is not None}


def fail(
    tx: sa.Connection, silent: Silent, cutoff: datetime, why: str, now: datetime, *, limited: bool
) -> bool:
    """Mark an amphora failed and queue its load balancer; False if it has been heard meanwhile.

    :param limited: it counts towards the velocity limit, and it has to wait while its peer is replaced.
    """
    _lock(tx, silent.load_balancer_id)
    if limited and tx.execute(_unfinished(silent.load_balancer_id)).first() is not None:
        return False  # since the judge looked its peer was lost: this may be the one that serves
    marked = tx.execute(
        sa.update(t.amphora)
        .where(t.amphora.c.id == silent.amphora_id, t.amphora.c.status.in_(_IN_SERVICE), _unheard(cutoff))
        .values(status=A.ERROR, updated_at=now, failed_at=now if limited else None)
    )
    if marked.rowcount != 1:
        return False
    work.announce(tx, silent.load_balancer_id, now)
    events.record(tx, silent.load_balancer_id, now, why)
    _show_loss(tx, silent.load_balancer_id, cutoff)
    return True


def hold_back(tx: sa.Connection, silent: Silent, why: str, now: datetime) -> None:
    """FAILOVER_STOPPED: it is stale, and it is not replaced for now."""
    _lock(tx, silent.load_balancer_id)
    # "updated_at" stays: of who never reported it tells since when.
    held = tx.execute(
        sa.update(t.amphora)
        .where(t.amphora.c.id == silent.amphora_id, t.amphora.c.status == A.ALLOCATED)
        .values(status=A.FAILOVER_STOPPED)
    )
    if held.rowcount == 1:
        events.record(tx, silent.load_balancer_id, now, why)


def resume(tx: sa.Connection, amphora_id: str, load_balancer_id: str, why: str, now: datetime) -> None:
    """It is heard again: ALLOCATED."""
    _lock(tx, load_balancer_id)
    back = tx.execute(
        sa.update(t.amphora)
        .where(t.amphora.c.id == amphora_id, t.amphora.c.status == A.FAILOVER_STOPPED)
        .values(status=A.ALLOCATED)
    )
    if back.rowcount == 1:
        events.record(tx, load_balancer_id, now, why)


def repair(tx: sa.Connection, silent: Silent, why: str | None, now: datetime) -> None:
    """It is alive but unheard: send it its configuration again, and say so, if there is a sentence."""
    heartbeats.request_repair(tx, silent.load_balancer_id, [silent.amphora_id], now)
    if why is not None:
        events.record(tx, silent.load_balancer_id, now, why)


def _unfinished(load_balancer_id: str | None = None) -> sa.Select[tuple[str]]:
    """Load balancers, or this one, in which not every amphora that there should be was ever configured."""
    amphora, lb = t.amphora, t.load_balancer
    complete = sa.and_(amphora.c.status.in_(_IN_SERVICE), amphora.c.generation > 0)
    wanted = sa.case((lb.c.topology == Topology.ACTIVE_STANDBY, 2), else_=1)
    query = (
        sa.select(amphora.c.load_balancer_id)
        .join(lb, lb.c.id == amphora.c.load_balancer_id)
        .group_by(amphora.c.load_balancer_id, lb.c.topology)
        .having(
            sa.or_(
                sa.func.sum(sa.case((amphora.c.status.in_(_UNFINISHED), 1), else_=0)) > 0,
                sa.func.sum(sa.case((complete, 1), else_=0)) < wanted,
            )
        )
        .where(lb.c.provisioning_status != P.DELETED)
    )
    return query if load_balancer_id is None else query.where(lb.c.id == load_balancer_id)


def _show_loss(tx: sa.Connection, load_balancer_id: str, cutoff: datetime) -> None:
    """Nobody else will say so soon: who is dead sends no report, and there may be no other."""
    lb = t.load_balancer
    row = tx.execute(
        sa.select(lb.c.enabled, lb.c.operating_status).where(lb.c.id == load_balancer_id)
    ).one_or_none()
    others = tx.execute(
        sa.select(sa.func.count())
        .select_from(t.amphora.join(t.amphora_health, t.amphora_health.c.amphora_id == t.amphora.c.id))
        .where(
            t.amphora.c.load_balancer_id == load_balancer_id,
            t.amphora.c.status.in_(_IN_SERVICE),
            t.amphora_health.c.last_update >= cutoff,
        )
    ).scalar_one()
    if not others:
        statuses.write_operating(tx, {("loadbalancer", load_balancer_id): O.OFFLINE})
    elif row and row.enabled and row.operating_status == O.ONLINE:
        statuses.write_operating(tx, {("loadbalancer", load_balancer_id): O.DEGRADED})


def _unheard(cutoff: datetime) -> sa.ColumnElement[bool]:
    health = t.amphora_health
    return ~sa.exists().where(health.c.amphora_id == t.amphora.c.id, health.c.last_update >= cutoff)


def _lock(tx: sa.Connection, load_balancer_id: str) -> None:
    tx.execute(
        sa.select(t.load_balancer.c.id).where(t.load_balancer.c.id == load_balancer_id).with_for_update()
    )


def _moment(value: datetime | str) -> datetime:
    # An expression has no type on SQLite, which keeps moments as text.
    return datetime.fromisoformat(value) if isinstance(value, str) else value
