# SPDX-License-Identifier: Apache-2.0
"""Requests per second through an amphora beside a hand-tuned HAProxy, same machine, same run (budget: 95 %).

Both balance the same two backends (HAProxy answering from memory, in a namespace of its own) and are reached
over the same bridge; wrk asks one after the other, again and again, so that what else the machine does meets
both alike. The median of the ratios of neighbouring rounds is what counts.
"""

import argparse
import re
import shutil
import statistics
import subprocess
from typing import Final

from benchmarks._report import machine as this_machine
from benchmarks._standalone import await_, standalone
from octavia.cmd.standalone.configuration import configuration
from octavia.cmd.standalone.state import State
from octavia.cmd.wiring import topology as network_topology
from octavia.domain.tree import Topology
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


def place(machine: Machine, name: str, config: str, port: int) -> str:
    """HAProxy in namespaces of its own on the subnet of VIPs, as an amphora is; its address."""
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
    return address


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


def measure(rounds: int, connections: int, seconds: int) -> None:
    with standalone(Topology.SINGLE) as machine:
        backend = place(machine, "backend", backend_config(), PORTS[0])
        tuned = place(machine, "tuned", tuned_config(backend), 80)
        members = [{"address": backend, "protocol_port": port, "subnet_id": SUBNET} for port in PORTS]
        made = machine.create("dataplane", members)
        machine.await_active(made["id"])
        vip = made["vip_address"]
        await_(lambda: answers(vip, 80), "the VIP answers")
        for address in (vip, tuned):
            requests_per_s(address, connections, 1)
        amphora_rates: list[float] = []
        tuned_rates: list[float] = []
        for number in range(rounds):
            # A B, B A, A B: neither is always the first.
            order = (vip, tuned) if number % 2 == 0 else (tuned, vip)
            for address in order:
                rate = requests_per_s(address, connections, seconds)
                (amphora_rates if address == vip else tuned_rates).append(rate)
        machine_line = this_machine()
    ratios = [100 * one / other for one, other in zip(amphora_rates, tuned_rates, strict=True)]
    ratio = statistics.median(ratios)
    print(f"Requests/s, wrk with {connections} connections, {seconds} s a round\n{machine_line}")
    for what, values, unit in (
        ("through the amphora", amphora_rates, "requests/s"),
        ("hand-tuned HAProxy", tuned_rates, "requests/s"),
        ("ratio", ratios, "%"),
    ):
        middle = statistics.median(values)
        print(f"{what:20} median {middle:9.1f}  {min(values):9.1f} to {max(values):9.1f}  {unit}")
    print(
        f"{rounds} rounds; budget: median ratio ≥ 95 %: {'met' if ratio >= 95 else 'NOT MET'}\n", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=3, help="of one round")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: apt-get install wrk")
    measure(options.rounds, options.connections, options.seconds)


if __name__ == "__main__":
    main()
