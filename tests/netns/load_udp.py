# SPDX-License-Identifier: Apache-2.0
"""Clients who ask over UDP, in new flows and in kept ones, and the members that answer them.

Each question is asked once. A flow stays with its member as long as that is there. A question is lost without
a failure only if whoever was to answer it was taken out of the pool while it was under way.
"""

import contextlib
import itertools
import random
import selectors
import socket
import threading
from collections.abc import Iterator
from typing import Final

from tests.netns.agent_lab import VIP, ip
from tests.netns.book import PATIENCE_S, Book
from tests.netns.load import Client, Player
from tests.netns.valid import DATAGRAMS, ENDPOINTS, UDP, Valid

EXCUSED: Final = "UDP, lost with its member"
_SOON_S: Final = (
    0.3  # an answer that takes longer is either lost or late: only a removal until then excuses it
)
_FLOWS: Final = 8
_PORTS: Final = range(10000, 30000)  # below those that the kernel chooses


class Answerers:
    """Every endpoint of the pool, all the time: each answers a word with who it is and the word."""

    def __init__(self) -> None:
        self.heard: dict[str, str] = {}  # a word that is under way to who heard it
        self._selector = selectors.DefaultSelector()
        for address, port in ENDPOINTS[DATAGRAMS]:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.bind((address, port))
            self._selector.register(one, selectors.EVENT_READ, f"{address}:{port}")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                question, sender = key.fileobj.recvfrom(1500)
                if question:  # an empty one is a health check
                    self.heard[question.decode()] = key.data
                    key.fileobj.sendto(f"{key.data} {question.decode()}".encode(), sender)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


class Flow:
    """One client's port.

    :ivar member: who answered last, if anybody has.
    :ivar met: the book's mark when it did.
    """

    def __init__(self, plain: socket.socket) -> None:
        self.plain = plain
        self.member: str | None = None
        self.met = 0

    def close(self) -> None:
        self.plain.close()


class UdpClient(Client):
    """One that asks over UDP, from addresses of its own so that each flow is one that was never there.

    Some thousand flows a minute would use up the ports of one before conntrack has forgotten them.
    """

    def __init__(
        self, book: Book, rng: random.Random, what: str, answerers: Answerers, sources: list[str]
    ) -> None:
        super().__init__(book, rng, what)
        self._answerers = answerers
        self._places = itertools.cycle((source, port) for source in sources for port in _PORTS)

    def attempt(self) -> contextlib.AbstractContextManager[None]:
        return self.book.attempt(self.what)

    def flow(self) -> Flow:
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.bind(next(self._places))
        plain.connect((VIP, UDP))
        return Flow(plain)

    def ask_in(self, flow: Flow) -> bool:
        """One question. :returns: was it answered? If not, that is excused, and the flow is over."""
        begun, word = self.book.now, f"{self.rng.getrandbits(64):x}"
        try:
            who = self._asked(flow, word, begun)
            if who is None:
                self.book.done[EXCUSED] += 1
                return False
            self._judge_answer(flow, who, begun)
        finally:
            self._answerers.heard.pop(word, None)
        flow.member, flow.met = who, self.book.now
        self.book.done[self.what] += 1
        return True

    def _asked(self, flow: Flow, word: str, begun: int) -> str | None:
        """Who answers; None: nobody, and nobody has to."""
        said = ""
        flow.plain.settimeout(_SOON_S)
        try:
            flow.plain.send(word.encode())
            said = flow.plain.recv(1500).decode()
        except (TimeoutError, ConnectionRefusedError) as error:
            if self._is_excused(flow, word, begun):
                return None
            heard = f"{flow.member} -> {self._answerers.heard.get(word, 'nobody heard it')}"
            flow.plain.settimeout(PATIENCE_S)
            try:
                said = flow.plain.recv(1500).decode()
            except (TimeoutError, ConnectionRefusedError):
                raise AssertionError(f"a question was lost: {heard}, {error!r}") from error
        who, _, answered = said.partition(" ")
        assert answered == word, f"{said!r} came back, not {word!r}"
        return who

    def _is_excused(self, flow: Flow, word: str, begun: int) -> bool:
        states = self.book.valid_since(begun)
        heard = self._answerers.heard.get(word)
        if heard:
            asked = {heard}
        elif flow.member and flow.member in states[0].keepers[DATAGRAMS]:
            asked = {flow.member}
        else:
            asked = set().union(*(one.members[DATAGRAMS] for one in states))
        return any(len({one.keepers[DATAGRAMS].get(who) for one in states}) > 1 for who in asked)

    def _judge_answer(self, flow: Flow, who: str, begun: int) -> None:
        states = self.book.valid_since(begun)
        if flow.member:
            known = {one.keepers[DATAGRAMS].get(flow.member) for one in self.book.valid_since(flow.met)}
            stays = len(known) == 1 and None not in known
            assert who == flow.member or not stays, f"a flow of {flow.member} met {who}"
        assert any(_may_answer(one, who, flow.member) for one in states), (
            f"{who} had been taken out of the pool"
        )


def _may_answer(valid: Valid, who: str, member: str | None) -> bool:
    return valid.allows_member(DATAGRAMS, who) or (who == member and who in valid.keepers[DATAGRAMS])


def new_flow(client: UdpClient) -> None:
    with contextlib.closing(client.flow()) as flow:
        client.ask_in(flow)
    client.book.ended.wait(0.005)  # conntrack remembers each for half a minute


def kept_flows(client: UdpClient) -> None:
    """Some of them at a time, most of which outlive many changes."""
    flows: list[Flow] = []
    try:
        while not client.book.ended.is_set():
            flows += [client.flow()] if len(flows) < _FLOWS else []
            flow = client.rng.choice(flows)
            if not client.ask_in(flow) or client.rng.random() < 0.002:
                flows.remove(flow)
                flow.close()
            client.idle()
    finally:
        for flow in flows:
            flow.close()


def players(book: Book, rng: random.Random, answerers: Answerers, sources: Iterator[str]) -> Iterator[Player]:
    """Two that keep their flows for one that does not.

    :param sources: addresses that nobody uses; they are given to the clients' interface.
    """
    for what, play in (("new UDP", new_flow), ("kept UDP", kept_flows), ("kept UDP", kept_flows)):
        own = [next(sources) for _ in range(4)]
        for source in own:
            ip("addr", "add", f"{source}/24", "dev", "vip")
        yield UdpClient(book, random.Random(rng.random()), what, answerers, own), play
