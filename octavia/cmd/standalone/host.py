# SPDX-License-Identifier: Apache-2.0
"""What of an installation is on this machine: its networks, amphorae and demo web servers.

Making amphorae is not here: that is the worker's, through the drivers.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from oslo_config import cfg

from octavia.cmd.standalone import web_server
from octavia.cmd.standalone.errors import Refusal
from octavia.cmd.standalone.state import State
from octavia.config.standalone import SubnetPlan, controller_address, parse_networks
from octavia.drivers.local import links
from octavia.drivers.local.addresses import NetworkSettings, SubnetSettings, Topology, subnet_id
from octavia.drivers.local.process import Interface, NamespacedProcess, ProcessSpec, ProcessState
from octavia.drivers.local.storage import locked, make_private_directory
from octavia.drivers.network.local import LocalNetwork

MANAGEMENT: Final = "management"


def topology(conf: cfg.ConfigOpts) -> Topology:
    """The management network, and the networks for VIPs and members.

    :raises Refusal: the configuration makes no sense; with what to change.
    """
    standalone = conf.standalone
    try:
        management = SubnetSettings(
            name=MANAGEMENT,
            cidr=standalone.management_cidr,
            gateway_ip=controller_address(standalone.management_cidr),
        )
        settings = _networks(parse_networks(standalone.networks))
        return Topology((NetworkSettings(name=MANAGEMENT, subnets=(management,)), *settings))
    except ValueError as why:
        raise Refusal(f"{why} Change it in {standalone.state_dir}/octavia.conf.") from why


def _networks(plans: Sequence[SubnetPlan]) -> Iterator[NetworkSettings]:
    for name in dict.fromkeys(plan.network for plan in plans):
        yield NetworkSettings(
            name=name,
            subnets=tuple(
                SubnetSettings(name=plan.subnet, cidr=str(plan.cidr), gateway_ip=str(plan.cidr[1]))
                for plan in plans
                if plan.network == name
            ),
        )


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
    return address


def amphorae(state: State) -> dict[str, int | None]:
    """The amphorae whose files are here, with their process numbers; None where it has ended."""
    return {process.directory.name: process.pid for process in _processes(state.installation.amphorae, state)}


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
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # it ended meanwhile
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
