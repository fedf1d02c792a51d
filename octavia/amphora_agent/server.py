# SPDX-License-Identifier: Apache-2.0
"""HTTPS with mutual TLS: cheroot, told about certificates that change and clients that stall.

Whoever cannot show a certificate of the controllers' CA gets no further than the handshake.
"""

import logging
import ssl
import threading
from pathlib import Path
from socket import socket
from typing import Any, Final

from cheroot.connections import MakeFile  # type: ignore[attr-defined]
from cheroot.server import HTTPConnection
from cheroot.ssl import Adapter
from cheroot.wsgi import Server

from octavia.amphora_agent.http import MAX_BODY_BYTES, Application

LOG = logging.getLogger(__name__)

THREADS: Final = 6
HANDSHAKE_SECONDS: Final = 5.0
KEPT_CONNECTIONS: Final = 32  # idle ones; each controller process keeps one
MAX_HEADER_BYTES: Final = 64 * 1024


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

    def wrap(self, sock: socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        """Without the handshake: one that stalls would keep everybody else from being accepted."""
        try:
            context = self._current_context()
        except (OSError, ssl.SSLError):
            LOG.exception("The new certificate does not load, the old one stays in use")
            context = self._context
        return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), self.get_environ()

    def bind(self, sock: socket) -> socket:
        """The listening socket stays as it is."""
        return sock

    def get_environ(self) -> dict[str, Any]:
        """For WSGI."""
        return {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def makefile(self, sock: socket, mode: str = "r", bufsize: int = -1) -> Any:
        """A stream over a socket."""
        return MakeFile(sock, mode, bufsize)

    def _current_context(self) -> ssl.SSLContext:
        stats = [path.stat() for path in self._files]
        stamp = tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in stats)
        with self._lock:
            if stamp != self._stamp:
                self._context = server_context(*self._files)
                self._stamp = stamp
            return self._context


class _Connection(HTTPConnection):
    """Shakes hands in a worker thread."""

    _is_trusted = False

    def communicate(self) -> bool:
        """One request; False closes the connection."""
        if not self._is_trusted:
            self.socket.settimeout(HANDSHAKE_SECONDS)
            try:
                self.socket.do_handshake()
            except OSError as error:
                LOG.info("%s is not let in: %s", self.remote_addr, error)
                return False
            self.socket.settimeout(self.server.timeout)
            self._is_trusted = True
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
        )
        self.ssl_adapter = tls

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """cheroot's complaints, into the agent's log instead of to standard error."""
        LOG.log(level, "%s", msg, exc_info=traceback)
