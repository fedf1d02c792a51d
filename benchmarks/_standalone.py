# SPDX-License-Identifier: Apache-2.0
"""A real standalone in a private network namespace for benchmarks, and what can be seen of its amphorae.

Needs root, HAProxy and keepalived. Starting and ending it is :mod:`tests.scenario.standalone`'s.
"""

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from octavia.domain.tree import Topology
from octavia.drivers.local import links
from octavia.drivers.local.process import NamespacedProcess
from tests.scenario.standalone import Machine, fetch, missing_programs, opened_machine

_T = TypeVar("_T")

TRAFFIC_NAMESPACE: Final = "run/netns/amphora-haproxy"
"""Where HAProxy and keepalived are, below an amphora's root directory."""


@contextmanager
def standalone(topology: Topology, **sections: Mapping[str, object]) -> Iterator[Machine]:
    """One whose API answers; everything is gone afterwards.

    :raises SystemExit: this machine cannot run one; with what is missing.
    """
    missing = missing_programs()
    if missing:
        raise SystemExit(f"needs {', '.join(missing)}: './dev bench' as root installs what is missing")
    with opened_machine() as machine:
        worker = {"loadbalancer_topology": topology.value, **sections.pop("controller_worker", {})}
        machine.configure(controller_worker=worker, **sections)
        machine.start()
        yield machine


def await_(ask: Callable[[], _T | None], what: str, *, within_s: float = 60.0, every_s: float = 0.01) -> _T:
    """The first true answer.

    :raises AssertionError: there was none in time.
    """
    deadline = time.monotonic() + within_s
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)


@contextmanager
def web_servers(first: int, *more: int | range) -> Iterator[None]:
    """Fast ones on every address of this network namespace: HAProxy itself answers 200 with its port.

    :param more: each a port, or ports that one answers for together.
    """
    config = "global\n    maxconn 2000\ndefaults\n    mode http\n    timeout client 60s\n"
    for one in (first, *more):
        port = f"{one[0]}-{one[-1]}" if isinstance(one, range) else f"{one}"
        config += f"frontend web-{port}\n    bind 0.0.0.0:{port}\n    http-request return status 200"
        config += f' content-type text/plain string "hello from {port}"\n'
    with running_haproxy(config, "127.0.0.1", first):
        yield


@contextmanager
def running_haproxy(config: str, address: str, port: int) -> Iterator[None]:
    """One in this network namespace that listens there, until the context ends."""
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(config)
        file.flush()
        with subprocess.Popen(["haproxy", "-db", "-f", file.name], stdin=subprocess.DEVNULL) as process:
            try:
                await_(lambda: process.poll() is not None or _answers(address, port), "HAProxy listens")
                assert process.poll() is None, "HAProxy ended at its start"
                yield
            finally:
                process.kill()


def _answers(address: str, port: int) -> bool:
    try:
        return fetch(address, port) != ""
    except OSError:
        return False


def delete(machine: Machine, load_balancer_id: str) -> None:
    """With everything below it, and wait until it is gone."""
    answer = machine.ask("DELETE", f"/loadbalancers/{load_balancer_id}?cascade=true")
    assert answer.status_code == 204, answer.text
    machine.await_gone(load_balancer_id)


def amphorae(machine: Machine, load_balancer_id: str) -> list[dict[str, Any]]:
    """As the API shows them to operators."""
    query = {"loadbalancer_id": load_balancer_id}
    found: list[dict[str, Any]] = machine.client.get("/v2.0/octavia/amphorae", params=query).json()[
        "amphorae"
    ]
    return found


def process(machine: Machine, amphora_id: str) -> NamespacedProcess:
    """The amphora's agent, which is the first process of its namespaces."""
    return NamespacedProcess(machine.installation.amphorae / amphora_id, machine.installation)


def processes_of(machine: Machine, amphora_id: str) -> dict[int, str]:
    """Numbers, as this machine counts them, and names of all processes in an amphora."""
    first = process(machine, amphora_id).pid
    assert first is not None, f"amphora {amphora_id} does not run"
    namespace = os.readlink(f"/proc/{first}/ns/pid")
    found = {}
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{number}/ns/pid") == namespace:
                found[int(number)] = Path(f"/proc/{number}/comm").read_text().strip()
        except OSError:
            continue  # it ended meanwhile
    return found


def owner(machine: Machine, load_balancer_id: str, vip: str) -> str | None:
    """The amphora that has the VIP on an interface just now."""
    for one in amphorae(machine, load_balancer_id):
        pid = process(machine, one["id"]).pid
        if pid is None:
            continue
        try:
            namespace = os.open(f"/proc/{pid}/root/{TRAFFIC_NAMESPACE}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            addresses = links.run_inside(namespace, links.addresses)
        finally:
            os.close(namespace)
        if any(str(address.interface.ip) == vip for address in addresses):
            return str(one["id"])
    return None


class HaproxySocket:
    """The runtime socket of an amphora's HAProxy."""

    def __init__(self, machine: Machine, amphora_id: str, load_balancer_id: str) -> None:
        self._directory = machine.installation.amphorae / amphora_id / "inside" / "lib"
        self._name = f"{load_balancer_id}.sock"

    def ask(self, command: str) -> str:
        """:raises OSError: nobody listens."""
        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY)
        try:
            with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
                connection.settimeout(2)
                connection.connect(f"/proc/self/fd/{directory}/{self._name}")  # the path itself is too long
                connection.sendall(f"{command}\n".encode())
                said = b""
                while piece := connection.recv(65536):
                    said += piece
                return said.decode()
        finally:
            os.close(directory)

    def servers(self) -> dict[str, dict[str, str]]:
        """What ``show servers state`` says, by ``ADDRESS:PORT``."""
        lines = self.ask("show servers state").splitlines()
        names = lines[1].removeprefix("# ").split()
        rows = [dict(zip(names, line.split(), strict=False)) for line in lines[2:] if line]
        return {f"{row['srv_addr']}:{row['srv_port']}": row for row in rows}

    def worker_pid(self) -> str:
        """Another one after a reload; as the amphora counts."""
        found = re.search(r"^Pid: (\d+)$", self.ask("show info"), re.MULTILINE)
        assert found
        return found[1]


def log_moments(machine: Machine, pattern: str) -> list[tuple[datetime, re.Match[str]]]:
    """When the controller logged what matches."""
    found = []
    for line in (machine.state / "controller.log").read_text(errors="replace").splitlines():
        match = re.search(pattern, line)
        if match:
            found.append((datetime.fromisoformat(line[:23]), match))
    return found
