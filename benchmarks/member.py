# SPDX-License-Identifier: Apache-2.0
"""From the API's answer to a member's change until HAProxy does it, while the VIP is under load.

Add, weigh, drain, take back, remove: seen in the runtime sockets of all amphorae of the load balancer.
Budgets: p99 100 ms, no reload, no failed request.
"""

import argparse
import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks._report import Row, show
from benchmarks._standalone import HaproxySocket, amphorae, await_, standalone, web_servers
from octavia.domain.tree import Topology
from tests.scenario.standalone import HOST_ON, SUBNET, Machine, member

PORTS = (8081, 8082, 8083)
CHANGED = f"{HOST_ON[SUBNET]}:{PORTS[2]}"
_MAINTENANCE = 0x01 | 0x20  # srv_admin_state: forced by the socket, or by the configuration
Server = Mapping[str, str]


class Load(threading.Thread):
    """Keep-alive clients that each send a request every 20 ms and count what is not a 200."""

    def __init__(self, address: str, clients: int = 8) -> None:
        super().__init__(name="load")
        self._address, self._clients = address, clients
        self._stopping = threading.Event()
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        asyncio.run(self._all())

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    async def _all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self._clients)))

    async def _one(self) -> None:
        while not self._stopping.is_set():
            try:
                reader, writer = await asyncio.open_connection(self._address, 80)
                try:
                    await self._talk(reader, writer)
                finally:
                    writer.close()
            except (OSError, asyncio.IncompleteReadError, ValueError) as why:
                self.failures.append(repr(why))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self._stopping.is_set():
            writer.write(f"GET / HTTP/1.1\r\nHost: {self._address}\r\n\r\n".encode())
            async with asyncio.timeout(2):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                if " 200 " not in head.partition("\r\n")[0]:
                    raise ValueError(head.partition("\r\n")[0])
                await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
            self.answered += 1
            await asyncio.sleep(0.02)


class Member:
    """The member that changes, as a tenant and as HAProxy see it."""

    def __init__(self, machine: Machine, load_balancer_id: str, pool_id: str) -> None:
        self._machine = machine
        self._path = f"/pools/{pool_id}/members"
        self._id = ""
        self.sockets = [
            HaproxySocket(machine, one["id"], load_balancer_id) for one in amphorae(machine, load_balancer_id)
        ]

    def add(self) -> float:
        answer = self._ask("POST", self._path, member(PORTS[2]))
        self._id = answer["id"]
        return self._live(lambda server: server is not None and not _is_off(server))

    def weigh(self, weight: int) -> float:
        self._ask("PUT", f"{self._path}/{self._id}", {"weight": weight})
        return self._live(lambda server: server is not None and int(server["srv_uweight"]) == weight)

    def remove(self) -> float:
        self._ask("DELETE", f"{self._path}/{self._id}")
        return self._live(lambda server: server is None or _is_off(server))

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._machine.ask(method, path, {"member": body} if body else None)
        assert answer.is_success, answer.text
        return answer.json()["member"] if answer.content else None

    def _live(self, is_live: Callable[[Server | None], bool]) -> float:
        """Milliseconds from now until every amphora's HAProxy has it."""
        began = time.monotonic()
        await_(
            lambda: all(is_live(haproxy.servers().get(CHANGED)) for haproxy in self.sockets),
            "the change is live",
            within_s=10,
            every_s=0.002,
        )
        return (time.monotonic() - began) * 1e3


def _is_off(server: Server) -> bool:
    return bool(int(server["srv_admin_state"]) & _MAINTENANCE)


def measure(topology: Topology, runs: int) -> None:
    with standalone(topology) as machine, web_servers(*PORTS):
        made = machine.create("members", [member(port) for port in PORTS[:2]])
        machine.await_active(made["id"])
        changed = Member(machine, made["id"], made["pools"][0]["id"])
        workers = [haproxy.worker_pid() for haproxy in changed.sockets]
        load = Load(made["vip_address"])
        load.start()
        took: dict[str, list[float]] = defaultdict(list)
        for _ in range(runs):
            took["added"].append(changed.add())
            took["weighed"].append(changed.weigh(7))
            took["drained (weight 0)"].append(changed.weigh(0))
            took["taken back"].append(changed.weigh(1))
            took["removed"].append(changed.remove())
        load.stop()
        reloads = sum(
            before != haproxy.worker_pid() for before, haproxy in zip(workers, changed.sockets, strict=True)
        )
    show(
        f"Member changes until live in HAProxy, from the API's answer, {topology.value}, under load",
        "ms",
        [Row(f"member {what}", values, 100, of_p99=True) for what, values in took.items()],
        digits=1,
    )
    print(
        f"{sum(map(len, took.values()))} changes: {reloads} HAProxy processes reloaded (budget 0);"
        f" {load.answered} requests answered, {len(load.failures)} failed (budget 0)"
        f" {load.failures[:3] or ''}\n",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--topology", action="append", type=Topology, choices=list(Topology))
    options = parser.parse_args()
    for topology in options.topology or Topology:
        measure(topology, options.runs)


if __name__ == "__main__":
    main()
