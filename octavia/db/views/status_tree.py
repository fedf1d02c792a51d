# SPDX-License-Identifier: Apache-2.0
"""The status tree of a load balancer (contract: api.md section 5.7)."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.views.objects import CAN_MATCH
from octavia.db.views.shape import Column, Record
from octavia.domain.errors import NotFound
from octavia.domain.statuses import ProvisioningStatus

_STATUS_ROOT: Final = sa.select(
    t.load_balancer.c.id,
    t.load_balancer.c.name,
    t.load_balancer.c.operating_status,
    t.load_balancer.c.provisioning_status,
).where(
    t.load_balancer.c.id == sa.bindparam("id", type_=sa.String),
    t.load_balancer.c.provisioning_status != ProvisioningStatus.DELETED,
)


def _labels(table: sa.Table, prefix: str, *names: str) -> list[Column]:
    return [table.c[name].label(f"{prefix}_{name}") for name in names]


_STATUSES: Final = ("id", "name", "operating_status", "provisioning_status")
_STATUS_LISTENERS: Final = (
    sa.select(
        *(t.listener.c[name] for name in _STATUSES),
        t.listener.c.default_pool_id,
        t.l7policy.c.redirect_pool_id,
    )
    .select_from(t.listener.outerjoin(t.l7policy, CAN_MATCH & (t.l7policy.c.listener_id == t.listener.c.id)))
    .where(t.listener.c.load_balancer_id == sa.bindparam("id", type_=sa.String))
    .order_by(t.listener.c.created_at, t.listener.c.id, t.l7policy.c.position)
)
_STATUS_POOLS: Final = (
    sa.select(
        *_labels(t.pool, "pool", *_STATUSES),
        *_labels(t.health_monitor, "monitor", "type", *_STATUSES),
    )
    .select_from(t.pool.outerjoin(t.health_monitor, t.health_monitor.c.pool_id == t.pool.c.id))
    .where(t.pool.c.load_balancer_id == sa.bindparam("id", type_=sa.String))
    .order_by(t.health_monitor.c.created_at)
)
_STATUS_MEMBERS: Final = (
    sa.select(
        t.member.c.pool_id,
        t.member.c.id,
        t.member.c.name,
        t.member.c.operating_status,
        t.member.c.provisioning_status,
        t.member.c.ip_address.label("address"),
        t.member.c.protocol_port,
    )
    .select_from(t.member.join(t.pool, t.pool.c.id == t.member.c.pool_id))
    .where(t.pool.c.load_balancer_id == sa.bindparam("id", type_=sa.String))
    .order_by(t.member.c.created_at, t.member.c.id)
)


def status_tree(tx: sa.Connection, load_balancer_id: str) -> Record:
    """The load balancer with the listeners, pools, monitors and members below it, statuses alone.

    :raises NotFound: there is no such load balancer.
    """
    of_lb = {"id": load_balancer_id}
    root = tx.execute(_STATUS_ROOT, of_lb).mappings().one_or_none()
    if root is None:
        raise NotFound("Load Balancer", load_balancer_id)
    members: dict[str, list[Record]] = defaultdict(list)
    for pool_id, *values in tx.execute(_STATUS_MEMBERS, of_lb):
        members[pool_id].append(dict(zip(_MEMBER_STATUSES, values, strict=True)))
    # Two rows of one pool are two monitors, of which the younger stays.
    pools = {
        row["pool_id"]: _pool_statuses(dict(row), members)
        for row in tx.execute(_STATUS_POOLS, of_lb).mappings()
    }
    listeners: dict[str, Record] = {}
    used: dict[str, dict[str, Record]] = defaultdict(dict)
    for *values, default_pool_id, redirect_pool_id in tx.execute(_STATUS_LISTENERS, of_lb):
        listener = dict(zip(_STATUSES, values, strict=True))
        listeners[listener["id"]] = listener
        for pool_id in (default_pool_id, redirect_pool_id):
            if pool_id in pools:
                used[listener["id"]][pool_id] = pools[pool_id]
    return dict(root) | {
        "listeners": [one | {"pools": list(used[id_].values())} for id_, one in listeners.items()]
    }


_MEMBER_STATUSES: Final = (*_STATUSES, "address", "protocol_port")


def _statuses(row: Mapping[str, Any], prefix: str) -> Record:
    return {name: row[f"{prefix}_{name}"] for name in _STATUSES}


def _pool_statuses(row: Mapping[str, Any], members: Mapping[str, list[Record]]) -> Record:
    monitor = _statuses(row, "monitor") | {"type": row["monitor_type"]} if row["monitor_id"] else None
    return _statuses(row, "pool") | {
        "health_monitor": monitor,
        "members": members.get(row["pool_id"], []),
    }
