# SPDX-License-Identifier: Apache-2.0
"""The worker and a real agent: the size of a cache follows from memory, and no reload does."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.domain.rules.marks import leaving
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import Amphora, LoadBalancer, Pool, Protocol
from octavia.drivers.amphora.contract import AgentInfo, Applied, Configuration, Machine, VipPlug
from octavia.drivers.certificates.memory import MemoryCertificates
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from octavia.drivers.network.contract import Network, Port, Subnet
from octavia.worker.reconcile import Reconciler
from octavia.worker.world import World
from tests import pki
from tests.netns.agent_lab import AgentProcess, Lab, needs_haproxy, needs_root, opened_lab
from tests.netns.test_features_reloads import details
from tests.unit.worker.world import Controller, controller, load_balancer, member

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]

CHANGES = 20
MEMORY_KB = 60_000
LIMIT = 1000
SIZE = (MEMORY_KB - 32 * LIMIT) * 2 // 5 * 4


class OneAmphora:
    """Whatever amphora the worker makes, this one of the lab is it.

    It is a namespace here. What it says of its machine is what a machine of its own would say, where memory
    is another with every look.
    """

    def __init__(self, agent: AgentProcess) -> None:
        self.agent = agent
        self.driver = agent.lab.driver
        self.looks = 0

    def _row(self, amphora: Amphora) -> Amphora:
        return replace(amphora, id=self.agent.id, lb_network_ip=self.agent.address)

    def info(self, amphora: Amphora) -> AgentInfo:
        return self.driver.info(self._row(amphora))

    def machine(self, amphora: Amphora) -> Machine:
        assert self.driver.machine(self._row(amphora)) == Machine()
        self.looks += 1
        return Machine(memory_kb=MEMORY_KB + 1000 * (self.looks - 1))

    def plug_vip(self, amphora: Amphora, plug: VipPlug, *, fence: int) -> str:
        del plug
        self.agent.attach_vip()
        return self.driver.plug_vip(self._row(amphora), self.agent.plug, fence=fence)

    def plug_network(
        self, amphora: Amphora, port: Port, network: Network, subnets: Sequence[Subnet], *, fence: int
    ) -> None:
        raise AssertionError("all members are where the VIP is")

    def apply(self, amphora: Amphora, configuration: Configuration, *, fence: int) -> Applied:
        return self.driver.apply(self._row(amphora), configuration, fence=fence)

    def stop_vrrp(self, amphora: Amphora, *, fence: int) -> None:
        raise AssertionError("it is no pair")

    def update_certificate(self, amphora: Amphora, bundle: bytes, *, fence: int) -> None:
        raise AssertionError("nobody asked for it")

    def update_agent_configuration(self, amphora: Amphora, configuration: bytes, *, fence: int) -> bool:
        raise AssertionError("nobody asked for it")


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with opened_lab() as one:
        yield one


@pytest.fixture
def amphora(lab: Lab) -> OneAmphora:
    return OneAmphora(lab.amphora())


@pytest.fixture
def world(amphora: OneAmphora) -> Iterator[Controller]:
    with controller() as made:
        with_worker(made, amphora)
        yield made


def with_worker(world: Controller, amphora: OneAmphora) -> None:
    """Another worker goes on, which knows what is in the database."""
    base = str(amphora.agent.base)
    haproxy = HaproxySettings(base_path=base, base_cert_dir=f"{base}/certs", log_socket=None)
    store = MemoryTenantCertificates()
    store.keep(CERTIFICATE, "site")
    parts = World(world.compute, world.network, MemoryCertificates(world.clock), amphora, world.clock, store)
    # A single amphora is worked on in this thread, which is where the lab is.
    executor = ThreadPoolExecutor(1)
    world.reconciler = Reconciler(world.database, parts, replace(world.settings, haproxy=haproxy), executor)


CERTIFICATE = pki.tenant(pki.Ca("CA").issue("www.example.org"))


def live_file(amphora: OneAmphora) -> str:
    return (amphora.agent.base / amphora.agent.lab.lb_id / "haproxy.cfg").read_text()


def altered(number: int, lb: LoadBalancer) -> Pool:
    """One change after another that HAProxy takes without a reload."""
    pool = lb.pools[0]
    first, *others = pool.members
    if number % 4 == 0:
        return replace(pool, members=(first, *others, member(f"198.18.64.{100 + number}")))
    if number % 4 == 2:
        return replace(pool, members=(leaving(lb, first), *others))
    if number % 4 == 1:
        return replace(pool, members=(replace(first, weight=10 + number), *others))
    return replace(pool, members=(replace(first, admin_state_up=not first.admin_state_up), *others))


def test_twenty_changes_later_the_cache_has_its_size_and_nothing_was_reloaded(
    lab: Lab, world: Controller, amphora: OneAmphora
) -> None:
    lb = replace(load_balancer(world.network), id=lab.lb_id)
    terminating = replace(
        lb.listeners[0],
        protocol=Protocol.TERMINATED_HTTPS,
        default_tls_container_ref="site",
        connection_limit=LIMIT,
    )
    world.create(replace(lb, listeners=(terminating,)))
    world.passes()
    assert world.lb(lb.id).provisioning_status is ProvisioningStatus.ACTIVE
    assert f"    tune.ssl.cachesize {SIZE}\n" in live_file(amphora)
    process = amphora.agent.worker()
    for number in range(CHANGES):
        if number == CHANGES // 2:
            with_worker(world, amphora)
        before = live_file(amphora)

        def change(tree: LoadBalancer, number: int = number) -> LoadBalancer:
            return tree.with_pool(altered(number, tree))

        world.change(lb.id, change)
        world.passes()
        after = live_file(amphora)
        assert after != before
        assert after.split("\n\n")[0] == before.split("\n\n")[0]
    assert world.lb(lb.id).provisioning_status is ProvisioningStatus.ACTIVE
    assert f"    tune.ssl.cachesize {SIZE}\n" in live_file(amphora)
    assert details(lab, amphora.agent)["reloads"] == {}
    assert amphora.agent.worker() == process
    assert amphora.looks == 1


def test_an_amphora_in_namespaces_does_not_plan_with_the_memory_of_the_host(lab: Lab) -> None:
    agent = lab.amphora()
    found = details(lab, agent)
    assert "memory" not in found
    assert found["active_tuned_profiles"] == ""
    assert found["cpu_count"] >= 1
    assert lab.driver.machine(agent.amphora) == Machine()
