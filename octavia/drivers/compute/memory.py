# SPDX-License-Identifier: Apache-2.0
"""Amphorae in memory: they boot when the clock says so, and die when they are told to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address
from itertools import count
from typing import Final

from octavia.domain.clock import Clock
from octavia.domain.errors import Terminal
from octavia.drivers.compute.contract import AmphoraSpec, Server, ServerStatus
from octavia.drivers.faults import Faults, Faulty, gated
from octavia.drivers.network.contract import Port

_FIRST_ADDRESS: Final = IPv4Address("198.18.0.2")


@dataclass(frozen=True, slots=True)
class _Machine:
    spec: AmphoraSpec
    address: str
    boots_at: datetime
    ports: Mapping[str, Port] = field(default_factory=dict)
    fault: str | None = None


class MemoryCompute(Faulty):
    """Implements :class:`octavia.drivers.compute.contract.ComputeDriver`.

    :ivar boot_time: from asking for a server until it is ACTIVE; for those asked for from now on.
    """

    def __init__(
        self, clock: Clock, boot_time: timedelta = timedelta(0), faults: Faults | None = None
    ) -> None:
        self.boot_time = boot_time
        self.faults = faults or Faults()
        self._clock = clock
        self._machines: dict[str, _Machine] = {}
        self._numbers = count()

    @gated
    def create(self, spec: AmphoraSpec) -> Server:
        """See the contract."""
        if spec.amphora_id not in self._machines:
            self._machines[spec.amphora_id] = _Machine(
                spec=spec,
                address=str(_FIRST_ADDRESS + next(self._numbers)),
                boots_at=self._clock.now() + self.boot_time,
            )
        return self._server(spec.amphora_id)

    @gated
    def get(self, compute_id: str) -> Server | None:
        """See the contract."""
        return self._server(compute_id) if compute_id in self._machines else None

    @gated
    def delete(self, compute_id: str) -> None:
        """See the contract."""
        self._machines.pop(compute_id, None)

    @gated
    def attach_port(self, compute_id: str, port: Port) -> None:
        """See the contract."""
        machine = self._machines.get(compute_id)
        if machine is None or machine.fault is not None:
            raise Terminal(f"There is no running server {compute_id}.")
        self._machines[compute_id] = replace(machine, ports={**machine.ports, port.id: port})

    @gated
    def detach_port(self, compute_id: str, port_id: str) -> None:
        """See the contract."""
        machine = self._machines.get(compute_id)
        if machine is not None:
            left = {one: port for one, port in machine.ports.items() if one != port_id}
            self._machines[compute_id] = replace(machine, ports=left)

    @gated
    def list(self) -> Iterable[Server]:
        """See the contract."""
        return [self._server(compute_id) for compute_id in self._machines]

    def crash(self, compute_id: str, fault: str = "The server died.") -> None:
        """The server burns down: in ERROR from now on, its interfaces silent."""
        self._machines[compute_id] = replace(self._machines[compute_id], fault=fault)

    def vanish(self, compute_id: str) -> None:
        """The server is gone without a trace."""
        self._machines.pop(compute_id, None)

    def is_running(self, compute_id: str) -> bool:
        """Has it booted, and does it live?"""
        machine = self._machines.get(compute_id)
        return machine is not None and machine.fault is None and machine.boots_at <= self._clock.now()

    def ports(self, compute_id: str) -> Mapping[str, Port]:
        """The ports that are attached, by id."""
        machine = self._machines.get(compute_id)
        return machine.ports if machine else {}

    def files(self, compute_id: str) -> Mapping[str, bytes]:
        """What the server was made with."""
        return self._machines[compute_id].spec.files

    def _server(self, compute_id: str) -> Server:
        machine = self._machines[compute_id]
        if machine.fault is not None:
            status = ServerStatus.ERROR
        elif machine.boots_at <= self._clock.now():
            status = ServerStatus.ACTIVE
        else:
            status = ServerStatus.BUILDING
        return Server(
            compute_id=compute_id,
            amphora_id=machine.spec.amphora_id,
            status=status,
            lb_network_ip=machine.address,
            fault=machine.fault,
            zone=machine.spec.availability_zone,
            image_id=machine.spec.image_id,
            compute_flavor=machine.spec.compute_flavor,
        )
