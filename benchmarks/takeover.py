# SPDX-License-Identifier: Apache-2.0
"""How long a VIP is silent when its owner dies, who keeps his member, and when the replacement begins.

The owner's host is killed (every process at once, SIGKILL), or HAProxy alone, or keepalived alone (SIGTERM,
which hands the VIP over). A client asks every 20 ms over connections of their own; silence is the longest
time without an answer. Other clients, each of an address of its own, were sent to members before by session
persistence (SOURCE_IP) and ask again afterwards: by chance a quarter of them would meet the same one.
Budgets: 1 s of silence, all sessions kept, and a replacement that begins within 15 s of a host's death.
"""

import argparse
import http.client
import os
import signal
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

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
from tests.scenario.standalone import Machine, member, populated

PORTS: Final = (8081, 8082, 8083, 8084)
SOURCES: Final = tuple(f"198.51.100.{number}" for number in range(1, 65))
"""Of clients whose sessions are to be kept (RFC 5737: nobody's)."""
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
        body = populated("pair", [member(port) for port in PORTS])
        body["loadbalancer"]["listeners"][0]["default_pool"]["session_persistence"] = {"type": "SOURCE_IP"}
        answer = machine.ask("POST", "/loadbalancers", body)
        assert answer.status_code == 201, answer.text
        made = answer.json()["loadbalancer"]
        self.id, self.vip = made["id"], made["vip_address"]
        machine.await_active(self.id)

    def amphorae(self) -> set[str]:
        return {one["id"] for one in amphorae(self._machine, self.id) if one["status"] == "ALLOCATED"}

    def known(self) -> set[str]:
        return {one["id"] for one in amphorae(self._machine, self.id)}

    def others(self, than: set[str]) -> set[str]:
        return self.known() - than

    def owner(self) -> str | None:
        return owner(self._machine, self.id, self.vip)

    def await_whole(self) -> str:
        """Two amphorae serve, and one owns the VIP; its id."""

        def is_whole() -> str | None:
            if len(self.amphorae()) != 2 or not self._machine.is_active(self.id):
                return None
            return self.owner()

        return await_(is_whole, "the pair is whole", within_s=SETTLED_S, every_s=0.2)


def members(vip: str) -> dict[str, str]:
    """Whom each of the sources meets now; those that nobody answers are left out."""
    met = {}
    for source in SOURCES:
        connection = http.client.HTTPConnection(vip, 80, timeout=2, source_address=(source, 0))
        try:
            connection.request("GET", "/")
            met[source] = connection.getresponse().read().decode().strip()
        except OSError:
            continue
        finally:
            connection.close()
    return met


def kept(before: dict[str, str], after: dict[str, str]) -> float:
    """Percent of all that meet whom they met."""
    return 100 * sum(after.get(source) == whom for source, whom in before.items()) / len(before)


def measure(runs: int) -> None:
    same: dict[str, list[float]] = defaultdict(list)
    silent: dict[str, list[float]] = defaultdict(list)
    replaced: list[float] = []
    with standalone(Topology.ACTIVE_STANDBY) as machine, web_servers(*PORTS):
        for source in SOURCES:
            subprocess.run(("ip", "address", "add", f"{source}/32", "dev", "lo"), check=True)
        pair = Pair(machine)
        for _ in range(runs):
            for what, kill in DEATHS.items():
                dying = pair.await_whole()
                known = pair.known()
                before = members(pair.vip)
                assert len(before) == len(SOURCES), "the pair answers before it is hurt"
                assert len(set(before.values())) == len(PORTS), "all members are met"
                with Probe(pair.vip, 80) as probe:
                    assert probe.wait_for_answers(time.monotonic(), count=10, timeout_seconds=30)
                    died = time.monotonic()
                    kill(machine, dying)
                    time.sleep(3.0)  # the window that is looked at, not a wait for something
                    silent[what].append(probe.silence(died))
                same[what].append(kept(before, members(pair.vip)))
                if kill is kill_host:
                    await_(
                        partial(pair.others, known),
                        "a replacement begins",
                        within_s=60,
                        every_s=0.1,
                    )
                    replaced.append(time.monotonic() - died)
    for what, percents in same.items():
        print(
            f"sessions kept, {what}: median {statistics.median(percents):.0f} %, least {min(percents):.0f} %"
        )
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
