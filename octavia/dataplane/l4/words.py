# SPDX-License-Identifier: Apache-2.0
"""What a value in a table of nftables may be: the fixed words, and the checks of all else.

What is made of them is in :mod:`octavia.dataplane.l4.ruleset`.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Value: TypeAlias = str | int | Address | IPv4Network | IPv6Network

MOST: Final = 2**32 - 1

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,127}")


class UnsafeValue(ValueError):
    """A value that is not what its place is for; the text says what it should be, not what it is."""


class Data(Enum):
    """nftables' name for a type of values, with the words, the highest number or the classes of it."""

    PROTOCOL = ("inet_proto", frozenset({"sctp", "tcp", "udp"}))
    VERSION = ("nf_proto", frozenset({"ipv4", "ipv6"}))
    DIRECTION = ("ct_dir", frozenset({"original", "reply"}))
    ICMPV6 = ("icmpv6_type", frozenset({"nd-redirect"}))
    PORT = ("inet_service", 2**16 - 1)
    MARK = ("mark", MOST)
    IPV4 = ("ipv4_addr", (IPv4Address, IPv4Network))
    IPV6 = ("ipv6_addr", (IPv6Address, IPv6Network))

    def __init__(self, text: str, able: frozenset[str] | int | tuple[type, type]) -> None:
        self.text, self.able = text, able

    def check(self, values: Collection[Any], *, networks: bool = False) -> None:
        """:raises UnsafeValue: one is of another type; of a thousand members each look at one counts."""
        types = set(map(type, values))
        if isinstance(self.able, int):
            good = types <= {int} and (not values or (min(values) >= 0 and max(values) <= self.able))
        elif isinstance(self.able, frozenset):
            good = types <= {str} and self.able.issuperset(values)
        else:
            good = types <= {*self.able[: 2 if networks else 1]}
            if good and self is Data.IPV6:  # a scope is any text
                good = not any(getattr(one, "network_address", one).scope_id for one in values)
        if not good:
            raise UnsafeValue(f"There is a value that is no {self.text}.")


class Key(Enum):
    """What is looked at of a packet or of its flow, and the type of its values."""

    PROTOCOL = ("meta l4proto", Data.PROTOCOL)
    VERSION = ("meta nfproto", Data.VERSION)
    PORT = ("th dport", Data.PORT)
    SOURCE4 = ("ip saddr", Data.IPV4)
    SOURCE6 = ("ip6 saddr", Data.IPV6)
    TARGET4 = ("ip daddr", Data.IPV4)
    TARGET6 = ("ip6 daddr", Data.IPV6)
    ICMPV6 = ("icmpv6 type", Data.ICMPV6)
    DIRECTION = ("ct direction", Data.DIRECTION)
    MARK = ("ct mark", Data.MARK)
    ORIGINAL_PORT = ("ct original proto-dst", Data.PORT)
    ORIGINAL_TARGET4 = ("ct original ip daddr", Data.IPV4)
    ORIGINAL_TARGET6 = ("ct original ip6 daddr", Data.IPV6)

    def __init__(self, text: str, data: Data) -> None:
        self.text, self.data = text, data


class Hook(Enum):
    """Where the kernel enters a base chain."""

    RAW_IN = "type filter hook prerouting priority raw;"
    RAW_OUT = "type filter hook output priority raw;"
    MANGLE_IN = "type filter hook prerouting priority mangle;"
    FILTER_OUT = "type filter hook output priority filter;"
    TRANSLATE_IN = "type nat hook prerouting priority dstnat;"
    TRANSLATE_OUT = "type nat hook postrouting priority srcnat;"


class Do(Enum):
    """A statement of one word."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    NOTRACK = "notrack"
    MASQUERADE = "masquerade"


class Change(Enum):
    """What a rule may do to an element."""

    UPDATE = "update"
    DELETE = "delete"


class Draw(Enum):
    """How a number of a range is found for a new flow."""

    IN_TURN = "numgen inc"
    BY_LOT = "numgen random"
    BY_SOURCE4 = "jhash ip saddr"
    BY_SOURCE6 = "jhash ip6 saddr"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member listens; made once, and written in each change of its thousand. :raises UnsafeValue:"""

    address: Address
    port: int
    data: Data = field(init=False, compare=False, repr=False)
    text: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        data = Data.IPV4 if isinstance(self.address, IPv4Address) else Data.IPV6
        data.check((self.address,))
        Data.PORT.check((self.port,))
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "text", f"{self.address!s} . {self.port}")


def check_types(kind: type, *values: object) -> None:
    """:raises UnsafeValue: one is not exactly of the type; what inherits from it may be written otherwise."""
    for one in values:
        if type(one) is not kind:
            raise UnsafeValue(f"There is a value that is no {kind.__name__}.")


def check_names(*values: object) -> None:
    """:raises UnsafeValue: one is no name of an object."""
    for one in values:
        if type(one) is not str or not _NAME.fullmatch(one):
            raise UnsafeValue("A name is a letter, then letters, digits and any of _ . / -")


def check_numbers(most: int, *values: int, least: int = 1) -> None:
    """:raises UnsafeValue: one is no number of the range."""
    check_types(int, *values)
    if values and not (min(values) >= least and max(values) <= most):
        raise UnsafeValue(f"There is a number that is not from {least} to {most}.")


def check_family(data: object) -> None:
    """:raises UnsafeValue: it is no type of addresses."""
    if data not in (Data.IPV4, Data.IPV6):
        raise UnsafeValue("Addresses are of IPv4 or IPv6.")


def columns(width: int, rows: object) -> tuple[tuple[Any, ...], ...]:
    """What is at each place of tuples that are as wide as that. :raises UnsafeValue: they are not."""
    check_types(tuple, rows)
    assert isinstance(rows, tuple)
    check_types(tuple, *rows)
    if not {width}.issuperset(map(len, rows)):
        raise UnsafeValue(f"There is a row that is not {width} wide.")
    return tuple(zip(*rows, strict=True)) or ((),) * width
