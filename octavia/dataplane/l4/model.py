# SPDX-License-Identifier: Apache-2.0
"""What the UDP and SCTP listeners of a load balancer should do, as values that went through a parser.

The controller makes them out of its tree (:mod:`octavia.dataplane.l4.build`) and sends them as JSON; the
agent renders them again whenever the health of a member changes. Nothing here is a text that a tenant
chose freely, but for the three words of an HTTP check, which have their own patterns: addresses are
addresses, numbers are numbers, ids are UUIDs. So whatever is rendered has no use for quoting.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeVar

PROTOCOLS: Final = ("UDP", "SCTP")
ALGORITHMS: Final = ("ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP")
CHECKS: Final = ("UDP-CONNECT", "TCP", "HTTP", "SCTP")
DEFAULT_PERSISTENCE_SECONDS: Final = 360  # contract: data-plane.md section 9

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_PATH: Final = re.compile(r"/[\x21-\x7e]{0,2047}")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
_VERSION: Final = re.compile(r"1\.[01]")
_T = TypeVar("_T")


class BadModel(ValueError):
    """A value that no listener can be made of; the text names its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How a pool's members are asked whether they are well.

    :param delay: seconds between the beginnings of two probes of a member.
    :param timeout: seconds until a probe has failed.
    :param rise: successes until a member that was down is up.
    :param fall: failures until a member that was up is down.
    :param expected_codes: HTTP status codes of a well member.
    """

    id: str
    type: str
    delay: int
    timeout: int
    rise: int
    fall: int
    http_method: str = "GET"
    url_path: str = "/"
    http_version: str = "1.0"
    domain_name: str | None = None
    expected_codes: tuple[int, ...] = (200,)

    def __post_init__(self) -> None:
        _uuid(self.id, "health monitor id")
        _one_of(CHECKS, self.type, "health monitor type")
        for name, least, most in (
            ("delay", 0, 2**31),
            ("timeout", 0, 2**31),
            ("rise", 1, 10),
            ("fall", 1, 10),
        ):
            _integer(getattr(self, name), least, most, f"health monitor {name}")
        _matching(_METHOD, self.http_method, "health monitor http_method")
        _matching(_PATH, self.url_path, "health monitor url_path")
        _matching(_VERSION, self.http_version, "health monitor http_version")
        if self.domain_name is not None:
            _matching(_HOST, self.domain_name, "health monitor domain_name")
        for code in self.expected_codes:
            _integer(code, 100, 999, "health monitor expected_codes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """Clients of one source address, or of one network, stay with their member.

    :param timeout: seconds without a packet until they may be sent elsewhere.
    :param granularity: what of the source address counts, as a mask of the client's address family;
        None is all of it.
    """

    timeout: int = DEFAULT_PERSISTENCE_SECONDS
    granularity: str | None = None

    def __post_init__(self) -> None:
        _integer(self.timeout, 1, 2**31 // 1000, "persistence_timeout")
        if self.granularity is not None:
            _address(self.granularity, "persistence_granularity")

    def mask(self, version: int) -> str | None:
        """The mask for clients of an IP version; None if their whole address counts."""
        if self.granularity is None or ip_address(self.granularity).version != version:
            return None
        mask = ip_address(self.granularity)
        return None if int(mask) == 2**mask.max_prefixlen - 1 else str(mask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One server. :param weight: 0-256; 0 drains: what flows goes on, nothing new begins."""

    id: str
    address: str
    port: int
    weight: int = 1
    backup: bool = False
    enabled: bool = True
    monitor_address: str | None = None
    monitor_port: int | None = None

    def __post_init__(self) -> None:
        _uuid(self.id, "member id")
        _address(self.address, "member address")
        _integer(self.port, 1, 65535, "member port")
        _integer(self.weight, 0, 256, "member weight")
        if self.monitor_address is not None:
            _address(self.monitor_address, "member monitor_address")
        if self.monitor_port is not None:
            _integer(self.monitor_port, 1, 65535, "member monitor_port")

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Members that serve the same thing."""

    id: str
    algorithm: str = "ROUND_ROBIN"
    enabled: bool = True
    persistence: Persistence | None = None
    check: Check | None = None
    members: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        _uuid(self.id, "pool id")
        _one_of(ALGORITHMS, self.algorithm, "pool algorithm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One port of every VIP.

    :param connection_limit: flows at a time; None is no limit.
    :param allowed_cidrs: empty lets everybody in.
    """

    id: str
    protocol: str
    port: int
    enabled: bool = True
    connection_limit: int | None = None
    allowed_cidrs: tuple[str, ...] = ()
    pool_id: str | None = None

    def __post_init__(self) -> None:
        _uuid(self.id, "listener id")
        _one_of(PROTOCOLS, self.protocol, "listener protocol")
        _integer(self.port, 1, 65535, "listener port")
        if self.connection_limit is not None:
            _integer(self.connection_limit, 1, 2**31 - 1, "listener connection_limit")
        for cidr in self.allowed_cidrs:
            _network(cidr)
        if self.pool_id is not None:
            _uuid(self.pool_id, "listener pool_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class L4Config:
    """Everything that one amphora serves over UDP and SCTP.

    :param vips: the primary first.
    :param pools: those that listeners use.
    :param streams: does HAProxy serve other listeners beside these?
    """

    load_balancer_id: str
    vips: tuple[str, ...]
    listeners: tuple[Listener, ...]
    pools: tuple[Pool, ...] = ()
    streams: bool = True

    def __post_init__(self) -> None:
        _uuid(self.load_balancer_id, "load_balancer_id")
        for vip in self.vips:
            _address(vip, "vips")
        for every, noun in (
            (self.listeners, "listeners"),
            (self.pools, "pools"),
            ([one for pool in self.pools for one in pool.members], "members"),
        ):
            if len({one.id for one in every}) != len(every):
                raise BadModel(f"{noun}: an id is there twice")

    def pool(self, listener: Listener) -> Pool | None:
        """Where a listener's traffic goes; None without a pool, or with a disabled one."""
        return next((one for one in self.pools if one.id == listener.pool_id and one.enabled), None)

    @property
    def enabled_listeners(self) -> tuple[Listener, ...]:
        """Those that are open."""
        return tuple(one for one in self.listeners if one.enabled)

    @property
    def served_pools(self) -> tuple[Pool, ...]:
        """Those that an open listener sends traffic to, each once."""
        used = (self.pool(one) for one in self.enabled_listeners)
        return tuple({pool.id: pool for pool in used if pool}.values())

    def to_json(self) -> dict[str, Any]:
        """For :meth:`from_json`."""
        plain = {**_plain(self), "listeners": [_plain(one) for one in self.listeners]}
        return plain | {"pools": [_pool_json(one) for one in self.pools]}

    @classmethod
    def from_json(cls, value: object) -> "L4Config":
        """:raises BadModel:"""
        body = _object(value, "l4", cls)
        return _made(
            cls,
            body,
            vips=_texts(body, "vips"),
            listeners=tuple(_listener(one) for one in _list(body, "listeners")),
            pools=tuple(_pool(one) for one in _list(body, "pools")),
        )


@functools.lru_cache(maxsize=8192)  # every change brings all members again
def canonical(address: str) -> str:
    """The one spelling of an address. :raises BadModel:"""
    try:
        parsed = ip_address(address)
    except ValueError:
        raise BadModel(f"{address!r} is no IP address") from None
    return str(parsed)


def _plain(value: Any) -> dict[str, Any]:
    # Without a look into what cannot be nested, of which dataclasses.asdict makes copies.
    return {name: getattr(value, name) for name in value.__slots__}


def _pool_json(pool: Pool) -> dict[str, Any]:
    return _plain(pool) | {
        "persistence": pool.persistence and _plain(pool.persistence),
        "check": pool.check and _plain(pool.check),
        "members": [_plain(one) for one in pool.members],
    }


def _listener(value: object) -> Listener:
    body = _object(value, "listeners", Listener)
    return _made(Listener, body, allowed_cidrs=_texts(body, "allowed_cidrs"))


def _pool(value: object) -> Pool:
    body = _object(value, "pools", Pool)
    check, persistence = body.get("check"), body.get("persistence")
    return _made(
        Pool,
        body,
        check=None if check is None else _check(check),
        persistence=None
        if persistence is None
        else _made(Persistence, _object(persistence, "persistence", Persistence)),
        members=tuple(_made(Member, _object(one, "members", Member)) for one in _list(body, "members")),
    )


def _check(value: object) -> Check:
    body = _object(value, "check", Check)
    return _made(Check, body, expected_codes=tuple(_list(body, "expected_codes")))


def _made(what: Callable[..., _T], body: Mapping[str, Any], **parsed: object) -> _T:
    try:
        return what(**{**body, **parsed})
    except TypeError as error:
        raise BadModel(f"something is missing: {error}") from None


def _object(value: object, noun: str, what: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadModel(f"{noun} should be a JSON object")
    if unknown := value.keys() - what.__dataclass_fields__.keys():
        raise BadModel(f"{noun} has unknown keys: {', '.join(sorted(map(repr, unknown)))}")
    for key in ("enabled", "backup", "streams"):
        if key in value and not isinstance(value[key], bool):
            raise BadModel(f"{noun} {key} should be true or false")
    return value


def _list(body: Mapping[str, Any], key: str) -> list[Any]:
    value = body.get(key, [])
    if not isinstance(value, list | tuple):
        raise BadModel(f"{key} should be a list")
    return list(value)


def _texts(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _list(body, key)
    if not all(isinstance(one, str) for one in values):
        raise BadModel(f"{key} should be texts")
    return tuple(values)


def _matching(pattern: re.Pattern[str], value: object, noun: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadModel(f"{noun} {value!r} cannot be used; change it.")


def _uuid(value: object, noun: str) -> None:
    _matching(_UUID, value, noun)


def _one_of(known: tuple[str, ...], value: object, noun: str) -> None:
    if value not in known:
        raise BadModel(f"{noun} {value!r} is none of {', '.join(known)}")


def _integer(value: object, least: int, most: int, noun: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise BadModel(f"{noun} {value!r} is not a number from {least} to {most}")


def _address(value: object, noun: str) -> None:
    # In the one spelling, so that comparisons of texts compare addresses; without a scope.
    try:
        usual = canonical(value) if isinstance(value, str) and "%" not in value else None
    except BadModel:
        usual = None
    if usual is None or usual != value:
        raise BadModel(f"{noun} {value!r} is no IP address in its usual spelling")


def _network(value: str) -> None:
    usual = None
    with contextlib.suppress(ValueError):
        usual = str(ip_network(value))
    if usual != value or "%" in value:
        raise BadModel(f"allowed_cidrs {value!r} is no CIDR in its usual spelling")
