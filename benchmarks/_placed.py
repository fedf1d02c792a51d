# SPDX-License-Identifier: Apache-2.0
"""Programs in namespaces of their own on the subnet of VIPs: laid out as an amphora is, and none."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks._standalone import await_
from octavia.amphora_agent.netns import SYSCTLS
from octavia.cmd.standalone.configuration import configuration
from octavia.cmd.standalone.state import State
from octavia.drivers.local.configured import topology
from octavia.drivers.local.process import NamespacedProcess, ProcessSpec
from octavia.drivers.local.storage import make_private_directory
from octavia.drivers.network.local import LocalNetwork
from tests.scenario.standalone import SUBNET, Machine

FILES: Final = "/etc/benchmark"
"""Where a program finds the files that it is given."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One that runs.

    :param pid: of the first process, as this machine counts.
    """

    address: str
    pid: int
    process: NamespacedProcess

    @property
    def network(self) -> str:
        """What names its network namespace."""
        return f"/proc/{self.pid}/ns/net"

    def received(self) -> int:
        """Packets so far, at its interface."""
        for line in Path(f"/proc/{self.pid}/net/dev").read_text().splitlines():
            name, _, numbers = line.strip().partition(":")
            if name == "eth0":
                return int(numbers.split()[1])
        raise AssertionError("it has no interface")


def place(machine: Machine, name: str, command: Iterable[str], files: Mapping[str, bytes]) -> Placed:
    """Run it until the machine is closed, with an amphora's kernel settings.

    :param files: by their names beneath :data:`FILES`.
    """
    state = State(machine.state)
    network = LocalNetwork(topology(configuration(state)), state.installation)
    on = network.get_subnet(SUBNET)
    wired = network.ensure_port(f"octavia-demo-{name}", on.network_id, [(on.id, None)])
    make_private_directory(state.demo)  # 'down' ends what is there
    process = NamespacedProcess(state.demo / name, state.installation)
    process.start(
        ProcessSpec(
            hostname=name,
            command=("sh", f"{FILES}/start.sh"),
            files={f"{FILES}/{path}": content for path, content in {**files, **_start(command)}.items()},
            interfaces=(network.interface(wired, "eth0", with_addresses=True),),
        )
    )
    pid = process.pid
    assert pid is not None, process.last_words()
    return Placed(wired.fixed_ips[0].ip_address, pid, process)


def _start(command: Iterable[str]) -> Mapping[str, bytes]:
    settings = [
        f"[ ! -e /proc/sys/{path} ] || echo '{value}' >/proc/sys/{path}" for path, value in SYSCTLS.items()
    ]
    return {"start.sh": "\n".join([*settings, f"exec {shlex.join(command)}", ""]).encode()}


def place_haproxy(
    machine: Machine, name: str, config: str, port: int, files: Mapping[str, bytes] | None = None
) -> Placed:
    """HAProxy with this configuration, once it listens there."""
    command = ("haproxy", "-db", "-f", f"{FILES}/haproxy.cfg")
    placed = place(machine, name, command, {"haproxy.cfg": config.encode(), **(files or {})})
    await_(lambda: listens(placed, port, "tcp"), f"{name} listens")
    return placed


def listens(placed: Placed, port: int, protocol: str) -> bool:
    """Has somebody there bound this port? ``protocol`` is tcp or udp.

    :raises AssertionError: the program has ended.
    """
    table = Path(f"/proc/{placed.pid}/net/{protocol}")
    assert table.exists(), f"it ended at its start: {placed.process.last_words()}"
    local = [line.split()[1] for line in table.read_text().splitlines()[1:]]
    return any(address.endswith(f":{port:04X}") for address in local)
