# SPDX-License-Identifier: Apache-2.0
"""How long a VIP is silent when its owner dies, and when the replacement begins.

The owner's host is killed (every process at once, SIGKILL), or HAProxy alone, or keepalived alone (SIGTERM,
which hands the VIP over). A client asks every 20 ms over connections of their own; silence is the longest
time without an answer. Budgets: 1 s of silence, and a replacement that begins within 15 s of a host's death.
"""

import argparse
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

from benchmarks._report import Row, show
from benchmarks._standalone import (
    amphorae,
    await_,
    owner,
    process,
    processes_of,
    standalone,
    web_servers,
)
from octavia.cmd.standalone.probe import Probe
from octavia.domain.tree import Topology
from tests.scenario.standalone import Machine, member

PORT = 8081
SETTLED_S = 120.0


def kill_host(machine: Machine, amphora_id: str) -> None:
    process(machine, amphora_id).stop()


def kill_haproxy(machine: Machine, amphora_id: str) -> None:
    """Master and worker at once: nothing is left that could hand anything over."""
    names = processes_of(machine, amphora_id)
    held = [os.pidfd_open(pid) for pid, name in names.items() if name == "haproxy"]
    for one in held:
        with suppress(ProcessLookupError):  # the worker ends with its master
            signal.pidfd_send_signal(one, signal.SIGKILL)
        os.close(one)


def stop_keepalived(machine: Machine, amphora_id: str) -> None:
    names = processes_of(machine, amphora_id)
    os.kill(min(pid for pid, name in names.items() if name == "keepalived"), signal.SIGTERM)


DEATHS: dict[str, Callable[[Machine, str], None]] = {
    "host killed": kill_host,
    "HAProxy killed": kill_haproxy,
    "keepalived stopped": stop_keepalived,
}


class Pair:
    """A load balancer with two amphorae that serves."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        made = machine.create("pair", [member(PORT)])
        self.id, self.vip = made["id"], made["vip_address"]
        machine.await_active(self.id)

    def amphorae(self) -> set[str]:
        return {one["id"] for one in amphorae(self._machine, self.id) if one["status"] == "ALLOCATED"}

    def known(self) -> set[str]:
        return {one["id"] for one in amphorae(self._machine, self.id)}

    def owner(self) -> str | None:
        return owner(self._machine, self.id, self.vip)

    def await_whole(self) -> str:
        """Two amphorae serve, and one owns the VIP; its id."""

        def is_whole() -> str | None:
            if len(self.amphorae()) != 2 or not self._machine.is_active(self.id):
                return None
            return self.owner()

        return await_(is_whole, "the pair is whole", within_s=SETTLED_S, every_s=0.2)


def measure(runs: int) -> None:
    silent: dict[str, list[float]] = defaultdict(list)
    replaced: list[float] = []
    with standalone(Topology.ACTIVE_STANDBY) as machine, web_servers(PORT):
        pair = Pair(machine)
        for _ in range(runs):
            for what, kill in DEATHS.items():
                dying = pair.await_whole()
                before = pair.known()
                with Probe(pair.vip, 80) as probe:
                    assert probe.wait_for_answers(time.monotonic(), count=10, timeout_seconds=30)
                    died = time.monotonic()
                    kill(machine, dying)
                    time.sleep(3.0)  # the window that is looked at, not a wait for something
                    silent[what].append(probe.silence(died))
                if kill is kill_host:
                    await_(
                        lambda known=before: pair.known() - known,  # type: ignore[misc]
                        "a replacement begins",
                        within_s=60,
                        every_s=0.1,
                    )
                    replaced.append(time.monotonic() - died)
    show(
        "Takeover of a VIP, ACTIVE_STANDBY, standalone's timers",
        "s",
        [
            *(Row(f"silence: {what}", values, 1.0, of_p99=True) for what, values in silent.items()),
            Row("replacement begins, host killed", replaced, 15.0, of_p99=True),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each kind of death")
    measure(parser.parse_args().runs)


if __name__ == "__main__":
    main()
