# SPDX-License-Identifier: Apache-2.0
"""Clients without a pause, who know what they may be answered, and the members that answer them.

Every answer is held against what was valid at some moment between its request's beginning and its end. A
connection that HAProxy announces to close was kept by a process of before a reload: its last request may be
answered by what was valid when the connection was last used.
"""

import contextlib
import http.client
import random
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.netns.agent_lab import VIP, Lab, ip
from tests.netns.book import PATIENCE_S, Book
from tests.netns.tls_lab import Server
from tests.netns.valid import (
    APPLICATION_COOKIE,
    BY_COOKIE,
    BY_SESSION,
    BY_SOURCE,
    COOKIE,
    DATAGRAMS,
    DEFAULT_NAME,
    ENDPOINTS,
    HTTP,
    NAMES,
    OTHER,
    PLAIN,
    SESSION,
    SOURCE,
    STREAM,
    TCP,
    TLS,
    WEB,
    WORDS,
    Valid,
)

FAILURES_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    :param given: the value of ``Set-Cookie``, like ``SRV=1f; path=/``.
    :param last: the connection ends with it.
    """

    status: int
    body: str
    given: str = ""
    last: bool = False


class Client:
    """One client's view: its own connection, and the book.

    :ivar mark: since when what is answered on this connection may have been valid.
    :ivar cookie: what it sends along.
    """

    def __init__(self, book: Book, rng: random.Random, what: str) -> None:
        self.book = book
        self.rng = rng
        self.what = what
        self.mark = book.now
        self.cookie = ""

    def attempt(self) -> contextlib.AbstractContextManager[None]:
        """Around whatever it does until it begins anew."""
        return self.book.connection(self.what)

    def connect(self, port: int, source: str = "") -> socket.socket:
        self.mark = self.book.now
        return socket.create_connection((VIP, port), timeout=PATIENCE_S, source_address=(source, 0))

    def ask(self, plain: socket.socket, port: int, *, last: bool = False) -> bool:
        """One request and its answer, judged.

        :param port: of the listener that the connection is with.
        :param last: ask for the connection to be closed.
        :returns: can the connection be used for another?
        """
        return self.exchange(port, lambda path: self._over_http_1(plain, path, last=last))

    def exchange(self, port: int, over: Callable[[str], Reply]) -> bool:
        """The same by any protocol: with a path to an answer."""
        begun = self.book.now
        path = "/" + "/".join(self.rng.choices(WORDS, k=3))
        reply = over(path)
        self.judge(self.book.valid_since(self.mark if reply.last else begun), port, path, reply)
        self.book.done[self.what] += 1
        self.mark = self.book.now
        return not reply.last

    def _over_http_1(self, plain: socket.socket, path: str, *, last: bool) -> Reply:
        head = "Host: x\r\n" + ("Connection: close\r\n" if last else "")
        head += f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        if self.rng.random() < 0.3:  # nobody may ask such a thing twice
            request = f"POST {path} HTTP/1.1\r\n{head}Content-Length: 4\r\n\r\nbody"
        else:
            request = f"GET {path} HTTP/1.1\r\n{head}\r\n"
        plain.sendall(request.encode())
        with contextlib.closing(http.client.HTTPResponse(plain)) as response:
            response.begin()
            answer, given = response.read().decode(), response.getheader("Set-Cookie", "")
            return Reply(response.status, answer, given, last=response.will_close)

    def judge(self, valid: Sequence[Valid], port: int, path: str, reply: Reply) -> None:
        decisions = {one.decision(path) for one in valid} if port == HTTP else {DEFAULT_POOL[port]}
        status, answer = reply.status, reply.body
        if status == 403:
            assert "" in decisions, f"{path} was rejected, not one of {decisions}"
        elif status == 302:
            assert any(one.startswith("http") for one in decisions), f"{path} redirected, {decisions}"
        else:
            assert status == 200, f"{path}: {status} {answer}"
            pool = _POOL_OF.get(answer, answer)
            assert pool in decisions, f"{path} went to {answer}, not one of {decisions}"
            assert any(one.allows_member(pool, answer) for one in valid), (
                f"{answer} had been taken out of the pool"
            )

    def idle(self) -> None:
        """Between two requests: mostly at once, sometimes so long that reloads happen meanwhile."""
        pause = self.rng.choice((0.002, 0.01, 0.05, 0.3)) if self.rng.random() < 0.2 else 0.001
        self.book.ended.wait(pause)

    def check_certificate(self, secured: ssl.SSLSocket, name: str) -> None:
        """A new handshake shows what was valid for that name during it."""
        if secured.session_reused:
            self.book.done[f"{self.what}, resumed"] += 1
            return
        shown = (secured.getpeercert() or {}).get("serialNumber")
        allowed = {one.certificates[name] for one in self.book.valid_since(self.mark)}
        assert shown in allowed, f"certificate {shown} shown for {name}, not one of {allowed}"


DEFAULT_POOL: Final = {TLS: WEB, PLAIN: OTHER, BY_COOKIE: COOKIE, BY_SESSION: SESSION, BY_SOURCE: SOURCE}
_POOL_OF: Final = {f"{address}:{port}": pool for pool, every in ENDPOINTS.items() for address, port in every}


# --- clients ------------------------------------------------------------------------------------------


def short_http(client: Client) -> None:
    port = client.rng.choice((HTTP, HTTP, PLAIN))
    with client.connect(port) as plain:
        client.ask(plain, port, last=client.rng.random() < 0.5)


def kept_http(client: Client) -> None:
    port = client.rng.choice((HTTP, HTTP, PLAIN))
    with client.connect(port) as plain:
        while client.ask(plain, port) and not client.book.ended.is_set():
            client.idle()


class TlsClient(Client):
    """One that resumes its sessions where it may, and remembers them by version and name."""

    def __init__(self, book: Book, rng: random.Random, what: str, ca: Path, *speaks: str) -> None:
        super().__init__(book, rng, what)
        self._contexts = [_trusting(ca, version, speaks) for version in (ssl.TLSVersion.TLSv1_2, None)]
        self._sessions: dict[tuple[ssl.SSLContext, str], ssl.SSLSession | None] = {}

    @contextlib.contextmanager
    def handshake(self) -> Iterator[ssl.SSLSocket]:
        context, name = self.rng.choice(self._contexts), self.rng.choice((DEFAULT_NAME, *NAMES))
        with (
            self.connect(TLS) as plain,
            context.wrap_socket(
                plain, server_hostname=name, session=self._sessions.get((context, name))
            ) as secured,
        ):
            self.check_certificate(secured, name)
            yield secured
            self._sessions[context, name] = secured.session if self.rng.random() < 0.8 else None


def _trusting(ca: Path, version: ssl.TLSVersion | None, speaks: Sequence[str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    if speaks:
        context.set_alpn_protocols(speaks)
    context.check_hostname = False  # clients of a name that is gone are shown the default one
    if version:
        context.maximum_version = version
    return context


def short_tls(client: TlsClient) -> None:
    with client.handshake() as secured:
        client.ask(secured, TLS, last=client.rng.random() < 0.5)


def kept_tls(client: TlsClient) -> None:
    with client.handshake() as secured:
        while client.ask(secured, TLS) and not client.book.ended.is_set():
            client.idle()


def short_tcp(client: Client) -> None:
    with _session(client) as (plain, _):
        _echo(client, plain)


def long_tcp(client: Client) -> None:
    """A session that goes on at its member, whatever becomes of that in the pool."""
    with _session(client) as (plain, _):
        for _ in range(client.rng.randint(1, 200)):
            _echo(client, plain)
            client.idle()
            if client.book.is_old() or client.book.ended.is_set():
                break


@contextlib.contextmanager
def _session(client: Client) -> Iterator[tuple[socket.socket, str]]:
    with client.connect(TCP) as plain:
        member = _line(plain)
        valid = client.book.valid_since(client.mark)
        assert any(one.allows_member(STREAM, member) for one in valid), (
            f"{member} had been taken out of the pool"
        )
        yield plain, member


def _echo(client: Client, plain: socket.socket) -> None:
    word = f"{client.rng.getrandbits(64):x}"
    plain.sendall(f"{word}\n".encode())
    answer = _line(plain)
    assert answer == word, f"{answer!r} came back, not {word!r}"
    client.book.done[client.what] += 1


def _line(plain: socket.socket) -> str:
    said = b""
    while not said.endswith(b"\n"):
        piece = plain.recv(4096)
        assert piece, "the connection ended"
        said += piece
    return said.decode().rstrip("\n")


Player = tuple[Client, Callable[..., None]]


def players(book: Book, rng: random.Random, ca: Path) -> Iterator[Player]:
    """Clients of HTTP, TLS and TCP: two that keep connections for one that does not."""
    plain: list[tuple[str, Callable[[Client], None]]] = [
        *[("short HTTP", short_http), ("kept HTTP", kept_http), ("kept HTTP", kept_http)],
        *[("short TCP", short_tcp), ("long TCP", long_tcp), ("long TCP", long_tcp)],
    ]
    secured: list[tuple[str, Callable[[TlsClient], None]]] = [
        *[("short TLS", short_tls), ("kept TLS", kept_tls), ("kept TLS", kept_tls)]
    ]
    for what, play in plain:
        yield Client(book, random.Random(rng.random()), what), play
    for what, play_secured in secured:
        yield TlsClient(book, random.Random(rng.random()), what, ca), play_secured


@contextlib.contextmanager
def load(book: Book, every: Iterable[Player]) -> Iterator[None]:
    """All these clients until the end of the block."""
    threads = [threading.Thread(target=_repeat, args=one) for one in every]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        book.end()
        for thread in threads:
            thread.join()


def _repeat(client: Client, play: Callable[..., None]) -> None:
    while not client.book.ended.is_set():
        with client.attempt():
            play(client)
        time.sleep(0.002)  # the processors are needed elsewhere too


# --- members ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def members(lab: Lab) -> Iterator[None]:
    """Every endpoint that a pool may have, all the time: each says who it is; of UDP the addresses.

    The application of the pool with sessions knows its own, and gives everybody else a new one.
    """
    for address in sorted({address for every in ENDPOINTS.values() for address, _ in every}):
        ip("addr", "add", f"{address}/24", "dev", "vip")
    for endpoint in ENDPOINTS[STREAM]:
        server = Server(endpoint, _Echo)
        lab._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    config = lab.directory / "members.cfg"
    binds = "".join(
        f"    bind {address}:{port}\n"
        for pool, every in ENDPOINTS.items()
        if pool not in (STREAM, DATAGRAMS)
        for address, port in every
    )
    sessions = " ".join(sorted({address for address, _ in ENDPOINTS[SESSION]}))
    given = f"{APPLICATION_COOKIE}=%[var(txn.me)]/%[uuid()]"
    config.write_text(
        f"""global
    maxconn 2000
defaults
    mode http
    timeout client 1h
    timeout http-keep-alive 1h
frontend members
{binds}    option http-buffer-request
    http-request set-var-fmt(txn.me) "%[dst]:%[dst_port]"
    acl has-sessions dst {sessions}
    acl knows-it req.cook({APPLICATION_COOKIE}),field(1,/),strcmp(txn.me) eq 0
    http-request return status 200 content-type text/plain hdr Set-Cookie "{given}" \
lf-string "%[var(txn.me)]" if has-sessions !knows-it
    http-request return status 200 content-type text/plain lf-string "%[var(txn.me)]"
"""
    )
    program = subprocess.Popen(("haproxy", "-db", "-q", "-f", str(config)))
    try:
        yield
    finally:
        program.terminate()
        program.wait(10)


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # HAProxy resets connections after its checks
            self.wfile.write("{}:{}\n".format(*self.request.getsockname()).encode())
            for line in self.rfile:
                self.wfile.write(line)
