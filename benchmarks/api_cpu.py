# SPDX-License-Identifier: Apache-2.0
"""CPU of reads: the API over in-process WSGI and its database together, and the number of SQL statements.

Budgets: one load balancer 1.5 ms, a list of a hundred 6 ms, a status tree 2 ms; the number of statements is
the same whatever the size. HTTP itself and the check of a Keystone token are not in it.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from benchmarks._in_process import BACKENDS, Api, Backend, backend
from benchmarks._report import Row, show
from octavia.api.settings import ApiSettings
from octavia.domain.clock import SystemClock
from octavia.drivers.bus.local import LocalDoorbell
from tests.fleet import load_balancer, store, uuid

FLEET: Final = 300
# Listeners, each with a pool of so many members; a demo's and a large one.
SMALL, LARGE = 1, 10
BATCH: Final = 20


def fill(behind: Backend) -> None:
    def change(tx: sa.Connection) -> None:
        for number in range(1, FLEET + 1):
            size = LARGE if number == FLEET else SMALL
            lb = load_balancer(
                number, listeners=size, members=2 * size, project_id="demo", name=f"lb-{number}"
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


def measure(kind: str, runs: int) -> None:
    small, large = uuid(1000), uuid(FLEET * 1000)
    requests = {
        "one": (f"/loadbalancers/{small}", 1.5),
        "one, with 10 listeners": (f"/loadbalancers/{large}", 1.5),
        "list of 10": ("/loadbalancers?limit=10", None),
        "list of 100": ("/loadbalancers?limit=100", 6),
        "status tree": (f"/loadbalancers/{small}/status", 2),
        "status tree, 10 listeners, 200 members": (f"/loadbalancers/{large}/status", None),
    }
    rows = []
    with backend(kind) as behind:
        fill(behind)
        api = Api(behind.database, LocalDoorbell(), ApiSettings())
        for what, (path, budget_ms) in requests.items():
            environ = api.environ("GET", path)
            assert api.call(environ)[0] == "200 OK"
            with statements(behind.database.engine) as sent:
                api.call(environ)
            batches = []
            for _ in range(runs):
                before = behind.cpu_s()
                for _ in range(BATCH):
                    api.call(environ)
                batches.append((behind.cpu_s() - before) / BATCH * 1e3)
            rows.append(Row(what, batches, budget_ms, note=f"; {len(sent)} statements"))
    show(f"CPU of a GET, {kind}, {FLEET} load balancers (a run: the mean of {BATCH})", "ms", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    options = parser.parse_args()
    for kind in options.backend or ("sqlite", "mariadb"):
        measure(kind, options.runs)


if __name__ == "__main__":
    main()
