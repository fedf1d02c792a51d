# SPDX-License-Identifier: Apache-2.0
"""One object, and why it is not as asked, if it is not."""

import sqlalchemy as sa

from octavia.db.explain import Standing
from octavia.db.views.relations import complete
from octavia.db.views.shape import REASON, Record, View
from octavia.domain.errors import NotFound


def show(tx: sa.Connection, view: View, object_id: str) -> tuple[Record, Standing | None]:
    """One object, and why it is not as asked, if it is not.

    :raises NotFound: there is none of that id.
    """
    row = tx.execute(view.explained, {"id": object_id}).mappings().one_or_none()
    if row is None:
        raise NotFound(view.noun, object_id)
    record = dict(row)
    standing = Standing(*(record.pop(f"reason_{name}") for name in REASON))
    complete(tx, view, [record])
    return record, standing if standing.object_id else None


def ping(tx: sa.Connection) -> None:
    """Ask the database for nothing but an answer."""
    tx.execute(sa.select(1)).scalar()


def exists(tx: sa.Connection, view: View, object_id: str) -> bool:
    """Is there such an object?"""
    query = sa.select(view.id).where(view.id == object_id)
    if view.alive is not None:
        query = query.where(view.alive)
    return tx.execute(query).scalar() is not None


def show_below(
    tx: sa.Connection, view: View, object_id: str, above: View, parent_id: str
) -> tuple[Record, Standing | None]:
    """One member of one pool, one rule of one policy.

    :raises NotFound: there is no such parent, or it has no such object.
    """
    assert view.parent is not None
    try:
        record, standing = show(tx, view, object_id)
    except NotFound:
        record, standing = {view.parent.name: None}, None
    if record[view.parent.name] != parent_id:
        check_exists(tx, above, parent_id)
        raise NotFound(view.noun, object_id)
    return record, standing


def project_of(tx: sa.Connection, view: View, object_id: str) -> str | None:
    """The project of an object; None: it is of none.

    :raises NotFound: there is no such object.
    """
    assert view.project is not None
    query = sa.select(view.project).select_from(view.source).where(view.id == object_id)
    row = tx.execute(query if view.alive is None else query.where(view.alive)).one_or_none()
    if row is None:
        raise NotFound(view.noun, object_id)
    project_id: str | None = row[0]
    return project_id


def check_exists(tx: sa.Connection, view: View, object_id: str) -> None:
    """:raises NotFound: there is no such object."""
    if not exists(tx, view, object_id):
        raise NotFound(view.noun, object_id)
