# SPDX-License-Identifier: Apache-2.0
"""Clients who hold a connection of HTTP/2 over reloads, and then ask again."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.netns.book import Book
from tests.netns.http2 import Http2
from tests.netns.load import Player, Reply, TlsClient
from tests.netns.valid import TLS

IDLE: Final = "HTTP/2, idle over a reload"
TOLD: Final = "HTTP/2, told to go while idle"


class Http2Client(TlsClient):
    """One that looks at what it was told meanwhile before it asks again, or only with the answer."""

    def ask_over(self, connection: Http2) -> bool:
        """As :meth:`Client.ask`; a GOAWAY means that no more should be asked."""

        def over(path: str) -> Reply:
            status, body = connection.get(path)
            return Reply(status, body, last=connection.is_going_away)

        return self.exchange(TLS, over)


def kept_http_2(client: Http2Client) -> None:
    """Whoever is told to go before it asks goes; whatever is asked nevertheless is answered."""
    with client.handshake() as secured:
        connection = Http2(secured)
        while client.ask_over(connection) and not client.book.ended.is_set():
            idle = client.rng.random() < 0.05
            if idle:
                client.book.await_reload()
            else:
                client.idle()
            if client.rng.random() < 0.5 and connection.look():
                client.book.done[TOLD] += idle
                break
            client.book.done[IDLE] += idle


def players(book: Book, rng: random.Random, ca: Path) -> Iterator[Player]:
    """Two of them."""
    for _ in range(2):
        yield Http2Client(book, random.Random(rng.random()), "kept HTTP/2", ca, "h2"), kept_http_2
