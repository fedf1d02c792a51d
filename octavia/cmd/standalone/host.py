# SPDX-License-Identifier: Apache-2.0
"""What of an installation is on this machine: its networks, amphorae and demo web servers.

Making amphorae is not here: that is the worker's, through the drivers.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from oslo_config import cfg

from octavia.cmd.standalone import web_server
from octavia.cmd.standalone.state import State
from octavia.drivers.local import links
from octavia.drivers.local.addresses import subnet_id
from octavia.drivers.local.configured import topology
from octavia.drivers.local.process import NamespacedProcess, ProcessSpec, ProcessState
from octavia.drivers.local.storage import locked, make_private_directory
from octavia.drivers.local.syslog import flow_log
from octavia.drivers.network.local import LocalNetwork

# Where an amphora's HAProxy and keepalived are, seen from inside it (contract: data-plane.md section 10).
TRAFFIC_NAMESPACE: Final = "/run/netns/amphora-haproxy"


def start_web_server(conf: cfg.ConfigOpts, state: State, name: str, subnet: str, port: int) -> str:
    """One demo web server in namespaces of its own; running is a success.

    :returns: its address on the subnet.
    :raises Transient: it did not start.
    """
    network = LocalNetwork(topology(conf), state.installation)
    on = network.get_subnet(subnet_id(subnet))
    wired = network.ensure_port(f"octavia-demo-{name}", on.network_id, [(on.id, None)])
    address = wired.fixed_ips[0].ip_address
    make_private_directory(state.demo)
    with locked(state.demo / ".lock"):
        process = NamespacedProcess(state.demo / name, state.installation)
        if process.state() is ProcessState.ENDED:
            process.remove()
        process.start(
            ProcessSpec(
                hostname=name,
                command=(sys.executable, "-I", "-S", web_server.__file__, name, address, str(port)),
                interfaces=(network.interface(wired, "eth0", with_addresses=True),),
            )
        )
    return address


def amphorae(state: State) -> dict[str, int | None]:
    """The amphorae whose files are here, with their process numbers; None where it has ended."""
    return {process.directory.name: process.pid for process in _processes(state.installation.amphorae, state)}


def flow_logs(state: State, amphora_ids: Iterable[str]) -> dict[str, Path]:
    """Where the flow logs of those amphorae are, as far as they are on this machine and there are any."""
    every = {one: flow_log(state.installation.amphorae / one) for one in amphora_ids}
    return {one: path for one, path in every.items() if path.exists()}


def web_servers(state: State) -> dict[str, int | None]:
    """The demo web servers, likewise."""
    return {process.directory.name: process.pid for process in _processes(state.demo, state)}


def _processes(parent: Path, state: State) -> list[NamespacedProcess]:
    if not parent.is_dir():
        return []
    return [
        NamespacedProcess(parent / name, state.installation)
        for name in sorted(os.listdir(parent))
        if (parent / name).is_dir()
    ]


def owner_of(state: State, amphora_ids: Sequence[str], vip: str) -> str | None:
    """Which of the amphorae has the VIP on an interface just now."""
    for amphora_id in amphora_ids:
        pid = amphorae(state).get(amphora_id)
        if pid is not None and _has_address(pid, vip):
            return amphora_id
    return None


def _has_address(pid: int, wanted: str) -> bool:
    try:
        namespace = os.open(f"/proc/{pid}/root{TRAFFIC_NAMESPACE}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # it ended meanwhile, or has not got so far
    try:
        found = links.run_inside(namespace, links.addresses)
    finally:
        os.close(namespace)
    return any(address.interface.ip == ip_address(wanted) for address in found)


def kill_amphora(state: State, amphora_id: str) -> None:
    """SIGKILL, as a burning machine would end; its files stay."""
    NamespacedProcess(state.installation.amphorae / amphora_id, state.installation).stop()


def remove_everything(state: State) -> str:
    """End every amphora and demo web server, remove links and routes; what was removed, for people.

    The controller must have ended, or it would make them anew. What the database knows stays.
    """
    processes = [*_processes(state.installation.amphorae, state), *_processes(state.demo, state)]
    for process in processes:
        process.remove()
    if state.demo.is_dir():
        shutil.rmtree(state.demo)
    ours = [name for name in links.names() if state.installation.owns(name)]
    links.remove(*ours)
    links.remove_unreachable(metric=state.installation.route_metric)
    return f"{len(processes)} process trees with their namespaces, {len(ours)} network links, the routes"
