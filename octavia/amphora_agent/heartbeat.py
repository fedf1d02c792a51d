# SPDX-License-Identifier: Apache-2.0
"""Reporting to the health managers (contract: heartbeat.md sections 1 to 3).

One destination an interval, in turns, and a few reports out of turn after a change, so that statuses
follow it quickly. The datagram itself is :mod:`octavia.wire.heartbeat`.
"""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from octavia.amphora_agent.config import AgentConfig
from octavia.dataplane.haproxy.runtime import RowType, Stat
from octavia.wire import heartbeat
from octavia.wire.heartbeat import Heartbeat, ListenerReport, PoolReport

LOG = logging.getLogger(__name__)

# After a change: at once, when connections have been tried, and when checks of common delays settle.
AFTER_CHANGE_SECONDS: Final = (0.0, 0.3, 1.0, 2.5, 5.5)
LEAST_PAUSE_SECONDS: Final = 0.1  # however fast changes come
_COUNTERS: Final = ("rx", "tx", "totconns", "ereq")


class Counters:
    """The last absolute counters of each listener, to report differences."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: dict[str, dict[str, int]] = {}
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            self._last = {
                str(key): {name: int(one[name]) for name in _COUNTERS} for key, one in known.items()
            }
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            LOG.warning("Counters start anew, %s cannot be read: %s", path, error)

    def differences(self, absolute: Mapping[str, ListenerReport]) -> dict[str, ListenerReport]:
        """What was counted since the last call; a counter that fell was reset by a start of HAProxy."""
        reports = {}
        for listener_id, now in absolute.items():
            before = self._last.get(listener_id, {})
            counted = {name: getattr(now, name) for name in _COUNTERS}
            delta = {
                name: value - before.get(name, 0) if value >= before.get(name, 0) else value
                for name, value in counted.items()
            }
            reports[listener_id] = ListenerReport(status=now.status, conns=now.conns, **delta)
            self._last[listener_id] = counted
        for gone in set(self._last) - set(absolute):
            del self._last[gone]
        self._save()
        return reports

    def _save(self) -> None:
        beside = self._path.with_suffix(".writing")
        try:
            # Not synchronised: after a power failure HAProxy counts from 0 as well.
            beside.write_text(json.dumps(self._last))
            beside.replace(self._path)
        except OSError as error:
            LOG.warning("Counters are not kept over a restart of the agent: %s", error)


def reports(rows: Iterable[Stat]) -> tuple[dict[str, ListenerReport], list[PoolReport]]:
    """Listeners (counters absolute) and pools out of HAProxy's statistics."""
    listeners: dict[str, ListenerReport] = {}
    pools: dict[str, str] = {}
    members: dict[str, dict[str, str]] = {}
    for row in rows:
        if "prometheus" in row.proxy:  # the exporter's own proxies
            continue
        if row.type is RowType.LISTENER:
            listeners[row.proxy] = ListenerReport(
                status=_listener_status(row),
                rx=row.bytes_in,
                tx=row.bytes_out,
                conns=row.current_sessions,
                totconns=row.total_sessions,
                ereq=row.request_errors,
            )
        elif row.type is RowType.POOL:
            pools[row.proxy] = row.status
        elif row.type is RowType.MEMBER:
            members.setdefault(row.proxy, {})[row.server] = _member_status(row)
    return listeners, [_pool_report(proxy, status, members.get(proxy, {})) for proxy, status in pools.items()]


def _pool_report(proxy: str, status: str, members: dict[str, str]) -> PoolReport:
    pool_id, colon, listener_id = proxy.rpartition(":")
    if not colon:
        pool_id, listener_id = listener_id, ""
    return PoolReport(pool_id=pool_id, listener_id=listener_id or None, status=status, members=members)


def _listener_status(row: Stat) -> str:
    # HAProxy has stopped saying so itself: further connections wait in the kernel.
    full = row.session_limit is not None and row.current_sessions >= row.session_limit
    return "FULL" if row.status == "OPEN" and full else row.status


def _member_status(row: Stat) -> str:
    return "DRAIN" if row.status == "UP" and row.weight == 0 else row.status


Content = Callable[[int], Heartbeat | None]


class Sender:
    """The thread that sends. ``content(seq)`` makes the message, or None when silence is the message."""

    def __init__(self, config: Callable[[], AgentConfig], content: Content) -> None:
        self._config = config
        self._content = content
        self._wanted = threading.Condition()
        self._due: list[float] = []  # monotonic times of reports out of turn
        self._last = 0.0
        self._seq = 0
        self._turn = 0
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._thread = threading.Thread(target=self._send_forever, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first report goes out at once."""
        self._thread.start()

    def report_soon(self) -> None:
        """Something has changed."""
        with self._wanted:
            first = max(time.monotonic(), self._last + LEAST_PAUSE_SECONDS)
            self._due = [first + after for after in AFTER_CHANGE_SECONDS]
            self._wanted.notify()

    def _send_forever(self) -> None:
        while True:
            self._last = time.monotonic()
            try:
                self._send_one()
            except Exception:
                LOG.exception("This heartbeat is lost")
            self._sleep(self._config().heartbeat_interval)

    def _sleep(self, interval: float) -> None:
        """Until the interval is over or a report out of turn is due."""
        deadline = time.monotonic() + interval
        with self._wanted:
            while True:
                now = time.monotonic()
                if now >= min([deadline, *self._due]):
                    self._due = [one for one in self._due if one > now]
                    return
                self._wanted.wait(min([deadline, *self._due]) - now)

    def _send_one(self) -> None:
        config = self._config()
        if not config.controller_ip_port_list:
            return
        content = self._content(self._seq)
        if content is None:
            return
        self._seq += 1
        host, port = config.controller_ip_port_list[self._turn % len(config.controller_ip_port_list)]
        self._turn += 1
        datagram = heartbeat.encode(content, config.heartbeat_key)
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket(family).sendto(datagram, address)
        except OSError as error:
            LOG.warning("The health manager at %s port %s was not told: %s", host, port, error)

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        if family not in self._sockets:
            self._sockets[family] = socket.socket(family, socket.SOCK_DGRAM)
        return self._sockets[family]
