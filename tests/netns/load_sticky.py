# SPDX-License-Identifier: Apache-2.0
"""Clients who are remembered: by a cookie of HAProxy's, by one of the application's, by their address.

Whoever has a cookie of HAProxy's meets its member as long as that is there. What a table remembers a new
process learns from the one before it: only while it does may a client of a table meet another member.
"""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Final

from tests.netns.agent_lab import ip
from tests.netns.book import Book
from tests.netns.load import DEFAULT_POOL, Client, Player, Reply
from tests.netns.valid import BY_COOKIE, BY_SESSION, BY_SOURCE, Valid

NEAR_S: Final = 2.0  # so long may a new process learn
WAYS: Final = {"HTTP_COOKIE": BY_COOKIE, "APP_COOKIE": BY_SESSION, "SOURCE_IP": BY_SOURCE}
FAR: Final = "far from a reload"  # so many requests had to meet the member of before without an excuse
MOVED: Final = "moved at a reload"
# What a process of before notes with its last answers, it has told the new one already, or never tells it.
UNTOLD: Final = "moved, of a session that a process of before gave"


class StickyClient(Client):
    """One client of a pool with session persistence; one connection at a time.

    :param source: an address that nobody else asks from.
    """

    def __init__(self, book: Book, rng: random.Random, way: str, source: str) -> None:
        super().__init__(book, rng, way)
        self.port = WAYS[way]
        self.source = source
        self._member: str | None = None  # who answered last
        # Whom it left at a reload, and comes back to when the table has been learnt, a weight of 0 or not.
        self._left: set[str] = set()
        self._is_untold = False
        self._met = book.now
        self._answered_at = time.monotonic()

    def forget(self) -> None:
        """Come back as somebody new, if it is the cookie that says who one is."""
        if self.cookie:
            self.cookie, self._member = "", None

    def judge(self, valid: Sequence[Valid], port: int, path: str, reply: Reply) -> None:
        assert reply.status == 200, f"{path}: {reply.status} {reply.body}"
        pool, who, before = DEFAULT_POOL[port], reply.body, self._member
        try:
            if before and self._is_kept(pool, before):
                self._judge_move(before, who)
            returns = who == before or who in self._left or self._has_moved(pool, before, who)
            allowed = (who in one.keepers[pool] if returns else one.allows_member(pool, who) for one in valid)
            assert any(allowed), f"{who} had been taken out of the pool, a client of {before} met it"
        finally:
            if reply.given:
                self.cookie = reply.given.partition(";")[0]
                self._is_untold = self.port == BY_SESSION and self.book.spans_reload()
            self._member, self._met, self._answered_at = who, self.book.now, time.monotonic()

    def _is_kept(self, pool: str, member: str) -> bool:
        """Was it the same member there all the time since it answered last?"""
        known = {one.keepers[pool].get(member) for one in self.book.valid_since(self._met)}
        if self.port == BY_COOKIE:  # which is made of the address
            return None not in known
        return known != {None} and len(known) == 1

    def _has_moved(self, pool: str, before: str | None, who: str) -> bool:
        """Is it the member of before at another address? It takes its clients along."""
        states = [one.keepers[pool] for one in self.book.valid_since(self._met)]
        there, here = ({one.get(endpoint) for one in states} for endpoint in (before or "", who))
        return bool(there & here - {None})

    def _judge_move(self, before: str, who: str) -> None:
        later = self.book.after_reload(self._answered_at)
        is_sure = later > NEAR_S and not self._is_untold
        if is_sure:
            self._left.clear()
            self.book.done[f"{self.what}, {FAR}"] += 1
        if who != before:
            assert self.port != BY_COOKIE, f"a client with a cookie of {before} met {who}"
            assert not is_sure, f"a client of {before} met {who}, {later:.1f} s after a reload"
            self.book.done[f"{self.what}, {UNTOLD if self._is_untold else MOVED}"] += 1
            self._left.add(before)


def visit(client: StickyClient) -> None:
    """Some requests on one connection, or one on each of some."""
    if client.rng.random() < 0.02:
        client.forget()
    with client.connect(client.port, client.source) as plain:
        if client.rng.random() < 0.5:
            client.ask(plain, client.port, last=client.rng.random() < 0.5)
            return
        while client.ask(plain, client.port) and not client.book.ended.is_set():
            client.idle()
            if client.rng.random() < 0.05:
                break


def players(book: Book, rng: random.Random, sources: Iterator[str]) -> Iterator[Player]:
    """Two of each way.

    :param sources: addresses that nobody uses; they are given to the clients' interface.
    """
    for way in WAYS:
        for source in (next(sources), next(sources)):
            ip("addr", "add", f"{source}/24", "dev", "vip")
            yield StickyClient(book, random.Random(rng.random()), way, source), visit
