# SPDX-License-Identifier: Apache-2.0
"""A world in memory with a clock of its own: the real worker, one step at a time."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa

from octavia.dataplane.cloud_init.agent_conf import AgentConf
from octavia.db import amphorae, explain, work
from octavia.db.engine import Database, create_engine
from octavia.db.tables import metadata
from octavia.db.tree import loading, saving
from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus
from octavia.domain.tree import (
    Algorithm,
    Amphora,
    Listener,
    LoadBalancer,
    Member,
    Pool,
    Protocol,
    Topology,
    Vip,
    VrrpGroup,
)
from octavia.drivers.amphora.memory import MemoryAmphorae
from octavia.drivers.certificates.memory import MemoryCertificates
from octavia.drivers.certificates.tenant import NoStore, TenantCertificates
from octavia.drivers.compute.memory import MemoryCompute
from octavia.drivers.network.memory import MemoryNetwork
from octavia.worker.reconcile import Reconciler
from octavia.worker.settings import WorkerSettings
from octavia.worker.world import World

START = datetime(2026, 1, 1)


class VirtualClock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()

    def advance(self, by: timedelta) -> None:
        self.time += by


@dataclass
class Controller:
    """The worker, its database and everything around it."""

    database: Database
    clock: VirtualClock
    compute: MemoryCompute
    network: MemoryNetwork
    agents: MemoryAmphorae
    settings: WorkerSettings
    reconciler: Reconciler

    def passes(self, *, limit: int = 200, within: timedelta = timedelta(minutes=10)) -> int:
        """Lease and reconcile what is due, the clock moving on, until the queue is empty."""
        until = self.clock.now() + within
        for count in range(limit):
            with self.database.read() as tx:
                due_at = work.next_due(tx, self.clock.now())
            if due_at is None or due_at > until:
                return count
            self.clock.time = max(self.clock.time, due_at)
            self.one_pass()
        raise AssertionError(f"{limit} passes and no end")

    def one_pass(self) -> bool:
        """One pass over the first load balancer that is due; False if none is."""
        with self.database.read() as tx:
            due = work.due(tx, self.clock.now())
        for load_balancer_id in due:
            lease = self.database.write(
                partial(
                    work.take,
                    load_balancer_id=load_balancer_id,
                    owner="test",
                    now=self.clock.now(),
                    duration=self.settings.lease,
                )
            )
            if lease:
                self.reconciler.reconcile(lease)
                self.clock.advance(timedelta(milliseconds=1))
                return True
        return False

    def lb(self, load_balancer_id: str) -> LoadBalancer:
        with self.database.read() as tx:
            found = loading.load(tx, load_balancer_id)
        assert found is not None
        return found

    def is_gone(self, load_balancer_id: str) -> bool:
        with self.database.read() as tx:
            return loading.load(tx, load_balancer_id) is None

    def amphorae(self, load_balancer_id: str) -> tuple[Amphora, ...]:
        with self.database.read() as tx:
            return amphorae.of_load_balancer(tx, load_balancer_id)

    def why(self, load_balancer_id: str) -> explain.Explanation:
        with self.database.read() as tx:
            return explain.explain(tx, load_balancer_id)

    def create(self, lb: LoadBalancer) -> LoadBalancer:
        """As the API does: VIP port first, then the rows and the work row."""
        allocation = self.network.create_vip_port(lb.id, lb.project_id, lb.vip, lb.additional_vips)
        lb = replace(lb, vip=allocation.vip, generation=1)
        lb = replace(
            lb,
            listeners=tuple(replace(one, generation=1) for one in lb.listeners),
            pools=tuple(
                replace(
                    one,
                    generation=1,
                    members=tuple(replace(member, generation=1) for member in one.members),
                )
                for one in lb.pools
            ),
        )

        def change(tx: sa.Connection) -> None:
            saving.insert(tx, lb)
            work.announce(tx, lb.id, self.clock.now())

        self.database.write(change)
        return lb

    def change(self, load_balancer_id: str, how: Callable[[LoadBalancer], LoadBalancer]) -> LoadBalancer:
        """A tenant's write: ``how`` gets the tree under its next generation."""

        def write(tx: sa.Connection) -> LoadBalancer:
            before = loading.lock(tx, load_balancer_id)
            bumped = replace(before.bumped(), provisioning_status=ProvisioningStatus.PENDING_UPDATE)
            after = how(bumped)
            saving.save(tx, before, after)
            failed = before.provisioning_status is ProvisioningStatus.ERROR
            work.announce(tx, before.id, self.clock.now(), new_deadline=failed)
            return after

        return self.database.write(write)

    def delete(self, load_balancer_id: str) -> None:
        self.change(
            load_balancer_id,
            lambda lb: replace(
                lb,
                provisioning_status=ProvisioningStatus.PENDING_DELETE,
                delete_requested=True,
            ),
        )

    def fail_over(self, load_balancer_id: str) -> None:
        ids = [one.id for one in self.amphorae(load_balancer_id)]

        def write(tx: sa.Connection) -> None:
            amphorae.request_replacement(tx, ids, self.clock.now())
            work.announce(tx, load_balancer_id, self.clock.now())

        self.database.write(write)

    def kill(self, amphora: Amphora) -> None:
        """The amphora's host dies."""
        assert amphora.compute_id
        self.compute.vanish(amphora.compute_id)

    def touch(self, load_balancer_id: str) -> None:
        """Somebody asks for a look."""
        self.database.write(lambda tx: work.announce(tx, load_balancer_id, self.clock.now()))


@contextmanager
def controller(
    boot_time: timedelta = timedelta(milliseconds=300),
    tenant_certificates: TenantCertificates | None = None,
) -> Iterator[Controller]:
    """A controller with an empty database."""
    clock = VirtualClock()
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    database = Database(engine)
    compute = MemoryCompute(clock, boot_time)
    network = MemoryNetwork()
    agents = MemoryAmphorae(compute)
    settings = WorkerSettings(
        owner="test", agent=AgentConf(controllers=("198.18.0.1:5555",), heartbeat_key="k")
    )
    # One thread: the database is in memory, with a single connection.
    with ThreadPoolExecutor(1) as executor:
        store = tenant_certificates or NoStore()
        world = World(compute, network, MemoryCertificates(clock), agents, clock, store)
        reconciler = Reconciler(database, world, settings, executor)
        yield Controller(database, clock, compute, network, agents, settings, reconciler)
    engine.dispose()


def load_balancer(
    network: MemoryNetwork, topology: Topology = Topology.SINGLE, **more: object
) -> LoadBalancer:
    """A load balancer with an HTTP listener, a pool and two members, not yet created."""
    subnet = next(one for one in network.list_subnets() if one.name == "demo")
    ident = new_id()
    pool = Pool(
        id=new_id(),
        protocol=Protocol.HTTP,
        lb_algorithm=Algorithm.ROUND_ROBIN,
        members=(member("198.18.64.201"), member("198.18.64.202")),
        created_at=START,
    )
    values: dict[str, object] = {
        "id": ident,
        "project_id": "demo",
        "name": "lb",
        "topology": topology,
        "vip": Vip(subnet_id=subnet.id, network_id=subnet.network_id),
        "vrrp_group": VrrpGroup(name=ident.replace("-", ""), version=3, advert_int=0.25)
        if topology is Topology.ACTIVE_STANDBY
        else None,
        "listeners": (
            Listener(
                id=new_id(),
                protocol=Protocol.HTTP,
                protocol_port=80,
                default_pool_id=pool.id,
                created_at=START,
            ),
        ),
        "pools": (pool,),
        "created_at": START,
    }
    return LoadBalancer(**(values | more))  # type: ignore[arg-type]


def member(address: str, **more: object) -> Member:
    """A member on port 80."""
    values: dict[str, object] = {
        "id": new_id(),
        "address": address,
        "protocol_port": 80,
        "created_at": START,
    }
    return Member(**(values | more))  # type: ignore[arg-type]


def new_id() -> str:
    """A UUID."""
    return str(uuid.uuid4())


ALLOCATED = AmphoraStatus.ALLOCATED
