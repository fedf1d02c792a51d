# SPDX-License-Identifier: Apache-2.0
"""Filling in what is in other tables, for one record or many at once."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from octavia.db.views.shape import Record, View

# An IN list has to stay below what SQLite can bind; only lists without any limit are longer.
_CHUNK: Final = 5_000


def complete(tx: sa.Connection, view: View, records: Sequence[Record]) -> None:
    """Give each record its relations: one query for most of them, however many records there are."""
    if not records:
        return
    every = [record[view.key] for record in records]
    chunks = [{"ids": every[start : start + _CHUNK]} for start in range(0, len(every), _CHUNK)]
    values: list[dict[str, list[Any]]] = [defaultdict(list) for _ in view.relations]
    for chunk in chunks if view.relations else ():
        for number, parent, value in tx.execute(view.related, chunk):
            values[number][parent].append(value)
    for relation, of_parent in zip(view.relations, values, strict=True):
        for record in records:
            found = of_parent.get(record[view.key])
            record[relation.attribute] = relation.gather(found) if found else relation.empty
    for wide in view.wide_relations:
        rows: dict[str, list[Any]] = defaultdict(list)
        for chunk in chunks:
            for row in tx.execute(wide.query, chunk):
                rows[row[0]].append(row)
        for record in records:
            record[wide.attribute] = wide.gather(rows[record[view.key]]) if record[view.key] in rows else ()
    if view.complete:
        for record in records:
            view.complete(record)
