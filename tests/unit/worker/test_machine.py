# SPDX-License-Identifier: Apache-2.0
"""An amphora's machine is looked at once: what is rendered of its memory does not change with its memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import Amphora, LoadBalancer, Protocol, Topology
from octavia.drivers.amphora.contract import Machine
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from octavia.worker.reconcile import Reconciler
from octavia.worker.world import World
from tests import pki
from tests.unit.worker.world import Controller, controller, load_balancer

CHANGES = 20


class Breathing:
    """Machines whose free memory is another one at each look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, amphora: Amphora) -> Machine:
        self.looks += 1
        return Machine(memory_kb=3_500_000 - self.looks * 1000, isolated_cpus=3)


@pytest.fixture
def store() -> MemoryTenantCertificates:
    made = MemoryTenantCertificates()
    made.keep(pki.tenant(pki.Ca("CA").issue("www.example.org")), "site")
    return made


@pytest.fixture
def world(store: MemoryTenantCertificates) -> Iterator[Controller]:
    with controller(tenant_certificates=store) as made:
        yield made


@pytest.fixture
def memory(world: Controller) -> Breathing:
    world.agents.describes = made = Breathing()
    return made


def site(world: Controller, topology: Topology = Topology.SINGLE) -> LoadBalancer:
    """One that terminates TLS, live."""
    lb = load_balancer(world.network, topology)
    terminating = replace(
        lb.listeners[0],
        protocol=Protocol.TERMINATED_HTTPS,
        default_tls_container_ref="site",
        connection_limit=1000,
    )
    lb = world.create(replace(lb, listeners=(terminating,)))
    world.passes()
    assert world.lb(lb.id).provisioning_status is ProvisioningStatus.ACTIVE
    return lb


def with_weight(lb: LoadBalancer, weight: int) -> LoadBalancer:
    pool = lb.pools[0]
    first, *others = pool.members
    return lb.with_pool(replace(pool, members=(replace(first, weight=weight), *others)))


def whole(world: Controller, lb: LoadBalancer) -> list[str]:
    """The section ``global`` of each of its amphorae."""
    configurations = [world.agents.state(one.id).configuration for one in world.amphorae(lb.id)]
    return [((one and one.haproxy) or "").split("\n\n")[0] for one in configurations]


def test_twenty_changes_later_the_cache_has_the_same_size_and_nobody_asked_again(
    world: Controller, memory: Breathing
) -> None:
    lb = site(world)
    before = whole(world, lb)
    assert [f"tune.ssl.cachesize {(3_499_000 - 32_000) * 2 // 5 * 4}" in one for one in before] == [True]
    assert ["nbthread 3" in one for one in before] == [True]
    (row,) = world.amphorae(lb.id)
    for weight in range(101, 101 + CHANGES):
        world.change(lb.id, partial(with_weight, weight=weight))
        world.passes()
        configuration = world.agents.state(row.id).configuration
        assert configuration
        assert f"weight {weight} " in (configuration.haproxy or "")
        assert whole(world, lb) == before
    assert world.agents.state(row.id).applications == 1 + CHANGES
    assert memory.looks == 1


def test_another_worker_renders_the_same(
    world: Controller, memory: Breathing, store: MemoryTenantCertificates
) -> None:
    lb = site(world)
    before = whole(world, lb)
    (row,) = world.amphorae(lb.id)
    with ThreadPoolExecutor(1) as executor:
        parts = World(
            world.compute,
            world.network,
            world.reconciler._world.certificates,
            world.agents,
            world.clock,
            store,
        )
        world.reconciler = Reconciler(world.database, parts, world.settings, executor)
        world.change(lb.id, lambda tree: with_weight(tree, 7))
        world.passes()
    assert world.agents.state(row.id).applications == 2
    assert whole(world, lb) == before
    assert memory.looks == 1


def test_each_of_a_pair_is_looked_at_and_so_is_who_takes_its_place(
    world: Controller, memory: Breathing
) -> None:
    lb = site(world, Topology.ACTIVE_STANDBY)
    assert len(set(whole(world, lb))) == 2
    before = {one.id for one in world.amphorae(lb.id)}
    world.fail_over(lb.id)
    world.passes()
    after = world.amphorae(lb.id)
    assert not before & {one.id for one in after}
    assert memory.looks == 4
    known = sorted(one.memory_kb or 0 for one in after)
    assert known == [3_496_000, 3_497_000]


def test_an_amphora_of_before_goes_on_without_until_it_is_replaced(world: Controller) -> None:
    lb = site(world)  # nobody knows anything of its machine
    before = whole(world, lb)
    assert "tune.ssl.cachesize" not in before[0]
    world.agents.describes = memory = Breathing()
    world.change(lb.id, lambda tree: with_weight(tree, 7))
    world.passes()
    assert whole(world, lb) == before
    assert memory.looks == 0
    world.fail_over(lb.id)
    world.passes()
    assert "tune.ssl.cachesize" in whole(world, lb)[0]


def test_a_machine_that_does_not_answer_is_asked_again(world: Controller) -> None:
    silent = ["once", "twice"]

    def describe(amphora: Amphora) -> Machine:
        if silent:
            world.agents.unreachable.add(amphora.id)
            silent.pop()
            try:
                world.agents.info(amphora)
            finally:
                world.agents.unreachable.clear()
        return Machine(memory_kb=3_500_000)

    world.agents.describes = describe
    lb = site(world)
    assert silent == []
    assert [one.memory_kb for one in world.amphorae(lb.id)] == [3_500_000]
