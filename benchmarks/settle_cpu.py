# SPDX-License-Identifier: Apache-2.0
"""CPU of a change from the request until it is settled: API, worker and database; drivers in memory.

Budgets: create a load balancer 17 ms, a full graph (load balancer, listener, pool, two members, monitor)
50 ms, a member 10 ms. HTTP, TLS and what amphorae do are not in it.
"""

import argparse
import itertools
from collections.abc import Callable
from typing import Any

from benchmarks._in_process import BACKENDS, Controller, backend
from benchmarks._report import Row, show
from octavia.domain.tree import Topology


def populated(subnet: str) -> Any:
    monitor = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
    pool = {
        "name": "pool",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": f"192.0.2.{n}", "protocol_port": 80} for n in (1, 2)],
        "healthmonitor": monitor,
    }
    listener = {"protocol": "HTTP", "protocol_port": 80, "default_pool": pool}
    return {"loadbalancer": {"vip_subnet_id": subnet, "listeners": [listener]}}


class Tenant:
    """Makes changes, one after the other, and says what each took."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._api = controller.api
        self._addresses = itertools.cycle(f"192.0.2.{n}" for n in range(100, 200))
        self._members = self._pool_of(self.graph()[1])

    def create(self) -> tuple[float, str]:
        """CPU seconds, and the id of the load balancer."""
        body = {"loadbalancer": {"vip_subnet_id": self._api.subnet}}
        cpu_s, (made,) = self._controller.settle(("POST", "/loadbalancers", body))
        return cpu_s, made["loadbalancer"]["id"]

    def graph(self) -> tuple[float, str]:
        """All in one request."""
        cpu_s, (made,) = self._controller.settle(("POST", "/loadbalancers", populated(self._api.subnet)))
        return cpu_s, made["loadbalancer"]["id"]

    def graph_step_by_step(self) -> float:
        """Six requests, each when the one before is settled."""
        total, lb = self.create()

        def one(path: str, root: str, **values: Any) -> str:
            nonlocal total
            cpu_s, (made,) = self._controller.settle(("POST", path, {root: values}))
            total += cpu_s
            return str(made[root]["id"])

        listener = one("/listeners", "listener", loadbalancer_id=lb, protocol="HTTP", protocol_port=80)
        pool = one("/pools", "pool", listener_id=listener, protocol="HTTP", lb_algorithm="ROUND_ROBIN")
        for number in (1, 2):
            one(f"/pools/{pool}/members", "member", address=f"192.0.2.{number}", protocol_port=80)
        one("/healthmonitors", "healthmonitor", pool_id=pool, type="HTTP", delay=5, timeout=3, max_retries=2)
        self.delete(lb)
        return total

    def delete(self, load_balancer_id: str) -> None:
        """So that the network does not run out of addresses."""
        self._controller.settle(("DELETE", f"/loadbalancers/{load_balancer_id}?cascade=true", None))

    def member(self) -> tuple[float, float, float]:
        """Add one to a full graph, weigh it, remove it."""
        body = {"member": {"address": next(self._addresses), "protocol_port": 80}}
        add_s, (made,) = self._controller.settle(("POST", self._members, body))
        one = f"{self._members}/{made['member']['id']}"
        weigh_s, _ = self._controller.settle(("PUT", one, {"member": {"weight": 7}}))
        remove_s, _ = self._controller.settle(("DELETE", one, None))
        return add_s, weigh_s, remove_s

    def _pool_of(self, load_balancer_id: str) -> str:
        pools = self._api.ask("GET", f"/loadbalancers/{load_balancer_id}")["loadbalancer"]["pools"]
        return f"/pools/{pools[0]['id']}/members"


def measure(kind: str, topology: Topology, runs: int) -> None:
    with backend(kind) as behind, Controller(behind, topology) as controller:
        tenant = Tenant(controller)
        for _ in range(5):  # statements are compiled, plans are remembered
            tenant.graph_step_by_step()
            tenant.member()
        create = [_and_delete(tenant, tenant.create) for _ in range(runs)]
        graph = [_and_delete(tenant, tenant.graph) for _ in range(runs)]
        steps = [tenant.graph_step_by_step() * 1e3 for _ in range(runs)]
        members = [[one * 1e3 for one in tenant.member()] for _ in range(runs)]
    add, weigh, remove = zip(*members, strict=True)
    show(
        f"CPU of a change until it is settled, {kind}, {topology.value}, drivers in memory",
        "ms",
        [
            Row("create load balancer", create, 17),
            Row("full graph, one request", graph, 50),
            Row("full graph, six requests", steps, 50),
            Row("member added", add, 10),
            Row("member weighed", weigh, 10),
            Row("member removed", remove, 10),
        ],
    )


def _and_delete(tenant: Tenant, make: Callable[[], tuple[float, str]]) -> float:
    cpu_s, load_balancer_id = make()
    tenant.delete(load_balancer_id)
    return cpu_s * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--backend", action="append", choices=BACKENDS)
    parser.add_argument("--topology", action="append", type=Topology, choices=list(Topology))
    options = parser.parse_args()
    for kind in options.backend or ("sqlite", "mariadb"):
        for topology in options.topology or Topology:
            measure(kind, topology, options.runs)


if __name__ == "__main__":
    main()
