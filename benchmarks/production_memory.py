# SPDX-License-Identifier: Apache-2.0
"""Memory of all controller processes in the shape of a production.

MariaDB, RabbitMQ, the API under gunicorn with two processes, a worker with two processes, a health manager
and housekeeping; drivers that do nothing. Budget: 350 MiB PSS together, without database and bus.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks._report import Row, show
from tests.databases import mariadb
from tests.rabbitmq import rabbitmq
from tests.scenario.daemons import Tenant, deployment, pss_mib


def work(tenant: Tenant, changes: int) -> None:
    """A load balancer whose members come."""
    lb = tenant.load_balancer()["id"]
    pool = tenant.post("/pools", "pool", loadbalancer_id=lb, protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    for number in range(changes):
        address = f"10.0.{number // 250}.{number % 250 + 1}"
        tenant.post(f"/pools/{pool['id']}/members", "member", address=address, protocol_port=80)
    tenant.await_active(lb)


def measure(changes: int) -> None:
    with mariadb() as database, rabbitmq() as bus, tempfile.TemporaryDirectory() as folder:
        url = database.create_database("octavia")
        with deployment(
            Path(folder), url, DEFAULT={"transport_url": bus.url}, controller_worker={"workers": 2}
        ) as made:
            for program in ("octavia-health-manager", "octavia-housekeeping"):
                made.start(program)
            made.start("octavia-worker")
            made.start_gunicorn("--preload")
            tenant = Tenant(made.url)
            work(tenant, changes)
            tenant.close()
            kinds: dict[str, list[float]] = defaultdict(list)
            for name, mib in pss_mib(made.pids()).items():
                kinds[name.split()[1]].append(mib)
    everything = sum(sum(values) for values in kinds.values())
    rows = [Row(f"{name}, a process", values) for name, values in sorted(kinds.items())]
    show(
        f"PSS in production's shape, after {changes} changes of members",
        "MiB",
        [*rows, Row("all controller processes", [everything], 350)],
        digits=1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=200, help="members added")
    measure(parser.parse_args().changes)


if __name__ == "__main__":
    main()
