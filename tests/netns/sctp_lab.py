# SPDX-License-Identifier: Apache-2.0
"""SCTP without a kernel that speaks it: servers and clients begin handshakes over raw sockets."""

import contextlib
import socket
import threading
from collections import Counter
from ipaddress import ip_address

from octavia.amphora_agent.sctp import (
    ABORT,
    INIT,
    INIT_ACK,
    IPPROTO_SCTP,
    Packet,
    Question,
    read,
    without_ip,
    written,
)

PORT, MEMBER_PORT = 53, 5353  # as the listener and the members of the UDP lab have them


class Server:
    """An address at which INITs are answered with one kind of chunk.

    :ivar number: the tag of its INIT ACKs, by which clients know it.
    :ivar aborted: is set once a client has ended what it began.
    :ivar clients: addresses that INITs came from.
    """

    def __init__(self, address: str, chunk: int | None = INIT_ACK, *, number: int = 1) -> None:
        self.address = address
        self.number = number
        self.aborted = threading.Event()
        self.clients: Counter[str] = Counter()
        self._chunk = chunk
        family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
        self._raw = socket.socket(family, socket.SOCK_RAW, IPPROTO_SCTP)
        self._raw.bind((address, 0))
        self._raw.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._raw.close()

    def _answer(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError, ConnectionError):
                data, sender = self._raw.recvfrom(65535)
                packet = read(without_ip(data, self.address))
                if packet and packet.destination == MEMBER_PORT:
                    self._take(packet, sender[0])

    def _take(self, packet: Packet, client: str) -> None:
        if packet.chunk == ABORT and packet.tag == self.number:
            self.aborted.set()
        if packet.chunk != INIT:
            return
        self.clients[client] += 1
        if self._chunk is not None:
            answer = Packet(
                source=packet.destination,
                destination=packet.source,
                tag=packet.initiate_tag,
                chunk=self._chunk,
                initiate_tag=self.number if self._chunk == INIT_ACK else 0,
            )
            self._raw.sendto(written(answer), (client, 0))


def answered_by(vip: str) -> int | None:
    """The number of the server that a new client of a VIP comes to; None if nobody answers."""
    question = Question.to(PORT)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, IPPROTO_SCTP) as raw:
        raw.settimeout(2)
        raw.connect((vip, 0))
        with contextlib.suppress(OSError):
            raw.send(question.init)
            while (answer := question.answer(raw.recv(65535), vip)) is None:
                pass
            raw.send(question.end(answer))
            return answer.initiate_tag if answer.chunk == INIT_ACK else None
    return None
