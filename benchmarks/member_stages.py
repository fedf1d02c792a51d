# SPDX-License-Identifier: Apache-2.0
"""CPU of each stage that a member's change goes through, in a pool of a given number of members.

Where the time of ``member`` goes, but for what waits: locks, disks, HAProxy, the kernel. In this process,
without network; SQLite. The programs that the agent runs for a change are timed by the clock.
"""

import argparse
import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks._in_process import Controller, backend
from benchmarks._report import Row, show
from octavia.dataplane.haproxy import diff
from octavia.dataplane.haproxy.render import render
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.l4 import nftables, transaction
from octavia.dataplane.l4.build import build
from octavia.dataplane.l4.model import L4Config
from octavia.db.engine import Database
from octavia.db.tree import loading
from octavia.domain.tree import LoadBalancer, Topology


def load_balancer(controller: Controller, protocol: str, members: int) -> str:
    """Its id."""
    pool = {
        "name": "pool",
        "protocol": protocol,
        "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": f"10.1.{n // 250}.{n % 250}", "protocol_port": 80} for n in range(members)],
    }
    listener = {"protocol": protocol, "protocol_port": 80, "default_pool": pool}
    body = {"loadbalancer": {"vip_subnet_id": controller.api.subnet, "listeners": [listener]}}
    _, (made,) = controller.settle(("POST", "/loadbalancers", body))
    return str(made["loadbalancer"]["id"])


def loaded(database: Database, lb_id: str, runs: int) -> tuple[LoadBalancer, list[float]]:
    """The tree, and what reading it takes."""
    with database.read() as tx:
        lb = loading.load(tx, lb_id)
        assert lb
        return lb, timed(runs, lambda _: loading.load(tx, lb_id), time.process_time)


def weighed(lb: LoadBalancer, weight: int) -> LoadBalancer:
    """With another weight of one member in the middle."""
    (pool,) = lb.pools
    at = len(pool.members) // 2
    changed = replace(pool.members[at], weight=weight)
    return lb.with_pool(replace(pool, members=(*pool.members[:at], changed, *pool.members[at + 1 :])))


def timed(runs: int, stage: Callable[[int], object], clock: Callable[[], float]) -> list[float]:
    """Milliseconds of each run, which is told its number from 0 on."""
    took = []
    for number in range(runs):
        before = clock()
        stage(number)
        took.append((clock() - before) * 1e3)
    return took


def http_stages(lb: LoadBalancer, runs: int) -> list[Row]:
    def text(one: LoadBalancer) -> str:
        made = render(one, (), HaproxySettings(), amphora_id=lb.id, haproxy_version="2.6.12")
        assert made
        return made.text

    # Each a text of its own: what was parsed once is remembered.
    texts = [text(weighed(lb, 2 + number)) for number in range(runs + 1)]
    return [
        Row("worker: HAProxy's configuration", timed(runs, lambda _: text(lb), time.process_time)),
        Row(
            "agent: parse and compare",
            timed(runs, lambda number: diff.change(texts[number], texts[number + 1]), time.process_time),
        ),
    ]


def udp_stages(lb: LoadBalancer, runs: int) -> list[Row]:
    def config(one: LoadBalancer) -> L4Config:
        made = build(one).config
        assert made
        return made

    wanted = [config(weighed(lb, 2 + number % 9)) for number in range(runs + 1)]
    sent = json.dumps(wanted[0].to_json())
    tables = [nftables.render(one) for one in wanted]

    def change(number: int) -> Any:
        then = nftables.render(wanted[number + 1], before=tables[number])
        return transaction.difference(tables[number], then)

    return [
        Row(
            "worker: UDP listeners",
            timed(runs, lambda _: json.dumps(config(lb).to_json()), time.process_time),
        ),
        Row(
            "agent: read them", timed(runs, lambda _: L4Config.from_json(json.loads(sent)), time.process_time)
        ),
        Row("agent: the table, and what differs", timed(runs, change, time.process_time)),
        Row("nft: what differs (clock)", nft([tables[0].text], list(map(change, range(runs))))),
        Row(
            "nft: the whole table (clock)",
            nft([tables[0].text], [transaction.replacement(one, one.named) for one in tables]),
        ),
    ]


def nft(first: list[str], transactions: list[str]) -> list[float]:
    """Milliseconds of each transaction, in a network namespace that ends with it."""
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate([*first, *transactions]):
            with open(f"{folder}/{number}", "w", encoding="ascii") as file:
                file.write(text)
        script = 'for n in $(seq 0 $1); do date +%s%N; nft -f "$0/$n" || exit 1; done; date +%s%N'
        last = str(len(first) + len(transactions) - 1)
        command = ("unshare", "--net", "bash", "-c", script, folder, last)
        moments = [int(one) for one in subprocess.check_output(command, text=True).split()]
    took = [(after - before) / 1e6 for before, after in itertools.pairwise(moments)]
    return took[len(first) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--members", type=int, default=1000)
    options = parser.parse_args()
    for protocol, stages in (("HTTP", http_stages), ("UDP", udp_stages)):
        with backend("sqlite") as behind, Controller(behind, Topology.SINGLE) as controller:
            lb_id = load_balancer(controller, protocol, options.members)
            lb, load = loaded(behind.database, lb_id, options.runs)
        rows = [Row("API, worker: read the tree", load), *stages(lb, options.runs)]
        show(f"Stages of a member's change, {options.members} {protocol} members", "ms CPU", rows)


if __name__ == "__main__":
    main()
