# SPDX-License-Identifier: Apache-2.0
"""Logs of a real amphora: its rsyslogd with the very files that local amphorae get, and log hosts."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from octavia.dataplane.cloud_init import rsyslog
from octavia.dataplane.cloud_init.rsyslog import RSYSLOG_CONF, RsyslogSettings
from octavia.drivers.local import syslog
from octavia.drivers.local.process import MOUNT_AT
from tests.netns.agent_lab import eventually, ip, opened_lab
from tests.netns.feature_lab import World

needs_rsyslog = pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="needs rsyslogd")
MANAGER_6: Final = "fd00:99::1"
FLOW_BYTES: Final = 40_000


class LogHost:
    """Takes syslog at a port; ``lines`` are the records, as they came."""

    def __init__(self, host: str, port: int, protocol: str) -> None:
        self.lines: list[bytes] = []
        lines = self.lines
        family = socket.AF_INET6 if ":" in host else socket.AF_INET

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                lines.extend(line.rstrip(b"\n") for line in self.rfile)

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                lines.append(self.request[0])

        class Tcp(socketserver.ThreadingTCPServer):
            address_family = family
            allow_reuse_address = True
            daemon_threads = True

        class Udp(socketserver.UDPServer):
            address_family = family

        self._server: socketserver.BaseServer = (
            Tcp((host, port), Handler) if protocol == "TCP" else Udp((host, port), Datagram)
        )
        serve = {"poll_interval": 0.05}
        threading.Thread(target=self._server.serve_forever, kwargs=serve, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def has(self, text: str) -> bool:
        """Is there a record with it, soon?"""
        return eventually(lambda: any(text.encode() in line for line in list(self.lines)), within=20)


@contextlib.contextmanager
def log_host(host: str, port: int, protocol: str) -> Iterator[LogHost]:
    one = LogHost(host, port, protocol)
    try:
        yield one
    finally:
        one.close()


class LogWorld(World):
    """A world whose amphora has a syslog."""

    root: Path

    def configure(self, settings: RsyslogSettings) -> None:
        """As if the amphora had been made with these options; its syslog starts anew."""
        path, text = self.root / RSYSLOG_CONF[1:], rsyslog.render(settings)
        if path.read_bytes() != text:
            path.write_bytes(text)
            self.restart_syslog()

    def restart_syslog(self) -> None:
        """Kill it; the agent starts it again."""
        before = self.syslog_pid
        os.kill(before, signal.SIGKILL)
        assert eventually(lambda: self._pids() and self._pids() != [before], within=20)
        marker = f"marker-{self.syslog_pid}"

        def is_marked() -> bool:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice:
                voice.sendto(f"<191>lab: {marker}".encode(), f"/proc/{self.amphora.pid}/root{SOCKET}")
                return True
            return False

        assert eventually(is_marked, within=20), "it does not listen"

    @property
    def syslog_pid(self) -> int:
        assert eventually(self._pids, within=20), self.amphora.log.read_text()
        (one,) = self._pids()
        return one

    def _pids(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                same = os.readlink(path / "ns/pid") == os.readlink(f"/proc/{self.amphora.pid}/ns/pid")
                if same and (path / "comm").read_text() == "rsyslogd\n":
                    found.append(int(path.name))
        return found

    def file(self, name: str) -> list[str]:
        """The lines of a log of the amphora, and of the one before it."""
        files = (self.root / f"log/{name}.1", self.root / f"log/{name}")
        return [line for one in files if one.exists() for line in one.read_text().splitlines()]

    def logged(self, text: str, name: str = syslog.FLOW_LOG) -> str:
        """The one line that has it."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [line for line in self.file(name) if text in line]
            return bool(found)

        assert eventually(is_there, within=20), self.file(name)
        (line,) = found
        return line


SOCKET: Final = "/run/rsyslog/octavia/log"


def record(line: str | bytes) -> Sequence[str]:
    """The fields of a flow, without what syslog puts in front."""
    text = line.decode() if isinstance(line, bytes) else line
    return shlex.split(text.partition("haproxy[")[2].partition("]: ")[2])


@contextlib.contextmanager
def opened_log_world() -> Iterator[LogWorld]:
    """For a whole module."""
    with opened_lab() as lab:
        root = lab.directory / "image"
        every = {
            **syslog.files({syslog.FLOW_LOG: FLOW_BYTES, syslog.ADMIN_LOG: 1_000_000}),
            RSYSLOG_CONF: b"",
        }
        for name, content in every.items():
            path = root / name[1:]
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content.decode().replace(MOUNT_AT, str(root)).replace("/etc/", f"{root}/etc/")
            path.write_text(text)
        ip("addr", "add", f"{MANAGER_6}/64", "dev", "mgmt", "nodad")
        conf = root / syslog.SYSLOG_CONF[1:]
        options = f"syslog_conf = {conf}\nadministrative_log_facility = 1\n[DEFAULT]\nuse_syslog = True\n"
        world = LogWorld(lab, agent_options=options)
        world.root = root
        world.amphora.inside("ip", "addr", "add", "fd00:99::11/64", "dev", "eth0", "nodad")
        yield world
