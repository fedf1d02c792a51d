# SPDX-License-Identifier: Apache-2.0
"""Rows whose time is over, and rows that nobody looks after (contract: control-plane.md section 6).

Each function does a bounded amount in one transaction; when to call them is not here: see
:mod:`octavia.housekeeping`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from octavia.db import amphorae, work
from octavia.db import tables as t
from octavia.domain.statuses import AmphoraStatus as A
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import AMPHORA_PROVIDERS, Amphora

_AT_ONCE: Final = 100

# Tables that hold a load balancer's leavings, by the column that names it, children first.
_LEAVINGS: Final = (
    t.tags.c.resource_id,
    t.status_reason.c.load_balancer_id,
    t.event.c.load_balancer_id,
    t.work.c.load_balancer_id,
    t.provider_call.c.load_balancer_id,
    t.vip_security_group.c.load_balancer_id,
    t.vip.c.load_balancer_id,
    t.additional_vip.c.load_balancer_id,
    t.vrrp_group.c.load_balancer_id,
    t.load_balancer.c.id,
)


def load_balancers(tx: sa.Connection, before: datetime) -> list[str]:
    """Forget load balancers that are DELETED since before then; their ids, empty when none are left.

    One that still has an amphora stays: its amphora would be nobody's.
    """
    lb = t.load_balancer
    has_amphora = sa.exists().where(t.amphora.c.load_balancer_id == lb.c.id, t.amphora.c.status != A.DELETED)
    old = tx.execute(
        sa.select(lb.c.id)
        .where(
            lb.c.provisioning_status == P.DELETED,
            sa.func.coalesce(lb.c.updated_at, lb.c.created_at) < before,
            ~has_amphora,
        )
        .order_by(lb.c.id)
        .limit(_AT_ONCE)
    )
    ids = list(old.scalars())
    if ids:
        forget(tx, ids)
    return ids


def forget(tx: sa.Connection, load_balancer_ids: Sequence[str]) -> None:
    """Remove load balancers that have no children any more, without a trace."""
    for column in _LEAVINGS:
        tx.execute(sa.delete(column.table).where(column.in_(load_balancer_ids)))


def deleted_amphorae(tx: sa.Connection, before: datetime) -> list[str]:
    """Forget amphorae that are DELETED, and unheard, since before then; their ids.

    What they counted stays: it is part of their listeners' totals.
    """
    health = t.amphora_health
    heard = sa.exists().where(health.c.amphora_id == t.amphora.c.id, health.c.last_update >= before)
    old = tx.execute(
        sa.select(t.amphora.c.id)
        .where(
            t.amphora.c.status == A.DELETED,
            sa.func.coalesce(t.amphora.c.updated_at, t.amphora.c.created_at) < before,
            ~heard,
        )
        .order_by(t.amphora.c.id)
        .limit(_AT_ONCE)
    )
    ids = list(old.scalars())
    if ids:
        for column in (t.amphora_member_port.c.amphora_id, health.c.amphora_id, t.amphora.c.id):
            tx.execute(sa.delete(column.table).where(column.in_(ids)))
    return ids


def forgotten(tx: sa.Connection) -> list[str]:
    """Load balancers with something to do and no row in the work queue; there should be none."""
    lb = t.load_balancer
    queued = sa.exists().where(t.work.c.load_balancer_id == lb.c.id)
    # A third party's pending rows are its own business.
    pending = sa.and_(lb.c.provisioning_status.like("PENDING%"), lb.c.provider.in_(AMPHORA_PROVIDERS))
    unfinished = sa.exists().where(
        t.amphora.c.load_balancer_id == lb.c.id,
        sa.or_(
            t.amphora.c.status.in_((A.ERROR, A.PENDING_DELETE)),
            sa.and_(t.amphora.c.replace_requested.is_not(None), t.amphora.c.status != A.DELETED),
        ),
    )
    query = (
        sa.select(lb.c.id)
        .where(lb.c.provisioning_status != P.DELETED, ~queued, sa.or_(pending, unfinished))
        .order_by(lb.c.id)
        .limit(_AT_ONCE)
    )
    return list(tx.execute(query).scalars())


def announce(tx: sa.Connection, load_balancer_id: str, now: datetime) -> bool:
    """Put a forgotten load balancer into the work queue, if it still is forgotten."""
    locked = sa.select(t.load_balancer.c.id).where(t.load_balancer.c.id == load_balancer_id).with_for_update()
    queued = sa.select(t.work.c.load_balancer_id).where(t.work.c.load_balancer_id == load_balancer_id)
    if tx.execute(locked).scalar() is None or tx.execute(queued).scalar() is not None:
        return False
    work.announce(tx, load_balancer_id, now)
    return True


def strays(tx: sa.Connection) -> Sequence[Amphora]:
    """Amphorae that are not DELETED though their load balancer is, or is gone altogether."""
    living = sa.exists().where(
        t.load_balancer.c.id == t.amphora.c.load_balancer_id,
        t.load_balancer.c.provisioning_status != P.DELETED,
    )
    ids = tx.execute(
        sa.select(t.amphora.c.id)
        .where(t.amphora.c.status != A.DELETED, ~living)
        .order_by(t.amphora.c.id)
        .limit(_AT_ONCE)
    )
    found = (amphorae.get(tx, one) for one in list(ids.scalars()))
    return [one for one in found if one is not None]
