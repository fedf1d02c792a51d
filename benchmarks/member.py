# SPDX-License-Identifier: Apache-2.0
"""From the API's answer to a member's change until the data plane does it, while the VIP is under load.

Add, weigh, drain, take back, remove one member of a pool that has a given number of them: seen in HAProxy's
runtime sockets, or (UDP) in the kernel's table, of all amphorae of the load balancer.
Budgets: p99 100 ms, no reload, no failed request.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from benchmarks._cpu import on_cpu_so_far_s
from benchmarks._live import Amphora, Haproxy, Kernel
from benchmarks._report import Row, show
from benchmarks._standalone import amphorae, await_, process, standalone, web_servers
from benchmarks._traffic import PORT, HttpLoad, Load, UdpLoad, udp_servers
from octavia.domain.tree import Topology
from tests.scenario.standalone import HOST_ON, SUBNET, Machine, member, populated

FIRST_PORT: Final = 10000
CHANGED_PORT: Final = 8083
PROTOCOLS: Final = ("HTTP", "TCP", "UDP")


class Member:
    """The member that changes, as a tenant and as the amphorae see it."""

    def __init__(self, machine: Machine, pool_id: str, seen_by: list[Amphora]) -> None:
        self._machine = machine
        self._path = f"/pools/{pool_id}/members"
        self._seen_by = seen_by
        self._shown: Mapping[str, Any] = {}

    def add(self) -> float:
        return self._live("POST", self._path, member(CHANGED_PORT), lambda one: one.has(self._shown))

    def weigh(self, weight: int) -> float:
        path = f"{self._path}/{self._shown['id']}"
        return self._live("PUT", path, {"weight": weight}, lambda one: one.has(self._shown))

    def remove(self) -> float:
        path = f"{self._path}/{self._shown['id']}"
        return self._live("DELETE", path, None, lambda one: one.lacks(self._shown))

    def _live(self, method: str, path: str, body: Any, is_live: Callable[[Amphora], bool]) -> float:
        """Milliseconds from the API's answer until every amphora has it."""
        for one in self._seen_by:
            one.mark()
        answer = self._machine.ask(method, path, {"member": body} if body else None)
        began = time.monotonic()
        assert answer.is_success, answer.text
        self._shown = answer.json()["member"] if answer.content else self._shown
        await_(lambda: all(map(is_live, self._seen_by)), "the change is live", within_s=10, every_s=0.002)
        return (time.monotonic() - began) * 1e3


def load_balancer(machine: Machine, protocol: str, members: int, *, monitored: bool) -> dict[str, Any]:
    """One whose pool has so many members, ACTIVE."""
    body = populated("members", [member(FIRST_PORT + number) for number in range(members)])
    (listener,) = body["loadbalancer"]["listeners"]
    listener |= {"protocol": protocol, "protocol_port": PORT}
    listener["default_pool"]["protocol"] = protocol
    if monitored:
        kind = "UDP-CONNECT" if protocol == "UDP" else "TCP"
        monitor = {"type": kind, "delay": 5, "timeout": 3, "max_retries": 2}
        listener["default_pool"]["healthmonitor"] = monitor
    answer = machine.ask("POST", "/loadbalancers", body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["loadbalancer"]
    machine.await_active(made["id"])
    return made


def servers(protocol: str, members: int) -> AbstractContextManager[None]:
    """What answers for the members."""
    ports = range(FIRST_PORT, FIRST_PORT + members)
    return (
        udp_servers(HOST_ON[SUBNET], (*ports, CHANGED_PORT))
        if protocol == "UDP"
        else web_servers(CHANGED_PORT, ports)
    )


def changes(one: Member, runs: int) -> dict[str, list[float]]:
    """Milliseconds of each kind of change."""
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        took["added"].append(one.add())
        took["weighed"].append(one.weigh(7))
        took["drained (weight 0)"].append(one.weigh(0))
        took["taken back"].append(one.weigh(1))
        took["removed"].append(one.remove())
    return took


class _Cpu:
    """Of the controller and of each agent: what survives a busy machine, where the time does not."""

    def __init__(self, machine: Machine, amphora_ids: list[str]) -> None:
        assert machine.controller
        agents = [process(machine, one).pid for one in amphora_ids]
        self._pids = [machine.controller.pid, *(one for one in agents if one is not None)]
        self._before = list(map(on_cpu_so_far_s, self._pids))

    def ms_since(self) -> list[float]:
        now = map(on_cpu_so_far_s, self._pids)
        return [(after - before) * 1e3 for before, after in zip(self._before, now, strict=True)]


def measure(topology: Topology, protocol: str, members: int, runs: int, *, monitored: bool) -> None:
    with standalone(topology) as machine, servers(protocol, members):
        made = load_balancer(machine, protocol, members, monitored=monitored)
        ids = [one["id"] for one in amphorae(machine, made["id"])]
        seen_by: list[Amphora] = [
            Kernel(machine, one) if protocol == "UDP" else Haproxy(machine, one, made) for one in ids
        ]
        vip = made["vip_address"]
        load: Load = UdpLoad(vip) if protocol == "UDP" else HttpLoad(vip, kept_alive=protocol == "HTTP")
        cpu = _Cpu(machine, ids)
        load.start()
        try:
            took = changes(Member(machine, made["pools"][0]["id"], seen_by), runs)
        finally:
            load.stop()
        cpu_ms = cpu.ms_since()
        reloads = sum(one.reloads() for one in seen_by)
    what = f"a pool of {members} {protocol} members" + (" with a health monitor" if monitored else "")
    show(
        f"Member changes until live, from the API's answer, {topology.value}, {what}, under load",
        "ms",
        [Row(f"member {kind}", values, 100, of_p99=True) for kind, values in took.items()]
        + [Row("all of them", [one for values in took.values() for one in values], 100, of_p99=True)],
        digits=1,
    )
    count = sum(map(len, took.values()))
    print(
        f"CPU a change: controller {cpu_ms[0] / count:.1f} ms, amphora's agent with the programs that it runs"
        f" {' and '.join(f'{one / count:.1f}' for one in cpu_ms[1:])} ms\n"
        f"{count} changes: {reloads} HAProxy processes reloaded (budget 0);"
        f" {load.answered} requests answered, {len(load.failures)} failed (budget 0)"
        f" {load.failures[:3] or ''}\n",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--topology", action="append", type=Topology, choices=list(Topology))
    parser.add_argument("--protocol", action="append", choices=PROTOCOLS, help="HTTP if none is given")
    parser.add_argument("--members", type=int, default=2, help="that are in the pool already")
    parser.add_argument("--monitor", action="store_true", help="the pool's members are checked")
    options = parser.parse_args()
    for protocol in options.protocol or ["HTTP"]:
        for topology in options.topology or Topology:
            measure(topology, protocol, options.members, options.runs, monitored=options.monitor)


if __name__ == "__main__":
    main()
