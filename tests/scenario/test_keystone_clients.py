# SPDX-License-Identifier: Apache-2.0
"""Every sub-command of ``openstack loadbalancer`` and every method of openstacksdk's ``load_balancer``."""

import inspect
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import openstack
import pytest
import sqlalchemy as sa
from openstack.load_balancer.v2._proxy import Proxy

from octavia.db import amphorae
from octavia.db import tables as t
from octavia.db.engine import Connection, Database, create_engine
from octavia.domain.clock import SystemClock
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, Role
from tests.keystone import REGION
from tests.scenario import osc
from tests.scenario.keystone_cloud import PROJECT, Cloud, cloud

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.filterwarnings("ignore"),  # what the clients warn of is their own affair
]


@pytest.fixture(scope="module")
def octavia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud")) as made:
        yield made


@contextmanager
def _database(octavia: Cloud) -> Iterator[Database]:
    engine = create_engine(f"sqlite:///{octavia.octavia.folder}/octavia.db")
    try:
        yield Database(engine)
    finally:
        engine.dispose()


def _failed_amphora(octavia: Cloud) -> str:
    """One that no load balancer has: only such may be deleted."""
    made = Amphora(id=str(uuid4()), load_balancer_id=None, role=Role.STANDALONE, status=AmphoraStatus.ERROR)
    with _database(octavia) as database:
        database.write(lambda tx: amphorae.insert(tx, made, SystemClock().now()))
    return made.id


def _count(octavia: Cloud, amphora_id: str) -> None:
    """What the amphora would report."""

    def store(tx: Connection) -> None:
        listener_id = tx.execute(sa.select(t.listener.c.id)).scalars().first()
        counters = dict.fromkeys(
            ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors"), 3
        )
        row = {"listener_id": listener_id, "amphora_id": amphora_id, **counters}
        tx.execute(sa.insert(t.listener_statistics).values(row))

    with _database(octavia) as database:
        database.write(store)


def test_every_subcommand(octavia: Cloud) -> None:
    played = [command for command, _ in osc.plays()]
    assert sorted(played) == osc.subcommands()  # none is forgotten, whatever the client's version
    client = osc.Client(octavia.keystone.credentials("operator", PROJECT))
    ids = {"network": osc.NETWORK, "failed": _failed_amphora(octavia)}
    said: dict[str, Any] = {}
    for command, arguments in osc.plays():
        said[command] = client.play(command, arguments.format(**ids))
        kind, _, action = command.rpartition(" ")
        if action == "create" and "id" in said[command]:
            ids[kind] = said[command]["id"]
        if command == "amphora list":
            ids["amphora"] = said[command][0]["id"]
            _count(octavia, ids["amphora"])
    assert (said["create"]["name"], said["create"]["provisioning_status"]) == ("lb", "ACTIVE")
    assert (said["show"]["description"], said["show"]["tags"]) == ("", ["blue"])
    assert (said["listener show"]["name"], said["listener show"]["connection_limit"]) == ("listener", -1)
    assert (said["pool show"]["name"], said["pool show"]["session_persistence"]) == ("pool", None)
    assert (said["member show"]["name"], said["member show"]["weight"]) == ("member", 1)
    assert (said["healthmonitor show"]["delay"], said["healthmonitor show"]["url_path"]) == (7, "/")
    assert (said["l7policy show"]["name"], said["l7policy show"]["position"]) == ("", 1)
    assert (said["l7rule show"]["value"], said["l7rule show"]["invert"]) == ("/y", False)
    assert said["status show"]["loadbalancer"]["listeners"][0]["pools"][0]["members"][0]["name"] == "member"
    assert (said["quota show"]["listener"], said["quota show"]["member"]) == (50, -1)
    assert said["flavor show"]["description"] == said["availabilityzone show"]["description"] == ""
    # Everything that was made is gone.
    left = (
        "list",
        "listener list",
        "pool list",
        "flavor list",
        "flavorprofile list",
        "availabilityzone list",
    )
    assert [client.play(command) for command in left] == [[]] * len(left)


class Recorder:
    """The SDK's proxy, which remembers what was called."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._proxy, name)


def _methods() -> set[str]:
    return {name for name, one in vars(Proxy).items() if inspect.isfunction(one) and not name.startswith("_")}


def test_every_method_of_the_sdk(octavia: Cloud) -> None:
    credentials: dict[str, Any] = dict(octavia.keystone.credentials("operator", PROJECT))
    with closing(openstack.connect(region_name=REGION, **credentials)) as connection:
        lbs = Recorder(connection.load_balancer)
        _play_offers(lbs)
        lb = lbs.create_load_balancer(name="sdk", vip_network_id=str(uuid4()))
        assert lbs.wait_for_load_balancer(lb.id, interval=1).provisioning_status == "ACTIVE"
        _play_load_balancer(lbs, lb)
        _play_children(lbs, lb)
        _play_amphorae(octavia, lbs, lb)
        _play_quotas(lbs, lb.project_id)
        lbs.delete_load_balancer(lb, cascade=True)
        lbs.wait_for_delete(lb, interval=0.2)
        assert lbs.find_load_balancer("sdk") is None
        assert lbs.called == _methods()


def _play_offers(lbs: Any) -> None:
    assert "amphora" in {one.name for one in lbs.providers()}
    assert list(lbs.provider_flavor_capabilities("amphora"))
    for kind, plural, data in (
        ("flavor", "flavors", {"flavor_data": '{"loadbalancer_topology": "SINGLE"}'}),
        ("availability_zone", "availability_zones", {"availability_zone_data": '{"compute_zone": "nova"}'}),
    ):
        profile = getattr(lbs, f"create_{kind}_profile")(name="p", provider_name="amphora", **data)
        assert getattr(lbs, f"get_{kind}_profile")(profile.id).name == "p"
        assert [one.id for one in getattr(lbs, f"{kind}_profiles")(name="p")] == [profile.id]
        assert getattr(lbs, f"update_{kind}_profile")(profile.id, name="q").name == "q"
        assert getattr(lbs, f"find_{kind}_profile")("q").id == profile.id
        one = getattr(lbs, f"create_{kind}")(name="one", **{f"{kind}_profile_id": profile.id})
        key = one.id if kind == "flavor" else one.name
        assert getattr(lbs, f"get_{kind}")(key).name == "one"
        assert [found.name for found in getattr(lbs, plural)(name="one")] == ["one"]
        assert getattr(lbs, f"find_{kind}")("one").name == "one"
        assert getattr(lbs, f"update_{kind}")(key, description="d").description == "d"
        getattr(lbs, f"delete_{kind}")(key, ignore_missing=False)
        getattr(lbs, f"delete_{kind}_profile")(profile.id, ignore_missing=False)
        assert list(getattr(lbs, plural)()) == []


def _play_load_balancer(lbs: Any, lb: Any) -> None:
    assert lbs.get_load_balancer(lb.id).name == "sdk"
    assert lbs.find_load_balancer("sdk").id == lb.id
    assert [one.id for one in lbs.load_balancers(name="sdk")] == [lb.id]
    assert lbs.update_load_balancer(lb.id, description="d").description == "d"
    assert lbs.get_load_balancer_statistics(lb.id).total_connections == 0


def _play_children(lbs: Any, lb: Any) -> None:
    listener = lbs.create_listener(name="l", load_balancer_id=lb.id, protocol="HTTP", protocol_port=80)
    pool = lbs.create_pool(name="p", listener_id=listener.id, protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    member = lbs.create_member(pool, name="m", address="192.0.2.7", protocol_port=80)
    monitor = lbs.create_health_monitor(
        name="h", pool_id=pool.id, type="TCP", delay=5, timeout=3, max_retries=2
    )
    policy = lbs.create_l7_policy(name="y", listener_id=listener.id, action="REJECT")
    rule = lbs.create_l7_rule(policy, type="PATH", compare_type="EQUAL_TO", value="/x")
    assert lbs.get_listener_statistics(listener.id).total_connections == 0
    for kind, plural, one in (
        ("listener", "listeners", listener),
        ("pool", "pools", pool),
        ("health_monitor", "health_monitors", monitor),
        ("l7_policy", "l7_policies", policy),
    ):
        assert getattr(lbs, f"get_{kind}")(one.id).name == one.name
        assert getattr(lbs, f"find_{kind}")(one.name).id == one.id
        assert [found.id for found in getattr(lbs, plural)(name=one.name)] == [one.id]
        assert getattr(lbs, f"update_{kind}")(one.id, name="new").name == "new"
    for kind, plural, one, above in (
        ("member", "members", member, pool),
        ("l7_rule", "l7_rules", rule, policy),
    ):
        assert getattr(lbs, f"get_{kind}")(one.id, above).id == one.id
        assert getattr(lbs, f"find_{kind}")(one.id, above).id == one.id
        assert [found.id for found in getattr(lbs, plural)(above)] == [one.id]
    assert lbs.update_member(member, pool, weight=7).weight == 7
    assert lbs.update_l7_rule(rule, policy, rule_value="/y").rule_value == "/y"
    lbs.wait_for_status(listener, "ACTIVE", interval=0.2, attribute="provisioning_status")
    lbs.delete_l7_rule(rule, policy, ignore_missing=False)
    lbs.delete_l7_policy(policy, ignore_missing=False)
    lbs.delete_health_monitor(monitor, ignore_missing=False)
    lbs.delete_member(member, pool, ignore_missing=False)
    lbs.delete_pool(pool, ignore_missing=False)
    lbs.delete_listener(listener, ignore_missing=False)
    lbs.wait_for_delete(listener, interval=0.2)


def _play_amphorae(octavia: Cloud, lbs: Any, lb: Any) -> None:
    (amphora,) = lbs.amphorae(loadbalancer_id=lb.id)
    assert lbs.get_amphora(amphora.id).loadbalancer_id == lb.id
    assert lbs.find_amphora(amphora.id).id == amphora.id
    lbs.configure_amphora(amphora.id)
    lbs.failover_amphora(amphora.id)
    lbs.failover_load_balancer(lb.id)


def _play_quotas(lbs: Any, project_id: str) -> None:
    assert lbs.get_quota_default().load_balancers == -1
    assert lbs.update_quota(project_id, listeners=5).id
    assert lbs.get_quota(project_id).listeners == 5
    assert project_id in {one.project_id for one in lbs.quotas()}
    lbs.delete_quota(project_id, ignore_missing=False)
    assert lbs.get_quota(project_id).listeners == -1
