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
   (contract: data-plane.md section 9, "Masquerade"). ``dispatch`` counts them too: a chain of its own
   would be one more that every packet of either direction enters.

A mark is made of the member's id, so it survives replacements and is the same on both amphorae of a
pair; by it the agent ends all flows of a member (``conntrack --delete --mark``). Counters and tables of
persistence are objects with names; a replacement keeps those whose names are still wanted, and what
an object is like is part of its name.

Where the objects stay the same, :func:`difference` sends only the rules and addresses that differ: of a
thousand members few do, and the kernel waits for all of its readers only where rules go.

Beside the contract: nftables cannot count flows a member, so LEAST_CONNECTIONS takes turns by weight.
SOURCE_IP is rendezvous hashing over a fixed number of slots: a member that comes or goes moves only
its own share of the sources.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from ipaddress import ip_network
from typing import Final, NamedTuple

from octavia.dataplane.l4.choice import SOURCE_SLOTS, SourceSlots, choosable, source_slots, turns
from octavia.dataplane.l4.model import L4Config, Listener, Member, Pool

TABLE: Final = "inet octavia_l4"
MOST_TURNS: Final = 1024  # of one round; beyond that members are drawn by lot, weighted
MOST_PERSISTENT_SOURCES: Final = 65536
_SEED: Final = 0x6F637461  # the same on both amphorae, so that sources stay where they are

_ADDRESSES: Final = {
    "members4": "type mark : ipv4_addr . inet_service;",
    "members6": "type mark : ipv6_addr . inet_service;",
}
# HAProxy's traffic is none of conntrack's business. Each packet of any kind pays for asking.
_STREAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "untracked_in": ("type filter hook prerouting priority raw;", "meta l4proto tcp notrack"),
    "untracked_out": ("type filter hook output priority raw;", "meta l4proto tcp notrack"),
}
# IPv4 has a sysctl for it. A client must not be told to go to the member directly.
_NO_REDIRECTS: Final = ("type filter hook output priority filter;", "icmpv6 type nd-redirect drop")
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


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the table should be.

    :param objects: sets, maps and counters that the kernel fills, each with what it is like.
    :param chains: the rules of each, a base chain's hook before them.
    :param addresses: for each map of marks what it should say.
    :param slots: by pool and IP version, for the next :func:`render`.
    """

    objects: Mapping[Named, str]
    chains: Mapping[str, tuple[str, ...]]
    addresses: Mapping[str, Mapping[int, str]]
    slots: Mapping[tuple[str, int], SourceSlots]

    @property
    def named(self) -> frozenset[Named]:
        """The objects that are there after it."""
        chains = (Named("chain", name) for name in self.chains)
        return frozenset((*self.objects, *chains, *(Named("map", name) for name in self.addresses)))

    @property
    def text(self) -> str:
        """The transaction that makes the table so, from none."""
        return self.replacing(())

    def replacing(self, present: Collection[Named]) -> str:
        """The transaction that makes the table so, from whatever it is; what the kernel filled is kept.

        :param present: the objects that are there now.
        """
        wanted = self.named
        unwanted = sorted(
            set(present) - wanted, key=lambda one: (_DELETED_IN_ORDER.index(one.kind), one.name)
        )
        head = [f"table {TABLE}", f"flush table {TABLE}"]
        head += [f"delete {one.kind} {TABLE} {one.name}" for one in unwanted]
        head += [f"flush map {TABLE} {name}" for name in self.addresses if Named("map", name) in present]
        body = [f"  {one.kind} {one.name} {{ {like} }}" for one, like in self.objects.items()]
        for name, places in self.addresses.items():
            elements = f" elements = {_braced(_places(places))};" if places else ""
            body.append(f"  map {name} {{ {_ADDRESSES[name]}{elements} }}")
        return "\n".join([*head, f"table {TABLE} {{", *body, *_chain_lines(self.chains), "}", ""])


def difference(before: Rendered, after: Rendered) -> str | None:
    """The transaction that leads from a table that is there to another; empty if they are the same.

    :returns: None if their objects differ: then the whole table is to be replaced.
    """
    if (before.objects, before.chains.keys()) != (after.objects, after.chains.keys()):
        return None
    lines = []
    for name, new in after.addresses.items():
        old = before.addresses[name]
        gone = {mark: place for mark, place in old.items() if new.get(mark) != place}
        come = {mark: place for mark, place in new.items() if old.get(mark) != place}
        lines += [f"delete element {TABLE} {name} {_braced(_places(gone))}"] if gone else []
        lines += [f"add element {TABLE} {name} {_braced(_places(come))}"] if come else []
    chains = {name: rules for name, rules in after.chains.items() if rules != before.chains[name]}
    if chains:
        lines += [f"flush chain {TABLE} {name}" for name in chains]
        lines += [f"table {TABLE} {{", *_chain_lines(chains), "}"]
    return "".join(f"{line}\n" for line in lines)


def render(
    config: L4Config, *, down: Collection[str] = frozenset(), before: Rendered | None = None
) -> Rendered:
    """The table of these listeners.

    :param down: ids of members that get no flows now.
    :param before: an earlier one: what took long to find out is not found out again.
    """
    return _Rendering(config, frozenset(down), before.slots if before else {}).rendered()


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
        self._objects: dict[Named, str] = {}
        self._chains: dict[str, tuple[str, ...]] = {}

    def rendered(self) -> Rendered:
        doors: dict[int, list[str]] = defaultdict(list)
        answered: dict[tuple[str, int], list[str]] = defaultdict(list)
        for listener in self._config.enabled_listeners:
            for kind in ("rx", "tx", "new"):
                self._objects[Named("counter", counter(kind, listener.id))] = ""
            if listener.connection_limit is not None:
                limited = "type inet_proto; size 16; flags dynamic;"
                self._objects[Named("set", _limit(listener))] = limited
            for version in self._versions():
                self._chains[_chain(listener, version)] = tuple(self._listener(listener, version))
                for vip in self._vips(version):
                    protocol, place = listener.protocol.lower(), f"{vip} . {listener.port}"
                    doors[version].append(f"{protocol} . {place} : goto {_chain(listener, version)}")
                    answered[protocol, version].append(f'{place} : "{counter("tx", listener.id)}"')
        self._chains |= {**self._translations(), "no_redirects": _NO_REDIRECTS}
        self._chains |= _STREAMS if self._config.streams else {}
        self._chains["dispatch"] = (
            "type filter hook prerouting priority mangle;",
            *(
                f"ct direction original meta l4proto . {_ip(version)} daddr . th dport vmap {_braced(ways)}"
                for version, ways in doors.items()
            ),
            *(
                f"meta l4proto {protocol} ct direction reply ct mark != 0 counter name"
                f" ct original {_ip(version)} daddr . ct original proto-dst map {_braced(places)}"
                for (protocol, version), places in answered.items()
            ),
        )
        addresses = {f"members{version}": self._places(version) for version in (4, 6)}
        return Rendered(self._objects, self._chains, addresses, self._slots)

    def _translations(self) -> dict[str, tuple[str, ...]]:
        """Asked once a flow, for no more than there is."""
        protocols = sorted({one.protocol.lower() for one in self._config.enabled_listeners}) or ["udp"]
        ours = f"meta l4proto {_braced(protocols) if protocols[1:] else protocols[0]}"
        return {
            "to_members": (
                "type nat hook prerouting priority dstnat;",
                *(
                    f"meta nfproto ipv{version} {ours} dnat {_ip(version)} to ct mark map @members{version}"
                    for version in self._versions()
                ),
            ),
            "from_us": (
                "type nat hook postrouting priority srcnat;",
                f"{ours} ct mark != 0 masquerade",
            ),
        }

    def _versions(self) -> list[int]:
        return [version for version in (4, 6) if self._vips(version)]

    def _vips(self, version: int) -> list[str]:
        return [vip for vip in self._config.vips if (":" in vip) == (version == 6)]

    def _places(self, version: int) -> dict[int, str]:
        """Mark to address and port."""
        return {
            self._marks[member.id]: f"{member.address} . {member.port}"
            for pool in self._config.served_pools
            for member in choosable(pool, version, down=self._down)
        }

    def _listener(self, listener: Listener, version: int) -> list[str]:
        pool = self._config.pool(listener)
        able = choosable(pool, version, down=self._down) if pool else ()
        rules = [*self._admission(listener, version), f"counter name {counter('rx', listener.id)}"]
        if pool and able:
            sticky = _sticky(pool, listener, version)
            if sticky:
                kind = "ipv4_addr" if version == 4 else "ipv6_addr"
                assert pool.persistence
                self._objects[Named("map", sticky.map)] = (
                    f"type {kind} : mark; size {MOST_PERSISTENT_SOURCES}; flags dynamic,timeout;"
                    f" timeout {pool.persistence.timeout}s;"
                )
            rules += self._choice(pool, able, listener, version, sticky)
        else:
            rules += ["ct mark != 0 accept", "reject"]  # members that drain finish what they have
        return rules

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
            before = self._slots_before.get((pool.id, version))
            slots = source_slots(able, before) if before else source_slots(able)
            self._slots[pool.id, version] = slots
            return f"{number} map {_braced(self._ranges(slots.owners))}"
        common = reduce(math.gcd, (one.weight for one in able))
        weights = [one.weight // common for one in able]
        total = sum(weights)
        if total <= MOST_TURNS:
            order, how = turns(weights), "inc"
        else:
            order, how = [index for index, weight in enumerate(weights) for _ in range(weight)], "random"
        return f"numgen {how} mod {total} map {_braced(self._ranges([able[one].id for one in order]))}"

    def _ranges(self, order: Sequence[str]) -> Iterator[str]:
        """Runs of the same member as one element."""
        start = 0
        for position in range(1, len(order) + 1):
            if position == len(order) or order[position] != order[start]:
                numbers = f"{start}-{position - 1}" if position - 1 > start else f"{start}"
                yield f"{numbers} : {self._marks[order[start]]:#x}"
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


def _places(addresses: Mapping[int, str]) -> Iterator[str]:
    return (f"{mark:#x} : {place}" for mark, place in sorted(addresses.items()))


def _chain_lines(chains: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, rules in chains.items():
        yield f"  chain {name} {{"
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
