# SPDX-License-Identifier: Apache-2.0
"""Amphorae as namespaces of this machine.

Each is one detached process tree that outlives the controller: its agent is process 1 in namespaces
of its own. The compute id is the amphora's id. An amphora that ended is in ERROR and stays so until
it is deleted, like a machine that burned down; nothing here starts it again. How a process gets into
namespaces is not here: see :mod:`octavia.drivers.local.process`.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from octavia.domain.errors import NotFound, Terminal, Transient
from octavia.drivers.compute.contract import AmphoraSpec, Server, ServerStatus
from octavia.drivers.local import links, syslog
from octavia.drivers.local.installation import Installation
from octavia.drivers.local.process import NamespacedProcess, ProcessSpec, ProcessState, processes_in
from octavia.drivers.local.storage import locked_directory, make_private_directory
from octavia.drivers.network.book import COMPUTE_OWNER
from octavia.drivers.network.contract import Port
from octavia.drivers.network.local import LocalNetwork

AGENT: Final = (
    sys.executable,
    "-m",
    "octavia.cmd.amphora_agent",
    "--config-file",
    "/etc/octavia/amphora-agent.conf",
)
_STATUS: Final = {
    ProcessState.UNSTARTED: ServerStatus.BUILDING,
    ProcessState.RUNNING: ServerStatus.ACTIVE,
    ProcessState.ENDED: ServerStatus.ERROR,
}


class LocalCompute:
    """Implements :class:`octavia.drivers.compute.contract.ComputeDriver`.

    :param management_network_id: where ``eth0`` of every amphora is.
    :param command: what runs as process 1.
    """

    def __init__(
        self,
        installation: Installation,
        network: LocalNetwork,
        management_network_id: str,
        command: tuple[str, ...] = AGENT,
    ) -> None:
        self._installation = installation
        self._network = network
        self._management_network_id = management_network_id
        self._command = command

    def create(self, spec: AmphoraSpec) -> Server:
        """See the contract; ACTIVE when the agent's process runs, not when it answers."""
        process = self._process(spec.amphora_id)
        # The directory comes first and goes last: whatever else there is has an owner in it.
        make_private_directory(self._installation.amphorae)
        make_private_directory(process.directory)
        with _translated(), locked_directory(process.directory) as present:
            if not present:
                raise Transient(f"Amphora {spec.amphora_id} is being deleted.")
            if process.state() is ProcessState.UNSTARTED:
                port = self._network.create_management_port(spec.amphora_id, self._management_network_id)
                hostname = f"amphora-{spec.amphora_id}"
                process.start(
                    ProcessSpec(
                        hostname=hostname,
                        command=self._command,
                        files={**_names(hostname), **syslog.files(), **spec.files},
                        interfaces=(self._network.interface(port, "eth0", with_addresses=True),),
                    )
                )
            return self._server(spec.amphora_id, process.state())

    def get(self, compute_id: str) -> Server | None:
        """See the contract; starts no program."""
        process = self._process(compute_id)
        if not process.directory.is_dir():
            return None
        return self._server(compute_id, process.state())

    def delete(self, compute_id: str) -> None:
        """See the contract."""
        process = self._process(compute_id)
        with _translated(), locked_directory(process.directory) as present:
            if present:
                process.stop_and_unplug()
            self._release_management_port(compute_id)
            if present:
                process.remove()

    def attach_port(self, compute_id: str, port: Port) -> None:
        """See the contract; inside, the interface is down and called ``p`` and part of the port's id."""
        process = self._process(compute_id)
        with _translated(), locked_directory(process.directory) as present:
            if not present:
                raise Terminal(f"There is no amphora {compute_id} on this machine.")
            known = self._known_port(port.id)
            name = f"p{known.id.replace('-', '')[:8]}"
            process.plug(self._network.interface(known, name, with_addresses=False))

    def detach_port(self, compute_id: str, port_id: str) -> None:
        """See the contract."""
        process = self._process(compute_id)
        with _translated(), locked_directory(process.directory) as present:
            if present and port_id in process.port_ids():
                process.unplug(port_id)

    def list(self) -> Iterable[Server]:
        """See the contract; half-made ones are BUILDING."""
        processes = processes_in(self._installation.amphorae, self._installation)
        every = (self.get(process.directory.name) for process in processes)
        return [server for server in every if server is not None]

    def sweep(self) -> Sequence[str]:
        """Remove veth pairs and management ports that belong to no amphora; what was removed.

        Safe beside everything else: an owner is written down before what it owns is made, so what
        is looked at first and then not found owned is nobody's.
        """
        pairs = {name for name in links.names() if self._installation.owns_pair(name)}
        ports = [port for port in self._network.list_ports() if port.device_owner == COMPUTE_OWNER]
        amphorae = processes_in(self._installation.amphorae, self._installation)
        demo = processes_in(self._installation.demo, self._installation)
        owned = {
            self._installation.pair(port_id)
            for process in (*amphorae, *demo)
            for port_id in process.port_ids()
        }
        strays = sorted(pairs - owned)
        links.remove(*strays)
        owners = {process.directory.name for process in amphorae}
        lost = [port for port in ports if port.device_id not in owners]
        for port in lost:
            self._network.delete_port(port.id)
        return [*strays, *(port.name for port in lost)]

    def _process(self, compute_id: str) -> NamespacedProcess:
        # It becomes a path, and part of a host name.
        if not re.fullmatch(r"[0-9A-Za-z-]{1,56}", compute_id):
            raise Terminal(f"{compute_id!r} is no id of an amphora.")
        return NamespacedProcess(self._installation.amphorae / compute_id, self._installation)

    def _server(self, amphora_id: str, state: ProcessState) -> Server:
        port = self._network.management_port(amphora_id)
        return Server(
            compute_id=amphora_id,
            amphora_id=amphora_id,
            status=_STATUS[state],
            lb_network_ip=port.fixed_ips[0].ip_address if port else None,
            fault=self._fault(amphora_id) if state is ProcessState.ENDED else None,
        )

    def _fault(self, amphora_id: str) -> str:
        process = self._process(amphora_id)
        words = process.last_words()
        said = f"; it said last: {words}" if words else ""
        return f"The process of the amphora has ended{said} (log: {process.log})"

    def _known_port(self, port_id: str) -> Port:
        try:
            return self._network.get_port(port_id)
        except NotFound as unknown:
            raise Terminal(unknown.why) from unknown

    def _release_management_port(self, amphora_id: str) -> None:
        port = self._network.management_port(amphora_id)
        if port is not None:
            self._network.delete_port(port.id)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as why:
        raise Transient(f"This machine could not do it: {why}.") from why


def _names(hostname: str) -> dict[str, bytes]:
    """The amphora knows its own name, and asks nobody on this machine's network for any other.

    A program that looks names up would wait for a DNS server that does not answer in there, and its
    packets would try to leave the machine.
    """
    hosts = f"127.0.0.1 localhost {hostname}\n::1 localhost {hostname}\n"
    return {"/etc/hosts": hosts.encode(), "/etc/resolv.conf": b"nameserver 127.0.0.1\n"}
