# SPDX-License-Identifier: Apache-2.0
"""From POST of a load balancer with listener, pool and member until it is ACTIVE, and until its VIP serves.

Plain HTTP against a real standalone: every amphora is built cold. Budgets: 1 s SINGLE, 1.5 s ACTIVE_STANDBY.
``--phases`` says where the time goes, from the controller's debug log, which costs some time itself.
"""

import argparse
import time
from collections import defaultdict

from benchmarks._report import Row, show
from benchmarks._standalone import await_, delete, log_moments, standalone, web_servers
from octavia.cmd.standalone.probe import Probe
from octavia.domain.tree import Topology
from tests.scenario.standalone import Machine, member

BUDGET_S = {Topology.SINGLE: 1.0, Topology.ACTIVE_STANDBY: 1.5}
PORT = 8081


def create(machine: Machine, name: str) -> tuple[float, float, float, str]:
    """Seconds from sending the request until its answer, ACTIVE and the first 200; and the id."""
    began = time.monotonic()
    made = machine.create(name, [member(PORT)])
    answered = time.monotonic()
    await_(lambda: machine.is_active(made["id"]), "ACTIVE", every_s=0.02)
    active = time.monotonic()
    with Probe(made["vip_address"], 80) as probe:
        assert probe.wait_for_answers(active, count=1, timeout_seconds=30), "the VIP does not answer"
    first = min(answer.answered for answer in probe.answers())
    return answered - began, active - began, first - began, made["id"]


def measure(topology: Topology, runs: int, phases: bool) -> None:
    sections = {"DEFAULT": {"debug": "true"}} if phases else {}
    with standalone(topology, **sections) as machine, web_servers(PORT):
        times = []
        for number in range(runs):
            *took, load_balancer_id = create(machine, f"lb-{number}")
            times.append(took)
            delete(machine, load_balancer_id)
        steps = _phases(machine) if phases else []
    answered, active, serving = zip(*times, strict=True)
    show(
        f"POST → ACTIVE → first 200, {topology.value}, cold, plain HTTP",
        "s",
        [
            Row("POST answered", answered),
            Row("ACTIVE", active),
            Row("first 200 through the VIP", serving, BUDGET_S[topology]),
            *steps,
        ],
        digits=3,
    )


def _phases(machine: Machine) -> list[Row]:
    """When each step first said Done, counted from the first step of its load balancer.

    Of a pair the faster amphora; after the last Push comes the election of the VIP's owner.
    """
    began: dict[str, float] = {}
    done: dict[str, dict[str, float]] = defaultdict(dict)
    for moment, match in log_moments(machine, r"\] ([0-9a-f-]{36}) (\w+): Done"):
        load_balancer_id, step = match.groups()
        began.setdefault(load_balancer_id, moment.timestamp())
        if step not in ("Retire", "ReleaseVip"):
            done[step].setdefault(load_balancer_id, moment.timestamp() - began[load_balancer_id])
    return [Row(f"  {step} done", list(values.values())) for step, values in done.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--phases", action="store_true")
    parser.add_argument("--topology", action="append", type=Topology, choices=list(Topology))
    options = parser.parse_args()
    for topology in options.topology or Topology:
        measure(topology, options.runs, options.phases)


if __name__ == "__main__":
    main()
