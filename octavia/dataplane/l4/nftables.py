# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners as nftables rules, for kernels with or without IPVS.

Pure: values in, the text of one ``nft -f`` transaction out. How a packet goes through the table:

1. ``dispatch`` (before destination NAT) finds the listener by VIP, protocol and port. Its chain counts,
   checks the source, and for the first packet of a flow chooses a member: its number becomes the
   flow's conntrack mark. Where nobody can serve, the client is told so by ICMP, and conntrack
   remembers nothing, so that the next packet is judged anew.
2. ``to_members`` makes the mark an address. From then on conntrack translates; no rule matters to
   a flow that exists, so a table can be replaced under traffic.
3. ``from_us`` hides the client's address, so that answers come back through the amphora
   (contract: data-plane.md section 9, "Masquerade"). ``answers`` counts them.

A mark is made of the member's id, so it survives replacements and is the same on both amphorae of a
pair; by it the agent ends all flows of a member (``conntrack --delete --mark``). Counters and tables of
persistence are objects with names; a replacement keeps those whose names are still wanted, and what
an object is like is part of its name.

Beside the contract: nftables cannot count flows a member, so LEAST_CONNECTIONS takes turns by weight.
SOURCE_IP is rendezvous hashing over a fixed number of slots: a member that comes or goes moves only
its own share of the sources.
"""

import hashlib
import math
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from ipaddress import ip_network
from itertools import repeat
from typing import Final, NamedTuple

from octavia.dataplane.l4.model import L4Config, Listener, Member, Pool

TABLE: Final = "inet octavia_l4"
SOURCE_SLOTS: Final = 1024
MOST_TURNS: Final = 1024  # of one round; beyond that members are drawn by lot, weighted
MOST_PERSISTENT_SOURCES: Final = 65536
_SEED: Final = 0x6F637461  # the same on both amphorae, so that sources stay where they are

_DRAWS: Final = struct.Struct(f">{SOURCE_SLOTS}I")
_BASE_CHAINS: Final = (
    "untracked_in",
    "untracked_out",
    "dispatch",
    "to_members",
    "answers",
    "from_us",
    "no_redirects",
)
_DELETED_IN_ORDER: Final = ("chain", "map", "set", "counter")


class Named(NamedTuple):
    """An object of the table; kind is ``chain``, ``map``, ``set`` or ``counter``."""

    kind: str
    name: str


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


class Rendered(NamedTuple):
    """A transaction, and the objects that are there after it."""

    text: str
    named: frozenset[Named]


def render(
    config: L4Config, *, down: Collection[str] = frozenset(), present: Collection[Named] = frozenset()
) -> Rendered:
    """The transaction that makes the table so, from whatever it is.

    :param down: ids of members that get nothing.
    :param present: the objects that the kernel's table has now; what is not wanted of them is deleted.
    """
    rendering = _Rendering(config, frozenset(down))
    body = list(rendering.lines())
    wanted = rendering.named
    unwanted = sorted(set(present) - wanted, key=lambda one: (_DELETED_IN_ORDER.index(one.kind), one.name))
    head = [f"table {TABLE}", f"flush table {TABLE}"]
    head += [f"delete {one.kind} {TABLE} {one.name}" for one in unwanted]
    return Rendered("\n".join([*head, f"table {TABLE} {{", *body, "}", ""]), frozenset(wanted))


def remove() -> str:
    """The transaction after which there is no table, whether there was one or not."""
    return f"table {TABLE}\ndelete table {TABLE}\n"


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
        number = int.from_bytes(hashlib.sha256(member_id.encode()).digest()[:4])
        while number in taken:
            number = (number + 1) % 2**32
        taken.add(number)
        found[member_id] = number
    return found


def counter(kind: str, listener_id: str) -> str:
    """The name of a counter: ``rx`` and ``tx`` of bytes, ``new`` of flows (one packet each)."""
    return f"{kind}_{_hex(listener_id)}"


def choosable(pool: Pool, version: int, *, down: Collection[str] = frozenset()) -> tuple[Member, ...]:
    """The members that new flows may go to: backups only where nobody else is left."""
    able = [
        one
        for one in pool.members
        if one.enabled and one.weight > 0 and one.id not in down and one.version == version
    ]
    first = [one for one in able if not one.backup]
    return tuple(first or able)


def turns(weights: Sequence[int]) -> list[int]:
    """Indexes in an order that gives each its share and spreads it over the round.

    As nginx's smooth weighted round robin; 5, 1, 1 gives 0 0 1 0 2 0 0.
    """
    current = [0] * len(weights)
    order = []
    for _ in range(sum(weights)):
        current = [have + weight for have, weight in zip(current, weights, strict=True)]
        chosen = max(range(len(weights)), key=current.__getitem__)
        current[chosen] -= sum(weights)
        order.append(chosen)
    return order


def source_slots(members: Sequence[Member]) -> list[int]:
    """For each slot the index of its member: weighted rendezvous hashing (Schindelhauer, Schomaker 2005)."""
    equal = len({one.weight for one in members}) == 1  # then the logarithm changes no order
    best: list[tuple[float, int]] = [(-math.inf, 0)] * SOURCE_SLOTS
    for index, member in enumerate(members):
        draws = _DRAWS.unpack(hashlib.shake_128(member.id.encode()).digest(_DRAWS.size))
        scores: Iterable[float] = draws
        if not equal:
            scores = [-member.weight / math.log((draw + 0.5) / 2**32) for draw in draws]
        best = list(map(max, best, zip(scores, repeat(index), strict=False)))
    return [index for _, index in best]


class _Rendering:
    """One call of :func:`render`: its arguments, and which objects were named."""

    def __init__(self, config: L4Config, down: frozenset[str]) -> None:
        self._config = config
        self._down = down
        self._marks = marks(config)
        self.named: set[Named] = {Named("chain", name) for name in _BASE_CHAINS}

    def lines(self) -> Iterator[str]:
        doors: dict[int, list[str]] = defaultdict(list)
        answered: dict[tuple[str, int], list[str]] = defaultdict(list)
        for listener in self._config.enabled_listeners:
            for kind in ("rx", "tx", "new"):
                name = counter(kind, listener.id)
                yield self._declared("counter", name)
            if listener.connection_limit is not None:
                yield self._declared("set", _limit(listener), "type inet_proto; size 16; flags dynamic;")
            for version in self._versions():
                yield from self._listener(listener, version)
                for vip in self._vips(version):
                    protocol, place = listener.protocol.lower(), f"{vip} . {listener.port}"
                    doors[version].append(f"{protocol} . {place} : goto {_chain(listener, version)}")
                    answered[protocol, version].append(f'{place} : "{counter("tx", listener.id)}"')
        yield from self._untracked()
        yield from _chain_lines(
            "dispatch",
            "type filter hook prerouting priority mangle;",
            *(
                f"ct direction original meta l4proto . {_ip(version)} daddr . th dport vmap {_braced(ways)}"
                for version, ways in doors.items()
            ),
        )
        yield from _chain_lines(
            "to_members", "type nat hook prerouting priority dstnat;", *self._translations()
        )
        yield from _chain_lines(
            "answers",
            "type filter hook forward priority filter;",
            *(
                f"meta l4proto {protocol} ct direction reply ct mark != 0 counter name"
                f" ct original {_ip(version)} daddr . ct original proto-dst map {_braced(places)}"
                for (protocol, version), places in answered.items()
            ),
        )
        yield from _chain_lines(
            "from_us",
            "type nat hook postrouting priority srcnat;",
            "meta l4proto { udp, sctp } ct mark != 0 masquerade",
        )
        # IPv4 has a sysctl for it. A client must not be told to go to the member directly.
        yield from _chain_lines(
            "no_redirects", "type filter hook output priority filter;", "icmpv6 type nd-redirect drop"
        )

    def _declared(self, kind: str, name: str, body: str = "") -> str:
        self.named.add(Named(kind, name))
        return f"  {kind} {name} {{ {body} }}"

    def _versions(self) -> list[int]:
        return [version for version in (4, 6) if self._vips(version)]

    def _vips(self, version: int) -> list[str]:
        return [vip for vip in self._config.vips if (":" in vip) == (version == 6)]

    def _untracked(self) -> Iterator[str]:
        """HAProxy's traffic is none of conntrack's business."""
        for name, hook in (("untracked_in", "prerouting"), ("untracked_out", "output")):
            yield from _chain_lines(
                name, f"type filter hook {hook} priority raw;", "meta l4proto tcp notrack"
            )

    def _translations(self) -> Iterator[str]:
        for version in (4, 6):
            wanted = {
                self._marks[member.id]: f"{member.address} . {member.port}"
                for pool in self._config.served_pools
                for member in choosable(pool, version, down=self._down)
            }
            if wanted:
                places = [f"{mark:#x} : {place}" for mark, place in sorted(wanted.items())]
                yield (
                    f"meta nfproto ipv{version} meta l4proto {{ udp, sctp }}"
                    f" dnat {_ip(version)} to ct mark map {_braced(places)}"
                )

    def _listener(self, listener: Listener, version: int) -> Iterator[str]:
        pool = self._config.pool(listener)
        able = choosable(pool, version, down=self._down) if pool else ()
        rules = [*self._admission(listener, version), f"counter name {counter('rx', listener.id)}"]
        if pool and able:
            sticky = _sticky(pool, listener, version)
            if sticky:
                kind = "ipv4_addr" if version == 4 else "ipv6_addr"
                assert pool.persistence
                yield self._declared(
                    "map",
                    sticky.map,
                    f"type {kind} : mark; size {MOST_PERSISTENT_SOURCES}; flags dynamic,timeout;"
                    f" timeout {pool.persistence.timeout}s;",
                )
            rules += self._choice(pool, able, listener, version, sticky)
        else:
            rules += ["ct mark != 0 accept", "reject"]  # members that drain finish what they have
        self.named.add(Named("chain", _chain(listener, version)))
        yield from _chain_lines(_chain(listener, version), "", *rules)

    def _admission(self, listener: Listener, version: int) -> Iterator[str]:
        if not listener.allowed_cidrs:
            return
        nets = [ip_network(cidr) for cidr in listener.allowed_cidrs]
        mine = [str(one) for one in nets if one.version == version]
        if any(one.version == version and one.prefixlen == 0 for one in nets):
            return
        yield f"{_ip(version)} saddr != {_braced(_apart(mine))} drop" if mine else "drop"

    def _choice(
        self, pool: Pool, able: Sequence[Member], listener: Listener, version: int, sticky: "_Sticky | None"
    ) -> Iterator[str]:
        some = _braced(f"{self._marks[one.id]:#x}" for one in able)
        if sticky:
            yield f"ct mark {some} update @{sticky.map} {{ {sticky.key} : ct mark }} accept"
        yield "ct mark != 0 accept"
        if listener.connection_limit is not None:
            limit = listener.connection_limit
            yield f"add @{_limit(listener)} {{ meta l4proto ct count over {limit} }} reject"
        if sticky:
            yield f"ct mark set {sticky.key} map @{sticky.map}"
            # An update renews an entry, but leaves its value as it was.
            yield f"ct mark != {some} delete @{sticky.map} {{ {sticky.key} : ct mark }}"
            yield f"ct mark != {some} ct mark set {self._drawn(pool, able, version)}"
            yield f"update @{sticky.map} {{ {sticky.key} : ct mark }}"
        else:
            yield f"ct mark set {self._drawn(pool, able, version)}"
        yield f"counter name {counter('new', listener.id)} accept"

    def _drawn(self, pool: Pool, able: Sequence[Member], version: int) -> str:
        if pool.algorithm == "SOURCE_IP":
            number = f"jhash {_ip(version)} saddr mod {SOURCE_SLOTS} seed {_SEED:#x}"
            return f"{number} map {_braced(self._ranges(able, source_slots(able)))}"
        common = reduce(math.gcd, (one.weight for one in able))
        weights = [one.weight // common for one in able]
        total = sum(weights)
        if total <= MOST_TURNS:
            order, how = turns(weights), "inc"
        else:
            order, how = [index for index, weight in enumerate(weights) for _ in range(weight)], "random"
        return f"numgen {how} mod {total} map {_braced(self._ranges(able, order))}"

    def _ranges(self, able: Sequence[Member], order: Sequence[int]) -> Iterator[str]:
        """Runs of the same member as one element."""
        start = 0
        for position in range(1, len(order) + 1):
            if position == len(order) or order[position] != order[start]:
                numbers = f"{start}-{position - 1}" if position - 1 > start else f"{start}"
                yield f"{numbers} : {self._marks[able[order[start]].id]:#x}"
                start = position


class _Sticky(NamedTuple):
    """Where a listener remembers which source went to whom."""

    map: str
    key: str


def _sticky(pool: Pool, listener: Listener, version: int) -> _Sticky | None:
    if pool.persistence is None:
        return None
    mask = pool.persistence.mask(version)
    # What cannot be changed in place is part of the name.
    like = hashlib.sha256(f"{pool.id} {pool.persistence.timeout} {mask}".encode()).hexdigest()[:12]
    key = f"{_ip(version)} saddr" + (f" & {mask}" if mask else "")
    return _Sticky(f"from{version}_{_hex(listener.id)}_{like}", key)


def _limit(listener: Listener) -> str:
    return f"limit_{_hex(listener.id)}_{listener.connection_limit}"


def _chain(listener: Listener, version: int) -> str:
    return f"v{version}_{_hex(listener.id)}"


def _hex(uuid: str) -> str:
    return uuid.replace("-", "")


def _ip(version: int) -> str:
    return "ip" if version == 4 else "ip6"


def _braced(elements: Iterable[str]) -> str:
    return f"{{ {', '.join(elements)} }}"


def _chain_lines(name: str, kind: str, *rules: str) -> Iterator[str]:
    yield f"  chain {name} {{"
    if kind:
        yield f"    {kind}"
    yield from (f"    {rule}" for rule in rules)
    yield "  }"


def _apart(cidrs: Sequence[str]) -> list[str]:
    """Without those that another one includes: nft takes no intervals that overlap."""
    nets = [ip_network(one) for one in cidrs]
    by_size: Mapping[str, int] = {str(one): one.prefixlen for one in nets}
    kept: list[str] = []
    for cidr in sorted(by_size, key=by_size.__getitem__):
        net = ip_network(cidr)
        if not any(int(net.network_address) in _span(one) for one in kept):
            kept.append(cidr)
    return kept


def _span(cidr: str) -> range:
    net = ip_network(cidr)
    return range(int(net.network_address), int(net.broadcast_address) + 1)
