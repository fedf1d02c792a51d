# SPDX-License-Identifier: Apache-2.0
"""Memory of an amphora's agent and of the controller, after some work.

Budgets: the agent is one process of at most 50 MiB RSS; all controller processes together 350 MiB PSS. RSS
counts shared pages in full; PSS counts each page's share.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from benchmarks._report import Row, show
from benchmarks._standalone import amphorae, delete, processes_of, standalone, web_servers
from octavia.domain.tree import Topology
from tests.scenario.standalone import Machine, member

PORTS = (8081, 8082)
_NATIVE = ("haproxy", "keepalived")


def memory_mib(pid: int) -> tuple[float, float]:
    """RSS and PSS in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB", text, re.MULTILINE))
    return int(found["Rss"]) / 1024, int(found["Pss"]) / 1024


def is_below(pid: int, names: Mapping[int, str]) -> bool:
    """Is it HAProxy, keepalived, or something that they started, as keepalived does with its checks?"""
    while pid in names:
        if names[pid] in _NATIVE:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            return True  # a check that has ended meanwhile
    return False


def work(machine: Machine, changes: int) -> list[str]:
    """Load balancers with listeners and members that come and go; the amphorae of those that stay."""
    kept = []
    for number in range(3):
        made = machine.create(f"lb-{number}", [member(PORTS[0])])
        machine.await_active(made["id"])
        path = f"/pools/{made['pools'][0]['id']}/members"
        for _ in range(changes):
            added = machine.ask("POST", path, {"member": member(PORTS[1])}).json()["member"]
            machine.await_active(made["id"])
            machine.ask("DELETE", f"{path}/{added['id']}")
            machine.await_active(made["id"])
        if number == 0:
            delete(machine, made["id"])
        else:
            kept += [str(one["id"]) for one in amphorae(machine, made["id"])]
    return kept


def measure(changes: int) -> None:
    rss: dict[str, list[float]] = defaultdict(list)
    agents_pss: list[float] = []
    agent_processes = set()
    with standalone(Topology.ACTIVE_STANDBY) as machine, web_servers(*PORTS):
        for amphora_id in work(machine, changes):
            names = processes_of(machine, amphora_id)
            ours = [pid for pid in names if not is_below(pid, names)]
            agent_processes.add(len(ours))
            rss["agent"] += [memory_mib(pid)[0] for pid in ours]
            agents_pss += [memory_mib(pid)[1] for pid in ours]
            for name in _NATIVE:
                rss[name] += [memory_mib(pid)[0] for pid, known in names.items() if known == name]
        assert machine.controller
        controller_rss, controller_pss = memory_mib(machine.controller.pid)
    show(
        f"Memory, ACTIVE_STANDBY, two load balancers, after {6 * changes} changes of members",
        "MiB",
        [
            Row("agent, RSS", rss.pop("agent"), 50),
            Row("agent, PSS", agents_pss),
            *(Row(f"{name}, RSS of a process", values) for name, values in sorted(rss.items())),
            Row("controller (all in one process), RSS", [controller_rss]),
            Row("controller (all in one process), PSS", [controller_pss], 350),
        ],
        digits=1,
    )
    print(f"agent processes in an amphora: {sorted(agent_processes)} (budget 1)\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=20, help="members added and removed a load balancer")
    measure(parser.parse_args().changes)


if __name__ == "__main__":
    main()
