# SPDX-License-Identifier: Apache-2.0
"""Web servers that are members, and the people who ask them: with cookies, certificates, for ever.

All of it runs in threads of the test, in the network of the thread that starts them.
"""

import http.client
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

THINKS_S: Final = 0.03
PATIENCE_S: Final = 20.0
LONG_S: Final = 300.0
SESSION: Final = "JSESSIONID"


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "WebServer"

    def do_GET(self) -> None:
        if self.path == "/long":
            self.server.finish.wait()
        body = f"{self.server.name} {self.headers.get('X-SSL-Client-CN', '')}".strip().encode() + b"\n"
        self.send_response(200)
        if SESSION not in self.headers.get("Cookie", ""):
            self.send_header("Set-Cookie", f"{SESSION}={self.server.new_session()}; Path=/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class WebServer(ThreadingHTTPServer):
    """Answers with its name, and who the load balancer says that the client is.

    ``/long`` is answered when ``finish`` is set.
    """

    daemon_threads = True
    request_queue_size = 128
    _sessions = 0
    _counting = threading.Lock()

    def __init__(self, name: str, port: int) -> None:
        super().__init__(("", port), _Answer)
        self.name = name
        self.finish = threading.Event()
        threading.Thread(target=self.serve_forever, name=name, daemon=True).start()

    @classmethod
    def new_session(cls) -> str:
        with cls._counting:
            cls._sessions += 1
            return f"session-{cls._sessions}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: health checks hang up."""

    def server_close(self) -> None:
        """What leaving ``with`` calls: end the thread too."""
        self.finish.set()
        self.shutdown()
        super().server_close()


class Visitor:
    """A browser: it remembers cookies, and may keep its connection.

    :param kept: one connection for all requests; one that ends without having said so is a failure.
    :param forgetful: it remembers no cookies.
    :param source: the address to come from.
    :param tls: to speak TLS, and ask for ``site``.
    """

    def __init__(
        self,
        address: str,
        port: int = 80,
        *,
        kept: bool = False,
        forgetful: bool = False,
        source: str = "",
        tls: ssl.SSLContext | None = None,
        site: str = "www.example.org",
        path: str = "/",
    ) -> None:
        self._where, self._kept, self._source = (address, port), kept, source
        self._forgetful = forgetful
        self._tls, self._site, self.path = tls, site, path
        self.cookies: SimpleCookie = SimpleCookie()
        self._connection: http.client.HTTPConnection | None = None

    def ask(self) -> str:
        """The body of the answer.

        :raises OSError: no answer.
        :raises http.client.HTTPException: no answer that makes sense.
        :raises ValueError: another one than 200.
        """
        connection = self._connection or self._connected()
        self._connection = None
        try:
            cookies = "; ".join(f"{name}={one.value}" for name, one in self.cookies.items())
            connection.request(
                "GET", self.path, headers={"Host": self._site} | ({"Cookie": cookies} if cookies else {})
            )
            answer = connection.getresponse()
            body = answer.read().decode().strip()
            if answer.status != 200:
                raise ValueError(f"answered {answer.status}: {body}")
            if not self._forgetful:
                for one in answer.headers.get_all("Set-Cookie", []):
                    self.cookies.load(one)
            if self._kept and not answer.will_close:
                self._connection = connection
            return body
        finally:
            if self._connection is None:
                connection.close()

    def certificate(self) -> dict[str, Any]:
        """What the other side shows, over a connection of its own.

        :raises OSError: no handshake.
        """
        connection = self._connected()
        try:
            assert isinstance(connection.sock, ssl.SSLSocket)
            return dict(connection.sock.getpeercert() or {})
        finally:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(*self._where)
        patience = LONG_S if self.path == "/long" else PATIENCE_S
        plain = socket.create_connection(self._where, patience, (self._source, 0) if self._source else None)
        try:
            connection.sock = self._tls.wrap_socket(plain, server_hostname=self._site) if self._tls else plain
        except BaseException:
            plain.close()
            raise
        return connection

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None


class Moment(NamedTuple):
    """When, on the monotonic clock, and how many answers there were by then."""

    time: float
    answers: int


class Load:
    """Visitors who ask again and again, each in a thread, from ``with`` to its end."""

    def __init__(self, visitors: Sequence[Visitor]) -> None:
        self.visitors = visitors
        self.failures: list[str] = []
        self._answers: list[tuple[float, Visitor, str]] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._visit, args=(visitor,), daemon=True) for visitor in visitors
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def now(self) -> "Moment":
        with self._changed:
            return Moment(time.monotonic(), len(self._answers))

    def since(self, moment: "Moment", count: int, *, within: float = 60.0) -> list[tuple[Visitor, str]]:
        """Who got which answer to a question that was asked after it: all so far, and at least so many."""
        found: list[tuple[Visitor, str]] = []

        def enough() -> bool:
            later = self._answers[moment.answers :]
            found[:] = [(who, body) for asked, who, body in later if asked >= moment.time]
            return len(found) >= count

        with self._changed:
            assert self._changed.wait_for(enough, within), (
                f"{len(found)} answers in {within:g} s; failures: {self.failures[-5:]}"
            )
        return found

    def next(self, count: int) -> Counter[str]:
        """Who answers the questions that are asked from now on: at least so many."""
        return Counter(body for _, body in self.since(self.now(), count))

    def _visit(self, visitor: Visitor) -> None:
        while not self._stop.wait(THINKS_S):
            asked = time.monotonic()
            try:
                body = visitor.ask()
            except (OSError, http.client.HTTPException, ValueError) as why:
                with self._changed:
                    self.failures.append(f"{visitor.path}: {why!r}")
            else:
                with self._changed:
                    self._answers.append((asked, visitor, body))
                    self._changed.notify_all()
        visitor.close()


class Errand:
    """One question, asked in a thread; its answer may take long."""

    def __init__(self, visitor: Visitor) -> None:
        self._answer = ""
        self._thread = threading.Thread(target=self._go, args=(visitor.ask,), daemon=True)
        self._thread.start()

    def _go(self, ask: Callable[[], str]) -> None:
        try:
            self._answer = ask()
        except (OSError, http.client.HTTPException, ValueError) as why:
            self._answer = repr(why)

    @property
    def runs(self) -> bool:
        return self._thread.is_alive()

    def answer(self) -> str:
        """What came in the end: the body, or what went wrong."""
        self._thread.join(LONG_S)
        return self._answer
