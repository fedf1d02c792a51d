# SPDX-License-Identifier: Apache-2.0
"""How one kind of object is read: its columns, and its relations to rows of other tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from octavia.db import tables as t

Record: TypeAlias = dict[str, Any]
Column: TypeAlias = sa.ColumnElement[Any]

REASON: Final = ("object_id", "code", "sentence", "since", "attempts", "next_try")
"""Columns of the reason why something is not as asked."""


@dataclass(frozen=True)
class Relation:
    """An attribute that lives in rows of another table, one value a row.

    :param parent: the id of the object that has the attribute.
    :param moment: what the values are ordered by, before themselves.
    :param gather: makes the attribute of one parent's values.
    :param empty: the attribute of a parent without rows.
    :param only: what else must hold for a row.
    :param more: further rows of the same attribute.
    """

    attribute: str
    parent: Column
    value: Column
    moment: Column = sa.cast(sa.null(), t.Moment)  # noqa: RUF009  # a constant of SQL
    gather: Callable[[list[Any]], Any] = tuple
    empty: Any = ()
    only: Column = sa.true()  # noqa: RUF009  # likewise
    more: "tuple[Relation, ...]" = ()

    def select(self, number: int) -> sa.Select[Any]:
        """Rows of what has a parent among ``:ids``, under a number."""
        label: Column = sa.literal_column(str(number)).label("relation")
        moment = self.moment.label("moment")
        return sa.select(label, self.parent.label("parent"), self.value.label("value"), moment).where(
            ids_of(self.parent), self.only
        )


@dataclass(frozen=True)
class WideRelation:
    """An attribute made of rows of another table, several columns each.

    :param query: selects the parent's id and what belongs to it, where that id is among ``:ids``.
    :param gather: makes the attribute of one parent's rows.
    """

    attribute: str
    query: sa.Select[Any]
    gather: Callable[[list[Any]], Any]


@dataclass(frozen=True)
class View:
    """How one kind of object is read.

    :param noun: what messages call it.
    :param columns: scalar attributes; each can be filtered and sorted by.
    :param hidden: further names that filters may use.
    :param conditions: filters that are no equality of a column.
    :param alive: condition that holds for what exists in the eyes of the API.
    :param order: the default; the last one is unique.
    :param key: the attribute that ``id`` is; it is what markers name.
    :param parent: where objects of this kind are listed below another one.
    :param complete: turns a row into a record, where it is more than its columns.
    """

    noun: str
    source: sa.FromClause
    id: Column
    project: Column | None
    columns: Mapping[str, Column]
    hidden: Mapping[str, Column]
    order: tuple[Column, ...]
    relations: tuple[Relation, ...] = ()
    wide_relations: tuple[WideRelation, ...] = ()
    alive: Column | None = None
    parent: sa.Column[Any] | None = None
    key: str = "id"
    tagged: bool = True
    complete: Callable[[Record], None] | None = None
    conditions: Mapping[str, Callable[[str], Column]] = field(default_factory=dict)

    # Built once, like the others: building a statement costs more than running it.
    @cached_property
    def every(self) -> sa.Select[Any]:
        """All rows that exist."""
        query = sa.select(*(column.label(name) for name, column in self.columns.items()))
        query = query.select_from(self.source)
        return query if self.alive is None else query.where(self.alive)

    @cached_property
    def explained(self) -> sa.Select[Any]:
        """The row of ``:id``, with the reason why it is not as asked, if it is not."""
        reason = t.status_reason
        query = sa.select(
            *(column.label(name) for name, column in self.columns.items()),
            *(reason.c[name].label(f"reason_{name}") for name in REASON),
        ).select_from(self.source.outerjoin(reason, reason.c.object_id == self.id))
        query = query.where(self.id == sa.bindparam("id", type_=sa.String))
        return query if self.alive is None else query.where(self.alive)

    @cached_property
    def related(self) -> sa.Select[Any]:
        """All relations in one statement: relation's number, parent's id, value."""
        parts = (
            one.select(number)
            for number, relation in enumerate(self.relations)
            for one in (relation, *relation.more)
        )
        rows = sa.union_all(*parts).subquery()
        # Reading a moment costs more than a row's other columns, and nobody wants to know it.
        columns = (rows.c.relation, rows.c.parent, rows.c.value)
        return sa.select(*columns).order_by(rows.c.relation, rows.c.moment, rows.c.value)

    def attribute(self, name: str) -> Column | None:
        """The column of a scalar attribute, if there is one of that name."""
        found = self.columns.get(name)
        return self.hidden.get(name) if found is None else found


def columns(table: sa.Table, *names: str, **others: Column) -> dict[str, Column]:
    """Columns of a table under the API's names, and others."""
    renamed = {"admin_state_up": "enabled"}
    return {name: table.c[renamed.get(name, name)] for name in names} | others


def ids_of(column: Column) -> Column:
    """Is a column's value among ``:ids``?"""
    return column.in_(sa.bindparam("ids", expanding=True))
