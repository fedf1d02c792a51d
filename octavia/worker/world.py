# SPDX-License-Identifier: Apache-2.0
"""What a pass works with: the drivers, the clock, and the branch of one amphora."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from octavia.db import amphorae, events, forms, work
from octavia.db.engine import Connection, Database
from octavia.db.work import Lease
from octavia.domain.clock import Clock
from octavia.domain.forms import Form
from octavia.domain.tree import Amphora, LoadBalancer
from octavia.drivers.amphora.contract import AgentInfo, AmphoraDriver
from octavia.drivers.certificates.contract import AmphoraCertificates
from octavia.drivers.certificates.tenant import NoStore, TenantCertificates
from octavia.drivers.compute.contract import ComputeDriver
from octavia.drivers.network.contract import NetworkDriver, Subnet
from octavia.worker.settings import WorkerSettings
from octavia.worker.trouble import Trouble

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside the database."""

    compute: ComputeDriver
    network: NetworkDriver
    certificates: AmphoraCertificates
    amphora: AmphoraDriver
    clock: Clock
    tenant_certificates: TenantCertificates = field(default_factory=NoStore)


@dataclass(slots=True)
class Known:
    """What a worker process remembers of things that do not change; losing it costs a call."""

    agents: dict[str, AgentInfo] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)


@dataclass(slots=True)
class Branch:
    """One amphora's part of a pass. Steps of one branch run one after the other.

    :param amphora: its row as of the last step; None before the first.
    :param peers: all amphorae of the load balancer that talk to each other.
    :param troubles: objects that are not as wanted, by their ids; shared with the other branches.
    """

    database: Database
    world: World
    settings: WorkerSettings
    known: Known
    lease: Lease
    lb: LoadBalancer
    amphora: Amphora | None
    peers: tuple[Amphora, ...]
    troubles: dict[str, Trouble]
    _forms: dict[str, Form] | None = None

    @property
    def row(self) -> Amphora:
        """The amphora, in steps that follow the one that recorded it."""
        assert self.amphora is not None
        return self.amphora

    def write(self, change: Callable[[Connection], _T]) -> _T:
        """A transaction that only the newest holder of the lease can commit.

        :raises Fenced: the lease is another's by now.
        """

        @functools.wraps(change)  # transactions go by the name of what they change
        def guarded(tx: Connection) -> _T:
            work.guard(tx, self.lease)
            return change(tx)

        return self.database.write(guarded)

    def record(self, text: str | None = None, **values: Any) -> None:
        """Write columns of the amphora's row, and perhaps what happened."""
        row = self.row
        now = self.world.clock.now()

        def change(tx: Connection) -> None:
            amphorae.update(tx, row.id, now, **values)
            if text:
                events.record(tx, self.lb.id, now, text)

        self.write(change)
        self.amphora = replace(row, **values)

    def plugged(self, network_id: str) -> None:
        """The amphora has an interface on one more network."""
        networks = tuple(sorted({*self.row.plugged_networks, network_id}))
        self.amphora = replace(self.row, plugged_networks=networks)

    def settled_forms(self) -> Mapping[str, Form]:
        """The last good forms of objects that have another now; nobody asks while nothing is refused."""
        if self._forms is None:
            with self.database.read() as tx:
                self._forms = forms.of_load_balancer(tx, self.lb.id)
        return self._forms

    def time_left(self) -> timedelta:
        """Until the lease ends."""
        return self.lease.until - self.world.clock.now()
