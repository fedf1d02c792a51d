# SPDX-License-Identifier: Apache-2.0
"""Asking an SCTP server whether it is there, by raw sockets: the kernel need not know SCTP.

The first half of a handshake (RFC 9260 section 5.1): an INIT goes out, an INIT ACK says that somebody listens
and would go on, an ABORT that nobody does. Whoever got the INIT ACK sends an ABORT, and the server, which has
kept nothing so far, forgets it.
"""

import secrets
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

IPPROTO_SCTP: Final = 132  # the socket module has the name only where the C library does

INIT: Final = 1
INIT_ACK: Final = 2
ABORT: Final = 6

_HEADER: Final = struct.Struct("!HHI")  # ports and verification tag; the checksum follows, least byte first
_CHUNK: Final = struct.Struct("!BBH")
_INITIATION: Final = struct.Struct("!IIHHI")  # tag, window, streams out and in, first sequence number
_CHECKSUM_AT: Final = 8
_CHUNKS_AT: Final = 12
_WINDOW: Final = 65536
_PORTS: Final = range(49152, 65536)  # where the kernel's own associations do not begin


def _table() -> tuple[int, ...]:
    found = []
    for byte in range(256):
        rest = byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
        found.append(rest)
    return tuple(found)


_CRC32C: Final = _table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 9260 appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet with its first chunk.

    :param tag: the verification tag; 0 in an INIT.
    :param chunk: the type of the first chunk.
    :param initiate_tag: of an INIT or an INIT ACK: what the other side has to put into ``tag``.
    """

    source: int
    destination: int
    tag: int
    chunk: int
    initiate_tag: int = 0


def written(packet: Packet) -> bytes:
    """As it goes onto the wire."""
    value = b""
    if packet.chunk in (INIT, INIT_ACK):
        value = _INITIATION.pack(packet.initiate_tag, _WINDOW, 1, 1, packet.initiate_tag)
    header = _HEADER.pack(packet.source, packet.destination, packet.tag)
    body = _CHUNK.pack(packet.chunk, 0, _CHUNK.size + len(value)) + value
    return header + struct.pack("<I", crc32c(header + bytes(4) + body)) + body


def read(data: bytes) -> Packet | None:
    """A packet off the wire, its IP header removed; None if it is damaged or none at all."""
    if len(data) < _CHUNKS_AT + _CHUNK.size:
        return None
    (checksum,) = struct.unpack_from("<I", data, _CHECKSUM_AT)
    if crc32c(data[:_CHECKSUM_AT] + bytes(4) + data[_CHUNKS_AT:]) != checksum:
        return None
    source, destination, tag = _HEADER.unpack_from(data)
    chunk, _, _ = _CHUNK.unpack_from(data, _CHUNKS_AT)
    at = _CHUNKS_AT + _CHUNK.size
    initiate_tag = 0
    if chunk in (INIT, INIT_ACK):
        if len(data) < at + _INITIATION.size:
            return None
        initiate_tag = _INITIATION.unpack_from(data, at)[0]
    return Packet(source=source, destination=destination, tag=tag, chunk=chunk, initiate_tag=initiate_tag)


def without_ip(data: bytes, address: str) -> bytes:
    """What a raw socket has received, without the header that IPv4 leaves in front.

    :param address: of either side; its version counts.
    """
    if ip_address(address).version == 6 or not data:
        return data
    return data[(data[0] & 0x0F) * 4 :]


@dataclass(frozen=True, slots=True)
class Question:
    """An INIT that was sent to a port, and what an answer to it looks like."""

    port: int
    own_port: int
    tag: int

    @classmethod
    def to(cls, port: int) -> "Question":
        """A new one."""
        return cls(port, secrets.choice(_PORTS), secrets.randbelow(2**32 - 1) + 1)

    @property
    def init(self) -> bytes:
        """The packet that asks."""
        return written(
            Packet(source=self.own_port, destination=self.port, tag=0, chunk=INIT, initiate_tag=self.tag)
        )

    def answer(self, data: bytes, address: str) -> Packet | None:
        """The packet, if it is an answer to this question; None if it is somebody else's.

        :param data: as a raw socket gives it.
        :param address: where it came from.
        """
        packet = read(without_ip(data, address))
        if packet is None or (packet.source, packet.destination) != (self.port, self.own_port):
            return None
        return packet if packet.tag == self.tag else None

    def end(self, answer: Packet) -> bytes:
        """The packet that says that nothing will come of it."""
        return written(
            Packet(source=self.own_port, destination=self.port, tag=answer.initiate_tag, chunk=ABORT)
        )
