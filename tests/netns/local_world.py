# SPDX-License-Identifier: Apache-2.0
"""One installation of the local drivers in a network namespace of its own, and ways to look at it."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from octavia.drivers.compute.local import LocalCompute
from octavia.drivers.local import links
from octavia.drivers.local.addresses import NetworkSettings, SubnetSettings, Topology, network_id
from octavia.drivers.local.installation import Installation
from octavia.drivers.local.process import NamespacedProcess
from octavia.drivers.network.local import LocalNetwork
from octavia.drivers.network.memory import SAMPLE
from tests.netns.own_network import own_network

MANAGEMENT = network_id("management")
TOPOLOGY = Topology(
    (
        NetworkSettings(
            name="management",
            subnets=(SubnetSettings(name="management", cidr="198.18.0.0/20", gateway_ip="198.18.0.1"),),
        ),
        *SAMPLE.settings,
    )
)


@dataclass(frozen=True)
class LocalWorld:
    installation: Installation
    network: LocalNetwork
    compute: LocalCompute

    def process(self, compute_id: str) -> NamespacedProcess:
        return NamespacedProcess(self.installation.amphorae / compute_id, self.installation)

    def pairs(self) -> list[str]:
        return sorted(name for name in links.names() if self.installation.owns_pair(name))

    def output(self, compute_id: str) -> str:
        return self.process(compute_id).log.read_text()


def a_world(state: Path, command: tuple[str, ...]) -> LocalWorld:
    installation = Installation(state)
    network = LocalNetwork(TOPOLOGY, installation)
    return LocalWorld(installation, network, LocalCompute(installation, network, MANAGEMENT, command))


@contextmanager
def local_world(state: Path, command: tuple[str, ...]) -> Iterator[LocalWorld]:
    """Its bridges up; whatever runs at the end is killed."""
    with own_network():
        world = a_world(state, command)
        world.network.ensure()
        try:
            yield world
        finally:
            for server in world.compute.list():
                world.compute.delete(server.compute_id)
            world.network.remove_all()


def eventually(claim: Callable[[], bool], *, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def processes_naming(text: str) -> list[int]:
    """Living processes of this machine with ``text`` on their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if text.encode() in line:
                found.append(int(name))
    return found
