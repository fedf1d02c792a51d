# SPDX-License-Identifier: Apache-2.0
"""The UDP socket that heartbeats arrive at (contract: heartbeat.md section 1).

Knows bytes and where they came from; what they mean is not here: see :mod:`octavia.health.receive`.
"""

import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import Final

from octavia.domain.errors import Terminal
from octavia.wire.heartbeat import MAX_DATAGRAM_BYTES

# Linux's numbers; Python has no names for them.
_SO_TIMESTAMPNS: Final = 35
_SO_RXQ_OVFL: Final = 40
_TIMESPEC: Final = struct.Struct("@ll")
_COUNT: Final = struct.Struct("@I")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_COUNT.size)
_BUFFER_BYTES: Final = 4 * 1024 * 1024  # the kernel gives what net.core.rmem_max allows


@dataclass(frozen=True, slots=True)
class Arrived:
    """One datagram.

    :param age_s: seconds since the kernel received it.
    """

    datagram: bytes
    source: str
    age_s: float


class Inbox:
    """A bound socket; ``dropped`` counts datagrams for which its buffer had no room."""

    def __init__(self, bind_ip: str, bind_port: int, buffer_bytes: int = 0) -> None:
        """Bind at once.

        :param bind_port: 0 takes any free one.
        :param buffer_bytes: ``[health_manager] sock_rlimit``; 0 asks for a few MiB.
        :raises Terminal: the address cannot be bound.
        """
        self.dropped = 0
        try:
            family, kind, proto, _, address = socket.getaddrinfo(bind_ip, bind_port, type=socket.SOCK_DGRAM)[
                0
            ]
            self._socket = socket.socket(family, kind, proto)
            try:
                self._prepare(buffer_bytes or _BUFFER_BYTES)
                self._socket.bind(address)
            except BaseException:
                self._socket.close()
                raise
        except OSError as error:
            raise Terminal(
                f"Heartbeats cannot be received on {bind_ip} port {bind_port}: {error.strerror or error};"
                " see bind_ip and bind_port in [health_manager]."
            ) from error

    def _prepare(self, buffer_bytes: int) -> None:
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)

    @property
    def port(self) -> int:
        """The UDP port that it is bound to."""
        return int(self._socket.getsockname()[1])

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something has arrived; False if nothing has."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def drain(self, limit: int) -> list[Arrived]:
        """What has arrived, at most ``limit`` datagrams; never waits."""
        arrived: list[Arrived] = []
        now = time.time()
        while len(arrived) < limit:
            try:
                data, ancillary, _, source = self._socket.recvmsg(MAX_DATAGRAM_BYTES, _ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            received = now
            for _, kind, content in ancillary:
                if kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = _TIMESPEC.unpack(content)
                    received = seconds + nanoseconds / 1e9
                elif kind == _SO_RXQ_OVFL:
                    self.dropped = _COUNT.unpack(content)[0]
            # Clocks are adjusted, and one may have come since we looked at ours.
            arrived.append(Arrived(data, source[0], max(0.0, now - received)))
        return arrived

    def close(self) -> None:
        """Free the port."""
        self._socket.close()
