# SPDX-License-Identifier: Apache-2.0
"""The limits of projects, and whether there is room below them.

What is in use is counted from the rows that are there, so that nothing can drift. Creations of one project
that has a limit come one after another: each locks the project's row, after the load balancer's if there is
one already, until it commits.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db import views
from octavia.db.upsert import Incoming, upsert
from octavia.domain import quota
from octavia.domain.statuses import ProvisioningStatus

_PROJECT: Final[sa.BindParameter[str]] = sa.bindparam("project_id", type_=sa.String)
_LIMITS: Final = sa.select(*(t.quotas.c[name] for name in quota.NOUNS)).where(
    t.quotas.c.project_id == _PROJECT
)
_TABLES: Final = {
    "listener": t.listener,
    "member": t.member,
    "pool": t.pool,
    "health_monitor": t.health_monitor,
    "l7policy": t.l7policy,
    "l7rule": t.l7rule,
}


def ensure_room(
    tx: sa.Connection, project_id: str | None, wanted: Mapping[str, int], defaults: Mapping[str, int]
) -> None:
    """Have the project's other creations wait, and see whether what is wanted fits.

    :param wanted: resource to how many more.
    :param defaults: limits of what the project has no limit of its own for.
    :raises QuotaMet: it does not.
    """
    if not wanted or project_id is None:
        return
    tx.execute(_touch(tx.dialect.name), {"project_id": project_id})
    found = limits(tx, project_id) or {}
    in_force = {name: _effective(found.get(name), defaults[name]) for name in wanted}
    limited = [name for name, limit in in_force.items() if limit != quota.UNLIMITED]
    if limited:
        counted = tx.execute(_count(tuple(sorted(limited))), {"project_id": project_id}).mappings().one()
        quota.check({name: wanted[name] for name in limited}, dict(counted), in_force)


def _effective(limit: int | None, default: int) -> int:
    return default if limit is None else limit


@cache
def _touch(dialect: str) -> sa.Executable:
    """Make the project's row if there is none, and lock it."""

    def same(incoming: Incoming) -> dict[str, sa.ColumnElement[Any]]:
        return {"project_id": incoming("project_id")}

    return upsert(dialect, t.quotas, same)


@cache
def _count(names: tuple[str, ...]) -> sa.Select[Any]:
    columns: list[sa.ColumnElement[Any]] = [_counted(name).label(name) for name in names]
    return sa.select(*columns)


def _counted(name: str) -> sa.ColumnElement[int]:
    """Everything of a project that is not DELETED, whatever its state."""
    if name in _TABLES:
        table = _TABLES[name]
        return sa.select(sa.func.count()).where(table.c.project_id == _PROJECT).scalar_subquery()
    stored = sa.select(sa.func.count()).where(
        t.load_balancer.c.project_id == _PROJECT,
        t.load_balancer.c.provisioning_status != ProvisioningStatus.DELETED,
    )
    reserved = sa.select(sa.func.count()).where(t.reservation.c.project_id == _PROJECT)
    return stored.scalar_subquery() + reserved.scalar_subquery()


def limits(tx: sa.Connection, project_id: str) -> dict[str, int | None] | None:
    """A project's own limits, None where it has none; None if it has no record at all."""
    row = tx.execute(_LIMITS, {"project_id": project_id}).mappings().one_or_none()
    return dict(row) if row is not None else None


def set_limits(tx: sa.Connection, project_id: str, values: Mapping[str, int | None]) -> None:
    """Set some of a project's limits; None goes back to the default."""
    tx.execute(_touch(tx.dialect.name), {"project_id": project_id})
    if values:
        tx.execute(sa.update(t.quotas).where(t.quotas.c.project_id == project_id).values(dict(values)))


def reset(tx: sa.Connection, project_id: str) -> bool:
    """All limits go back to the defaults; False if the project has no record."""
    update = sa.update(t.quotas).where(t.quotas.c.project_id == project_id)
    # MySQL counts only rows that change, so ask first.
    if limits(tx, project_id) is None:
        return False
    tx.execute(update.values(dict.fromkeys(quota.NOUNS)))
    return True


def view(defaults: Mapping[str, int], names: Mapping[str, str]) -> views.View:
    """The list of projects that have a record.

    :param names: the API's names of limits, to resources.
    """
    columns: dict[str, sa.ColumnElement[Any]] = {
        name: sa.func.coalesce(t.quotas.c[resource], sa.literal(defaults[resource], sa.Integer))
        for name, resource in names.items()
    }
    project_id = t.quotas.c.project_id
    return views.View(
        noun="Quotas",
        source=t.quotas,
        id=project_id,
        key="project_id",
        project=project_id,
        columns={"project_id": project_id, **columns},
        hidden={},
        order=(project_id,),
        tagged=False,
    )
