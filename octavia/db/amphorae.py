# SPDX-License-Identifier: Apache-2.0
"""Rows of amphorae: what the worker has made so far, and when each was last heard of."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.upsert import upsert
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, Role

_DELETED: Final = AmphoraStatus.DELETED
_COLUMNS: Final = tuple(one.name for one in fields(Amphora) if one.name != "plugged_networks")


def of_load_balancer(tx: sa.Connection, load_balancer_id: str) -> tuple[Amphora, ...]:
    """Every amphora of a load balancer that is not DELETED, the oldest first."""
    return _load(tx, _OF_LB, {"id": load_balancer_id})


def get(tx: sa.Connection, amphora_id: str) -> Amphora | None:
    """One amphora; None when there is none or it is DELETED."""
    found = _load(tx, _ONE, {"id": amphora_id})
    return found[0] if found else None


def serving(tx: sa.Connection) -> tuple[Amphora, ...]:
    """Every amphora that takes configuration, of all load balancers."""
    return _load(tx, _SERVING, {})


def all_ids(tx: sa.Connection) -> set[str]:
    """The ids of all amphorae that are not DELETED."""
    live = sa.select(t.amphora.c.id).where(t.amphora.c.status != _DELETED)
    return set(tx.execute(live).scalars())


def unserved(tx: sa.Connection, present: Collection[str]) -> set[str]:
    """Ids of wanted load balancers that the amphorae in this database do not serve, or may not serve yet.

    :param present: ids of amphorae that compute has a server of.
    """
    own = sa.and_(t.amphora.c.load_balancer_id == t.load_balancer.c.id, t.amphora.c.status != _DELETED)
    query = (
        sa.select(
            t.load_balancer.c.id,
            t.amphora.c.id.label("amphora_id"),
            t.work.c.load_balancer_id.label("queued"),
        )
        .select_from(t.load_balancer)
        .outerjoin(t.amphora, own)
        .outerjoin(t.work, t.work.c.load_balancer_id == t.load_balancer.c.id)
        .where(sa.not_(t.load_balancer.c.delete_requested))
    )
    return {one.id for one in tx.execute(query) if one.queued or one.amphora_id not in present}


def _alive(where: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return (
        sa.select(t.amphora)
        .where(where, t.amphora.c.status != AmphoraStatus.DELETED)
        .order_by(t.amphora.c.created_at, t.amphora.c.id)
    )


_ONE: Final = _alive(t.amphora.c.id == sa.bindparam("id"))
_OF_LB: Final = _alive(t.amphora.c.load_balancer_id == sa.bindparam("id"))
_SERVING: Final = _alive(t.amphora.c.status.in_((AmphoraStatus.ALLOCATED, AmphoraStatus.FAILOVER_STOPPED)))
_PORTS: Final = (
    sa.select(t.amphora_member_port.c.amphora_id, t.amphora_member_port.c.network_id)
    .where(t.amphora_member_port.c.amphora_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(t.amphora_member_port.c.network_id)
)


def _load(tx: sa.Connection, query: sa.Select[Any], values: Mapping[str, str]) -> tuple[Amphora, ...]:
    rows = tx.execute(query, values).mappings().all()
    if not rows:
        return ()
    ports = tx.execute(_PORTS, {"ids": [row["id"] for row in rows]}).all()
    return tuple(
        Amphora(
            **{name: row[name] for name in _COLUMNS if name not in ("status", "role")},
            status=AmphoraStatus(row["status"]),
            role=Role(row["role"] or Role.STANDALONE),
            plugged_networks=tuple(port.network_id for port in ports if port.amphora_id == row["id"]),
        )
        for row in rows
    )


def insert(tx: sa.Connection, amphora: Amphora, now: datetime) -> None:
    """A new row; compute is asked only after this is committed."""
    values = {name: getattr(amphora, name) for name in _COLUMNS}
    tx.execute(_INSERT, values | {"created_at": now})


def update(tx: sa.Connection, amphora_id: str, now: datetime, **values: Any) -> None:
    """Write some columns of one amphora."""
    unknown = set(values) - set(_COLUMNS)
    assert not unknown, unknown
    tx.execute(_UPDATE, values | {"updated_at": now, "amphora_id": amphora_id})


_INSERT: Final = sa.insert(t.amphora)
_UPDATE: Final = sa.update(t.amphora).where(t.amphora.c.id == sa.bindparam("amphora_id"))


def delete(tx: sa.Connection, amphora_id: str, now: datetime) -> None:
    """Its server and its ports are gone: DELETED, to be purged by housekeeping."""
    tx.execute(sa.delete(t.amphora_member_port).where(t.amphora_member_port.c.amphora_id == amphora_id))
    tx.execute(sa.delete(t.amphora_health).where(t.amphora_health.c.amphora_id == amphora_id))
    update(tx, amphora_id, now, status=AmphoraStatus.DELETED)


def record_member_port(
    tx: sa.Connection, amphora_id: str, port_id: str, network_id: str, now: datetime
) -> None:
    """An amphora has a port on a network of members; recorded already is a success."""
    table = t.amphora_member_port
    known = sa.select(table.c.port_id).where(table.c.port_id == port_id)
    if tx.execute(known).scalar() is None:
        tx.execute(
            sa.insert(table).values(
                port_id=port_id, amphora_id=amphora_id, network_id=network_id, created_at=now
            )
        )


def member_ports(tx: sa.Connection, amphora_id: str) -> dict[str, str]:
    """Network to port of an amphora's member ports."""
    table = t.amphora_member_port
    rows = tx.execute(sa.select(table.c.network_id, table.c.port_id).where(table.c.amphora_id == amphora_id))
    return {row.network_id: row.port_id for row in rows}


def forget_member_port(tx: sa.Connection, port_id: str) -> None:
    """The port is gone."""
    tx.execute(sa.delete(t.amphora_member_port).where(t.amphora_member_port.c.port_id == port_id))


def request_replacement(tx: sa.Connection, amphora_ids: Sequence[str], now: datetime) -> None:
    """Stamp amphorae for replacement; a stamp that is there already stays."""
    tx.execute(
        sa.update(t.amphora)
        .where(t.amphora.c.id.in_(amphora_ids), t.amphora.c.replace_requested.is_(None))
        .values(replace_requested=now)
    )


def request_agent_configuration(tx: sa.Connection, amphora_id: str, now: datetime) -> None:
    """Stamp an amphora whose agent is to get its configuration anew."""
    tx.execute(sa.update(t.amphora).where(t.amphora.c.id == amphora_id).values(config_requested=now))


def request_deletion(tx: sa.Connection, amphora_id: str, now: datetime) -> bool:
    """Have an amphora that has failed taken away; False if it has not failed, or is none."""
    failed = sa.and_(t.amphora.c.id == amphora_id, t.amphora.c.status == AmphoraStatus.ERROR)
    stamped = sa.update(t.amphora).where(failed)
    return tx.execute(stamped.values(status=AmphoraStatus.PENDING_DELETE, updated_at=now)).rowcount == 1


# Heartbeats


@dataclass(frozen=True, slots=True)
class Heard:
    """What one heartbeat says of its sender.

    :param at: when it was received, naive UTC.
    """

    at: datetime
    vrrp_state: str | None = None
    generation: int | None = None


def record_heard(
    tx: sa.Connection, heard: Mapping[str, Heard], known: Mapping[str, Heard] | None = None
) -> None:
    """Remember when amphorae were last heard of, a whole batch in a few statements.

    :param known: what the database says of those it knows; None reads it. Only ``at`` may be stale.
    """
    table = t.amphora_health
    if known is None:
        rows = tx.execute(sa.select(table).where(table.c.amphora_id.in_(list(heard))))
        known = {row.amphora_id: Heard(row.last_update, row.vrrp_state, row.generation) for row in rows}
    same: dict[datetime, list[str]] = {}
    differing = []
    for amphora_id, one in sorted(heard.items()):
        before = known.get(amphora_id)
        if before and (before.vrrp_state, before.generation) == (one.vrrp_state, one.generation):
            same.setdefault(one.at, []).append(amphora_id)
        else:
            differing.append(
                {
                    "amphora_id": amphora_id,
                    "busy": False,
                    "last_update": one.at,
                    "vrrp_state": one.vrrp_state,
                    "generation": one.generation,
                }
            )
    for at, amphora_ids in same.items():
        tx.execute(_STILL_THERE, {"ids": amphora_ids, "at": at})
    if differing:
        tx.execute(_heard_anew(tx.dialect.name), differing)


_IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", expanding=True)
_STILL_THERE: Final = (
    sa.update(t.amphora_health)
    .where(t.amphora_health.c.amphora_id.in_(_IDS))
    .values(last_update=sa.bindparam("at"))
)


@cache
def _heard_anew(dialect: str) -> sa.Executable:
    columns = ("last_update", "vrrp_state", "generation")
    return upsert(dialect, t.amphora_health, lambda incoming: {name: incoming(name) for name in columns})


def health(tx: sa.Connection, load_balancer_id: str) -> dict[str, Heard]:
    """When each amphora of a load balancer was last heard of."""
    table = t.amphora_health
    rows = tx.execute(
        sa.select(table)
        .join(t.amphora, t.amphora.c.id == table.c.amphora_id)
        .where(t.amphora.c.load_balancer_id == load_balancer_id)
    )
    return {row.amphora_id: Heard(row.last_update, row.vrrp_state, row.generation) for row in rows}
