# SPDX-License-Identifier: Apache-2.0
"""The proxy of PROMETHEUS listeners (contract: amphora-agent.md section 14).

It listens on the loopback inside ``amphora-haproxy``, where HAProxy sends requests of PROMETHEUS listeners,
asks HAProxy's own exporter, and answers with the documented names. One request at a time, each a few seconds
at most: whoever measures is seldom, and a tenant's member at this address cannot hold more than this thread.
"""

import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from octavia.amphora_agent import netns
from octavia.dataplane.haproxy import metrics
from octavia.dataplane.haproxy.prometheus import EXPORTER, PROXY
from octavia.dataplane.haproxy.reload import Cause

LOG = logging.getLogger(__name__)

SECONDS: Final = 5.0  # HAProxy's own patience
_MAX_REQUEST_BYTES: Final = 16 * 1024
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_FIELDS: Final = "Cache-Control: no-cache\r\nConnection: close"


class _NoAnswer(Exception):
    """HAProxy's exporter does not tell."""


class MetricsProxy:
    """The thread that answers.

    :param reloads: HAProxy's reloads since the agent's start, counted by their causes.
    """

    def __init__(self, reloads: "Counter[str]") -> None:
        self._reloads = reloads

    def start(self) -> None:
        """Listen from now on; where that cannot be, nobody measures and all else goes on."""
        try:
            listening = netns.run_inside(lambda: socket.create_server(PROXY))
        except OSError as error:
            LOG.error("PROMETHEUS listeners cannot be served: %s", error)
            return
        threading.Thread(target=self._serve, args=(listening,), name="metrics", daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(self._answer(connection))
            except OSError as error:
                LOG.debug("A request for metrics ended early: %s", error)
            except Exception:
                LOG.exception("A request for metrics was not answered")

    def _answer(self, connection: socket.socket) -> bytes:
        method = _request(connection).partition(b" ")[0]
        if method != b"GET":
            return _response("405 Method Not Allowed", "text/plain", b"")
        try:
            theirs = netns.run_inside(_ask_haproxy)
        except (OSError, _NoAnswer) as error:
            LOG.warning("HAProxy does not tell its metrics: %s", error)
            return _response("502 Bad Gateway", "text/plain", b"")
        lines = (*metrics.renamed(theirs.splitlines()), *self._own(), "")
        return _response("200 OK", "text/plain; version=0.0.4", "\n".join(lines).encode())

    def _own(self) -> Iterator[str]:
        yield from metrics.gauge(
            "octavia_loadbalancer_cpu", "Load balancer CPU utilization (percentage).", _cpu()
        )
        yield from metrics.gauge(
            "octavia_loadbalancer_memory", "Load balancer memory utilization (percentage).", _memory()
        )
        yield from metrics.counter(
            "octavia_loadbalancer_reloads_total",
            "Reloads since the start of its agent.",
            self._reloads.total(),
        )
        yield from metrics.counters(
            "octavia_loadbalancer_reloads_by_reason_total",
            "Reloads since the start of its agent, by what made them necessary.",
            "reason",
            {cause.value: self._reloads[cause.value] for cause in Cause},
        )


def _request(connection: socket.socket) -> bytes:
    """Its head. :raises OSError: it does not come."""
    head, deadline = b"", time.monotonic() + SECONDS
    while b"\r\n\r\n" not in head:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        piece = connection.recv(4096)
        head += piece
        if not piece or len(head) > _MAX_REQUEST_BYTES:
            raise ConnectionError("no request")
    connection.settimeout(SECONDS)
    return head


def _ask_haproxy() -> str:
    """The exporter's text; to be called inside the namespace."""
    with socket.create_connection(EXPORTER, timeout=SECONDS) as exporter:
        exporter.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        pieces, length = [], 0
        while piece := exporter.recv(65536):
            pieces.append(piece)
            length += len(piece)
            if length > _MAX_ANSWER_BYTES:
                raise _NoAnswer("too much")
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise _NoAnswer(f"the exporter answered {head[:100]!r}")
    return body.decode(errors="replace")


def _response(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{_FIELDS}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _cpu() -> float:
    """The load of the last minute, in per cent of all processors."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) * 100


def _memory() -> float:
    """What is in use, without caches, in per cent."""
    rows = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    size = {name: int(rest.split()[0]) for name, rest in rows}
    free = size["MemFree"] + size["Buffers"] + size["Cached"]
    return (size["MemTotal"] - free) / size["MemTotal"] * 100
