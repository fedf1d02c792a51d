# SPDX-License-Identifier: Apache-2.0
"""The API and the worker in this process with drivers in memory, and the CPU that they and a database take.

Requests are WSGI calls without a client's library around them, so that nothing is counted but the service.
"""

import io
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import falcon.testing
import sqlalchemy as sa

from benchmarks._cpu import on_cpu_s
from octavia.api import app
from octavia.api.identity import Access
from octavia.api.settings import ApiSettings
from octavia.dataplane.cloud_init.agent_conf import AgentConf
from octavia.db import schema
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.domain.clock import SystemClock
from octavia.domain.tree import Topology
from octavia.drivers.amphora.memory import MemoryAmphorae
from octavia.drivers.bus.local import LocalDoorbell
from octavia.drivers.certificates.memory import MemoryCertificates
from octavia.drivers.compute.memory import MemoryCompute
from octavia.drivers.network.memory import MemoryNetwork
from octavia.worker.service import Worker
from octavia.worker.settings import WorkerSettings
from octavia.worker.world import World
from tests.databases import SERVERS

ROOT: Final = "/v2.0/lbaas"
BACKENDS: Final = ("sqlite", "mariadb", "postgresql")


@dataclass(frozen=True, slots=True)
class Backend:
    """A database with the schema in it.

    :param pid: of its server; None if it runs in this process.
    """

    database: Database
    pid: int | None

    def cpu_s(self) -> float:
        """CPU seconds so far: of this process, and of the server."""
        return time.process_time() + (on_cpu_s(self.pid) if self.pid else 0.0)


@contextmanager
def backend(kind: str) -> Iterator[Backend]:
    """A private database of that kind, empty."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield from _with_schema(f"sqlite:///{folder}/octavia.db", None)
        return
    with SERVERS[kind]() as server:
        yield from _with_schema(server.create_database("octavia"), server.pid)


def _with_schema(url: str, pid: int | None) -> Iterator[Backend]:
    engine = create_engine(url)
    schema.upgrade(engine)
    try:
        yield Backend(Database(engine), pid)
    finally:
        engine.dispose()


class Bell(LocalDoorbell):
    """Also wakes whoever waits for the end of a pass: the worker rings after each."""

    def __init__(self) -> None:
        super().__init__()
        self.rung = threading.Event()

    def ring(self) -> None:
        super().ring()
        self.rung.set()


class Api:
    """The application, called as a WSGI server calls it."""

    def __init__(
        self, database: Database, bell: LocalDoorbell, settings: ApiSettings, access: Access | None = None
    ) -> None:
        self.network = MemoryNetwork()
        self._app = app.create(database, self.network, bell, SystemClock(), settings, access)
        self.subnet = next(one for one in self.network.list_subnets() if one.name == "demo").id

    def environ(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """What a server makes of a request; costs more than many a request, so not to be measured."""
        text = json.dumps(body) if body is not None else ""
        path, _, query = path.partition("?")
        return falcon.testing.create_environ(
            ROOT + path,
            query_string=query,
            method=method,
            body=text,
            headers={"Accept": "application/json", "Content-Type": "application/json"},
        )

    def call(self, environ: dict[str, Any]) -> tuple[str, bytes]:
        """Status line and body of one request."""
        status: list[str] = []
        environ["wsgi.input"].seek(0)
        environ["wsgi.errors"] = io.StringIO()

        def start(line: str, *_: Any) -> Any:
            status.append(line)

        chunks = self._app(environ, start)
        return status[0], b"".join(chunks)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request whose cost does not matter; its answer.

        :raises AssertionError: it is refused.
        """
        status, text = self.call(self.environ(method, path, body))
        assert status.startswith("2"), (status, text)
        return json.loads(text) if text else None


class Controller:
    """API and worker, until the context ends."""

    def __init__(self, behind: Backend, topology: Topology) -> None:
        clock, self._bell = SystemClock(), Bell()
        self._behind = behind
        settings = ApiSettings(loadbalancer_topology=topology, vrrp_version=3, vrrp_advert_int=0.25)
        self.api = Api(behind.database, self._bell, settings)
        compute = MemoryCompute(clock, timedelta(0))
        world = World(compute, self.api.network, MemoryCertificates(clock), MemoryAmphorae(compute), clock)
        agent = AgentConf(controllers=("198.18.0.1:5555",), heartbeat_key="key")
        self._worker = Worker(
            behind.database, world, self._bell, WorkerSettings(owner="benchmark", agent=agent)
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._worker.run, args=(self._stop,))

    def __enter__(self) -> "Controller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._bell.ring()
        self._thread.join()

    def settle(self, *requests: tuple[str, str, Any], within_s: float = 30.0) -> tuple[float, list[Any]]:
        """Send requests, each when what came before is settled.

        :returns: CPU seconds of all processes, and the answers.
        """
        answers, cpu_s = [], 0.0
        for method, path, body in requests:
            environ = self.api.environ(method, path, body)
            before = self._behind.cpu_s()
            self._bell.rung.clear()
            status, text = self.api.call(environ)
            assert status.startswith("2"), (status, text)
            self._await_empty_queue(within_s)
            cpu_s += self._behind.cpu_s() - before
            answers.append(json.loads(text) if text else None)
        return cpu_s, answers

    def _await_empty_queue(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while True:
            assert self._bell.rung.wait(deadline - time.monotonic()), "it does not settle"
            self._bell.rung.clear()
            # Rung by the request, or by the worker after a pass; the look costs as much as a client's poll.
            with self._behind.database.read() as tx:
                if tx.execute(_QUEUE).scalar() == 0:
                    return


_QUEUE: Final = sa.select(sa.func.count()).select_from(t.work)
