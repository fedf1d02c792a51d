# SPDX-License-Identifier: Apache-2.0
"""CPU (user and system, of the API and its database together) and latency of requests, over in-process WSGI.

Budgets: one load balancer 1.5 ms, a list of a hundred 6 ms, a status tree 2 ms; the number of statements is
the same whatever the size. HTTP itself and the check of a Keystone token are not in it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from benchmarks._in_process import BACKENDS, Api, Backend, backend
from benchmarks._report import Row, show
from octavia.api.settings import ApiSettings
from octavia.domain.clock import SystemClock
from octavia.drivers.bus.local import LocalDoorbell
from tests.fleet import load_balancer, store, uuid

FLEET: Final = 1_000
# Listeners, each with a pool of five members; an ordinary load balancer's and a large one's.
SMALL, LARGE = 2, 10
MEMBERS: Final = 5
BATCH: Final = 20


def fill(behind: Backend) -> None:
    def change(tx: sa.Connection) -> None:
        for number in range(1, FLEET + 1):
            size = LARGE if number == FLEET else SMALL
            lb = load_balancer(
                number, listeners=size, members=MEMBERS, project_id="demo", name=f"lb-{number}"
            )
            store(tx, lb, since=SystemClock().now())

    behind.database.write(change)


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[str]]:
    """What is sent to the database, without BEGIN and COMMIT."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            sent.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", note)


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one kind of request: milliseconds each, and the statements that one sends."""

    what: str
    cpu_ms: list[float]
    latency_ms: list[float]
    statements: int
    budget_ms: float | None = None


def reads(behind: Backend, api: Api, runs: int) -> Iterator[Measured]:
    small, large = uuid(1000), uuid(FLEET * 1000)
    requests = {
        "one": (f"/loadbalancers/{small}", 1.5),
        "one, with 10 listeners": (f"/loadbalancers/{large}", 1.5),
        "list of 10": ("/loadbalancers?limit=10", None),
        "list of 100": ("/loadbalancers?limit=100", 6),
        "list of 1000": ("/loadbalancers", None),
        "status tree": (f"/loadbalancers/{small}/status", 2),
        "status tree, 10 listeners, 50 members": (f"/loadbalancers/{large}/status", None),
    }
    for what, (path, budget_ms) in requests.items():
        batch = 1 if what == "list of 1000" else BATCH
        environ = api.environ("GET", path)
        yield measured(behind, api, what, runs, batch, again(environ), budget_ms)


def again(environ: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    """The same request each time."""
    return lambda _: environ


def writes(behind: Backend, api: Api, runs: int) -> Iterator[Measured]:
    pool = uuid(FLEET * 1000 + 200)

    def create(number: int) -> dict[str, Any]:
        body = {"loadbalancer": {"name": f"new-{number}", "vip_subnet_id": api.subnet}}
        return api.environ("POST", "/loadbalancers", body)

    def batch(number: int) -> dict[str, Any]:
        members = [
            {"address": f"10.0.1.{one}", "protocol_port": 80, "weight": 1 + number % 2} for one in range(100)
        ]
        return api.environ("PUT", f"/pools/{pool}/members", {"members": members})

    # A create is given an address out of a subnet of 250.
    yield measured(behind, api, "create", min(runs, 100), 1, create)
    yield measured(behind, api, "batch update of 100 members", runs, 1, batch)


def measured(
    behind: Backend,
    api: Api,
    what: str,
    runs: int,
    batch: int,
    environ: Callable[[int], dict[str, Any]],
    budget_ms: float | None = None,
) -> Measured:
    """So many runs of so many requests each."""
    for warm in (-2, -1):
        assert api.call(environ(warm))[0].startswith("20")
    with statements(behind.database.engine) as sent:
        api.call(environ(-3))
    cpu_ms, latency_ms = [], []
    for number in range(runs):
        environs = [environ(number) for _ in range(batch)]
        cpu_s, start = behind.cpu_s(), time.perf_counter()
        for one in environs:
            api.call(one)
        latency_ms.append((time.perf_counter() - start) / batch * 1e3)
        cpu_ms.append((behind.cpu_s() - cpu_s) / batch * 1e3)
    return Measured(what, cpu_ms, latency_ms, len(sent), budget_ms)


def measure(kind: str, runs: int) -> None:
    with backend(kind) as behind:
        fill(behind)
        api = Api(behind.database, LocalDoorbell(), ApiSettings())
        every = [*reads(behind, api, runs), *writes(behind, api, runs)]
    rows = [
        Row(
            one.what,
            one.cpu_ms,
            one.budget_ms,
            note=f"; latency {statistics.median(one.latency_ms):.2f} ms, {one.statements} statements",
        )
        for one in every
    ]
    show(f"CPU of a request, {kind}, {FLEET} load balancers (a read: the mean of {BATCH})", "ms", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    options = parser.parse_args()
    for kind in options.backend or BACKENDS:
        measure(kind, options.runs)


if __name__ == "__main__":
    main()
