# SPDX-License-Identifier: Apache-2.0
"""INSERT that updates where the key exists already: each database has its own words for it."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

Incoming: TypeAlias = Callable[[str], sa.ColumnElement[Any]]
"""Column name to the value that the row to insert has for it."""


def upsert(
    dialect: str, table: sa.Table, update: Callable[[Incoming], Mapping[str, sa.ColumnElement[Any]]]
) -> sa.Executable:
    """A statement for many rows, by the primary key. Build it once: building costs more than running.

    :param dialect: name of the database's dialect.
    :param update: column to new value where the row exists. No bound parameters in there: PyMySQL
        sends many rows as one statement only without them.
    """
    # Only the dialect of this database: the others would take 3 MB of each process.
    if dialect in ("mysql", "mariadb"):
        from sqlalchemy.dialects import mysql  # noqa: PLC0415

        into = mysql.insert(table)
        return into.on_duplicate_key_update(dict(update(lambda name: into.inserted[name])))
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415

        pg = postgresql.insert(table)
        return pg.on_conflict_do_update(
            index_elements=list(table.primary_key), set_=dict(update(lambda name: pg.excluded[name]))
        )
    from sqlalchemy.dialects import sqlite  # noqa: PLC0415

    lite = sqlite.insert(table)
    return lite.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=dict(update(lambda name: lite.excluded[name]))
    )
