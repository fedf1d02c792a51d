# SPDX-License-Identifier: Apache-2.0
"""Stories of pools and their health monitors (contract: api.md sections 8 and 10)."""

from collections.abc import Callable
from typing import Any

import pytest

from octavia.db import tables as t
from octavia.domain.rules import Concurrency, Deployment
from tests.api.conftest import Api
from tests.api.stories import (
    GONE,
    UNKNOWN,
    check_body,
    check_fields,
    check_refusals,
    check_shows,
    locked,
    missing,
    story,
    unchanged,
    words,
)

POOLS, MONITORS = "/pools", "/healthmonitors"


@pytest.fixture
def strict(make_api: Callable[..., Api]) -> Api:
    deployment = Deployment(concurrent_updates=Concurrency.REJECT, allow_ping_health_monitors=False)
    return make_api(deployment=deployment)


def persistence(type_: str, **more: Any) -> dict[str, Any]:
    nothing = {"cookie_name": None, "persistence_timeout": None, "persistence_granularity": None}
    return {"type": type_} | nothing | more


@story("POST /pools", "GET /pools", "GET /pools/{pool_id}")
def test_a_pool_is_created_shown_and_listed(api: Api) -> None:
    lb = api.load_balancer(project_id="somebody")
    listener = api.listener(lb)
    api.settle()
    body = {
        "name": "n",
        "description": "d",
        "admin_state_up": "off",
        "protocol": "HTTP",
        "lb_algorithm": "LEAST_CONNECTIONS",
        "session_persistence": {"type": "APP_COOKIE", "cookie_name": "sid"},
        "project_id": "ignored",
        "tags": ["x"],
        "tls_container_ref": None,
        "tls_enabled": None,
        "loadbalancer_id": lb["id"],
        "listener_id": listener["id"],
    }
    pool = api.post(POOLS, {"pool": body})["pool"]
    check_fields("pool", pool, without="healthmonitor_id")
    expected = {
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "admin_state_up": False,
        "session_persistence": persistence("APP_COOKIE", cookie_name="sid"),
        "project_id": "somebody",
        "loadbalancers": [{"id": lb["id"]}],
        "listeners": [{"id": listener["id"]}],
        "members": [],
        "tls_container_ref": None,
        "tls_enabled": False,
        "tls_ciphers": None,
        "tls_versions": None,
        "alpn_protocols": None,
        "updated_at": None,
    }
    assert {name: pool[name] for name in expected} == expected
    using = api.get(f"/listeners/{listener['id']}")["listener"]
    assert (using["provisioning_status"], using["default_pool_id"]) == ("PENDING_UPDATE", pool["id"])
    member = api.member(pool)
    monitor = api.monitor(pool)
    api.settle()
    shown = api.get(f"{POOLS}/{pool['id']}")["pool"]
    check_fields("pool", shown)
    assert (shown["healthmonitor_id"], shown["members"]) == (monitor["id"], [{"id": member["id"]}])
    shown.pop("status_reason")
    names = (
        "id name description project_id provisioning_status operating_status protocol lb_algorithm"
        " healthmonitor_id created_at updated_at"
    )
    check_shows(
        api,
        POOLS,
        "pool",
        shown,
        **{name: shown[name] for name in names.split()},
        loadbalancer_id=lb["id"],
        listener_id=listener["id"],
        health_monitor_id=monitor["id"],
        admin_state_up="false",
        tls_enabled="0",
        tags="x",
    )
    missing(api, "GET", POOLS + "/{}", "Pool")


def test_what_a_pool_needs_and_cannot_have(api: Api, strict: Api) -> None:
    lb, other = api.load_balancer(), api.load_balancer()
    listener, away = api.listener(lb), api.listener(other)
    busy = api.listener(lb, protocol_port=81)
    pool = api.pool(lb, loadbalancer_id=None, listener_id=busy["id"])
    good = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    udp = {"protocol": "UDP"}

    def session(**fields: Any) -> dict[str, Any]:
        return {"session_persistence": fields}

    check_body(api, "POST", POOLS, "pool")
    check_refusals(
        api,
        "POST",
        POOLS,
        "pool",
        good,
        [
            ({"loadbalancer_id": GONE}, 400, "loadbalancer_id or listener_id"),
            ({"loadbalancer_id": UNKNOWN}, 404, f"Load Balancer {UNKNOWN} not found."),
            ({"loadbalancer_id": GONE, "listener_id": UNKNOWN}, 404, f"Listener {UNKNOWN} not found."),
            ({"listener_id": away["id"]}, 404, f"Listener {away['id']} not found."),
            ({"listener_id": busy["id"]}, 409, "This listener already has a default pool"),
            ({"listener_id": listener["id"], "protocol": "TCP"}, 400, "'TCP'"),
            ({"protocol": GONE}, 400, "Mandatory field missing."),
            ({"protocol": "TERMINATED_HTTPS"}, 400, "Value should be one of:"),
            ({"lb_algorithm": GONE}, 400, "Mandatory field missing."),
            ({"lb_algorithm": "RANDOM"}, 400, "Value should be one of:"),
            ({"lb_algorithm": "SOURCE_IP_PORT"}, 501, "SOURCE_IP_PORT"),
            (session(), 400, "type"),
            (session(type=None), 400, "type"),
            (session(type="MAGIC"), 400, "Value should be one of:"),
            (session(type="APP_COOKIE"), 400, "cookie_name"),
            (session(type="APP_COOKIE", cookie_name=""), 400, "session_persistence"),
            (session(type="APP_COOKIE", cookie_name="a b"), 400, "cookie"),
            (session(type="APP_COOKIE", cookie_name="a(b"), 400, "cookie_name"),
            (session(type="SOURCE_IP", cookie_name="x"), 400, "APP_COOKIE"),
            (session(type="HTTP_COOKIE", cookie_name="x"), 400, "APP_COOKIE"),
            (session(type="SOURCE_IP", persistence_timeout=5), 400, "persistence_timeout"),
            (session(type="SOURCE_IP", persistence_granularity="255.255.0.0"), 400, "UDP and SCTP"),
            (session(type="SOURCE_IP", nonsense=1), 400, "nonsense"),
            (udp | session(type="HTTP_COOKIE"), 400, "HTTP_COOKIE"),
            (udp | session(type="SOURCE_IP", cookie_name="x"), 400, "cookie"),
            ({"members": []}, 400, "Unknown attribute"),
            ({"healthmonitor": {}}, 400, "Unknown attribute"),
            ({"id": UNKNOWN}, 400, "Unknown attribute"),
        ],
    )
    api.settle()
    path = f"{POOLS}/{pool['id']}"
    calls = [("POST", POOLS, {"pool": good}), ("PUT", path, {"pool": {}}), ("DELETE", path, None)]
    locked(strict, t.load_balancer, lb["id"], calls, f"Load Balancer {lb['id']} is immutable")


@story("PUT /pools/{pool_id}")
def test_a_pool_is_updated(api: Api) -> None:
    lb = api.load_balancer()
    listener = api.listener(lb)
    cookie = {"type": "APP_COOKIE", "cookie_name": "a"}
    pool = api.pool(lb, listener_id=listener["id"], session_persistence=cookie, tags=["t"])
    path = f"{POOLS}/{pool['id']}"
    api.settle()
    answer = api.put(path, {"pool": {"session_persistence": {"cookie_name": "b"}, "tags": None}})["pool"]
    check_fields("pool", answer, without="healthmonitor_id")
    assert answer["session_persistence"] == persistence("APP_COOKIE", cookie_name="b")
    assert (answer["tags"], answer["provisioning_status"]) == (["t"], "PENDING_UPDATE")
    using = api.get(f"/listeners/{listener['id']}")["listener"]
    assert using["provisioning_status"] == "PENDING_UPDATE"
    nulls = {"name": None, "description": None, "admin_state_up": None, "session_persistence": None}
    answer = api.put(path, {"pool": nulls | {"lb_algorithm": "SOURCE_IP"}})["pool"]
    expected = {"name": "", "description": "", "admin_state_up": False, "session_persistence": None}
    assert {name: answer[name] for name in expected} == expected
    assert answer["lb_algorithm"] == "SOURCE_IP"
    assert api.put(path, {"pool": {}})["pool"]["provisioning_status"] == "PENDING_UPDATE"
    check_body(api, "PUT", path, "pool")
    missing(api, "PUT", POOLS + "/{}", "Pool", {"pool": {}})
    immutable = "id protocol loadbalancers listeners members project_id tenant_id"
    check_refusals(
        api,
        "PUT",
        path,
        "pool",
        {},
        [
            *(({name: pool[name]}, 400, "Unknown attribute") for name in immutable.split()),
            ({"loadbalancer_id": lb["id"]}, 400, "Unknown attribute"),
            ({"listener_id": listener["id"]}, 400, "Unknown attribute"),
            ({"lb_algorithm": None}, 400, "lb_algorithm"),
            ({"lb_algorithm": "SOURCE_IP_PORT"}, 501, "SOURCE_IP_PORT"),
            ({"tls_enabled": None}, 400, "tls_enabled"),
            ({"session_persistence": {"cookie_name": "b"}}, 400, "type"),
        ],
    )


@story("DELETE /pools/{pool_id}")
def test_a_pool_is_deleted_with_what_it_has(api: Api) -> None:
    lb = api.load_balancer()
    listener = api.listener(lb)
    pool = api.pool(lb, listener_id=listener["id"])
    member, monitor = api.member(pool), api.monitor(pool)
    policy = api.policy(listener, action="REDIRECT_TO_POOL", redirect_pool_id=pool["id"])
    api.settle()
    path = f"{POOLS}/{pool['id']}"
    with unchanged(api):
        fault = api.fault("DELETE", path, code=409)
        assert fault == f"Pool {pool['id']} is in use by L7 policy {policy['id']}"
        assert "Unknown argument" in api.fault("DELETE", f"{path}?x=1", code=400)
    api.delete(f"/l7policies/{policy['id']}")
    api.settle()
    api.delete(path)
    assert api.get(path)["pool"]["provisioning_status"] == "PENDING_DELETE"
    using = api.get(f"/listeners/{listener['id']}")["listener"]
    assert (using["provisioning_status"], using["default_pool_id"]) == ("PENDING_UPDATE", None)
    with unchanged(api):
        api.fault("DELETE", path, code=409)
    api.settle()
    for gone in (path, f"{path}/members/{member['id']}", f"{MONITORS}/{monitor['id']}"):
        api.get(gone, code=404)
    missing(api, "DELETE", POOLS + "/{}", "Pool")


# Health monitors


@story("POST /healthmonitors", "GET /healthmonitors", "GET /healthmonitors/{health_monitor_id}")
def test_a_monitor_is_created_shown_and_listed(api: Api) -> None:
    lb = api.load_balancer(project_id="somebody")
    listener = api.listener(lb)
    pool = api.pool(lb, listener_id=listener["id"])
    member = api.member(pool)
    assert member["operating_status"] == "NO_MONITOR"
    api.settle()
    body = {
        "name": "n",
        "type": "HTTP",
        "delay": "5",
        "timeout": 10,
        "max_retries": 10,
        "max_retries_down": None,
        "http_method": None,
        "url_path": "/healthz?full=1",
        "expected_codes": "200, 202",
        "admin_state_up": True,
        "project_id": "ignored",
        "tags": ["x"],
        "http_version": "1.1",
        "domain_name": "www.example.org.",
        "pool_id": pool["id"],
    }
    monitor = api.post(MONITORS, {"healthmonitor": body})["healthmonitor"]
    check_fields("healthmonitor", monitor)
    expected = {
        "delay": 5,
        "timeout": 10,
        "max_retries_down": 3,
        "http_method": "GET",
        "url_path": "/healthz?full=1",
        "expected_codes": "200, 202",
        "pools": [{"id": pool["id"]}],
        "project_id": "somebody",
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "http_version": 1.1,
        "domain_name": "www.example.org.",
    }
    assert {name: monitor[name] for name in expected} == expected
    for path, root in ((f"{POOLS}/{pool['id']}", "pool"), (f"/listeners/{listener['id']}", "listener")):
        assert api.get(path)[root]["provisioning_status"] == "PENDING_UPDATE"
    watched = api.get(f"{POOLS}/{pool['id']}/members/{member['id']}")["member"]
    assert (watched["operating_status"], watched["provisioning_status"]) == ("OFFLINE", "ACTIVE")
    api.settle()
    shown = api.get(f"{MONITORS}/{monitor['id']}")["healthmonitor"]
    assert shown["operating_status"] == "ONLINE"
    shown.pop("status_reason")
    names = (
        "id name project_id provisioning_status operating_status type delay timeout max_retries"
        " max_retries_down http_method expected_codes http_version domain_name created_at updated_at"
    )
    filters = {name: shown[name] for name in names.split()}
    check_shows(
        api,
        MONITORS,
        "healthmonitor",
        shown,
        **filters,
        pool_id=pool["id"],
        admin_state_up="1",
        tags="x",
    )
    assert "duplicate or invalid" in api.fault("GET", f"{MONITORS}?tenant_id=x", code=400)
    missing(api, "GET", MONITORS + "/{}", "Health Monitor")
    tcp = api.monitor(api.pool(lb), type="TCP")
    assert [tcp[name] for name in ("http_method", "url_path", "expected_codes", "http_version")] == [None] * 4


def test_what_a_monitor_needs_and_cannot_have(api: Api, strict: Api) -> None:
    lb = api.load_balancer()
    pool, watched = api.pool(lb), api.pool(lb)
    api.monitor(watched)
    good = {"pool_id": pool["id"], "type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
    check_body(api, "POST", MONITORS, "healthmonitor")
    check_refusals(
        api,
        "POST",
        MONITORS,
        "healthmonitor",
        good,
        [
            *(({name: GONE}, 400, f"attribute {name}. Value: 'None'. Mandatory") for name in good),
            ({"pool_id": UNKNOWN}, 404, f"Pool {UNKNOWN} not found."),
            ({"pool_id": watched["id"]}, 409, "This pool already has a health monitor"),
            ({"type": "GRPC"}, 400, "Value should be one of:"),
            ({"type": "SCTP"}, 400, "SCTP"),
            ({"type": "UDP-CONNECT", "delay": 2}, 400, "delay"),
            ({"type": "TCP", "http_method": "GET"}, 400, "http_method is not a valid option"),
            ({"type": "TCP", "url_path": "/"}, 400, "for health monitors of type TCP"),
            ({"type": "PING", "expected_codes": "200"}, 400, "expected_codes is not a valid option"),
            ({"delay": -1}, 400, "delay"),
            ({"timeout": -1}, 400, "timeout"),
            ({"max_retries": 0}, 400, "max_retries"),
            ({"max_retries": 11}, 400, "max_retries"),
            ({"max_retries_down": 11}, 400, "max_retries_down"),
            ({"http_method": "get"}, 400, "http_method"),
            ({"url_path": "x"}, 400, "url_path"),
            ({"url_path": "/a b"}, 400, "url_path"),
            ({"url_path": "http://x/"}, 400, "url_path"),
            ({"url_path": "/" + "x" * 255}, 400, "url_path"),
            ({"expected_codes": "20"}, 400, "expected_codes"),
            ({"expected_codes": "200-204,300"}, 400, "expected_codes"),
            ({"expected_codes": ",".join(["200"] * 20)}, 400, "expected_codes"),
            ({"http_version": 2}, 400, "http_version"),
            ({"domain_name": "a.example"}, 400, "http_version"),
            ({"domain_name": "a.example", "http_version": 1.0}, 400, "1.1"),
            ({"domain_name": "-a.example", "http_version": 1.1}, 400, "domain_name"),
            ({"domain_name": "", "http_version": 1.1}, 400, "domain_name"),
            ({"description": "x"}, 400, "Unknown attribute"),
        ],
    )
    fault = strict.fault("POST", MONITORS, {"healthmonitor": good | {"type": "PING"}}, code=400)
    assert fault == "The selected type is not allowed in this deployment: PING"
    api.settle()
    calls = [("POST", MONITORS, {"healthmonitor": good})]
    locked(strict, t.load_balancer, lb["id"], calls, f"Load Balancer {lb['id']} is immutable")
    locked(strict, t.pool, pool["id"], calls, f"Pool {pool['id']} is immutable and cannot be updated.")


@story("PUT /healthmonitors/{health_monitor_id}")
def test_a_monitor_is_updated(api: Api, strict: Api) -> None:
    lb = api.load_balancer()
    pool = api.pool(lb)
    monitor = api.monitor(pool, http_method="HEAD", url_path="/x", expected_codes="204", max_retries_down=9)
    tcp = api.monitor(api.pool(lb), type="TCP")
    path = f"{MONITORS}/{monitor['id']}"
    api.settle()
    nulls = dict.fromkeys(
        words(
            "name max_retries_down http_method url_path expected_codes admin_state_up http_version"
            " domain_name tags"
        )
    )
    answer = api.put(path, {"healthmonitor": nulls})["healthmonitor"]
    check_fields("healthmonitor", answer)
    expected = {
        "name": "",
        "max_retries_down": 3,
        "http_method": "GET",
        "url_path": "/",
        "expected_codes": "200",
        "admin_state_up": False,
        "http_version": None,
        "domain_name": None,
        "provisioning_status": "PENDING_UPDATE",
    }
    assert {name: answer[name] for name in expected} == expected
    assert api.get(f"{POOLS}/{pool['id']}")["pool"]["provisioning_status"] == "PENDING_UPDATE"
    answer = api.put(path, {"healthmonitor": {"http_version": 1}})["healthmonitor"]
    assert answer["http_version"] == 1.0
    api.put(path, {"healthmonitor": {}})
    check_body(api, "PUT", path, "healthmonitor")
    missing(api, "PUT", MONITORS + "/{}", "Health Monitor", {"healthmonitor": {}})
    check_refusals(
        api,
        "PUT",
        path,
        "healthmonitor",
        {},
        [
            *(({name: monitor[name]}, 400, "Unknown attribute") for name in ("id", "type", "pools")),
            ({"pool_id": pool["id"]}, 400, "Unknown attribute"),
            ({"delay": None}, 400, "None is not a valid option for delay"),
            ({"timeout": None}, 400, "None is not a valid option for timeout"),
            ({"max_retries": None}, 400, "None is not a valid option for max_retries"),
            ({"domain_name": "a.example"}, 400, "http_version"),
        ],
    )
    for name in ("http_method", "url_path", "expected_codes"):
        body = {"healthmonitor": {name: None}}
        fault = api.fault("PUT", f"{MONITORS}/{tcp['id']}", body, code=400)
        assert fault == f"{name} is not a valid option for health monitors of type TCP"
    api.settle()
    calls: list[tuple[str, str, Any]] = [("PUT", path, {"healthmonitor": {}}), ("DELETE", path, None)]
    locked(strict, t.load_balancer, lb["id"], calls, f"Load Balancer {lb['id']} is immutable")
    locked(strict, t.pool, pool["id"], calls, f"Pool {pool['id']} is immutable")


@story("DELETE /healthmonitors/{health_monitor_id}")
def test_a_monitor_is_deleted_and_nobody_is_watched_any_more(api: Api) -> None:
    pool = api.pool(api.load_balancer())
    monitor = api.monitor(pool)
    member = api.member(pool)
    api.settle()
    path = f"{MONITORS}/{monitor['id']}"
    assert "Unknown argument" in api.fault("DELETE", f"{path}?x=1", code=400)
    api.delete(path)
    assert api.get(path)["healthmonitor"]["provisioning_status"] == "PENDING_DELETE"
    api.settle()
    missing(api, "DELETE", MONITORS + "/{}", "Health Monitor")
    assert "healthmonitor_id" not in api.get(f"{POOLS}/{pool['id']}")["pool"]
    unwatched = api.get(f"{POOLS}/{pool['id']}/members/{member['id']}")["member"]
    assert unwatched["operating_status"] == "NO_MONITOR"
