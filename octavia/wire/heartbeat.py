# SPDX-License-Identifier: Apache-2.0
"""The datagram that an amphora signs every few seconds (contract: heartbeat.md sections 1-3).

``zlib(JSON) || hex(HMAC-SHA256(key, compressed bytes))``. Everything in a datagram is forged until
:func:`decode` has returned. What a report means is not here: see :mod:`octavia.health`.
"""

import hashlib
import hmac
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

VERSION: Final = 3  # pools at the top level, statistics are differences
MAX_DATAGRAM_BYTES: Final = 65536
MAX_PAYLOAD_BYTES: Final = 4 * 1024 * 1024  # a datagram of 64 KiB may inflate a thousandfold
_MAX_COUNTER: Final = 2**63 - 1  # what a BIGINT column can hold
_MAX_TEXT: Final = 128
_HEX_TRAILER: Final = 64
_RAW_TRAILER: Final = 32  # very old amphorae


class BadHeartbeat(Exception):
    """Forged, damaged or not a heartbeat; the text is for a log line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerReport:
    """One listener as its amphora sees it.

    :param status: of HAProxy's frontend: ``OPEN``, ``FULL``, ``STOP``.
    :param rx: bytes in; like ``tx``, ``totconns`` and ``ereq`` a difference since the previous
        message of this agent from version 3 on, before that a sum since the start of HAProxy.
    :param conns: sessions open now.
    """

    status: str
    rx: int = 0
    tx: int = 0
    conns: int = 0
    totconns: int = 0
    ereq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """One pool under one listener.

    :param listener_id: None where LVS serves the pool.
    :param members: member id to ``UP``, ``DOWN``, ``UP 1/3``, ``DRAIN``, ``MAINT``, ``no check`` or
        ``RESTARTING``.
    """

    pool_id: str
    listener_id: str | None
    status: str
    members: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What one datagram says.

    :param generation: newest generation of the load balancer that is live; None from agents that keep none.
    :param vrrp_state: ``MASTER``, ``BACKUP``, ``FAULT``; None without keepalived, or when not told.
    """

    amphora_id: str
    seq: int = 0
    version: int = VERSION
    listeners: Mapping[str, ListenerReport] = field(default_factory=dict)
    pools: tuple[PoolReport, ...] = ()
    generation: int | None = None
    vrrp_state: str | None = None

    @property
    def statistics_are_differences(self) -> bool:
        """Add them up, or replace what was known?"""
        return self.version >= 3


def encode(heartbeat: Heartbeat, key: str | None) -> bytes:
    """The signed datagram, in the newest version, whatever ``heartbeat.version`` says.

    :param key: ``[health_manager] heartbeat_key``; None counts as the text ``None``, as the contract has it.
    """
    payload: dict[str, Any] = {
        "id": heartbeat.amphora_id,
        "seq": heartbeat.seq,
        "ver": VERSION,
        "listeners": {
            listener_id: {
                "status": one.status,
                "stats": {name: getattr(one, name) for name in ("tx", "rx", "conns", "totconns", "ereq")},
            }
            for listener_id, one in heartbeat.listeners.items()
        },
        "pools": {
            f"{pool.pool_id}:{pool.listener_id}" if pool.listener_id else pool.pool_id: {
                "status": pool.status,
                "members": dict(pool.members),
            }
            for pool in heartbeat.pools
        },
    }
    if heartbeat.generation is not None:
        payload["generation"] = heartbeat.generation
    if heartbeat.vrrp_state is not None:
        payload["vrrp_state"] = heartbeat.vrrp_state
    compressed = zlib.compress(json.dumps(payload).encode(), 9)
    return compressed + _sign(compressed, key).hexdigest().encode()


def decode(datagram: bytes, key: str | None) -> Heartbeat:
    """What a datagram says, once its signature has proved who sent it.

    :raises BadHeartbeat: and nothing else, whatever the bytes are.
    """
    if len(datagram) > MAX_DATAGRAM_BYTES:
        raise BadHeartbeat(f"a datagram of {len(datagram)} bytes is too long")
    payload = _inflate(_verified(datagram, key))
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadHeartbeat("signed, but not JSON") from error
    return _heartbeat(_object(document, "the message"))


def _sign(compressed: bytes, key: str | None) -> "hmac.HMAC":
    return hmac.new(str(key).encode(), compressed, hashlib.sha256)


def _verified(datagram: bytes, key: str | None) -> bytes:
    """The compressed bytes without their trailer."""
    body, trailer = datagram[:-_HEX_TRAILER], datagram[-_HEX_TRAILER:]
    if hmac.compare_digest(_sign(body, key).hexdigest().encode(), trailer):
        return body
    body, trailer = datagram[:-_RAW_TRAILER], datagram[-_RAW_TRAILER:]
    if hmac.compare_digest(_sign(body, key).digest(), trailer):
        return body
    raise BadHeartbeat("the signature does not match: another heartbeat_key, or forged")


def _inflate(compressed: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        payload = stream.decompress(compressed, MAX_PAYLOAD_BYTES)
    except zlib.error as error:
        raise BadHeartbeat("signed, but not a zlib stream") from error
    if stream.unconsumed_tail:
        raise BadHeartbeat(f"the payload inflates beyond {MAX_PAYLOAD_BYTES} bytes")
    if not stream.eof or stream.unused_data:
        raise BadHeartbeat("the zlib stream is cut off or has something behind it")
    return payload


def _heartbeat(document: Mapping[str, Any]) -> Heartbeat:
    version = _integer(document.get("ver", 0), "ver")
    listeners = _object(document.get("listeners", {}), "listeners")
    pools = (
        _pools(document.get("pools", {}))
        if version >= 2
        else _nested_pools(listeners)  # see section 2's table
    )
    generation = document.get("generation")
    vrrp_state = document.get("vrrp_state")
    return Heartbeat(
        amphora_id=_text(document.get("id"), "id"),
        seq=_integer(document.get("seq", 0), "seq"),
        version=version,
        listeners={_text(name, "a listener's id"): _listener(one) for name, one in listeners.items()},
        pools=tuple(pools),
        generation=None if generation is None else _integer(generation, "generation"),
        vrrp_state=None if vrrp_state is None else _text(vrrp_state, "vrrp_state"),
    )


def _listener(document: object) -> ListenerReport:
    one = _object(document, "a listener")
    stats = _object(one.get("stats", {}), "a listener's stats")
    return ListenerReport(
        status=_text(one.get("status"), "a listener's status"),
        **{name: _integer(stats.get(name, 0), name) for name in ("rx", "tx", "conns", "totconns", "ereq")},
    )


def _pools(document: object) -> Iterator[PoolReport]:
    for key, one in _object(document, "pools").items():
        pool_id, colon, listener_id = _text(key, "a pool's key").rpartition(":")
        yield _pool(pool_id if colon else listener_id, listener_id if colon else None, one)


def _nested_pools(listeners: Mapping[str, Any]) -> Iterator[PoolReport]:
    for listener_id, listener in listeners.items():
        nested = _object(listener, "a listener").get("pools", {})
        for pool_id, one in _object(nested, "a listener's pools").items():
            yield _pool(_text(pool_id, "a pool's id"), listener_id, one)


def _pool(pool_id: str, listener_id: str | None, document: object) -> PoolReport:
    one = _object(document, "a pool")
    members = _object(one.get("members", {}), "a pool's members")
    return PoolReport(
        pool_id=pool_id,
        listener_id=listener_id,
        status=_text(one.get("status"), "a pool's status"),
        members={
            _text(name, "a member's id"): _text(status, "a member's status")
            for name, status in members.items()
        },
    )


def _object(value: object, noun: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadHeartbeat(f"{noun} should be a JSON object")
    return value


def _text(value: object, noun: str) -> str:
    # Ids and statuses are short and plain; a stray surrogate would blow up only in the database.
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not (value.isascii() and value.isprintable()):
        raise BadHeartbeat(f"{noun} should be a short printable text")
    return value


def _integer(value: object, noun: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNTER:
        raise BadHeartbeat(f"{noun} should be a number from 0 to {_MAX_COUNTER}")
    return value
