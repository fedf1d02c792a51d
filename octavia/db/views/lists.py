# SPDX-License-Identifier: Apache-2.0
"""Pages of lists: filters, tags, order and markers as SQL (contract: api.md sections 3.2 and 3.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.views.objects import PERSISTENCE
from octavia.db.views.relations import complete
from octavia.db.views.shape import Column, Record, View
from octavia.domain.errors import Invalid

_MAX_INTEGER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFilter:
    """``tags``, ``tags-any``, ``not-tags`` or ``not-tags-any``."""

    tags: tuple[str, ...]
    any: bool
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which objects a list shows, and in which order.

    :param filters: attribute and value, as text.
    :param sort: attribute, and whether it is descending.
    :param limit: objects a page; None: all.
    :param backwards: the page that ends just before the marker.
    """

    filters: tuple[tuple[str, str], ...] = ()
    tags: tuple[TagFilter, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None
    marker: str | None = None
    backwards: bool = False


def listing(
    tx: sa.Connection,
    view: View,
    wanted: Listing,
    *,
    project_id: str | None = None,
    parent_id: str | None = None,
) -> list[Record]:
    """One page of a list.

    :param project_id: only that project's objects.
    :param parent_id: only what is below that pool or policy.
    :raises Invalid: an attribute, a value or the marker does not exist.
    """
    query = view.every
    if project_id is not None and view.project is not None:
        query = query.where(view.project == project_id)
    if parent_id is not None and view.parent is not None:
        query = query.where(view.parent == parent_id)
    marker_query = query
    for name, text in wanted.filters:
        query = query.where(_equals(view, name, text))
    for tag_filter in wanted.tags:
        query = query.where(_tagged(view, tag_filter))
    order = _order(view, wanted.sort)
    if wanted.marker is not None:
        row = tx.execute(
            marker_query.where(view.id == wanted.marker).with_only_columns(*_keys(order))
        ).first()
        if row is None:
            raise Invalid(f"Supplied pagination marker '{wanted.marker}' is not valid.")
        query = query.where(_beyond(order, row, wanted.backwards))
    for key in order:
        query = query.order_by(*key.order_by(wanted.backwards))
    if wanted.limit is not None:
        query = query.limit(wanted.limit)
    names = tuple(view.columns)
    records = [dict(zip(names, row, strict=True)) for row in tx.execute(query).all()]
    if wanted.backwards:
        records.reverse()
    complete(tx, view, records)
    return records


@dataclass(frozen=True, slots=True)
class _Key:
    """One criterion of an order; null comes before everything, on every database."""

    column: Column
    descending: bool = False
    nullable: bool = True

    def order_by(self, backwards: bool) -> Iterable[Column]:
        """The criterion as SQL."""
        terms = [self.column.is_not(None), self.column] if self.nullable else [self.column]
        return [term.desc() if self.descending is not backwards else term.asc() for term in terms]

    def same(self, value: Any) -> Column:
        """Is a row's the same as the marker's?"""
        return self.column.is_(None) if value is None else self.column == value

    def after(self, value: Any, backwards: bool) -> Column:
        """Does a row come after the marker?"""
        if self.descending is not backwards:
            if value is None:
                return sa.false()
            return (
                sa.or_(self.column < value, self.column.is_(None)) if self.nullable else self.column < value
            )
        return self.column.is_not(None) if value is None else self.column > value


def _keys(order: Sequence[_Key]) -> list[Column]:
    return [key.column.label(f"key{n}") for n, key in enumerate(order)]


def _order(view: View, sort: Sequence[tuple[str, bool]]) -> list[_Key]:
    keys = []
    for name, descending in sort:
        column = view.attribute(name)
        if column is None or name in _NOT_SCALAR:
            raise Invalid(f"Supplied sort key '{name}' is not valid.")
        keys.append(_Key(_comparable(column), descending))
    *others, identifier = view.order
    return [*keys, *(_Key(column) for column in others), _Key(identifier, nullable=False)]


def _comparable(column: Column) -> Column:
    if isinstance(column.type, sa.Boolean):  # PostgreSQL's are no numbers, and others' have no order
        return sa.case((column.is_(sa.true()), 1), else_=0)
    # MySQL keeps a FLOAT in single precision: 1.1 would equal nothing that we can write.
    return sa.func.round(column * 10) if isinstance(column.type, sa.Float) else column


def _beyond(order: Sequence[_Key], marker: Sequence[Any], backwards: bool) -> Column:
    """Rows that come after the marker: greater in the first criterion that differs."""
    alternatives = []
    for n, key in enumerate(order):
        same = [order[m].same(marker[m]) for m in range(n)]
        alternatives.append(sa.and_(*same, key.after(marker[n], backwards)))
    return sa.or_(*alternatives)


_NOT_SCALAR: Final = frozenset({"insert_headers", "persistence_type", *PERSISTENCE})
_BOOLEANS: Final = {"true": True, "t": True, "1": True, "yes": True, "y": True, "on": True} | {
    "false": False,
    "f": False,
    "0": False,
    "no": False,
    "n": False,
    "off": False,
}


def _equals(view: View, name: str, text: str) -> Column:
    if name in view.conditions:
        return view.conditions[name](text)
    column = view.attribute(name)
    if column is None or name in _NOT_SCALAR:
        raise Invalid("One or more arguments are either duplicate or invalid")
    if isinstance(column.type, sa.Boolean):
        if text.lower() not in _BOOLEANS:
            raise Invalid(f"Value not an unambiguous boolean: {text[:100]}")
        return column.is_(sa.true() if _BOOLEANS[text.lower()] else sa.false())
    if isinstance(column.type, sa.Integer):
        return _equals_number(column, text, int)
    if isinstance(column.type, sa.Float):
        return _equals_number(column, text, float)
    if isinstance(column.type, sa.DateTime):
        return _equals_second(column, text)
    return column == text


def _equals_number(column: Column, text: str, number: type[int] | type[float]) -> Column:
    try:
        value = number(text[:40])
        if not abs(value) < _MAX_INTEGER:
            return sa.false()
    except ValueError:
        return sa.false()
    return _comparable(column) == (round(value * 10) if number is float else value)


def _equals_second(column: Column, text: str) -> Column:
    """Moments are shown in whole seconds, so a second is what they are compared by."""
    try:
        moment = datetime.fromisoformat(text).replace(microsecond=0, tzinfo=None)
        return sa.and_(column >= moment, column < moment + timedelta(seconds=1))
    except (ValueError, OverflowError):
        return sa.false()


def _tagged(view: View, wanted: TagFilter) -> Column:
    if not view.tagged:
        raise Invalid("One or more arguments are either duplicate or invalid")
    # An empty tag matches nothing.
    tags = sorted({tag for tag in wanted.tags if tag})
    carriers = sa.select(t.tags.c.resource_id).where(t.tags.c.tag.in_(tags))
    if wanted.any:
        found: Column = view.id.in_(carriers)
    elif len(tags) < len(set(wanted.tags)):
        found = sa.false()
    else:
        all_of_them = carriers.group_by(t.tags.c.resource_id).having(sa.func.count() == len(tags))
        found = view.id.in_(all_of_them)
    return sa.not_(found) if wanted.negated else found
