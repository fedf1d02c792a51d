# SPDX-License-Identifier: Apache-2.0
"""Clients that keep asking a VIP and count what goes wrong, and the members that answer them."""

import asyncio
import selectors
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

CLIENTS: Final = 8
PAUSE_S: Final = 0.02
ANSWER_WITHIN_S: Final = 2
QUESTIONS_A_FLOW: Final = 10
PORT: Final = 80


class Load(threading.Thread, ABC):
    """Clients that each ask every 20 ms until :meth:`stop`.

    :ivar failures: what was not an answer of a member.
    """

    def __init__(self, address: str, clients: int = CLIENTS) -> None:
        super().__init__(name="load")
        self._address, self._clients = address, clients
        self._stopping = threading.Event()
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        asyncio.run(self._all())

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    async def _all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self._clients)))

    async def _one(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._converse()
            except (OSError, asyncio.IncompleteReadError, ValueError) as why:
                self.failures.append(repr(why))

    @abstractmethod
    async def _converse(self) -> None:
        """Ask once or more. :raises OSError, asyncio.IncompleteReadError, ValueError: no good answer."""

    async def _answer_taken(self) -> None:
        self.answered += 1
        await asyncio.sleep(PAUSE_S)


class HttpLoad(Load):
    """Requests that have to be answered with 200.

    :param kept_alive: over the same connection as long as it goes; else each over one of its own.
    """

    def __init__(self, address: str, *, kept_alive: bool = True) -> None:
        super().__init__(address)
        self._kept_alive = kept_alive

    async def _converse(self) -> None:
        reader, writer = await asyncio.open_connection(self._address, PORT)
        try:
            await self._request(reader, writer)
            while self._kept_alive and not self._stopping.is_set():
                await self._request(reader, writer)
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"GET / HTTP/1.1\r\nHost: {self._address}\r\n\r\n".encode())
        async with asyncio.timeout(ANSWER_WITHIN_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if " 200 " not in head.partition("\r\n")[0]:
                raise ValueError(head.partition("\r\n")[0])
            await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
        await self._answer_taken()


class UdpLoad(Load):
    """Questions in a datagram each; a flow is some of them from the same port."""

    async def _converse(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.setblocking(False)
            flow.connect((self._address, PORT))
            for _ in range(QUESTIONS_A_FLOW):
                await loop.sock_sendall(flow, b"who?")
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await loop.sock_recv(flow, 65535)
                await self._answer_taken()


@contextmanager
def udp_servers(address: str, ports: Sequence[int]) -> Iterator[None]:
    """One that answers every question at all these ports."""
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for port in ports:
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.setblocking(False)
            one.bind((address, port))
            selector.register(one, selectors.EVENT_READ)
        bell, ear = (stack.enter_context(end) for end in socket.socketpair())
        selector.register(ear, selectors.EVENT_READ, "the end")
        thread = threading.Thread(target=_answer, args=(selector,), name="members")
        thread.start()
        try:
            yield
        finally:
            bell.send(b"\0")
            thread.join()


def _answer(selector: selectors.BaseSelector) -> None:
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                return
            one = key.fileobj
            assert isinstance(one, socket.socket)
            question, sender = one.recvfrom(65535)
            one.sendto(question, sender)
