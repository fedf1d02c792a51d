# SPDX-License-Identifier: Apache-2.0
"""HTTPS with mutual TLS: cheroot, told about certificates that change and clients that stall.

Whoever cannot show a certificate of the controllers' CA gets no further than the handshake, and a handshake
holds no thread: it goes on whenever something has arrived, and is over after HANDSHAKE_SECONDS.
Whoever is let in has the agent's timeout for a request to arrive whole, and as long again to take the answer.
A request holds a thread; if all are held, whoever has kept one waiting for longest is cut off for the next.
"""

import contextlib
import errno
import logging
import math
import re
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any, Final

from cheroot.connections import MakeFile  # type: ignore[attr-defined]
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl import Adapter
from cheroot.wsgi import Server

from octavia.amphora_agent.http import MAX_BODY_BYTES, Application

LOG = logging.getLogger(__name__)

THREADS: Final = 16
HANDSHAKE_SECONDS: Final = 5.0
MOST_HANDSHAKES: Final = 128  # at a time
KEPT_CONNECTIONS: Final = 32  # idle ones; each controller process keeps one
MAX_HEADER_BYTES: Final = 64 * 1024
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


class _TimedSocket(ssl.SSLSocket):
    """The time that its client has is for a whole request, and for a whole answer, whatever comes when."""

    seconds = 0.0
    begun = 0.0
    is_waiting = False  # for the client
    _read_deadline = 0.0
    _write_deadline: float | None = None

    def begin(self, seconds: float, *, is_next: bool) -> None:
        """A request begins to arrive now. :param is_next: right behind another one, with no rest between."""
        now = time.monotonic()
        self.begun = self.begun if is_next else now
        self.seconds = seconds
        self._read_deadline, self._write_deadline = now + seconds, None

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """As a socket's, until the time is over. :raises TimeoutError:"""
        with self._waiting(self._read_deadline):
            return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        """As a socket's, until the time is over. :raises TimeoutError:"""
        if self._write_deadline is None:
            self._write_deadline = time.monotonic() + self.seconds
        with self._waiting(self._write_deadline):
            return super().send(*args, **kwargs)

    def cut(self) -> None:
        """End the connection for whichever thread waits for it."""
        self.begun = math.inf  # and nobody needs to do so again
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self, socket.SHUT_RDWR)  # not the TLS of it, which is that thread's

    @contextlib.contextmanager
    def _waiting(self, deadline: float) -> Any:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)
        self.is_waiting = True
        try:
            yield
        except ssl.SSLError as error:
            # cheroot knows how connections end, but not how their TLS does.
            raise ConnectionResetError(errno.ECONNRESET, str(error)) from error
        finally:
            self.is_waiting = False


def server_context(certificate: Path, client_ca: Path) -> ssl.SSLContext:
    """TLS as the contract has it, but with a floor instead of one fixed version.

    :raises ssl.SSLError: a file is no PEM, or key and certificate do not belong together.
    :raises OSError: a file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class MutualTls(Adapter):
    """Wraps accepted sockets; after a change of the files the next one presents the new certificate."""

    def __init__(self, certificate: Path, client_ca: Path) -> None:
        super().__init__(certificate, certificate)
        self._files = (certificate, client_ca)
        self._lock = threading.Lock()
        self._stamp: tuple[tuple[int, int, int], ...] = ()
        self._context = self._current_context()

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        """Without the handshake: one that stalls would keep everybody else from being accepted."""
        try:
            context = self._current_context()
        except (OSError, ssl.SSLError):
            LOG.exception("The new certificate does not load, the old one stays in use")
            context = self._context
        return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), self.get_environ()

    def bind(self, sock: socket.socket) -> socket.socket:
        """The listening socket stays as it is."""
        return sock

    def get_environ(self) -> dict[str, Any]:
        """For WSGI."""
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:
        """A stream over a socket."""
        return MakeFile(sock, mode, bufsize)

    def _current_context(self) -> ssl.SSLContext:
        stats = [path.stat() for path in self._files]
        stamp = tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in stats)
        with self._lock:
            if stamp != self._stamp:
                self._context = server_context(*self._files)
                self._context.sslsocket_class = _TimedSocket
                self._stamp = stamp
            return self._context


class _Request(HTTPRequest):
    """Says how long its body is, in one way that all understand alike."""

    def read_request_headers(self) -> bool:
        """True if they are in order; else it has been answered."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if b"Transfer-Encoding" in self.inheaders:
            self.simple_response("411 Length Required", "Send Content-Length.")
            return False
        if not _LENGTH.fullmatch(self.inheaders.get(b"Content-Length", b"0")):
            self.simple_response("400 Bad Request", "Malformed Content-Length.")
            return False
        return True

    def send_headers(self) -> None:
        """As cheroot does, which would go on reading a body that did not come in time."""
        if bytes(self.status).startswith(b"408"):  # type: ignore[arg-type]  # which WSGI made bytes
            self.close_connection = True
        super().send_headers()


class _Connection(HTTPConnection):
    """One client.

    :ivar handshake_until: by the clock of cheroot's ``last_used``; None once it has been let in.
    """

    RequestHandlerClass = _Request
    handshake_until: float | None = 0.0

    def communicate(self) -> bool:
        """One request; False closes the connection."""
        self.socket.begin(self.server.timeout, is_next=self.rfile.has_data())
        with self.server.held(self.socket):
            return bool(super().communicate())  # type: ignore[no-untyped-call]


class AgentServer(Server):
    """The agent's web server."""

    ConnectionClass = _Connection
    keep_alive_conn_limit = KEPT_CONNECTIONS
    max_request_body_size = MAX_BODY_BYTES
    max_request_header_size = MAX_HEADER_BYTES

    def __init__(self, host: str, port: int, application: Application, tls: MutualTls, timeout: int) -> None:
        super().__init__(
            (host, port),
            application,
            numthreads=THREADS,
            max=THREADS,
            server_name="amphora-agent",
            timeout=timeout,
            request_queue_size=MOST_HANDSHAKES,
        )
        self.ssl_adapter = tls
        self._handshakes: dict[_Connection, None] = {}  # the longest first
        self._held: set[_TimedSocket] = set()

    def process_conn(self, conn: _Connection) -> None:
        """From cheroot's selector: a client is new, or has said something."""
        if conn.handshake_until is not None:
            self._shake_hands(conn)
            return
        super().process_conn(conn)
        if len(self._held) + self.requests.qsize > THREADS:
            waiting = [one for one in tuple(self._held) if one.is_waiting]
            if waiting:
                LOG.warning("A client that takes its time is cut off: another one waits")
                min(waiting, key=lambda one: one.begun).cut()

    @contextlib.contextmanager
    def held(self, connection: _TimedSocket) -> Any:
        """A thread is busy with this one."""
        self._held.add(connection)
        try:
            yield
        finally:
            self._held.discard(connection)

    @property
    def can_add_keepalive_connection(self) -> bool:
        """Those that still shake hands do not count."""
        every: int = self._connections._num_connections  # type: ignore[attr-defined]
        idle = every - len(self._handshakes)
        return bool(self.ready and idle < KEPT_CONNECTIONS)

    def _shake_hands(self, conn: _Connection) -> None:
        if not conn.handshake_until:
            conn.handshake_until = time.time() + HANDSHAKE_SECONDS
            conn.socket.setblocking(False)
            self._handshakes = {one: None for one in self._handshakes if one.socket.fileno() != -1}
            if len(self._handshakes) >= MOST_HANDSHAKES:
                next(iter(self._handshakes)).socket.cut()
            self._handshakes[conn] = None
        try:
            conn.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.put_conn(conn)
            conn.last_used = conn.handshake_until - self.timeout  # when it expires, whatever it sends
            return
        except OSError as error:
            LOG.info("%s is not let in: %s", conn.remote_addr, error)
            del self._handshakes[conn]
            conn.close()
            return
        del self._handshakes[conn]
        conn.handshake_until = None
        self.put_conn(conn)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """cheroot's complaints, into the agent's log instead of to standard error."""
        LOG.log(level, "%s", msg, exc_info=traceback)
