# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners as nftables rules, for kernels with or without IPVS.

Pure: values in, a typed table out, of which :mod:`octavia.dataplane.l4.transaction` makes text. How a
packet goes through the table:

1. ``dispatch`` (before destination NAT) finds the listener by VIP, protocol and port. Its chain counts,
   checks the source, and for the first packet of a flow chooses a member: its number becomes the
   flow's conntrack mark. Where nobody can serve, the client is told so by ICMP, and conntrack
   remembers nothing, so that the next packet is judged anew.
2. ``to_members`` makes the mark an address. From then on conntrack translates; no rule matters to
   a flow that exists, so a table can be replaced under traffic.
3. ``from_us`` hides the client's address, so that answers come back through the amphora
   (contract: data-plane.md section 9, "Masquerade"). ``dispatch`` counts them too: a chain of its own
   would be one more that every packet of either direction enters.

A mark is made of the member's id, so it survives replacements and is the same on both amphorae of a
pair; by it the agent ends all flows of a member (``conntrack --delete --mark``). Counters and tables of
persistence are objects with names; a replacement keeps those whose names are still wanted, and what
an object is like is part of its name.

Where the objects stay the same, :func:`.transaction.difference` sends only the rules and addresses that
differ: of a thousand members few do, and the kernel waits for all of its readers only where rules go.

Beside the contract: nftables cannot count flows a member, so LEAST_CONNECTIONS takes turns by weight.
SOURCE_IP is rendezvous hashing over a fixed number of slots: a member that comes or goes moves only
its own share of the sources.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from ipaddress import IPv4Network, collapse_addresses, ip_address, ip_network
from itertools import groupby, product
from typing import Final, NamedTuple, cast

from octavia.dataplane.l4 import transaction
from octavia.dataplane.l4.choice import SourceSlots, choosable, source_slots, turns
from octavia.dataplane.l4.model import L4Config, Listener, Member, Pool
from octavia.dataplane.l4.ruleset import (
    AddressMap,
    Chain,
    Count,
    CountBy,
    Counter,
    DrawMark,
    FlowSet,
    Goto,
    GotoBy,
    LimitFlows,
    Match,
    Object,
    Recall,
    Remember,
    Rule,
    SetMark,
    Source,
    SourceMap,
    Table,
    Translate,
)
from octavia.dataplane.l4.words import Address, Change, Data, Do, Draw, Hook, Key, Place

MOST_TURNS: Final = 1024  # of one round; beyond that members are drawn by lot, weighted
MOST_PERSISTENT_SOURCES: Final = 65536
MOST_DOORS_IN_TURN: Final = 2  # of an IP version; a look into a map costs each packet more than comparing
_SEED: Final = 0x6F637461  # the same on both amphorae, so that sources stay where they are

# HAProxy's traffic is none of conntrack's business. Each packet of any kind pays for asking.
_UNTRACKED: Final = ((Match(Key.PROTOCOL, "tcp"), Do.NOTRACK),)
_STREAMS: Final[Mapping[str, Chain]] = {
    "untracked_in": Chain(_UNTRACKED, Hook.RAW_IN),
    "untracked_out": Chain(_UNTRACKED, Hook.RAW_OUT),
}
# IPv4 has a sysctl for it. A client must not be told to go to the member directly.
_NO_REDIRECTS: Final = Chain(((Match(Key.ICMPV6, "nd-redirect"), Do.DROP),), Hook.FILTER_OUT)
_MARKED: Final = Match(Key.MARK, 0, unequal=True)
_UNMARKED: Final = Match(Key.MARK, 0)
_ARRIVING: Final = Match(Key.DIRECTION, "original")
_GOES_ON: Final[Rule] = (_MARKED, Do.ACCEPT)


class Flow(NamedTuple):
    """What a flow that the table let in is made of; what is not there any more has to be ended."""

    protocol: str
    vip: str
    port: int
    pool_id: str | None


class Target(NamedTuple):
    """Where flows of a mark go."""

    mark: int
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Rendered(Table):
    """What the table should be.

    :param slots: by pool and IP version, for the next :func:`render`.
    """

    slots: Mapping[tuple[str, int], SourceSlots]

    @property
    def text(self) -> str:
        """The transaction that makes the table so, from none."""
        return transaction.replacement(self)


def render(
    config: L4Config, *, down: Collection[str] = frozenset(), before: Rendered | None = None
) -> Rendered:
    """The table of these listeners.

    :param down: ids of members that get no flows now.
    :param before: an earlier one: what took long to find out is not found out again.
    """
    return _Rendering(config, frozenset(down), before.slots if before else {}).rendered()


def flows(config: L4Config) -> frozenset[Flow]:
    """The ways in that are open."""
    return frozenset(
        Flow(one.protocol, vip, one.port, pool.id if (pool := config.pool(one)) else None)
        for one in config.enabled_listeners
        for vip in config.vips
    )


def targets(config: L4Config, *, down: Collection[str] = frozenset()) -> frozenset[Target]:
    """Where flows may go on to, those of draining members and of backups too."""
    numbers = marks(config)
    return frozenset(
        Target(numbers[one.id], one.address, one.port)
        for pool in config.served_pools
        for one in pool.members
        if one.enabled and one.id not in down
    )


def marks(config: L4Config) -> dict[str, int]:
    """Member id to its number, 1 to 2**32 - 1; the same wherever and whenever it is asked."""
    found: dict[str, int] = {}
    taken = {0}
    for member_id in sorted(one.id for pool in config.pools for one in pool.members):
        number = _number(member_id)
        while number in taken:
            number = (number + 1) % 2**32
        taken.add(number)
        found[member_id] = number
    return found


def counter(kind: str, listener_id: str) -> str:
    """The name of a counter: ``rx`` and ``tx`` of bytes, ``new`` of flows (one packet each)."""
    return f"{kind}_{_hex(listener_id)}"


class _Family(NamedTuple):
    """What differs between the IP versions."""

    version: int
    data: Data
    source: Key
    target: Key
    original_target: Key
    by_source: Draw


_FAMILIES: Final = (
    _Family(4, Data.IPV4, Key.SOURCE4, Key.TARGET4, Key.ORIGINAL_TARGET4, Draw.BY_SOURCE4),
    _Family(6, Data.IPV6, Key.SOURCE6, Key.TARGET6, Key.ORIGINAL_TARGET6, Draw.BY_SOURCE6),
)


class _Rendering:
    """One call of :func:`render`."""

    def __init__(
        self, config: L4Config, down: frozenset[str], slots: Mapping[tuple[str, int], SourceSlots]
    ) -> None:
        self._config = config
        self._down = down
        self._marks = marks(config)
        self._slots_before = slots
        self._slots: dict[tuple[str, int], SourceSlots] = {}
        self._objects: dict[str, Object] = {}
        self._chains: dict[str, Chain] = {}
        self._vips = {
            one.version: [vip for vip in map(_address, config.vips) if vip.version == one.version]
            for one in _FAMILIES
        }
        self._served = [one for one in _FAMILIES if self._vips[one.version]]

    def rendered(self) -> Rendered:
        for listener in self._config.enabled_listeners:
            self._objects |= {counter(kind, listener.id): Counter() for kind in ("rx", "tx", "new")}
            if listener.connection_limit is not None:
                self._objects[_limit(listener)] = FlowSet()
            for family in self._served:
                self._chains[_chain(listener, family)] = Chain(tuple(self._listener(listener, family)))
        self._chains |= {**self._translations(), "no_redirects": _NO_REDIRECTS}
        self._chains |= _STREAMS if self._config.streams else {}
        self._chains["dispatch"] = Chain((*self._doors(), *self._answers()), Hook.MANGLE_IN)
        addresses = {f"members{one.version}": AddressMap(one.data, self._places(one)) for one in _FAMILIES}
        return Rendered(self._objects, self._chains, addresses, self._slots)

    def _doors(self) -> Iterator[Rule]:
        for family in self._served:
            ways = tuple(
                ((one.protocol.lower(), vip, one.port), _chain(one, family))
                for one in self._config.enabled_listeners
                for vip in self._vips[family.version]
            )
            keys = (Key.PROTOCOL, family.target, Key.PORT)
            if len(ways) > MOST_DOORS_IN_TURN:
                yield _ARRIVING, GotoBy(keys, ways)
                continue
            for (protocol, vip, port), chain in ways:
                to = Match(family.target, vip), Match(Key.PROTOCOL, protocol), Match(Key.PORT, port)
                yield _ARRIVING, *to, Goto(chain)

    def _answers(self) -> Iterator[Rule]:
        protocols = dict.fromkeys(one.protocol for one in self._config.enabled_listeners)
        for protocol, family in product(protocols, self._served):
            places = tuple(
                ((vip, one.port), counter("tx", one.id))
                for one in self._config.enabled_listeners
                for vip in self._vips[family.version]
                if one.protocol == protocol
            )
            yield (
                Match(Key.PROTOCOL, protocol.lower()),
                Match(Key.DIRECTION, "reply"),
                _MARKED,
                CountBy((family.original_target, Key.ORIGINAL_PORT), places),
            )

    def _translations(self) -> dict[str, Chain]:
        """Asked once a flow, for no more than there is."""
        protocols = sorted({one.protocol.lower() for one in self._config.enabled_listeners}) or ["udp"]
        ours = Match(Key.PROTOCOL, tuple(protocols) if protocols[1:] else protocols[0])
        to_members = tuple(
            (
                Match(Key.VERSION, f"ipv{one.version}"),
                ours,
                Translate(one.data, f"members{one.version}"),
            )
            for one in self._served
        )
        return {
            "to_members": Chain(to_members, Hook.TRANSLATE_IN),
            "from_us": Chain(((ours, _MARKED, Do.MASQUERADE),), Hook.TRANSLATE_OUT),
        }

    def _places(self, family: _Family) -> dict[int, Place]:
        """Mark to address and port, of draining members and of backups too.

        A packet may have chosen its member by the rules of before and look here after the change. Without an
        address conntrack would remember that its flow goes nowhere. Flows of whoever is not here are ended.
        """
        return {
            self._marks[member.id]: _place(member.address, member.port)
            for pool in self._config.served_pools
            for member in pool.members
            if member.enabled and member.id not in self._down and member.version == family.version
        }

    def _listener(self, listener: Listener, family: _Family) -> Iterator[Rule]:
        pool = self._config.pool(listener)
        able = choosable(pool, family.version, down=self._down) if pool else ()
        yield from _admission(listener, family)
        yield (Count(counter("rx", listener.id)),)
        if pool and able:
            yield from self._choice(pool, able, listener, family)
        else:
            yield _GOES_ON  # members that drain finish what they have
            yield (Do.REJECT,)

    def _choice(
        self, pool: Pool, able: Sequence[Member], listener: Listener, family: _Family
    ) -> Iterator[Rule]:
        sticky = self._sticky(pool, listener, family)
        # A packet that is amid these rules while they are replaced finds the draw's map empty: the kernel
        # empties it at once, the rules go only when nobody reads them any more.
        spare: Rule = (_UNMARKED, SetMark(self._marks[able[0].id]))
        if sticky:
            some = tuple(self._marks[one.id] for one in able)
            yield Match(Key.MARK, some), Remember(*sticky, Change.UPDATE), Do.ACCEPT
        yield _GOES_ON
        if listener.connection_limit is not None:
            yield LimitFlows(_limit(listener), listener.connection_limit), Do.REJECT
        if sticky:
            other = Match(Key.MARK, some, unequal=True)
            yield (Recall(*sticky),)
            # An update renews an entry, but leaves its value as it was.
            yield other, Remember(*sticky, Change.DELETE)
            yield other, self._drawn(pool, able, family)
            yield spare
            yield (Remember(*sticky, Change.UPDATE),)
        else:
            yield (self._drawn(pool, able, family),)
            yield spare
        yield Count(counter("new", listener.id)), Do.ACCEPT

    def _sticky(self, pool: Pool, listener: Listener, family: _Family) -> tuple[str, Source] | None:
        """Where a listener remembers which source went to whom, and what of the source."""
        if pool.persistence is None:
            return None
        mask, timeout = pool.persistence.mask(family.version), pool.persistence.timeout
        # What cannot be changed in place is part of the name.
        like = hashlib.sha256(f"{pool.id} {timeout} {mask}".encode()).hexdigest()[:12]
        name = f"from{family.version}_{_hex(listener.id)}_{like}"
        self._objects[name] = SourceMap(family.data, MOST_PERSISTENT_SOURCES, timeout)
        return name, Source(family.source, ip_address(mask) if mask else None)

    def _drawn(self, pool: Pool, able: Sequence[Member], family: _Family) -> DrawMark:
        if pool.algorithm == "SOURCE_IP":
            before = self._slots_before.get((pool.id, family.version))
            slots = source_slots(able, before) if before else source_slots(able)
            self._slots[pool.id, family.version] = slots
            return DrawMark(family.by_source, self._runs(slots.owners), _SEED)
        common = reduce(math.gcd, (one.weight for one in able))
        weights = [one.weight // common for one in able]
        if sum(weights) <= MOST_TURNS:
            return DrawMark(Draw.IN_TURN, self._runs(able[one].id for one in turns(weights)))
        runs = zip(weights, (self._marks[one.id] for one in able), strict=True)
        return DrawMark(Draw.BY_LOT, tuple(runs))

    def _runs(self, order: Iterable[str]) -> tuple[tuple[int, int], ...]:
        """How often the same member comes in a row, and its mark."""
        return tuple((len(list(run)), self._marks[one]) for one, run in groupby(order))


def _admission(listener: Listener, family: _Family) -> Iterator[Rule]:
    if not listener.allowed_cidrs:
        return
    nets = [ip_network(cidr) for cidr in listener.allowed_cidrs]
    # nft takes no intervals that overlap. The cast is for mypy alone: they are all of one family.
    mine = [*collapse_addresses([cast(IPv4Network, one) for one in nets if one.version == family.version])]
    if mine:
        everybody = mine[0].prefixlen == 0
        yield from () if everybody else ((Match(family.source, tuple(mine), unequal=True), Do.DROP),)
    else:
        yield (Do.DROP,)


def _limit(listener: Listener) -> str:
    return f"limit_{_hex(listener.id)}_{listener.connection_limit}"


def _chain(listener: Listener, family: _Family) -> str:
    return f"v{family.version}_{_hex(listener.id)}"


def _hex(uuid: str) -> str:
    return uuid.replace("-", "")


@lru_cache(maxsize=256)
def _address(text: str) -> Address:
    return ip_address(text)


@lru_cache(maxsize=8192)  # every change brings all members again
def _place(address: str, port: int) -> Place:
    return Place(ip_address(address), port)


@lru_cache(maxsize=8192)
def _number(member_id: str) -> int:
    return int.from_bytes(hashlib.sha256(member_id.encode()).digest()[:4])
