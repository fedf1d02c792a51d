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
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from octavia.amphora_agent.haproxy import OLD_PROCESSES
from tests.netns.agent_lab import VIP, Lab, ip
from tests.netns.tls_lab import Server
from tests.netns.valid import (
    DEFAULT_NAME,
    ENDPOINTS,
    HTTP,
    NAMES,
    OTHER,
    PLAIN,
    STREAM,
    TCP,
    TLS,
    WEB,
    WORDS,
    Valid,
)

PATIENCE_S: Final = 30.0  # a client that waits longer has lost its request
FAILURES_SHOWN: Final = 50
# A connection may outlive so many reloads: well below what HAProxy's processes of before do.
REACH: Final = OLD_PROCESSES // 2


class Book:
    """What was valid when, what the clients did, and what went wrong."""

    def __init__(self, first: Valid) -> None:
        self.failures: list[str] = []
        self.done: Counter[str] = Counter()
        self.ended = threading.Event()
        self._states = [first]
        self._acknowledged = 0
        self._reloads = 0
        self._since: dict[int, int] = {}  # a thread to the reloads that were before its present connection
        self._moved = threading.Condition()

    @property
    def now(self) -> int:
        """A mark of the present: whatever was valid before it has been replaced by then."""
        return self._acknowledged

    def valid_since(self, mark: int) -> Sequence[Valid]:
        """All that was valid at some moment between the mark and now."""
        return self._states[mark:]

    def send(self, valid: Valid) -> None:
        """From now on it may be valid."""
        self._states.append(valid)

    def acknowledge(self, *, reloaded: bool) -> None:
        """What was sent last is valid, and nothing else."""
        with self._moved:
            self._acknowledged = len(self._states) - 1
            self._reloads += reloaded

    def await_reach(self) -> None:
        """Until one more reload takes no connection's process away.

        :raises AssertionError: a connection does not end.
        """
        with self._moved:
            assert self._moved.wait_for(
                lambda: all(self._reloads - since < OLD_PROCESSES - 2 for since in self._since.values()),
                timeout=4 * PATIENCE_S,
            ), "a connection does not end"

    def is_old(self) -> bool:
        """Has the present connection of this thread seen enough reloads?"""
        return self._reloads - self._since[threading.get_ident()] >= REACH

    @contextlib.contextmanager
    def connection(self, what: str) -> Iterator[None]:
        """One connection of this thread. What it raises is a failed request."""
        me = threading.get_ident()
        with self._moved:
            self._since[me] = self._reloads
        begun = self.now
        try:
            yield
        except (OSError, http.client.HTTPException, AssertionError) as error:
            span = f"changes {begun} to {len(self._states) - 1}"
            with self._moved:
                self.failures.append(f"{what} ({span}, {self._reloads} reloads): {error!r}")
        finally:
            with self._moved:
                del self._since[me]
                self._moved.notify_all()


class Client:
    """One client's view: its own connection, and the book.

    :ivar mark: since when what is answered on this connection may have been valid.
    """

    def __init__(self, book: Book, rng: random.Random, what: str) -> None:
        self.book = book
        self.rng = rng
        self.what = what
        self.mark = book.now

    def connect(self, port: int) -> socket.socket:
        self.mark = self.book.now
        return socket.create_connection((VIP, port), timeout=PATIENCE_S)

    def ask(self, plain: socket.socket, port: int, *, last: bool = False) -> bool:
        """One request and its answer, judged.

        :param port: of the listener that the connection is with.
        :param last: ask for the connection to be closed.
        :returns: can the connection be used for another?
        """
        begun = self.book.now
        path = "/" + "/".join(self.rng.choices(WORDS, k=3))
        close = "Connection: close\r\n" if last else ""
        if self.rng.random() < 0.3:  # nobody may ask such a thing twice
            request = f"POST {path} HTTP/1.1\r\nHost: x\r\n{close}Content-Length: 4\r\n\r\nbody"
        else:
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\n{close}\r\n"
        plain.sendall(request.encode())
        response = http.client.HTTPResponse(plain)
        try:
            response.begin()
            answer = response.read().decode()
        finally:
            response.close()
        valid = self.book.valid_since(self.mark if response.will_close else begun)
        self._judge(valid, port, path, response.status, answer)
        self.book.done[self.what] += 1
        self.mark = self.book.now
        return not response.will_close

    def _judge(self, valid: Sequence[Valid], port: int, path: str, status: int, answer: str) -> None:
        decisions = {one.decision(path) for one in valid} if port == HTTP else {_DEFAULT_POOL[port]}
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

    def check_certificate(self, secured: ssl.SSLSocket, name: str) -> None:
        """A new handshake shows what was valid for that name during it."""
        if secured.session_reused:
            self.book.done[f"{self.what}, resumed"] += 1
            return
        shown = (secured.getpeercert() or {}).get("serialNumber")
        allowed = {one.certificates[name] for one in self.book.valid_since(self.mark)}
        assert shown in allowed, f"certificate {shown} shown for {name}, not one of {allowed}"


_DEFAULT_POOL: Final = {TLS: WEB, PLAIN: OTHER}
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
            _idle(client)


class TlsClient(Client):
    """One that resumes its sessions where it may, and remembers them by version and name."""

    def __init__(self, book: Book, rng: random.Random, what: str, ca: Path) -> None:
        super().__init__(book, rng, what)
        self._contexts = [_trusting(ca, version) for version in (ssl.TLSVersion.TLSv1_2, None)]
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


def _trusting(ca: Path, version: ssl.TLSVersion | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
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
            _idle(client)


def short_tcp(client: Client) -> None:
    with _session(client) as (plain, _):
        _echo(client, plain)


def long_tcp(client: Client) -> None:
    """A session that goes on at its member, whatever becomes of that in the pool."""
    with _session(client) as (plain, _):
        for _ in range(client.rng.randint(1, 200)):
            _echo(client, plain)
            _idle(client)
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


def _idle(client: Client) -> None:
    """Between two requests: mostly at once, sometimes so long that reloads happen meanwhile."""
    pause = client.rng.choice((0.002, 0.01, 0.05, 0.3)) if client.rng.random() < 0.2 else 0.001
    client.book.ended.wait(pause)


@contextlib.contextmanager
def load(book: Book, seed: int, ca: Path) -> Iterator[None]:
    """All kinds of clients until the end of the block: two that keep connections for one that does not."""
    plain: list[tuple[str, Callable[[Client], None]]] = [
        *[("short HTTP", short_http), ("kept HTTP", kept_http), ("kept HTTP", kept_http)],
        *[("short TCP", short_tcp), ("long TCP", long_tcp), ("long TCP", long_tcp)],
    ]
    secured: list[tuple[str, Callable[[TlsClient], None]]] = [
        *[("short TLS", short_tls), ("kept TLS", kept_tls), ("kept TLS", kept_tls)]
    ]
    rng = random.Random(seed)
    threads = []
    for what, play in plain:
        client = Client(book, random.Random(rng.random()), what)
        threads.append(threading.Thread(target=_repeat, args=(client, play)))
    for what, play_secured in secured:
        tls = TlsClient(book, random.Random(rng.random()), what, ca)
        threads.append(threading.Thread(target=_repeat, args=(tls, play_secured)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        book.ended.set()
        for thread in threads:
            thread.join()


def _repeat(client: Client, play: Callable[..., None]) -> None:
    while not client.book.ended.is_set():
        with client.book.connection(client.what):
            play(client)
        time.sleep(0.002)  # the processors are needed elsewhere too


# --- members ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def members(lab: Lab) -> Iterator[None]:
    """Every endpoint that a pool may have, all the time: each says who it is."""
    for address in sorted({address for every in ENDPOINTS.values() for address, _ in every}):
        ip("addr", "add", f"{address}/24", "dev", "vip")
    for endpoint in ENDPOINTS[STREAM]:
        server = Server(endpoint, _Echo)
        lab._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    config = lab.directory / "members.cfg"
    binds = "".join(
        f"    bind {address}:{port}\n" for pool in (WEB, OTHER) for address, port in ENDPOINTS[pool]
    )
    config.write_text(
        f"""global
    maxconn 2000
defaults
    mode http
    timeout client 1h
    timeout http-keep-alive 1h
frontend members
{binds}    option http-buffer-request
    http-request return status 200 content-type text/plain lf-string "%[dst]:%[dst_port]"
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
