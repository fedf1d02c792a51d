# SPDX-License-Identifier: Apache-2.0
"""What a batch of heartbeats is held against: senders, their load balancers, what is in those.

One SELECT a batch tells of all senders and of the version of everything else; the rest is read only
when the version differs from what the caller remembers.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db import work
from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus

Version: TypeAlias = tuple[int, int, int]
"""Generation, observed generation, operating version: the same three, the same parts."""


@dataclass(frozen=True, slots=True)
class SeenLoadBalancer:
    """The root of a tree, as the health manager needs it."""

    id: str
    enabled: bool
    provisioning_status: str
    operating_status: str
    is_pair: bool
    version: Version


@dataclass(frozen=True, slots=True)
class Sender:
    """One amphora that is not DELETED.

    :param known: it has been heard of before.
    :param fresh: it was heard, or became what it is, within the heartbeat timeout.
    :param vrrp_state: what it said last.
    :param generation: what it said last.
    :param repairing: its configuration is on its way already.
    """

    id: str
    load_balancer: SeenLoadBalancer
    status: str
    known: bool
    fresh: bool
    vrrp_state: str | None
    generation: int | None
    repairing: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """A listener or a member.

    :param settled: its provisioning_status is ACTIVE.
    """

    id: str
    operating_status: str
    enabled: bool
    leaving: bool
    generation: int
    settled: bool = True


@dataclass(frozen=True, slots=True)
class SeenPool(Seen):
    """A pool with its members."""

    members: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class Parts:
    """What is below one load balancer."""

    listeners: tuple[Seen, ...] = ()
    pools: tuple[SeenPool, ...] = ()


# Enumerations are strings here and comparisons are made in SQL: converting values in Python would
# cost more than everything else that is done with them.
_IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", expanding=True)
_SENDERS: Final = (
    sa.select(
        t.amphora.c.id,
        t.amphora.c.status,
        t.amphora_health.c.amphora_id.is_not(None),
        sa.func.coalesce(t.amphora_health.c.last_update, t.amphora.c.updated_at, t.amphora.c.created_at)
        >= sa.bindparam("since", type_=t.Moment),
        t.amphora_health.c.vrrp_state,
        t.amphora_health.c.generation,
        t.amphora.c.config_digest.is_(None),
        t.load_balancer.c.id,
        t.load_balancer.c.enabled,
        t.load_balancer.c.provisioning_status,
        t.load_balancer.c.operating_status,
        t.load_balancer.c.topology == "ACTIVE_STANDBY",
        t.load_balancer.c.generation,
        t.load_balancer.c.observed_generation,
        t.load_balancer.c.operating_version,
    )
    .join(t.load_balancer, t.load_balancer.c.id == t.amphora.c.load_balancer_id)
    .outerjoin(t.amphora_health, t.amphora_health.c.amphora_id == t.amphora.c.id)
    .where(
        t.amphora.c.status != AmphoraStatus.DELETED,
        t.load_balancer.c.provisioning_status != ProvisioningStatus.DELETED,
        # By load balancer and not by a subquery for the senders' ones, which MariaDB answers by
        # reading all amphorae there are.
        t.amphora.c.load_balancer_id.in_(_IDS),
    )
)


def fleets(tx: sa.Connection, load_balancer_ids: Collection[str], since: datetime) -> dict[str, list[Sender]]:
    """Load balancer to all its amphorae; load balancers without any are left out.

    :param since: who was heard before that is not fresh.
    """
    found: dict[str, list[Sender]] = {}
    roots: dict[str, SeenLoadBalancer] = {}
    for row in tx.execute(_SENDERS, {"ids": list(load_balancer_ids), "since": since}):
        (
            amphora_id,
            status,
            known,
            fresh,
            vrrp_state,
            generation,
            repairing,
            load_balancer_id,
            enabled,
            provisioning,
            operating,
            is_pair,
            *version,
        ) = row
        root = roots.get(load_balancer_id)
        if root is None:
            root = roots[load_balancer_id] = SeenLoadBalancer(
                load_balancer_id, enabled, provisioning, operating, bool(is_pair), tuple(version)
            )
            found[load_balancer_id] = []
        found[load_balancer_id].append(
            Sender(
                amphora_id, root, status, bool(known), bool(fresh), vrrp_state, generation, bool(repairing)
            )
        )
    return found


def _seen(table: sa.Table) -> list[sa.ColumnElement[Any]]:
    names = ("id", "operating_status", "enabled", "delete_requested", "generation")
    settled = table.c.provisioning_status == ProvisioningStatus.ACTIVE
    return [*(table.c[name] for name in names), settled]


_LISTENERS: Final = sa.select(t.listener.c.load_balancer_id, *_seen(t.listener)).where(
    t.listener.c.load_balancer_id.in_(_IDS)
)
_POOLS: Final = sa.select(t.pool.c.load_balancer_id, *_seen(t.pool)).where(
    t.pool.c.load_balancer_id.in_(_IDS)
)
_MEMBERS: Final = (
    sa.select(t.member.c.pool_id, *_seen(t.member))
    .join(t.pool, t.pool.c.id == t.member.c.pool_id)
    .where(t.pool.c.load_balancer_id.in_(_IDS))
)


def parts(tx: sa.Connection, load_balancer_ids: Collection[str]) -> dict[str, Parts]:
    """What is below some load balancers: three statements, however many there are."""
    wanted = {"ids": list(load_balancer_ids)}
    members: dict[str, list[Seen]] = defaultdict(list)
    for pool_id, *row in tx.execute(_MEMBERS, wanted):
        members[pool_id].append(Seen(*row))
    pools: dict[str, list[SeenPool]] = defaultdict(list)
    for load_balancer_id, *row in tx.execute(_POOLS, wanted):
        pools[load_balancer_id].append(SeenPool(*(*row, tuple(members.get(row[0], ())))))
    listeners: dict[str, list[Seen]] = defaultdict(list)
    for load_balancer_id, *row in tx.execute(_LISTENERS, wanted):
        listeners[load_balancer_id].append(Seen(*row))
    return {one: Parts(tuple(listeners[one]), tuple(pools[one])) for one in load_balancer_ids}


def load_balancers_of(tx: sa.Connection, amphora_ids: Collection[str]) -> dict[str, str | None]:
    """Amphora to its load balancer, which it never changes; what is DELETED or unknown is left out."""
    query = sa.select(t.amphora.c.id, t.amphora.c.load_balancer_id).where(
        t.amphora.c.id.in_(_IDS), t.amphora.c.status != AmphoraStatus.DELETED
    )
    return {row.id: row.load_balancer_id for row in tx.execute(query, {"ids": list(amphora_ids)})}


def request_repair(
    tx: sa.Connection, load_balancer_id: str, amphora_ids: Sequence[str], now: datetime
) -> None:
    """Have amphorae's configuration sent again, as if nothing was known of what they run."""
    locked = sa.select(t.load_balancer.c.id).where(t.load_balancer.c.id == load_balancer_id).with_for_update()
    if tx.execute(locked).scalar() is None:
        return
    tx.execute(
        sa.update(t.amphora)
        .where(
            t.amphora.c.id.in_(amphora_ids),
            t.amphora.c.status.in_((AmphoraStatus.ALLOCATED, AmphoraStatus.FAILOVER_STOPPED)),
        )
        .values(config_digest=None)
    )
    work.announce(tx, load_balancer_id, now)
