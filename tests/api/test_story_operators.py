# SPDX-License-Identifier: Apache-2.0
"""Stories of quotas and amphorae (contract: api.md sections 13 and 19)."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from octavia.domain.rules import Concurrency, Deployment
from tests.api.conftest import Api
from tests.api.stories import UNKNOWN, check_body, check_fields, missing, story, unchanged, words

QUOTAS, AMPHORAE = "/quotas", "//v2.0/octavia/amphorae"
LIMITS = words("loadbalancer listener member pool healthmonitor l7policy l7rule")
UNLIMITED = dict.fromkeys(LIMITS, -1)


def with_aliases(project_id: str, **limits: int) -> dict[str, Any]:
    found: dict[str, Any] = UNLIMITED | limits
    found |= {"load_balancer": found["loadbalancer"], "health_monitor": found["healthmonitor"]}
    return found | {"project_id": project_id, "tenant_id": project_id}


@story(
    "GET /quotas",
    "GET /quotas/{project_id}",
    "PUT /quotas/{project_id}",
    "DELETE /quotas/{project_id}",
    "GET /quotas/{project_id}/default",
)
def test_quotas(api: Api) -> None:
    assert api.get(QUOTAS) == {"quotas": [], "quotas_links": []}
    for path in ("/p", "/p/default", "/defaults"):
        project = path.split("/")[1]
        quota = api.get(QUOTAS + path)["quota"]
        check_fields("quota", quota)
        assert quota == with_aliases(project)
        for parameter in ("fields=pool", "x=1"):
            assert "Unknown argument" in api.fault("GET", f"{QUOTAS}{path}?{parameter}", code=400)
    answer = api.put(f"{QUOTAS}/p", {"quota": {"pool": "5", "load_balancer": 3, "member": 0}}, code=202)
    check_fields("quota", answer["quota"])
    assert answer["quota"] == with_aliases("p", pool=5, loadbalancer=3, member=0)
    both = {"health_monitor": 1, "healthmonitor": 2, "pool": None}
    answer = api.put(f"{QUOTAS}/p", {"quota": both}, code=202)
    assert answer["quota"] == with_aliases("p", loadbalancer=3, member=0, healthmonitor=2)
    assert api.put(f"{QUOTAS}/p", {"quota": {}}, code=202) == answer
    assert api.get(f"{QUOTAS}/p") == answer
    listed = {"quotas": [answer["quota"]], "quotas_links": []}
    assert api.get(f"{QUOTAS}?fields=pool&project_id=p&load_balancer=3") == listed
    assert api.get(f"{QUOTAS}/p/default")["quota"] == with_aliases("p")
    check_body(api, "PUT", f"{QUOTAS}/p", "quota")
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"pool": -2}, "Value should be greater or equal to -1"),
        ({"pool": 2_000_000_001}, "Value should be lower or equal to 2000000000"),
        ({"pool": "many"}, "pool"),
        ({"project_id": "x"}, "Unknown attribute"),
    ]
    with unchanged(api):
        for body, fragment in refusals:
            assert fragment in api.fault("PUT", f"{QUOTAS}/p", {"quota": body}, code=400)
        assert "Unknown argument" in api.fault("DELETE", f"{QUOTAS}/p?x=1", code=400)
        missing(api, "DELETE", QUOTAS + "/{}", "Quotas")
        for method in ("PUT", "DELETE"):
            assert "id" in api.fault(method, QUOTAS, code=400)
        assert api.request("POST", QUOTAS, {"quota": {}}).status_code == 405
        assert api.request("GET", f"{QUOTAS}/p/nonsense").status_code == 404
    assert api.request("DELETE", f"{QUOTAS}/p").status_code == 202
    assert api.get(QUOTAS)["quotas"] == [with_aliases("p")]


@pytest.fixture
def limited(make_api: Callable[..., Api]) -> Api:
    deployment = Deployment(allow_prometheus_listeners=False, allow_ping_health_monitors=False)
    return make_api(enforce_quotas=True, deployment=deployment)


def test_the_quota_is_told_after_what_is_cheap_and_before_what_is_locked(limited: Api) -> None:
    api = limited
    pool = api.pool(lb := api.load_balancer())
    listener = api.listener(lb)
    policy = api.policy(listener)
    taken = api.member(pool)
    none = {"quota": dict.fromkeys(LIMITS, 0)}
    api.put(f"{QUOTAS}/{lb['project_id']}", none, code=202)
    member = {"address": taken["address"], "protocol_port": taken["protocol_port"]}
    rule = {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}
    monitor = {"pool_id": pool["id"], "type": "TCP", "delay": 1, "timeout": 1, "max_retries": 1}
    http = {"loadbalancer_id": lb["id"], "protocol": "HTTP"}
    members, rules = f"/pools/{pool['id']}/members", f"/l7policies/{policy['id']}/rules"
    no = "deployment"
    # What is refused for its own sake; then what the rest of the tree, or its state, would refuse.
    cases: list[tuple[str, str, dict[str, Any], dict[str, Any], str, str]] = [
        ("/listeners", "listener", http | {"protocol_port": 80}, {"protocol": "PROMETHEUS"}, no, "Listener"),
        ("/pools", "pool", http | {"lb_algorithm": "SOURCE_IP_PORT"}, {"lb_algorithm": "x"}, "x", "Pool"),
        (members, "member", member, {"address": "169.254.169.254"}, "member address", "Member"),
        ("/healthmonitors", "healthmonitor", monitor, {"type": "PING"}, no, "Health Monitor"),
        (
            "/l7policies",
            "l7policy",
            {"listener_id": listener["id"], "action": "REJECT"},
            {"action": "x"},
            "action",
            "L7 Policy",
        ),
        (rules, "rule", rule, {"value": "a b"}, "parsing", "L7 Rule"),
    ]
    for state in ("ACTIVE", "PENDING_DELETE"):
        api.set_status(t.load_balancer, lb["id"], state)
        with unchanged(api):
            for path, root, body, cheap, fragment, noun in cases:
                assert fragment in api.fault("POST", path, {root: body | cheap}, code=400)
                fault = api.fault("POST", path, {root: body}, code=403)
                assert fault == f"Quota has been met for resources: {noun}"
    wanted = {"vip_subnet_id": api.subnet}
    with unchanged(api):
        unknown = {"loadbalancer": {"vip_subnet_id": UNKNOWN}}
        assert "not found" in api.fault("POST", "/loadbalancers", unknown, code=400)
        assert "nobody" in api.fault(
            "POST", "/loadbalancers", {"loadbalancer": wanted | {"provider": "nobody"}}, code=400
        )
        fault = api.fault("POST", "/loadbalancers", {"loadbalancer": wanted}, code=403)
        assert fault == "Quota has been met for resources: Load Balancer"


# Amphorae


def amphora(api: Api, lb: Any = None, **values: Any) -> str:
    row = {
        "id": f"11111111-1111-4111-8111-{len(api.rows(sa.select(t.amphora))):012}",
        "load_balancer_id": lb and lb["id"],
        "compute_id": "22222222-2222-4222-8222-222222222222",
        "status": "ALLOCATED",
        "role": "STANDALONE",
        "lb_network_ip": "192.0.2.5",
        "vrrp_ip": "198.18.64.9",
        "ha_ip": "198.18.64.10",
        "vrrp_port_id": UNKNOWN,
        "ha_port_id": UNKNOWN,
        "cert_expiration": datetime(2027, 1, 2, 3, 4, 5),
        "cert_busy": False,
        "vrrp_interface": "eth1",
        "vrrp_id": 1,
        "vrrp_priority": 100,
        "cached_zone": "nova",
        "created_at": datetime(2026, 1, 2, 3, 4, 5),
        "updated_at": datetime(2026, 1, 2, 3, 4, 6),
        "image_id": UNKNOWN,
        "compute_flavor": "m1",
    } | values
    api.database.write(lambda tx: tx.execute(sa.insert(t.amphora).values(row)))
    return str(row["id"])


@story(f"GET {AMPHORAE}", f"GET {AMPHORAE}/{{amphora_id}}")
def test_amphorae_are_shown_and_listed(api: Api) -> None:
    lb = api.load_balancer(project_id="somebody")
    amphora_id = amphora(api, lb)
    spare = amphora(api, status="READY", role=None)
    amphora(api, status="DELETED")
    one = api.get(f"{AMPHORAE}/{amphora_id}")["amphora"]
    check_fields("amphora", one)
    assert one["cert_expiration"] == "2027-01-02T03:04:05"
    listed = api.get(AMPHORAE)
    assert list(listed) == ["amphorae", "amphorae_links"]
    assert [row["id"] for row in listed["amphorae"]] == [amphora_id, spare]
    for name, value in one.items():
        assert api.get(f"{AMPHORAE}?{name}={value}")["amphorae"][0] == one
        assert api.get(f"{AMPHORAE}?fields={name}")["amphorae"][0] == {name: value}
        api.get(f"{AMPHORAE}?sort={name}:desc")
    assert api.get(f"{AMPHORAE}?project_id=somebody")["amphorae"] == [one]
    assert "duplicate or invalid" in api.fault("GET", f"{AMPHORAE}?x=1", code=400)
    assert "duplicate or invalid" in api.fault("GET", f"{AMPHORAE}?tags=x", code=400)
    missing(api, "GET", AMPHORAE + "/{}", "Amphora")
    for method, path in (("POST", AMPHORAE), ("PUT", f"{AMPHORAE}/{amphora_id}")):
        assert api.request(method, path, {}).status_code == 405
    assert api.request("DELETE", AMPHORAE).status_code == 400
    for path in ("//v2.0/lbaas/amphorae", "//v2/amphorae", "//v2/octavia/loadbalancers"):
        assert api.request("GET", path).status_code == 404


@story(f"GET {AMPHORAE}/{{amphora_id}}/stats")
def test_statistics_of_an_amphora_are_a_row_a_listener(api: Api) -> None:
    lb = api.load_balancer()
    listener = api.listener(lb)
    amphora_id = amphora(api, lb)
    path = f"{AMPHORAE}/{amphora_id}/stats"
    assert api.fault("GET", path, code=404) == f"Amphora stats for {amphora_id} not found."
    counters = dict.fromkeys(
        words("bytes_in bytes_out active_connections total_connections request_errors"), 7
    )
    ids = {"listener_id": listener["id"], "amphora_id": amphora_id}
    api.database.write(lambda tx: tx.execute(sa.insert(t.listener_statistics).values(ids | counters)))
    row = counters | {"id": amphora_id, "listener_id": listener["id"], "loadbalancer_id": lb["id"]}
    assert api.get(path) == {"amphora_stats": [row]}
    assert api.get(f"{path}?fields=id") == {"amphora_stats": [row]}
    assert "Unknown argument" in api.fault("GET", f"{path}?x=1", code=400)
    assert api.get(f"/loadbalancers/{lb['id']}/stats") == {"stats": counters}
    missing(api, "GET", AMPHORAE + "/{}/stats", "Amphora stats for")


@story(
    f"PUT {AMPHORAE}/{{amphora_id}}/failover",
    f"PUT {AMPHORAE}/{{amphora_id}}/config",
    f"DELETE {AMPHORAE}/{{amphora_id}}",
)
def test_what_operators_do_to_an_amphora(api: Api, make_api: Callable[..., Api]) -> None:
    strict = make_api(deployment=Deployment(concurrent_updates=Concurrency.REJECT))
    lb = api.load_balancer()
    amphora_id = amphora(api, lb)
    api.settle()
    path = f"{AMPHORAE}/{amphora_id}"
    assert api.put(f"{path}/config", code=202) is None
    shown = api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]
    assert shown["provisioning_status"] == "ACTIVE"
    with unchanged(api):
        fault = api.fault("DELETE", path, code=409)
        assert fault.startswith(f"amphora {amphora_id} is immutable")
        for action in ("failover", "config"):
            assert "Unknown argument" in api.fault("PUT", f"{path}/{action}?x=1", code=400)
            assert "Unknown argument" in api.fault("PUT", f"{path}/{action}", {"x": 1}, code=400)
            missing(api, "PUT", AMPHORAE + "/{}/" + action, "Amphora")
        missing(api, "DELETE", AMPHORAE + "/{}", "Amphora")
    assert api.put(f"{path}/failover", {}, code=202) is None
    shown = api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]
    assert shown["provisioning_status"] == "PENDING_UPDATE"
    for status in ("PENDING_CREATE", "PENDING_UPDATE", "PENDING_DELETE", "ERROR"):
        api.set_status(t.load_balancer, lb["id"], status)
        with unchanged(api):
            strict.put(f"{path}/failover", code=409)
    api.set_status(t.load_balancer, lb["id"], "ACTIVE")
    failed = amphora(api, lb, status="ERROR")
    api.delete(f"{AMPHORAE}/{failed}")
