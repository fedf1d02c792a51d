# SPDX-License-Identifier: Apache-2.0
"""Requests per second through an amphora beside a hand-tuned HAProxy, same machine, same run (budget: 95 %).

Both balance the same two backends (HAProxy answering from memory, in a namespace of its own) and are reached
over the same bridge; wrk asks one after the other, again and again, so that what else the machine does meets
both alike. The median of the ratios of neighbouring rounds is what counts; CPU of the balancer's processes a
request stands beside it, which a busy machine spoils less.
"""

import argparse
import re
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks._cpu import on_cpu_s
from benchmarks._report import machine as this_machine
from benchmarks._standalone import amphorae, await_, processes_of, standalone
from octavia.cmd.standalone.configuration import configuration
from octavia.cmd.standalone.state import State
from octavia.domain.tree import Topology
from octavia.drivers.local.configured import topology as network_topology
from octavia.drivers.local.process import Interface, NamespacedProcess, ProcessSpec
from octavia.drivers.local.storage import make_private_directory
from octavia.drivers.network.local import LocalNetwork
from tests.scenario.standalone import SUBNET, Machine, fetch

PORTS: Final = (8081, 8082)
_COMMON: Final = """\
global
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


def backend_config() -> str:
    """Answers 200 from memory."""
    answer = 'http-request return status 200 content-type text/plain string "hello"'
    fronts = [f"frontend web-{port}\n    bind 0.0.0.0:{port}\n    {answer}\n" for port in PORTS]
    return _COMMON + "".join(fronts)


def tuned_config(backend: str) -> str:
    """What somebody who knows HAProxy writes for this one purpose: nothing that is not needed."""
    servers = "".join(f"    server web-{port} {backend}:{port}\n" for port in PORTS)
    front = "frontend front\n    bind 0.0.0.0:80\n    default_backend back\n"
    return f"{_COMMON}{front}backend back\n    balance roundrobin\n    http-reuse safe\n{servers}"


def place(machine: Machine, name: str, config: str, port: int) -> tuple[str, int]:
    """HAProxy in namespaces of its own on the subnet of VIPs, as an amphora is; its address and pid."""
    state = State(machine.state)
    network = LocalNetwork(network_topology(configuration(state)), state.installation)
    on = network.get_subnet(SUBNET)
    wired = network.ensure_port(f"octavia-demo-{name}", on.network_id, [(on.id, None)])
    make_private_directory(state.demo)  # 'down' ends what is there
    process = NamespacedProcess(state.demo / name, state.installation)
    process.start(
        ProcessSpec(
            hostname=name,
            command=("haproxy", "-db", "-f", "/etc/benchmark/haproxy.cfg"),
            files={"/etc/benchmark/haproxy.cfg": config.encode()},
            interfaces=(
                Interface(
                    port_id=wired.id,
                    bridge=network.bridge(wired.network_id),
                    name="eth0",
                    mac_address=wired.mac_address,
                    mtu=network.get_network(wired.network_id).mtu,
                    interfaces=network.interfaces(wired),
                ),
            ),
        )
    )
    address = wired.fixed_ips[0].ip_address
    await_(lambda: answers(address, port), f"{name} answers")
    assert process.pid is not None
    return address, process.pid


def answers(address: str, port: int) -> bool:
    try:
        return fetch(address, port) == "hello"
    except (OSError, ValueError):
        return False


def requests_per_s(address: str, connections: int, seconds: int) -> float:
    """:raises AssertionError: a request failed."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://{address}/"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Non-2xx" not in done.stdout, done.stdout
    assert "Socket errors" not in done.stdout, done.stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


@dataclass
class Contender:
    """Who is asked, and what it did.

    :param pids: of its HAProxy.
    """

    what: str
    address: str
    pids: Sequence[int]
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def round(self, connections: int, seconds: int) -> None:
        """Requests per second of one round, and microseconds of CPU a request."""
        before = self._cpu_s()
        rate = requests_per_s(self.address, connections, seconds)
        self.rates.append(rate)
        self.cpu_us.append((self._cpu_s() - before) / (rate * seconds) * 1e6)

    def _cpu_s(self) -> float:
        return sum(on_cpu_s(pid) for pid in self.pids)

    def __str__(self) -> str:
        middle, cpu_us = statistics.median(self.rates), statistics.median(self.cpu_us)
        span = f"{min(self.rates):.0f} to {max(self.rates):.0f}"
        return f"{self.what:20} median {middle:7.0f} requests/s ({span}), {cpu_us:5.1f} us of CPU a request"


def measure(rounds: int, connections: int, seconds: int) -> None:
    with standalone(Topology.SINGLE) as machine:
        backend, _ = place(machine, "backend", backend_config(), PORTS[0])
        address, pid = place(machine, "tuned", tuned_config(backend), 80)
        tuned = Contender("hand-tuned HAProxy", address, [pid])
        members = [{"address": backend, "protocol_port": port, "subnet_id": SUBNET} for port in PORTS]
        made = machine.create("dataplane", members)
        machine.await_active(made["id"])
        amphora = Contender("through the amphora", made["vip_address"], haproxy_pids(machine, made["id"]))
        await_(lambda: answers(amphora.address, 80), "the VIP answers")
        for one in (amphora, tuned):
            requests_per_s(one.address, connections, 1)
        for number in range(rounds):
            # A B, B A, A B: neither is always the first.
            for one in (amphora, tuned) if number % 2 == 0 else (tuned, amphora):
                one.round(connections, seconds)
        measured_on = this_machine()
    ratio = statistics.median(a / b for a, b in zip(amphora.rates, tuned.rates, strict=True))
    cpu_ratio = statistics.median(b / a for a, b in zip(amphora.cpu_us, tuned.cpu_us, strict=True))
    verdict = "met" if ratio >= 0.95 else "NOT MET"
    print(f"wrk with {connections} connections, {rounds} rounds of {seconds} s each\n{measured_on}")
    print(f"{amphora}\n{tuned}")
    print(
        f"median ratio of requests/s {ratio:.1%} (budget 95 %: {verdict}); of requests a CPU second", end=" "
    )
    print(f"{cpu_ratio:.1%}\n", flush=True)


def haproxy_pids(machine: Machine, load_balancer_id: str) -> list[int]:
    """The master in the first amphora; its worker is counted with it."""
    (first, *_) = amphorae(machine, load_balancer_id)
    names = processes_of(machine, first["id"])
    return [min(pid for pid, name in names.items() if name == "haproxy")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=1, help="of one round")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: apt-get install wrk")
    measure(options.rounds, options.connections, options.seconds)


if __name__ == "__main__":
    main()
