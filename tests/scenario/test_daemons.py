# SPDX-License-Identifier: Apache-2.0
"""API, workers, health manager and housekeeping, each a process, with a message bus between them."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import openstack
import pytest

from tests.databases import SERVERS, MissingProgram
from tests.rabbitmq import RabbitMq, rabbitmq
from tests.scenario.daemons import Deployment, Tenant, deployment, is_running, terminate, wait_for

pytestmark = pytest.mark.scenario

DATABASES = [
    pytest.param("mariadb", marks=pytest.mark.mariadb),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
]


@pytest.fixture(scope="module")
def bus() -> Iterator[RabbitMq]:
    try:
        with rabbitmq() as broker:
            yield broker
    except MissingProgram as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module", params=DATABASES)
def production(
    request: pytest.FixtureRequest, bus: RabbitMq, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Everything that a production has, each process at least once; what answers does so already."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(SERVERS[request.param]())
        except MissingProgram as missing:
            pytest.skip(str(missing))
        url = server.create_database("octavia")
        folder = tmp_path_factory.mktemp(request.param)
        made = stack.enter_context(deployment(folder, url, DEFAULT={"transport_url": bus.url}))
        for program in ("octavia-health-manager", "octavia-housekeeping"):
            made.start(program)
        for number in (1, 2):
            made.start("octavia-worker", log=f"worker-{number}")
        made.start_gunicorn("--preload")
        yield made


@pytest.fixture
def tenant(production: Deployment) -> Iterator[Tenant]:
    one = Tenant(production.url)
    yield one
    one.close()


def a_pool(tenant: Tenant) -> tuple[str, str]:
    """Load balancer and pool, both ACTIVE."""
    lb = tenant.load_balancer()["id"]
    pool = tenant.post("/pools", "pool", loadbalancer_id=lb, protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    tenant.await_active(lb)
    return lb, pool["id"]


def statuses(tree: Any) -> set[tuple[str, str]]:
    """Every provisioning and operating status in a status tree."""
    if isinstance(tree, list):
        return set().union(*map(statuses, tree))
    if not isinstance(tree, dict):
        return set()
    own = {(tree["provisioning_status"], tree["operating_status"])} if "operating_status" in tree else set()
    return own.union(*map(statuses, tree.values()))


@pytest.mark.filterwarnings("default")  # the SDK warns of its own future
def test_a_full_tree_of_the_sdk_becomes_active(production: Deployment, tenant: Tenant) -> None:
    cloud = openstack.connection.Connection(
        auth_type="none", auth={"endpoint": production.url}, load_balancer_endpoint_override=production.url
    )
    api = cloud.load_balancer
    network, subnet = str(uuid4()), str(uuid4())
    lb = api.create_load_balancer(
        name="tree", vip_network_id=network, vip_subnet_id=subnet, vip_address="198.18.33.33"
    )
    assert (lb.vip_network_id, lb.vip_subnet_id, lb.vip_address) == (network, subnet, "198.18.33.33")
    listener = api.create_listener(load_balancer_id=lb.id, protocol="HTTP", protocol_port=80)
    pool = api.create_pool(listener_id=listener.id, protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    elsewhere = str(uuid4())
    api.create_member(pool, address="10.1.1.1", protocol_port=80)
    api.create_member(pool, address="10.1.1.2", protocol_port=80, subnet_id=elsewhere)
    api.create_health_monitor(pool_id=pool.id, type="HTTP", delay=5, timeout=3, max_retries=2)
    policy = api.create_l7_policy(listener_id=listener.id, action="REJECT")
    api.create_l7_rule(policy, type="PATH", compare_type="STARTS_WITH", value="/x")
    api.wait_for_load_balancer(lb.id, status="ACTIVE", failures=["ERROR"], interval=1, wait=60)

    tree = tenant.get(f"/loadbalancers/{lb.id}/status", "statuses")["loadbalancer"]
    # Nothing is measured: what would be stays as it was created; a monitor, a policy and a rule never are.
    assert statuses(tree) == {("ACTIVE", "OFFLINE"), ("ACTIVE", "ONLINE")}
    assert (tree["operating_status"], tree["listeners"][0]["operating_status"]) == ("OFFLINE", "OFFLINE")
    assert len(tree["listeners"][0]["pools"][0]["members"]) == 2

    before = {one.id for one in api.amphorae(loadbalancer_id=lb.id)}
    api.failover_load_balancer(lb.id)
    api.wait_for_load_balancer(lb.id, status="ACTIVE", failures=["ERROR"], interval=1, wait=60)
    after = [one for one in api.amphorae(loadbalancer_id=lb.id) if one.status == "ALLOCATED"]
    assert len(after) == len(before) == 1
    assert before.isdisjoint({one.id for one in after})

    api.delete_load_balancer(lb.id, cascade=True)
    wait_for(lambda: api.find_load_balancer(lb.id) is None, "the load balancer is still there")
    cloud.close()


def test_two_hundred_members_at_once_all_become_active(tenant: Tenant) -> None:
    lb, pool = a_pool(tenant)

    def add(number: int) -> Any:
        address = f"10.2.0.{number + 1}"
        return tenant.post(f"/pools/{pool}/members", "member", address=address, protocol_port=80)["id"]

    with ThreadPoolExecutor(20) as threads:
        made = set(threads.map(add, range(200)))
    tenant.await_active(lb)
    members = tenant.get(f"/pools/{pool}/members?limit=1000", "members")
    assert {one["id"] for one in members} == made
    assert {one["provisioning_status"] for one in members} == {"ACTIVE"}


def test_work_goes_on_without_the_bus_and_with_it_again(
    production: Deployment, bus: RabbitMq, tenant: Tenant
) -> None:
    bus.stop()
    lb, pool = a_pool(tenant)
    tenant.post(f"/pools/{pool}/members", "member", address="10.3.0.1", protocol_port=80)
    tenant.await_active(lb)
    bus.start()
    wait_for(lambda: "The bus takes rings again" in production.log("gunicorn"), "the API does not ring")
    tenant.await_active(tenant.load_balancer()["id"])


def test_another_worker_finishes_what_a_killed_one_began(production: Deployment, tenant: Tenant) -> None:
    others = [one for one in production.running if "octavia-worker" in str(one.args)]
    assert terminate(*others) == [0] * len(others)
    doomed = production.start("octavia-worker", log="doomed-worker", OCTAVIA_FAILPOINT="amphora.apply before")
    lb = tenant.load_balancer()["id"]
    assert doomed.wait(60) == -signal.SIGKILL
    assert tenant.get(f"/loadbalancers/{lb}", "loadbalancer")["provisioning_status"] == "PENDING_CREATE"
    for number in (1, 2):
        production.start("octavia-worker", log=f"worker-{number}")
    tenant.await_active(lb)
    amphorae = tenant.get(f"/../octavia/amphorae?loadbalancer_id={lb}", "amphorae")
    assert [one["status"] for one in amphorae] == ["ALLOCATED"]


def test_every_process_ends_well_when_it_is_told_to(production: Deployment) -> None:
    running = production.running
    assert len(running) == 5
    assert terminate(*running) == [0] * 5
    for log in ("gunicorn", "octavia-health-manager", "octavia-housekeeping", "worker-1", "worker-2"):
        assert "Traceback" not in production.log(log), production.log(log)


def test_a_ring_over_the_bus_is_all_that_a_worker_needs(bus: RabbitMq, tmp_path: Path) -> None:
    patient = {"sweep_seconds": 3600}
    with deployment(
        tmp_path, f"sqlite:///{tmp_path}/o.db", DEFAULT={"transport_url": bus.url}, controller_worker=patient
    ) as made:
        made.start("octavia-worker")
        wait_for(lambda: "Rings are heard" in made.log("octavia-worker"), "the worker does not listen")
        made.start_api()
        tenant = Tenant(made.url)
        lb = tenant.load_balancer()["id"]
        tenant.await_active(lb)
        tenant.post("/listeners", "listener", loadbalancer_id=lb, protocol="TCP", protocol_port=1)
        tenant.await_active(lb)
        tenant.close()


def test_a_worker_of_several_processes_replaces_one_that_dies(tmp_path: Path) -> None:
    with deployment(tmp_path, f"sqlite:///{tmp_path}/o.db", controller_worker={"workers": 2}) as made:
        made.start_api()
        worker = made.start("octavia-worker")
        wait_for(lambda: len(made.children(worker)) == 2, "two processes do not run")
        first, second = made.children(worker)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: {first} != set(made.children(worker)) - {second} != set(), "it is not replaced")
        tenant = Tenant(made.url)
        tenant.await_active(tenant.load_balancer()["id"])
        tenant.close()
        last = made.children(worker)
        assert terminate(worker) == [0]
        assert not any(Path(f"/proc/{pid}").exists() for pid in last)


def test_processes_of_a_worker_that_is_killed_end_by_themselves(tmp_path: Path) -> None:
    with deployment(tmp_path, f"sqlite:///{tmp_path}/o.db", controller_worker={"workers": 2}) as made:
        worker = made.start("octavia-worker")
        wait_for(lambda: len(made.children(worker)) == 2, "two processes do not run")
        orphans = made.children(worker)
        worker.kill()
        worker.wait()
        wait_for(lambda: not any(map(is_running, orphans)), "they outlive it")


def test_a_hangup_has_a_process_say_more_while_it_runs(tmp_path: Path) -> None:
    with deployment(tmp_path, f"sqlite:///{tmp_path}/o.db") as made:
        keeper = made.start("octavia-housekeeping")
        wait_for(lambda: made.handles(keeper, signal.SIGHUP), "it does not run")
        made.conf.write_text(made.conf.read_text() + "[DEFAULT]\ndebug = True\n")
        keeper.send_signal(signal.SIGHUP)
        wait_for(lambda: "The configuration was read again" in made.log("octavia-housekeeping"), "unheard")
        assert terminate(keeper) == [0]


def test_who_rejects_answers_409_until_the_worker_has_been_there(tmp_path: Path) -> None:
    strict = {"concurrent_updates": "reject"}
    with deployment(tmp_path, f"sqlite:///{tmp_path}/o.db", api_settings=strict) as made:
        made.start_api()
        tenant = Tenant(made.url)
        lb = tenant.load_balancer()["id"]
        body = {"loadbalancer_id": lb, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
        fault = tenant.post("/pools", "pool", code=409, **body)
        assert "immutable" in fault
        made.start("octavia-worker")  # finds the work without a bus
        tenant.await_active(lb)
        tenant.post("/pools", "pool", **body)
        tenant.await_active(lb)
        tenant.close()
        assert terminate(*made.running) == [0, 0]
