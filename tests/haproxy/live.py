# SPDX-License-Identifier: Apache-2.0
"""A real HAProxy in a network of its own, which is gone with it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from octavia.dataplane.haproxy.peer import peer_name
from octavia.dataplane.haproxy.render import Rendered, render
from octavia.dataplane.haproxy.runtime import Command, Verdict
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.domain.tree import LoadBalancer
from tests.unit.dataplane.samples import AMPHORA, LB, amphorae

HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
NETWORK = """
set -e
ip link set lo up
ip address add 10.0.0.0/24 dev lo
ip address add 10.1.0.0/24 dev lo
ip -6 route add local 2001:db8::/64 dev lo
exec "$@"
"""
# What answers for 10.1.0.1 to 10.1.0.9 on 8001 to 8009, each with its own name.
MEMBERS = """
frontend members
    mode http
    timeout client 5s
    bind 0.0.0.0:8000-8060
    bind :::8000-8060 v6only
    http-request return status 200 content-type text/plain lf-string "%[dst]"
"""

needs_haproxy = pytest.mark.skipif(not os.access(HAPROXY, os.X_OK), reason="HAProxy is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="making a network namespace needs root")


@contextmanager
def directory() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's address."""
    with tempfile.TemporaryDirectory(prefix="dp-") as name:
        yield Path(name)


def settings(base: Path, **fields: object) -> HaproxySettings:
    given: dict[str, object] = {"base_path": str(base), "user": None, "ping_command": "/bin/true"}
    given["base_cert_dir"] = f"{base}/certs"
    return HaproxySettings(**{**given, **fields})  # type: ignore[arg-type]


def rendered(lb: LoadBalancer, base: Path, **fields: object) -> Rendered:
    made = render(lb, amphorae()[:1], settings(base, **fields), amphora_id=AMPHORA, haproxy_version="2.6.12")
    assert made is not None
    assert made.refused == {}
    return made


def state(base: Path, text: str) -> None:
    """What the agent writes before each start."""
    (base / LB).mkdir(exist_ok=True)
    (base / LB / "servers-state").write_text(text)


def check(text: str, base: Path) -> subprocess.CompletedProcess[str]:
    """What ``haproxy -c`` says of a text."""
    state(base, "1\n")
    path = base / "candidate.cfg"
    path.write_text(text)
    command = [HAPROXY, "-c", "-L", peer_name(AMPHORA), "-f", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def eventually(holds: Callable[[], object], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"it did not come true within {within} s"
        time.sleep(0.02)


class Haproxy:
    """One running process; ``base`` holds its files."""

    def __init__(self, process: subprocess.Popen[bytes], base: Path) -> None:
        self.process = process
        self.base = base

    def ask(self, text: str) -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.base / f"{LB}.sock"))
            client.sendall(text.encode() + b"\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()

    def tell(self, command: Command) -> Verdict:
        return command.verdict(self.ask(command.text))

    def inside(self, *command: str) -> list[str]:
        """The command line that runs something in the process's network."""
        return ["nsenter", "-t", str(self.process.pid), "-n", *command]

    def get(self, port: int = 81, cookie: str = "") -> tuple[str, str]:
        """Body of and cookie set by the answer through the load balancer."""
        url = f"http://127.0.0.1:{port}/"
        sent = ["-H", f"Cookie: {cookie}"] if cookie else []
        command = self.inside("curl", "-s", "-i", "--max-time", "5", *sent, url)
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        headers, _, body = answer.partition("\n\n")
        cookies = [
            line[12:].split(";")[0] for line in headers.splitlines() if line.startswith("set-cookie: ")
        ]
        return body, cookies[0] if cookies else ""

    def reload(self, text: str) -> None:
        """A new process takes over, as a real reload does."""
        (self.base / "haproxy.cfg").write_text(text)
        arguments = [*_arguments(self.base), "-sf", str(self.process.pid)]
        old, self.process = self.process, subprocess.Popen(self.inside(*arguments))
        old.wait(timeout=10)
        eventually(lambda: f"Pid: {self.process.pid}" in _try(lambda: self.ask("show info")))


def _try(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except OSError:
        return ""


def _arguments(base: Path) -> list[str]:
    files = ["-f", str(base / "haproxy.cfg"), "-f", str(base / "members.cfg")]
    return [HAPROXY, "-db", "-q", "-L", peer_name(AMPHORA), *files]


@contextmanager
def running(text: str, base: Path) -> Iterator[Haproxy]:
    """HAProxy on that text, answering on its socket."""
    state(base, "1\n")
    (base / "haproxy.cfg").write_text(text)
    (base / "members.cfg").write_text(MEMBERS)
    process = subprocess.Popen(["unshare", "--net", "sh", "-c", NETWORK, "sh", *_arguments(base)])
    haproxy = Haproxy(process, base)
    try:
        eventually(lambda: process.poll() is not None or _try(lambda: haproxy.ask("show info")))
        assert process.poll() is None, "HAProxy did not start"
        yield haproxy
    finally:
        haproxy.process.terminate()
        haproxy.process.wait(timeout=10)
