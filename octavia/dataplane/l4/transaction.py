# SPDX-License-Identifier: Apache-2.0
"""The one serializer of :mod:`octavia.dataplane.l4.ruleset`: transactions for ``nft -f``.

Each is taken whole or not at all. Nothing is escaped, since nothing in a table needs it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, assert_never, cast

from octavia.dataplane.l4.ruleset import (
    KINDS,
    Chain,
    Count,
    CountBy,
    Counter,
    DrawMark,
    FlowSet,
    Goto,
    GotoBy,
    LimitFlows,
    Lookup,
    Match,
    Named,
    Object,
    Recall,
    Remember,
    SetMark,
    Source,
    SourceMap,
    Statement,
    Table,
    Translate,
)
from octavia.dataplane.l4.words import Data, Do, Place, Value

TABLE: Final = "inet octavia_l4"


def replacement(table: Table, present: Collection[Named] = ()) -> str:
    """The transaction that makes the table so, from whatever it is; what the kernel filled is kept.

    :param present: the objects that are there now.
    """
    unwanted = sorted(set(present) - table.named, key=lambda one: (KINDS.index(one.kind), one.name))
    head = [f"table {TABLE}", f"flush table {TABLE}"]
    head += [f"delete {one.kind} {TABLE} {one.name}" for one in unwanted]
    head += [f"flush map {TABLE} {name}" for name in table.addresses if Named("map", name) in present]
    body = [f"  {one.kind} {name} {{ {_object(one)} }}" for name, one in table.objects.items()]
    for name, one in table.addresses.items():
        elements = f" elements = {_elements(one.places)};" if one.places else ""
        body.append(f"  map {name} {{ type mark : {one.data.text} . inet_service;{elements} }}")
    return "\n".join([*head, f"table {TABLE} {{", *body, *_chains(table.chains), "}", ""])


def difference(before: Table, after: Table) -> str | None:
    """The transaction that leads from a table that is there to another; empty if they are the same.

    :returns: None if their objects differ: then the whole table is to be replaced.
    """
    if before.objects != after.objects or before.chains.keys() != after.chains.keys():
        return None
    if before.addresses.keys() != after.addresses.keys():
        return None
    lines = []
    for name, new in after.addresses.items():
        gone, come = _moved(before.addresses[name].places, new.places)
        lines += [f"delete element {TABLE} {name} {_elements(gone)}"] if gone else []
        lines += [f"add element {TABLE} {name} {_elements(come)}"] if come else []
    chains = {name: chain for name, chain in after.chains.items() if chain != before.chains[name]}
    if chains:
        lines += [f"flush chain {TABLE} {name}" for name in chains]
        lines += [f"table {TABLE} {{", *_chains(chains), "}"]
    return "".join(f"{line}\n" for line in lines)


def removal() -> str:
    """The transaction after which there is no table, whether there was one or not."""
    return f"table {TABLE}\ndelete table {TABLE}\n"


def _moved(old: Mapping[int, Place], new: Mapping[int, Place]) -> tuple[dict[int, Place], dict[int, Place]]:
    """What goes, and what comes."""
    come = {  # mostly it is the very same object, and to compare costs ten times as much
        mark: place for mark, place in new.items() if (had := old.get(mark)) is not place and had != place
    }
    return {mark: old[mark] for mark in old if mark in come or mark not in new}, come


def _object(one: Object) -> str:
    match one:
        case Counter():
            return ""
        case FlowSet():
            return "type inet_proto; size 16; flags dynamic;"
        case SourceMap(data, size, timeout):
            return f"type {data.text} : mark; size {size}; flags dynamic,timeout; timeout {timeout}s;"
        case _:
            assert_never(one)


def _elements(places: Mapping[int, Place]) -> str:
    return _braced(f"{mark:#x} : {places[mark].text}" for mark in sorted(places))


def _chains(chains: Mapping[str, Chain]) -> Iterator[str]:
    for name, chain in chains.items():
        yield f"  chain {name} {{"
        if chain.hook:
            yield f"    {chain.hook.value}"
        yield from (f"    {' '.join(map(_statement, rule))}" for rule in chain.rules)
        yield "  }"


def _statement(one: Statement) -> str:
    match one:
        case Match(key, value, unequal):
            return f"{key.text}{' !=' if unequal else ''} {_values(key.data, value)}"
        case Do():
            return one.value
        case Goto(chain):
            return f"goto {chain}"
        case GotoBy():
            return f"{_keys(one)} vmap {_braced(f'{place} : goto {name}' for place, name in _named(one))}"
        case CountBy():
            found = _braced(f'{place} : "{name}"' for place, name in _named(one))
            return f"counter name {_keys(one)} map {found}"
        case Count(counter):
            return f"counter name {counter}"
        case Remember(to, source, change):
            return f"{change.value} @{to} {{ {_source(source)} : ct mark }}"
        case Recall(out_of, source):
            return f"ct mark set {_source(source)} map @{out_of}"
        case DrawMark():
            return _draw(one)
        case SetMark(mark):
            return f"ct mark set {mark:#x}"
        case LimitFlows(flows, most):
            return f"add @{flows} {{ meta l4proto ct count over {most} }}"
        case Translate(data, by):
            return f"dnat {'ip' if data is Data.IPV4 else 'ip6'} to ct mark map @{by}"
        case _:
            assert_never(one)


def _values(data: Data, value: Value | tuple[Value, ...]) -> str:
    if not isinstance(value, tuple):
        return _value(data, value)
    if data is Data.MARK:
        return _marks(cast(tuple[int, ...], value))
    return _braced(_value(data, one) for one in value)


@lru_cache(maxsize=4)  # the marks of a thousand members stand in three rules, one after another
def _marks(values: tuple[int, ...]) -> str:
    return _braced(map(hex, values))


def _value(data: Data, value: Value) -> str:
    return hex(value) if data is Data.MARK and isinstance(value, int) and value else str(value)


def _keys(one: Lookup) -> str:
    return " . ".join(key.text for key in one.keys)


def _named(one: Lookup) -> Iterator[tuple[str, str]]:
    for values, name in one.names:
        pairs = zip(one.keys, values, strict=True)
        yield " . ".join(_value(key.data, value) for key, value in pairs), name


def _source(one: Source) -> str:
    return f"{one.key.text} & {one.mask}" if one.mask is not None else one.key.text


def _draw(one: DrawMark) -> str:
    ranges, start = [], 0
    for count, mark in one.runs:
        end = start + count
        ranges.append(f"{start}-{end - 1} : {mark:#x}" if count > 1 else f"{start} : {mark:#x}")
        start = end
    seed = f" seed {one.seed:#x}" if one.seed else ""
    return f"ct mark set {one.how.value} mod {start}{seed} map {_braced(ranges)}"


def _braced(elements: Iterable[str]) -> str:
    return f"{{ {', '.join(elements)} }}"
