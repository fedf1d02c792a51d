# SPDX-License-Identifier: Apache-2.0
"""CPU of one heartbeat: socket, HMAC, derivation and database together (budget: 0.15 ms on MariaDB).

Each amphora serves one listener with traffic, a pool and two members, and nothing changes: what a
fleet does all day. The health manager's CPU is its thread's; the server's is its processes'.
"""

import argparse
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from octavia.db import schema
from octavia.db.engine import Database, create_engine
from octavia.domain.clock import SystemClock
from octavia.domain.tree import Topology
from octavia.drivers.bus.local import LocalDoorbell
from octavia.health.inbox import Inbox
from octavia.health.receive import Receiver, ReceiverSettings
from octavia.wire.heartbeat import ListenerReport, encode
from tests.databases import SERVERS
from tests.fleet import load_balancer, report, store

KEY = "benchmark"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a server with its children, those that ended included."""
    total = 0.0
    pids = [pid]
    for one in pids:
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except FileNotFoundError:
            continue
        total += sum(int(fields[index]) for index in (11, 12, 13, 14)) * TICK_S
        pids += [int(child) for child in children]
    return total


@contextmanager
def server(backend: str) -> Iterator[tuple[str, int | None]]:
    if backend == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/octavia.sqlite", None
        return
    with SERVERS[backend]() as running:
        yield running.create_database("octavia"), running.pid


def measure(backend: str, fleet: int, batch: int, rounds: int, pairs: bool) -> str:
    topology = Topology.ACTIVE_STANDBY if pairs else Topology.SINGLE
    per_lb = 2 if pairs else 1
    lbs = [load_balancer(number + 1, topology=topology) for number in range(fleet // per_lb)]
    with server(backend) as (url, pid):
        engine = create_engine(url)
        schema.upgrade(engine)
        database = Database(engine)

        def insert(tx: sa.Connection) -> None:
            for lb in lbs:
                store(tx, lb, since=SystemClock().now())

        database.write(insert)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # As a server does by itself after a while: plans for tables that are not empty any more.
            for table in ("amphora", "load_balancer", "listener", "pool", "member"):
                connection.exec_driver_sql(f"ANALYZE {'TABLE ' if 'mysql' in url else ''}{table}")
        datagrams = []
        for index in range(per_lb):
            for lb in lbs:
                stats = {
                    one.id: ListenerReport(status="OPEN", rx=4711, tx=81500, conns=3, totconns=17)
                    for one in lb.listeners
                }
                datagrams.append(encode(replace(report(lb, index), listeners=stats), KEY))
        receiver = Receiver(database, SystemClock(), LocalDoorbell(), ReceiverSettings(key=KEY))
        inbox = Inbox("127.0.0.1", 0)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        def one_round() -> float:
            begun = 0.0
            for start in range(0, len(datagrams), batch):
                for datagram in datagrams[start : start + batch]:
                    sender.sendto(datagram, ("127.0.0.1", inbox.port))
                before = time.thread_time()
                receiver._receive(inbox.drain(batch))
                begun += time.thread_time() - before
            return begun

        one_round()  # remember the fleet, compile the statements
        server_before = tree_cpu_s(pid) if pid else 0.0
        ours = [one_round() for _ in range(rounds)]
        server_cpu = (tree_cpu_s(pid) - server_before) / rounds if pid else 0.0
        sender.close()
        inbox.close()
        engine.dispose()
    own_ms = statistics.median(ours) / len(datagrams) * 1e3
    server_ms = server_cpu / len(datagrams) * 1e3
    kind = "pairs " if pairs else "single"
    return (
        f"{backend:<11} {kind} batch {batch:>4}  health manager {own_ms:.3f} ms + server {server_ms:.3f} ms"
        f" = {own_ms + server_ms:.3f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fleet", type=int, default=1000, help="amphorae")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, action="append", help="heartbeats a transaction")
    parser.add_argument("--backend", action="append", choices=("sqlite", "mariadb", "postgresql"))
    options = parser.parse_args()
    for backend in options.backend or ("mariadb", "postgresql", "sqlite"):
        for pairs in (False, True):
            for batch in options.batch or (40, 100, 400):
                print(measure(backend, options.fleet, batch, options.rounds, pairs), flush=True)


if __name__ == "__main__":
    main()
