# SPDX-License-Identifier: Apache-2.0
"""The application in process: SQLite, networks in memory, a clock that stands still."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa

from octavia.api import app
from octavia.api.identity import Access
from octavia.api.settings import ApiSettings
from octavia.db import statuses
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from octavia.drivers.network.memory import MemoryNetwork
from tests.api import documented

START = datetime(2026, 5, 4, 12, 0, 0)


@dataclass
class StillClock:
    """Time passes when a test says so."""

    time: datetime = START

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)  # so that creations have an order
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()


@dataclass
class CountingDoorbell:
    rings: int = 0

    def ring(self) -> None:
        self.rings += 1

    def wait(self, timeout_s: float) -> bool:
        raise AssertionError("the API never waits")


def _pedantic(application: Any) -> Any:
    """An empty answer has no type (clients that go by the type would parse it); wsgiref's validator, which
    falcon's client runs, wants one nevertheless."""

    def with_a_type(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            if "content-type" not in dict(headers) and not status.startswith("204"):
                assert dict(headers)["content-length"] == "0"
                headers = [*headers, ("content-type", "text/plain")]
            return start_response(status, headers, *exc_info)

        return application(environ, start)

    return with_a_type


@dataclass
class Api:
    """A client of the application, and what is behind it."""

    database: Database
    settings: ApiSettings
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    doorbell: CountingDoorbell = field(default_factory=CountingDoorbell)
    clock: StillClock = field(default_factory=StillClock)
    certificates: MemoryTenantCertificates = field(default_factory=MemoryTenantCertificates)
    root: str = "/v2.0/lbaas"
    access: Access | None = None

    def __post_init__(self) -> None:
        application = app.create(
            self.database,
            self.network,
            self.doorbell,
            self.clock,
            self.settings,
            certificates=self.certificates,
            access=self.access,
        )
        self.client = falcon.testing.TestClient(_pedantic(application))

    def request(self, method: str, path: str, body: Any = None, **more: Any) -> falcon.testing.Result:
        """One request below ``root``; absolute paths start with ``//``."""
        target = path[1:] if path.startswith("//") else self.root + path
        if isinstance(body, bytes):
            more["body"] = body
        elif body is not None:
            more["json"] = body
        result = self.client.simulate_request(method, target, **more)
        documented.check(method, target, result)
        return result

    def get(self, path: str, code: int = 200, **more: Any) -> Any:
        return self._expect(self.request("GET", path, **more), code)

    def post(self, path: str, body: Any, code: int = 201) -> Any:
        return self._expect(self.request("POST", path, body), code)

    def put(self, path: str, body: Any = None, code: int = 200, **more: Any) -> Any:
        return self._expect(self.request("PUT", path, body, **more), code)

    def delete(self, path: str, code: int = 204) -> Any:
        return self._expect(self.request("DELETE", path), code)

    def _expect(self, result: falcon.testing.Result, code: int) -> Any:
        assert result.status_code == code, result.text
        return result.json if result.content else None

    def fault(self, method: str, path: str, body: Any = None, *, code: int) -> str:
        """The fault string of a request that must fail."""
        answer = self._expect(self.request(method, path, body), code)
        assert answer["faultcode"] == ("Client" if code < 500 else "Server")
        assert (answer["debuginfo"], answer["code"]) == (None, code)
        return str(answer["faultstring"])

    # What the worker would do

    def settle(self) -> None:
        """Everything that was written is live."""

        def live(tx: sa.Connection) -> None:
            for row in tx.execute(sa.select(t.load_balancer)).all():
                if row.delete_requested:
                    statuses.delete_load_balancer(tx, row.id, self.clock.now())
                    continue
                statuses.settle_children(tx, row.id, row.generation, self.clock.now())
                statuses.settle_load_balancer(tx, row.id, self.clock.now())
                statuses.observed(tx, row.id, row.generation)
            tx.execute(sa.delete(t.work))

        self.database.write(live)

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.database.read() as tx:
            return list(tx.execute(query).mappings().all())

    def set_status(self, table: sa.Table, object_id: str, status: str) -> None:
        self.database.write(
            lambda tx: tx.execute(
                sa.update(table).where(table.c.id == object_id).values(provisioning_status=status)
            )
        )

    # A tree to begin with

    @property
    def subnet(self) -> str:
        return next(one.id for one in self.network.list_subnets() if one.name == "demo")

    @property
    def member_subnet(self) -> str:
        return next(one.id for one in self.network.list_subnets() if one.name == "members")

    def load_balancer(self, **values: Any) -> Any:
        body = {"vip_subnet_id": self.subnet} | values
        return self.post("/loadbalancers", {"loadbalancer": body})["loadbalancer"]

    def listener(self, lb: Any, **values: Any) -> Any:
        body = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "protocol_port": 80} | values
        return self.post("/listeners", {"listener": body})["listener"]

    def pool(self, lb: Any, **values: Any) -> Any:
        body = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"} | values
        return self.post("/pools", {"pool": body})["pool"]

    def member(self, pool: Any, **values: Any) -> Any:
        body = {"address": "192.0.2.10", "protocol_port": 8080} | values
        return self.post(f"/pools/{pool['id']}/members", {"member": body})["member"]

    def policy(self, listener: Any, **values: Any) -> Any:
        body = {"listener_id": listener["id"], "action": "REJECT"} | values
        return self.post("/l7policies", {"l7policy": body})["l7policy"]

    def rule(self, policy: Any, **values: Any) -> Any:
        body = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/x"} | values
        return self.post(f"/l7policies/{policy['id']}/rules", {"rule": body})["rule"]

    def monitor(self, pool: Any, **values: Any) -> Any:
        body = {"pool_id": pool["id"], "type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2} | values
        return self.post("/healthmonitors", {"healthmonitor": body})["healthmonitor"]


@pytest.fixture
def database() -> Iterator[Database]:
    engine = create_engine("sqlite://")
    t.metadata.create_all(engine)
    yield Database(engine)
    engine.dispose()


@pytest.fixture
def make_api(database: Database) -> Callable[..., Api]:
    """An application with other settings than the defaults."""
    return lambda **settings: Api(database, ApiSettings(**settings))


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()
