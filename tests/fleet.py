# SPDX-License-Identifier: Apache-2.0
"""Load balancers with their amphorae for tests: as the database has them once they serve."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from octavia.db import amphorae
from octavia.db import tables as t
from octavia.db.tree import saving
from octavia.domain.statuses import AmphoraStatus, OperatingStatus, ProvisioningStatus
from octavia.domain.tree import (
    Algorithm,
    Amphora,
    Listener,
    LoadBalancer,
    Member,
    Pool,
    Protocol,
    Role,
    Topology,
    Vip,
    VrrpGroup,
)
from octavia.wire.heartbeat import Heartbeat, ListenerReport, PoolReport

NOW = datetime(2026, 5, 4, 12, 0, 0)
_ACTIVE: dict[str, Any] = {
    "provisioning_status": ProvisioningStatus.ACTIVE,
    "operating_status": OperatingStatus.ONLINE,
    "created_at": NOW,
    "generation": 1,
}


def uuid(number: int) -> str:
    """A readable UUID: the same number, the same text."""
    return str(UUID(int=number))


def load_balancer(
    number: int = 1,
    *,
    topology: Topology = Topology.SINGLE,
    listeners: int = 1,
    members: int = 2,
    **more: Any,
) -> LoadBalancer:
    """ACTIVE and ONLINE at generation 1; each listener has a pool of its own.

    Ids are ``number`` times 1000 for the load balancer, + 100 and so on for listeners, + 200 for pools, and
    members after their pool.
    """
    base = number * 1000
    pools = tuple(
        Pool(
            id=uuid(base + 200 + 20 * index),
            protocol=Protocol.HTTP,
            lb_algorithm=Algorithm.ROUND_ROBIN,
            members=tuple(
                Member(
                    id=uuid(base + 200 + 20 * index + 1 + one),
                    address=f"10.0.0.{1 + one}",
                    protocol_port=80,
                    **_ACTIVE,
                )
                for one in range(members)
            ),
            **_ACTIVE,
        )
        for index in range(listeners)
    )
    return replace(
        LoadBalancer(
            id=uuid(base),
            topology=topology,
            vip=Vip(ip_address="10.1.0.1", subnet_id=uuid(1), network_id=uuid(2), octavia_owned=True),
            vrrp_group=VrrpGroup(name=f"vrrp{number}") if topology is Topology.ACTIVE_STANDBY else None,
            listeners=tuple(
                Listener(
                    id=uuid(base + 100 + index),
                    protocol=Protocol.HTTP,
                    protocol_port=80 + index,
                    default_pool_id=pool.id,
                    **_ACTIVE,
                )
                for index, pool in enumerate(pools)
            ),
            pools=pools,
            observed_generation=1,
            **_ACTIVE,
        ),
        **more,
    )


def amphora(lb: LoadBalancer, index: int = 0, **more: Any) -> Amphora:
    """ALLOCATED; its id is the load balancer's + 1 + ``index``."""
    pair = lb.topology is Topology.ACTIVE_STANDBY
    return replace(
        Amphora(
            id=uuid(UUID(lb.id).int + 1 + index),
            load_balancer_id=lb.id,
            status=AmphoraStatus.ALLOCATED,
            role=(Role.MASTER, Role.BACKUP)[index] if pair else Role.STANDALONE,
            compute_id=f"server-{UUID(lb.id).int + 1 + index}",
            generation=1,
            config_digest="digest",
        ),
        **more,
    )


def amphorae_of(lb: LoadBalancer) -> tuple[Amphora, ...]:
    """As many as its topology wants."""
    return tuple(amphora(lb, index) for index in range(2 if lb.topology is Topology.ACTIVE_STANDBY else 1))


def store(
    tx: sa.Connection, lb: LoadBalancer, *, since: datetime = NOW, fleet: tuple[Amphora, ...] | None = None
) -> None:
    """A load balancer with its amphorae, ALLOCATED at ``since``."""
    saving.insert(tx, lb)
    for one in amphorae_of(lb) if fleet is None else fleet:
        amphorae.insert(tx, one, since)


def report(
    lb: LoadBalancer, index: int = 0, *, member: str = "UP", vrrp_state: str | None = None, **more: Any
) -> Heartbeat:
    """What the amphora of that index says when all is well."""
    pair = lb.topology is Topology.ACTIVE_STANDBY
    values: dict[str, Any] = {
        "amphora_id": uuid(UUID(lb.id).int + 1 + index),
        "listeners": {one.id: ListenerReport(status="OPEN") for one in lb.listeners},
        "pools": tuple(
            PoolReport(
                pool_id=pool.id,
                listener_id=listener.id,
                status="UP",
                members={one.id: member for one in pool.members},
            )
            for listener in lb.listeners
            for pool in lb.pools_used_by(listener)
        ),
        "generation": lb.generation,
        "vrrp_state": vrrp_state or (("MASTER", "BACKUP")[index] if pair else None),
    }
    return Heartbeat(**(values | more))


def operating(tx: sa.Connection, table: sa.Table, object_id: str) -> str:
    """The status as the database has it."""
    return str(tx.execute(sa.select(table.c.operating_status).where(table.c.id == object_id)).scalar_one())


def heard_at(tx: sa.Connection, amphora_id: str) -> datetime | None:
    """When an amphora was last heard of, as the database has it."""
    health = t.amphora_health
    found: datetime | None = tx.execute(
        sa.select(health.c.last_update).where(health.c.amphora_id == amphora_id)
    ).scalar()
    return found
