# SPDX-License-Identifier: Apache-2.0
"""A table of nftables as typed values.

A table is objects, maps of addresses and chains; a chain is rules, a rule is statements. ``nft`` has no
quoting to rely on, so nothing here is a free text: a word is out of a fixed vocabulary, an address is an
:mod:`ipaddress` object without a scope, a number is in its range, a name follows one pattern. Anything else
is refused when its node is made, so no string of a tenant can become a rule, whatever renders it.

What a value may be is in :mod:`octavia.dataplane.l4.words`, the text of all in
:mod:`octavia.dataplane.l4.transaction`; what the rules are for, in :mod:`octavia.dataplane.l4.nftables`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar, Final, TypeAlias, get_args

from octavia.dataplane.l4.words import (
    MOST,
    Address,
    Change,
    Data,
    Do,
    Draw,
    Hook,
    Key,
    Place,
    UnsafeValue,
    Value,
    check_family,
    check_names,
    check_numbers,
    check_types,
    columns,
)

KINDS: Final = ("chain", "map", "set", "counter")  # whoever refers to another one stands before it
_MOST_SECONDS: Final = 2**31 // 1000


@dataclass(frozen=True, slots=True)
class Named:
    """An object of the table; kind is ``chain``, ``map``, ``set`` or ``counter``. :raises UnsafeValue:"""

    kind: str
    name: str

    def __post_init__(self) -> None:
        check_types(str, self.kind)
        if self.kind not in KINDS:
            raise UnsafeValue("There are chains, maps, sets and counters.")
        check_names(self.name)


@dataclass(frozen=True, slots=True)
class Match:
    """Go on if a key has this value, or one of a tuple of them. :raises UnsafeValue:"""

    key: Key
    value: Value | tuple[Value, ...]
    unequal: bool = False

    def __post_init__(self) -> None:
        check_types(Key, self.key)
        check_types(bool, self.unequal)
        if self.value == ():
            raise UnsafeValue("There is nothing to compare with.")
        self.key.data.check(self.value if type(self.value) is tuple else (self.value,), networks=True)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a packet came from, or what a mask leaves of it. :raises UnsafeValue:"""

    key: Key
    mask: Address | None = None

    def __post_init__(self) -> None:
        if self.key not in (Key.SOURCE4, Key.SOURCE6):
            raise UnsafeValue("This is not where packets come from.")
        self.key.data.check(() if self.mask is None else (self.mask,))


@dataclass(frozen=True, slots=True)
class Lookup:
    """What follows from several keys at once: a name for each tuple of their values. :raises UnsafeValue:"""

    keys: tuple[Key, ...]
    names: tuple[tuple[tuple[Value, ...], str], ...]

    def __post_init__(self) -> None:
        check_types(tuple, self.keys)
        check_types(Key, *self.keys)
        if not self.keys or not self.names:
            raise UnsafeValue("There is nothing to look up.")
        places, found = columns(2, self.names)
        check_names(*found)
        for key, column in zip(self.keys, columns(len(self.keys), places), strict=True):
            key.data.check(column)


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on in this chain. :raises UnsafeValue:"""

    chain: str

    def __post_init__(self) -> None:
        check_names(self.chain)


@dataclass(frozen=True, slots=True)
class GotoBy(Lookup):
    """Go on in the chain of this name; where there is none, with the next rule."""


@dataclass(frozen=True, slots=True)
class CountBy(Lookup):
    """Count with the counter of this name."""


@dataclass(frozen=True, slots=True)
class Count:
    """Count with this counter. :raises UnsafeValue:"""

    counter: str

    def __post_init__(self) -> None:
        check_names(self.counter)


@dataclass(frozen=True, slots=True)
class Recall:
    """Mark the flow with what a :class:`SourceMap` says. :raises UnsafeValue:"""

    map: str
    source: Source

    def __post_init__(self) -> None:
        check_names(self.map)
        check_types(Source, self.source)


@dataclass(frozen=True, slots=True)
class Remember(Recall):
    """Change what a :class:`SourceMap` says to the flow's mark. :raises UnsafeValue:"""

    change: Change

    def __post_init__(self) -> None:
        Recall.__post_init__(self)
        check_types(Change, self.change)


@dataclass(frozen=True, slots=True)
class DrawMark:
    """Mark the flow with one of these. :raises UnsafeValue:

    :param runs: how many numbers of the range, from 0 on, mean which mark.
    :param seed: of a hash; without meaning for turns and lots.
    """

    how: Draw
    runs: tuple[tuple[int, int], ...]
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(Draw, self.how)
        counts, marks = columns(2, self.runs)
        Data.MARK.check(marks)
        check_numbers(MOST, *counts)
        check_numbers(MOST, sum(counts))
        check_numbers(MOST, self.seed, least=0)


@dataclass(frozen=True, slots=True)
class SetMark:
    """Mark the flow with this. :raises UnsafeValue:"""

    mark: int

    def __post_init__(self) -> None:
        Data.MARK.check((self.mark,))


@dataclass(frozen=True, slots=True)
class LimitFlows:
    """Go on if there are more flows than that, counted in a :class:`FlowSet`. :raises UnsafeValue:"""

    set: str
    most: int

    def __post_init__(self) -> None:
        check_names(self.set)
        check_numbers(MOST, self.most)


@dataclass(frozen=True, slots=True)
class Translate:
    """To the address that an :class:`AddressMap` has for the mark. :raises UnsafeValue:"""

    data: Data
    map: str

    def __post_init__(self) -> None:
        check_family(self.data)
        check_names(self.map)


Statement: TypeAlias = (
    Match
    | Do
    | Goto
    | GotoBy
    | CountBy
    | Count
    | Remember
    | Recall
    | DrawMark
    | SetMark
    | LimitFlows
    | Translate
)
Rule: TypeAlias = tuple[Statement, ...]
_STATEMENTS: Final = frozenset(get_args(Statement))


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules, and where the kernel enters them if not by other rules. :raises UnsafeValue:"""

    rules: tuple[Rule, ...]
    hook: Hook | None = None

    def __post_init__(self) -> None:
        if self.hook is not None:
            check_types(Hook, self.hook)
        check_types(tuple, self.rules)
        check_types(tuple, *self.rules)
        for rule in self.rules:
            if not rule or not _STATEMENTS.issuperset(map(type, rule)):
                raise UnsafeValue("A rule is one statement or more.")


@dataclass(frozen=True, slots=True)
class Counter:
    """Packets and bytes."""

    kind: ClassVar = "counter"


@dataclass(frozen=True, slots=True)
class FlowSet:
    """How many flows a protocol has, as the kernel counts them for :class:`LimitFlows`."""

    kind: ClassVar = "set"


@dataclass(frozen=True, slots=True)
class SourceMap:
    """Which mark a source had last, as rules fill it. :raises UnsafeValue:

    :param size: how many sources at a time.
    :param timeout: seconds without an update until a source is forgotten.
    """

    kind: ClassVar = "map"
    data: Data
    size: int
    timeout: int

    def __post_init__(self) -> None:
        check_family(self.data)
        check_numbers(MOST, self.size)
        check_numbers(_MOST_SECONDS, self.timeout)


@dataclass(frozen=True, slots=True)
class AddressMap:
    """Where flows of each mark go. :raises UnsafeValue:"""

    data: Data
    places: Mapping[int, Place]

    def __post_init__(self) -> None:
        check_family(self.data)
        check_types(dict, self.places)
        Data.MARK.check(self.places)
        check_types(Place, *self.places.values())
        if not {self.data}.issuperset(map(attrgetter("data"), self.places.values())):
            raise UnsafeValue(f"There is a place that is no {self.data.text}.")


Object: TypeAlias = Counter | FlowSet | SourceMap


@dataclass(frozen=True, slots=True)
class Table:
    """All of it, each thing by its name. :raises UnsafeValue:

    :param objects: those that the kernel fills; what cannot be changed in place is part of their names.
    """

    objects: Mapping[str, Object]
    chains: Mapping[str, Chain]
    addresses: Mapping[str, AddressMap]

    def __post_init__(self) -> None:
        every = ((self.objects, get_args(Object)), (self.chains, (Chain,)), (self.addresses, (AddressMap,)))
        for by_name, types in every:
            check_types(dict, by_name)
            check_names(*by_name)
            if not {*types}.issuperset(map(type, by_name.values())):
                raise UnsafeValue("A table has objects, chains and maps of addresses.")

    @property
    def named(self) -> frozenset[Named]:
        """What is there after it."""
        chains = (Named("chain", name) for name in self.chains)
        maps = (Named("map", name) for name in self.addresses)
        return frozenset((*(Named(one.kind, name) for name, one in self.objects.items()), *chains, *maps))
