# SPDX-License-Identifier: Apache-2.0
"""Packets of SCTP's handshake (RFC 9260), as far as a health check needs them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.amphora_agent.sctp import (
    ABORT,
    INIT,
    INIT_ACK,
    Packet,
    Question,
    crc32c,
    read,
    without_ip,
    written,
)

PORTS = st.integers(1, 65535)
TAGS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [  # RFC 3720 appendix B.4, where the same polynomial is used
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
    ],
)
def test_the_checksum_is_crc32c(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


def test_an_init_is_as_the_rfc_has_it() -> None:
    sent = Question(36412, 50000, 0xA1B2C3D4).init
    assert sent[:8] == bytes.fromhex("c350 8e3c 00000000")
    # INIT, no flags, 20 bytes; tag, window, one stream out and one in, first sequence number
    assert sent[12:] == bytes.fromhex("01 00 0014 a1b2c3d4 00010000 0001 0001 a1b2c3d4")
    assert int.from_bytes(sent[8:12], "little") == crc32c(sent[:8] + bytes(4) + sent[12:])


@given(PORTS, PORTS, TAGS, st.sampled_from([INIT, INIT_ACK]), TAGS)
def test_what_is_written_is_read(source: int, destination: int, tag: int, chunk: int, initiate: int) -> None:
    packet = Packet(source=source, destination=destination, tag=tag, chunk=chunk, initiate_tag=initiate)
    assert read(written(packet)) == packet


@given(st.binary(max_size=80))
def test_whatever_comes_is_a_packet_or_none(data: bytes) -> None:
    found = read(data)
    assert found is None or written(found)[:8] == data[:8]
    without_ip(data, "192.0.2.1")


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_damaged_packet_is_none(at: int, flip: int) -> None:
    sent = bytearray(Question(36412, 50000, 7).init)
    sent[at] ^= flip
    assert read(bytes(sent)) is None


def test_only_the_answer_to_a_question_is_one() -> None:
    question = Question(36412, 50000, 7)
    well = Packet(source=36412, destination=50000, tag=7, chunk=INIT_ACK, initiate_tag=99)
    header = bytes([0x46]) + bytes(23)  # IPv4 with an option
    assert question.answer(header + written(well), "192.0.2.1") == well
    assert question.answer(written(well), "2001:db8::1") == well
    for other in ({"source": 1}, {"destination": 1}, {"tag": 8}):
        values = {"source": 36412, "destination": 50000, "tag": 7} | other
        assert question.answer(written(Packet(chunk=ABORT, **values)), "2001:db8::1") is None
    end = read(question.end(well))
    assert end == Packet(source=50000, destination=36412, tag=99, chunk=ABORT)
