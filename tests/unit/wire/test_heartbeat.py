# SPDX-License-Identifier: Apache-2.0
"""The heartbeat codec: what goes in comes out, and nothing forged comes through."""

import contextlib
import hashlib
import hmac
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.wire.heartbeat import (
    MAX_DATAGRAM_BYTES,
    MAX_PAYLOAD_BYTES,
    BadHeartbeat,
    Heartbeat,
    ListenerReport,
    PoolReport,
    decode,
    encode,
)

KEY = "insecure key"


def signed(payload: bytes, *, key: str = KEY, level: int = 9, raw: bool = False) -> bytes:
    compressed = zlib.compress(payload, level)
    mac = hmac.new(key.encode(), compressed, hashlib.sha256)
    return compressed + (mac.digest() if raw else mac.hexdigest().encode())


def message(**changes: Any) -> bytes:
    return json.dumps({"id": "a", "seq": 67, "ver": 3, "listeners": {}, "pools": {}, **changes}).encode()


_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=36)
_ID = st.uuids().map(str)
_COUNT = st.integers(0, 2**63 - 1)
_LISTENER = st.builds(
    ListenerReport, status=_TEXT, rx=_COUNT, tx=_COUNT, conns=_COUNT, totconns=_COUNT, ereq=_COUNT
)
_POOL = st.builds(
    PoolReport,
    pool_id=_ID,
    listener_id=st.none() | _ID,
    status=_TEXT,
    members=st.dictionaries(_ID, _TEXT, max_size=3),
)
_HEARTBEAT = st.builds(
    Heartbeat,
    amphora_id=_ID,
    seq=_COUNT,
    listeners=st.dictionaries(_ID, _LISTENER, max_size=3),
    pools=st.lists(_POOL, max_size=3, unique_by=lambda pool: (pool.pool_id, pool.listener_id)).map(tuple),
    generation=st.none() | _COUNT,
    vrrp_state=st.sampled_from([None, "MASTER", "BACKUP", "FAULT"]),
)


@given(_HEARTBEAT)
def test_what_is_encoded_is_decoded(heartbeat: Heartbeat) -> None:
    assert decode(encode(heartbeat, KEY), KEY) == heartbeat


@given(st.binary(max_size=300))
def test_garbage_is_one_error(datagram: bytes) -> None:
    with pytest.raises(BadHeartbeat):
        decode(datagram, KEY)


_KEYS = st.text(max_size=4) | st.sampled_from(
    ["id", "seq", "ver", "listeners", "pools", "members", "status", "stats", "generation", "vrrp_state"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _JSON, max_size=6) | _JSON)
def test_whatever_is_signed_is_a_heartbeat_or_one_error(document: object) -> None:
    with contextlib.suppress(BadHeartbeat):
        decode(signed(json.dumps(document).encode()), KEY)


@given(_HEARTBEAT, st.data())
def test_a_flipped_bit_is_noticed(heartbeat: Heartbeat, data: st.DataObject) -> None:
    datagram = bytearray(encode(heartbeat, KEY))
    datagram[data.draw(st.integers(0, len(datagram) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadHeartbeat):
        decode(bytes(datagram), KEY)


def test_another_key_is_refused() -> None:
    with pytest.raises(BadHeartbeat, match="signature"):
        decode(encode(Heartbeat(amphora_id="a"), "other"), KEY)


def test_no_key_counts_as_the_text_none() -> None:
    assert decode(encode(Heartbeat(amphora_id="a"), None), "None").amphora_id == "a"


@pytest.mark.parametrize("level", range(10))
def test_any_level_of_compression_is_accepted(level: int) -> None:
    assert decode(signed(message(), level=level), KEY).seq == 67


def test_the_raw_trailer_of_very_old_amphorae_is_accepted() -> None:
    assert decode(signed(message(), raw=True), KEY).amphora_id == "a"


def test_a_trailer_in_upper_case_is_not_the_wire_format() -> None:
    datagram = signed(message())
    with pytest.raises(BadHeartbeat):
        decode(datagram[:-64] + datagram[-64:].upper(), KEY)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b"[]", "object"),
        (b"{}", "id"),
        (message(id="\ud800"), "id"),
        (message(id="x" * 129), "id"),
        (message(ver=-1), "ver"),
        (message(ver=True), "ver"),
        (message(listeners=[]), "listeners"),
        (message(listeners={"l": {"status": "OPEN", "stats": {"rx": 2**63}}}), "rx"),
        (message(listeners={"l": {"status": "OPEN", "stats": {"rx": 1.5}}}), "rx"),
        (message(listeners={"l": {"stats": {}}}), "status"),
        (message(pools={"p": {"status": "UP", "members": {"m": None}}}), "member"),
        (message(generation="7"), "generation"),
    ],
)
def test_signed_nonsense_is_refused_with_a_reason(payload: bytes, why: str) -> None:
    with pytest.raises(BadHeartbeat, match=why):
        decode(signed(payload), KEY)


def test_a_bomb_does_not_explode() -> None:
    with pytest.raises(BadHeartbeat, match="inflates"):
        decode(signed(b" " * (MAX_PAYLOAD_BYTES + 1)), KEY)


def test_too_many_bytes_are_not_even_checked() -> None:
    with pytest.raises(BadHeartbeat, match="too long"):
        decode(b"x" * (MAX_DATAGRAM_BYTES + 1), KEY)


def test_something_behind_the_stream_is_refused() -> None:
    compressed = zlib.compress(message()) + b"more"
    mac = hmac.new(KEY.encode(), compressed, hashlib.sha256).hexdigest().encode()
    with pytest.raises(BadHeartbeat, match="behind"):
        decode(compressed + mac, KEY)


def test_the_contracts_example_is_understood() -> None:
    stats = {"tx": 1, "rx": 2, "conns": 3, "totconns": 4, "ereq": 5}
    heartbeat = decode(
        signed(
            message(
                listeners={"L": {"status": "OPEN", "stats": stats}},
                pools={"P:L": {"status": "UP", "members": {"M": "no check"}}, "Q": {"status": "DOWN"}},
                what_a_later_version_adds=True,
            )
        ),
        KEY,
    )
    assert heartbeat.listeners == {
        "L": ListenerReport(status="OPEN", tx=1, rx=2, conns=3, totconns=4, ereq=5)
    }
    assert heartbeat.pools == (
        PoolReport(pool_id="P", listener_id="L", status="UP", members={"M": "no check"}),
        PoolReport(pool_id="Q", listener_id=None, status="DOWN"),
    )
    assert heartbeat.statistics_are_differences
    assert (heartbeat.generation, heartbeat.vrrp_state) == (None, None)


@pytest.mark.parametrize("version", [None, 1])
def test_old_amphorae_nest_pools_under_listeners(version: int | None) -> None:
    payload = {
        "id": "a",
        "seq": 1,
        "listeners": {"L": {"status": "OPEN", "pools": {"P": {"status": "UP", "members": {"M": "UP"}}}}},
    }
    if version is not None:
        payload["ver"] = version
    heartbeat = decode(signed(json.dumps(payload).encode()), KEY)
    assert heartbeat.version == (version or 0)
    assert heartbeat.pools == (PoolReport(pool_id="P", listener_id="L", status="UP", members={"M": "UP"}),)
    assert not heartbeat.statistics_are_differences


def test_version_two_has_pools_on_top_and_absolute_counters() -> None:
    heartbeat = decode(signed(message(ver=2, pools={"P:L": {"status": "UP"}})), KEY)
    assert heartbeat.pools[0].listener_id == "L"
    assert not heartbeat.statistics_are_differences
