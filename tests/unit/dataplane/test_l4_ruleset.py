# SPDX-License-Identifier: Apache-2.0
"""Nothing is in a table of nftables that is not an address, a number, a name or a word of ours."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import pytest

from octavia.dataplane.l4 import nftables, ruleset, transaction
from octavia.dataplane.l4.model import Persistence
from octavia.dataplane.l4.ruleset import (
    AddressMap,
    Chain,
    DrawMark,
    GotoBy,
    Match,
    Named,
    SetMark,
    Source,
    Table,
)
from octavia.dataplane.l4.words import Data, Do, Draw, Key, Place, UnsafeValue
from tests.corpus import hostile_strings
from tests.unit.dataplane.l4_samples import EVERYTHING, config, member, pool, uuid

WIDE = config(
    pool(member(1), member(2, weight=2)),
    pool(member(3, "fd00::3"), id=uuid(501), persistence=Persistence(granularity="ffff:ffff::")),
    vips=("10.9.9.9", "fd00::9"),
    allowed_cidrs=("10.0.0.0/8", "fd00::/8"),
)
MIXED = replace(WIDE, listeners=(WIDE.listeners[0], replace(WIDE.listeners[1], protocol="SCTP")))
MANY = config(*(pool(member(number), id=uuid(500 + number)) for number in range(1, 4)))
TABLES = [nftables.render(one) for one in (EVERYTHING, MIXED, MANY)]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,127}")


class Text(str):
    """Looks like a word of ours, and is written as something else."""

    __slots__ = ()

    def __format__(self, _: str) -> str:
        return "x; flush ruleset"

    def __str__(self) -> str:
        return format(self)


class Number(int):
    """The same as a number."""

    def __format__(self, _: str) -> str:
        return "1; flush ruleset"

    def __str__(self) -> str:
        return format(self)


class Place4(IPv4Address):
    """The same as an address."""

    def __str__(self) -> str:
        return "10.0.0.1; flush ruleset"


HOSTILE: list[object] = [
    *hostile_strings().values(),
    *("", " ", "a b", "a;b", "a\n}", "{", "}", "@a", '"a"', "#", "$a", "\\", "x; flush ruleset", "1", "0x1"),
    *("10.0.0.1", "10.0.0.1/8", "fe80::1%eth0", "a" * 129, "é", "\ud800"),
    *(None, -1, 2**32, 2**64, 1.5, b"a", [], {}, object(), (), ("a",)),
    *(Text("udp"), Text("chain"), Text("members4"), Number(5), Place4("10.0.0.1")),
    *(IPv6Address("fe80::1%a;b"), IPv6Network("fe80::%a;b/64")),
]


def nodes(value: object) -> Iterator[Any]:
    """It and all within it."""
    if is_dataclass(value) and not isinstance(value, type):
        yield value
        for one in fields(value):
            yield from nodes(getattr(value, one.name))
    elif isinstance(value, Mapping):
        yield from (node for one in value.values() for node in nodes(one))
    elif isinstance(value, tuple):
        yield from (node for one in value for node in nodes(one))


def with_leaf(value: Any, hostile: object) -> Iterator[Any]:
    """The value with something hostile in each place of it, one at a time."""
    yield hostile
    if isinstance(value, tuple):
        for number, one in enumerate(value):
            for other in with_leaf(one, hostile):
                yield (*value[:number], other, *value[number + 1 :])
    elif isinstance(value, Mapping):
        for key, one in value.items():
            rest = {other: each for other, each in value.items() if other != key}
            if isinstance(hostile, str | int | float | bytes | tuple):
                yield {hostile: one, **rest}
            yield {key: hostile, **rest}


# One of each kind and shape is enough.
SHAPES: dict[Any, Any] = {
    (type(one), *(type(getattr(one, each.name)) for each in fields(one)), getattr(one, "key", None)): one
    for table in TABLES
    for one in [*nodes(Table(table.objects, table.chains, table.addresses)), *table.named]
}


def test_every_kind_of_node_is_among_them() -> None:
    kinds = {one for one in vars(ruleset).values() if isinstance(one, type) and is_dataclass(one)}
    assert {type(one) for one in SHAPES.values()} == kinds - {ruleset.Lookup}
    rules = [rule for table in TABLES for chain in table.chains.values() for rule in chain.rules]
    assert set(Do) <= {one for rule in rules for one in rule}


@pytest.mark.parametrize("node", SHAPES.values(), ids=lambda one: type(one).__name__)
def test_what_is_hostile_is_refused_when_the_node_is_made(node: Any) -> None:
    tried = 0
    for field in fields(node):
        if not field.init:
            continue
        for hostile in HOSTILE:
            for value in with_leaf(getattr(node, field.name), hostile):
                tried += 1
                try:
                    made = replace(node, **{field.name: value})
                except UnsafeValue:
                    continue
                assert_harmless(made, hostile)
    assert tried or not [field for field in fields(node) if field.init]


def assert_harmless(made: Any, hostile: object) -> None:
    """It was of the type of that place: a name, no mask, no hook, no rules, nothing that is there."""
    if type(hostile) is str:
        assert _NAME.fullmatch(hostile)
    else:
        assert hostile in (None, (), {})
        assert isinstance(made, Source | Chain | AddressMap | Table)


def written(*rule: Any) -> str:
    text = transaction.replacement(Table({}, {"some": Chain((rule,))}, {}))
    (line,) = re.findall(r"^    (.*)$", text, re.MULTILINE)
    return str(line)


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (Match(Key.MARK, 0, unequal=True), "ct mark != 0"),
        (Match(Key.MARK, (255, 1)), "ct mark { 0xff, 0x1 }"),
        (Match(Key.SOURCE6, IPv6Network("fd00::/8")), "ip6 saddr fd00::/8"),
        (
            GotoBy((Key.TARGET4, Key.PORT), (((IPv4Address("10.0.0.1"), 53), "there"),)),
            "ip daddr . th dport vmap { 10.0.0.1 . 53 : goto there }",
        ),
        (SetMark(255), "ct mark set 0xff"),
        (
            DrawMark(Draw.BY_SOURCE4, ((1, 7), (2, 8)), 9),
            "ct mark set jhash ip saddr mod 3 seed 0x9 map { 0 : 0x7, 1-2 : 0x8 }",
        ),
    ],
)
def test_a_statement_is_written_as_nft_reads_it(node: Any, text: str) -> None:
    assert written(node, Do.ACCEPT) == f"{text} accept"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Match(Key.PORT, 65536),
        lambda: Match(Key.PORT, True),
        lambda: Match(Key.MARK, (1, -1)),
        lambda: Match(Key.PROTOCOL, "icmp"),
        lambda: Match(Key.SOURCE4, IPv6Address("fd00::1")),
        lambda: Match(Key.SOURCE4, ()),
        lambda: Source(Key.TARGET4),
        lambda: Source(Key.SOURCE4, IPv6Address("ffff::")),
        lambda: GotoBy((Key.TARGET4,), (((IPv4Address("10.0.0.1"), 53), "there"),)),
        lambda: DrawMark(Draw.IN_TURN, ((0, 7),)),
        lambda: SetMark(-1),
        lambda: DrawMark(Draw.IN_TURN, ((2**32 - 1, 7), (1, 8))),
        lambda: AddressMap(Data.IPV6, {1: Place(IPv4Address("10.0.0.1"), 53)}),
        lambda: AddressMap(Data.PORT, {}),
        lambda: Chain(((),)),
        lambda: Named("rule", "there"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any) -> None:
    with pytest.raises(UnsafeValue):
        make()


def test_places_that_are_the_same_are_not_sent_whoever_made_them() -> None:
    def table(port: int) -> Table:
        place = Place(IPv4Address("10.0.0.1"), port)
        return Table({}, {}, {"members4": AddressMap(Data.IPV4, {7: place})})

    assert transaction.difference(table(53), table(53)) == ""
    assert transaction.difference(table(53), table(54)) == (
        "delete element inet octavia_l4 members4 { 0x7 : 10.0.0.1 . 53 }\n"
        "add element inet octavia_l4 members4 { 0x7 : 10.0.0.1 . 54 }\n"
    )
