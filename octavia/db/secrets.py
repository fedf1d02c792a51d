# SPDX-License-Identifier: Apache-2.0
"""Who uses a tenant's secret."""

from dataclasses import dataclass

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.engine import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A listener or a pool that names a secret."""

    noun: str
    id: str
    name: str
    load_balancer_id: str


def users_of(tx: Connection, ref: str) -> list[User]:
    """Every one, by noun and id."""
    sni = sa.select(t.sni.c.listener_id).where(t.sni.c.tls_container_id == ref)
    columns = t.listener.c
    listeners = sa.select(
        sa.literal("listener").label("noun"), columns.id, columns.name, columns.load_balancer_id
    ).where(
        sa.or_(
            columns.tls_certificate_id == ref,
            columns.client_ca_tls_certificate_id == ref,
            columns.client_crl_container_id == ref,
            columns.id.in_(sni),
        )
    )
    columns = t.pool.c
    pools = sa.select(
        sa.literal("pool").label("noun"), columns.id, columns.name, columns.load_balancer_id
    ).where(
        sa.or_(
            columns.tls_certificate_id == ref,
            columns.ca_tls_certificate_id == ref,
            columns.crl_container_id == ref,
        )
    )
    rows = tx.execute(sa.union_all(listeners, pools).order_by("noun", "id")).all()
    return [
        User(noun=row.noun, id=row.id, name=row.name or "", load_balancer_id=row.load_balancer_id)
        for row in rows
    ]
