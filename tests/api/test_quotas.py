# SPDX-License-Identifier: Apache-2.0
"""Quotas: what they show, what they refuse, what counts (contract: api.md section 13)."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.api.settings import ApiSettings
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.domain.quota import NO_LIMITS
from tests.api.conftest import Api

KEYS = [
    *("project_id", "loadbalancer", "load_balancer", "listener", "member", "pool"),
    *("healthmonitor", "health_monitor", "l7policy", "l7rule", "tenant_id"),
]
LIMITED = dict(NO_LIMITS) | {"listener": 7, "health_monitor": 0}


@pytest.fixture
def enforcing(make_api: Callable[..., Api]) -> Api:
    return make_api(enforce_quotas=True)


def limits(api: Api, project: str = "demo", **values: Any) -> Any:
    return api.put(f"/quotas/{project}", {"quota": values}, code=202)["quota"]


def test_a_project_without_a_record_shows_the_defaults(make_api: Callable[..., Api]) -> None:
    api = make_api(quotas=LIMITED)
    shown = api.get("/quotas/nobody")["quota"]
    assert list(shown) == KEYS
    assert (shown["project_id"], shown["tenant_id"]) == ("nobody", "nobody")
    assert (shown["listener"], shown["healthmonitor"], shown["health_monitor"], shown["pool"]) == (
        7,
        0,
        0,
        -1,
    )
    assert api.get("/quotas/defaults")["quota"] == shown | {"project_id": "defaults", "tenant_id": "defaults"}
    limits(api, "nobody", listener=5)
    assert api.get("/quotas/nobody/default")["quota"] == shown
    assert api.get("/quotas/nobody")["quota"] == shown | {"listener": 5}


def test_limits_are_set_and_go_back_to_the_defaults(make_api: Callable[..., Api]) -> None:
    api = make_api(quotas=LIMITED)
    shown = limits(
        api, load_balancer=1, health_monitor="2", listener=3, member=4, pool=5, l7policy=6, l7rule=0
    )
    assert [shown[name] for name in KEYS[1:-1]] == [1, 1, 3, 4, 5, 2, 2, 6, 0]
    assert limits(api, load_balancer=8, loadbalancer=9)["load_balancer"] == 9
    assert limits(api, listener=None)["listener"] == 7
    assert limits(api)["member"] == 4
    assert api.get("/quotas/demo")["quota"] == limits(api)
    assert api.delete("/quotas/demo", 202) is None
    assert api.get("/quotas/demo")["quota"]["member"] == -1
    assert len(api.get("/quotas")["quotas"]) == 1  # the record stays
    assert api.fault("DELETE", "/quotas/other", code=404) == "Quotas other not found."


@pytest.mark.parametrize("value", [-2, 2_000_000_001, "x", [], True])
def test_a_limit_that_is_none(api: Api, value: Any) -> None:
    fault = api.fault("PUT", "/quotas/demo", {"quota": {"pool": value}}, code=400)
    assert "pool" in fault


def test_what_quotas_do_not_take(api: Api) -> None:
    assert "nope" in api.fault("PUT", "/quotas/demo", {"quota": {"nope": 1}}, code=400)
    api.fault("PUT", "/quotas/" + "x" * 37, {"quota": {}}, code=400)
    api.fault("GET", "/quotas/demo?fields=pool", code=400)
    api.fault("POST", "/quotas", {"quota": {}}, code=405)
    api.fault("GET", "/quotas/demo/nope", code=404)
    assert api.get("/quotas")["quotas"] == []


def test_the_list_has_the_projects_with_a_record_and_can_be_cut_and_filtered(
    make_api: Callable[..., Api],
) -> None:
    api = make_api(quotas=LIMITED)
    for project in ("c", "a", "b"):
        limits(api, project, pool={"a": 1, "b": 2, "c": 2}[project])
    answer = api.get("/quotas")
    assert list(answer) == ["quotas", "quotas_links"]
    assert [list(one) for one in answer["quotas"]] == [KEYS] * 3
    assert {one["listener"] for one in answer["quotas"]} == {7}

    def found(query: str) -> str:
        return "".join(one["project_id"] for one in api.get(f"/quotas?{query}")["quotas"])

    assert found("") == "abc"
    assert (found("pool=2"), found("listener=7"), found("health_monitor=1")) == ("bc", "abc", "")
    assert (found("project_id=b"), found("sort=pool:desc,project_id:desc")) == ("b", "cba")
    assert (found("limit=2"), found("limit=2&marker=b"), found("fields=pool")) == ("ab", "c", "abc")
    (link,) = api.get("/quotas?limit=1")["quotas_links"]
    assert link["href"].endswith("marker=a")
    api.fault("GET", "/quotas?nope=1", code=400)


def refused(api: Api, path: str, root: str, noun: str, **values: Any) -> None:
    fault = api.fault("POST", path, {root: values}, code=403)
    assert fault == f"Quota has been met for resources: {noun}"


def test_each_resource_has_its_limit(enforcing: Api) -> None:
    api = enforcing
    lb = api.load_balancer()
    pool, listener = api.pool(lb), api.listener(lb)
    policy = api.policy(listener)
    limits(api, loadbalancer=1, listener=1, pool=1, member=1, healthmonitor=0, l7policy=1, l7rule=0)
    before = api.get(f"/loadbalancers/{lb['id']}/status")
    member = {"address": "192.0.2.1", "protocol_port": 80}
    api.member(pool)
    of_lb = {"loadbalancer_id": lb["id"], "protocol": "HTTP"}
    monitor = {"pool_id": pool["id"], "type": "TCP", "delay": 1, "timeout": 1, "max_retries": 1}
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}
    refused(api, "/loadbalancers", "loadbalancer", "Load Balancer", vip_subnet_id=api.subnet)
    refused(api, "/listeners", "listener", "Listener", protocol_port=81, **of_lb)
    refused(api, "/pools", "pool", "Pool", lb_algorithm="ROUND_ROBIN", **of_lb)
    refused(api, f"/pools/{pool['id']}/members", "member", "Member", **member)
    refused(api, "/healthmonitors", "healthmonitor", "Health Monitor", **monitor)
    refused(api, "/l7policies", "l7policy", "L7 Policy", listener_id=listener["id"], action="REJECT")
    refused(api, f"/l7policies/{policy['id']}/rules", "rule", "L7 Rule", **rule)
    after = api.get(f"/loadbalancers/{lb['id']}/status")["statuses"]["loadbalancer"]
    assert after == before["statuses"]["loadbalancer"]
    assert len(list(api.network.list_ports())) == 1


def test_a_batch_counts_by_how_much_it_makes_the_pool_larger(enforcing: Api) -> None:
    api = enforcing
    pool = api.pool(api.load_balancer())
    limits(api, member=3)
    path = f"/pools/{pool['id']}/members"

    def batch(*ports: int, code: int = 202, query: str = "") -> None:
        members = [{"address": "192.0.2.1", "protocol_port": port} for port in ports]
        api.put(path + query, {"members": members}, code=code)

    batch(1, 2, 3, 4, code=403)
    batch(1, 2)
    batch(3, 4)  # what goes makes room for what comes
    batch(3, 4, 5, code=403)  # and is there until it is gone
    api.settle()
    batch(3, 4, 5)
    batch(6, code=403, query="?additive_only=true")
    batch(6)


def test_what_is_deleted_counts_until_it_is_gone(enforcing: Api) -> None:
    api = enforcing
    limits(api, load_balancer=1, pool=1)
    lb = api.load_balancer(pools=[{"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}])
    api.delete(f"/loadbalancers/{lb['id']}?cascade=true")
    refused(api, "/loadbalancers", "loadbalancer", "Load Balancer", vip_subnet_id=api.subnet)
    api.settle()
    api.pool(api.load_balancer())


def test_a_graph_is_counted_whole_and_nothing_of_it_is_left(enforcing: Api) -> None:
    api = enforcing
    limits(api, pool=1, member=1, health_monitor=0, l7rule=0)
    monitor = {"type": "TCP", "delay": 1, "timeout": 1, "max_retries": 1}
    pool = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    members = [{"address": "192.0.2.1", "protocol_port": port} for port in (1, 2)]
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}
    reject = {"action": "REJECT", "rules": [rule]}
    listener = {"protocol": "HTTP", "protocol_port": 80, "l7policies": [reject]}
    for values, noun in (
        ({"pools": [pool | {"name": "a"}, pool | {"name": "b"}]}, "Pool"),
        ({"pools": [pool | {"name": "a", "members": members}]}, "Member"),
        ({"pools": [pool | {"name": "a", "healthmonitor": monitor}]}, "Health Monitor"),
        ({"listeners": [listener]}, "L7 Rule"),
    ):
        refused(api, "/loadbalancers", "loadbalancer", noun, vip_subnet_id=api.subnet, **values)
    for table in (t.load_balancer, t.pool, t.reservation):
        assert api.rows(sa.select(table)) == []
    assert list(api.network.list_ports()) == []
    assert api.load_balancer(pools=[pool | {"name": "a", "members": members[:1]}])


def test_a_creation_under_way_counts(enforcing: Api) -> None:
    api = enforcing
    limits(api, load_balancer=1)
    row = {"id": "x", "project_id": "demo", "expires_at": api.clock.now()}
    api.database.write(lambda tx: tx.execute(sa.insert(t.reservation).values(row)))
    refused(api, "/loadbalancers", "loadbalancer", "Load Balancer", vip_subnet_id=api.subnet)
    api.load_balancer(project_id="other")


def test_minus_one_is_no_limit_and_a_limit_may_be_below_what_is_there(enforcing: Api) -> None:
    api = enforcing
    lb = api.load_balancer()
    for port in (1, 2, 3):
        api.listener(lb, protocol_port=port)
    limits(api, listener=1)
    body = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "protocol_port": 4}
    refused(api, "/listeners", "listener", "Listener", **body)
    limits(api, listener=-1)
    api.listener(lb, protocol_port=4)


def test_where_everybody_is_admin_nothing_is_enforced(api: Api) -> None:
    limits(api, load_balancer=0)
    api.load_balancer()


def test_projects_are_recorded_at_their_first_use(enforcing: Api) -> None:
    enforcing.load_balancer(project_id="first")
    assert [one["project_id"] for one in enforcing.get("/quotas")["quotas"]] == ["first"]


# Together


def limited(database: Database) -> Api:
    """Many threads need a database that is not in memory, where they would share one connection."""
    return Api(database, ApiSettings(enforce_quotas=True))


def make_load_balancers_at_once(api: Api, creations: int, limit: int) -> None:
    """Many parallel creations leave exactly as many load balancers and ports as there may be."""
    limits(api, load_balancer=limit)
    body = {"loadbalancer": {"vip_subnet_id": api.subnet}}
    with ThreadPoolExecutor(16) as pool:
        codes = list(
            pool.map(lambda _: api.request("POST", "/loadbalancers", body).status_code, range(creations))
        )
    assert sorted(codes) == [201] * limit + [403] * (creations - limit)
    assert len(api.get("/loadbalancers")["loadbalancers"]) == limit
    assert len(list(api.network.list_ports())) == limit
    assert api.rows(sa.select(t.reservation)) == []


def make_members_at_once(api: Api) -> None:
    """Members of several load balancers are counted exactly, though each locks its own."""
    pools = [api.pool(api.load_balancer()) for _ in range(4)]
    limits(api, member=10)

    def create(n: int) -> int:
        body = {"member": {"address": "192.0.2.1", "protocol_port": n + 1}}
        return api.request("POST", f"/pools/{pools[n % 4]['id']}/members", body).status_code

    with ThreadPoolExecutor(16) as threads:
        codes = list(threads.map(create, range(40)))
    assert sorted(codes) == [201] * 10 + [403] * 30
    assert len(api.rows(sa.select(t.member))) == 10


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Database]:
    engine = create_engine(f"sqlite:///{tmp_path}/octavia.sqlite")
    t.metadata.create_all(engine)
    yield Database(engine)
    engine.dispose()


def test_forty_creations_against_a_quota_of_ten_make_ten(on_disk: Database) -> None:
    make_load_balancers_at_once(limited(on_disk), creations=40, limit=10)


def test_members_of_several_load_balancers_are_counted_exactly(on_disk: Database) -> None:
    make_members_at_once(limited(on_disk))
