# SPDX-License-Identifier: Apache-2.0
"""Stories of listeners (contract: api.md section 7); TLS has its own tests."""

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

LISTENERS = "/listeners"
COUNTERS = {"bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors"}


@pytest.fixture
def strict(make_api: Callable[..., Api]) -> Api:
    return make_api(deployment=Deployment(concurrent_updates=Concurrency.REJECT))


@story("POST /listeners", "GET /listeners", "GET /listeners/{listener_id}")
def test_a_listener_is_created_shown_and_listed(api: Api) -> None:
    lb = api.load_balancer(project_id="somebody")
    pool = api.pool(lb)
    api.settle()
    body = {
        "name": "n",
        "description": "d",
        "admin_state_up": 0,
        "protocol": "HTTP",
        "protocol_port": "8080",
        "connection_limit": None,
        "default_tls_container_ref": None,
        "sni_container_refs": [],
        "project_id": "ignored",
        "tenant_id": "ignored too",
        "default_pool_id": pool["id"],
        "insert_headers": {"X-Forwarded-For": "true", "X-Forwarded-Port": "false"},
        "timeout_client_data": 1000,
        "timeout_member_connect": 0,
        "timeout_member_data": 2_073_600_000,
        "timeout_tcp_inspect": None,
        "tags": ["x"],
        "allowed_cidrs": ["10.0.0.5/8", "10.1.2.3", "10.0.0.0/8"],
        "loadbalancer_id": lb["id"],
    }
    listener = api.post(LISTENERS, {"listener": body})["listener"]
    check_fields("listener", listener)
    expected = {
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "admin_state_up": False,
        "protocol": "HTTP",
        "protocol_port": 8080,
        "connection_limit": None,
        "default_tls_container_ref": None,
        "sni_container_refs": [],
        "project_id": "somebody",
        "tenant_id": "somebody",
        "default_pool_id": pool["id"],
        "l7policies": [],
        "insert_headers": {"X-Forwarded-For": "true", "X-Forwarded-Port": "false"},
        "updated_at": None,
        "loadbalancers": [{"id": lb["id"]}],
        "timeout_client_data": 1000,
        "timeout_member_connect": 0,
        "timeout_member_data": 2_073_600_000,
        "timeout_tcp_inspect": 0,
        "client_authentication": "NONE",
        "tls_ciphers": None,
        "tls_versions": None,
        "alpn_protocols": None,
        "hsts_max_age": None,
        "hsts_include_subdomains": False,
        "hsts_preload": False,
    }
    assert {name: listener[name] for name in expected} == expected
    assert sorted(listener["allowed_cidrs"]) == ["10.0.0.0/8", "10.1.2.3/32"]
    shown = api.get(f"{LB}/{lb['id']}")["loadbalancer"]
    assert (shown["provisioning_status"], shown["listeners"]) == ("PENDING_UPDATE", [{"id": listener["id"]}])
    using = api.get(f"/pools/{pool['id']}")["pool"]
    assert (using["provisioning_status"], using["listeners"]) == ("ACTIVE", [{"id": listener["id"]}])
    api.settle()
    shown = api.get(f"{LISTENERS}/{listener['id']}")["listener"]
    shown.pop("status_reason")
    names = (
        "id name description project_id provisioning_status operating_status protocol protocol_port"
        " default_pool_id timeout_client_data timeout_member_connect timeout_member_data"
        " timeout_tcp_inspect client_authentication created_at updated_at"
    )
    check_shows(
        api,
        LISTENERS,
        "listener",
        shown,
        **{name: shown[name] for name in names.split()},
        admin_state_up="false",
        hsts_preload="False",
        loadbalancer_id=lb["id"],
        load_balancer_id=lb["id"],
        tags="x",
    )
    missing(api, "GET", LISTENERS + "/{}", "Listener")


LB = "/loadbalancers"


def test_what_a_listener_needs_and_cannot_have(api: Api, make_api: Callable[..., Api]) -> None:
    lb = api.load_balancer()
    listener = api.listener(lb)
    tcp = api.pool(lb, protocol="TCP")
    elsewhere = api.pool(api.load_balancer())
    good = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "protocol_port": 81}
    check_body(api, "POST", LISTENERS, "listener")
    enum = "Invalid input for field/attribute protocol. Value: 'GOPHER'. Value should be one of:"
    check_refusals(
        api,
        "POST",
        LISTENERS,
        "listener",
        good,
        [
            ({"loadbalancer_id": GONE}, 400, "loadbalancer_id. Value: 'None'. Mandatory field missing."),
            ({"loadbalancer_id": UNKNOWN}, 404, f"Load Balancer {UNKNOWN} not found."),
            ({"protocol": GONE}, 400, "Mandatory field missing."),
            ({"protocol": None}, 400, "Mandatory field missing."),
            ({"protocol": "GOPHER"}, 400, enum),
            ({"protocol": "http"}, 400, "Value should be one of:"),
            ({"protocol": "PROXY"}, 400, "Value should be one of:"),
            ({"protocol_port": None}, 400, "Mandatory field missing."),
            ({"protocol_port": 0}, 400, "Value should be greater or equal to 1"),
            ({"protocol_port": 65536}, 400, "Value should be lower or equal to 65535"),
            ({"protocol_port": "http"}, 400, "protocol_port"),
            ({"protocol_port": 80}, 409, "already using protocol HTTP and protocol_port 80"),
            ({"protocol": "TCP", "protocol_port": 80}, 409, "already using protocol HTTP"),
            ({"connection_limit": -2}, 400, "connection_limit"),
            ({"default_pool_id": ""}, 400, "UUID"),
            ({"default_pool_id": UNKNOWN}, 404, f"Pool {UNKNOWN} not found."),
            ({"default_pool_id": elsewhere["id"]}, 404, f"Pool {elsewhere['id']} not found."),
            ({"default_pool_id": tcp["id"]}, 400, "'TCP' is invalid while the listener protocol is 'HTTP'"),
            ({"protocol": "PROMETHEUS", "default_pool_id": tcp["id"]}, 400, "PROMETHEUS"),
            ({"insert_headers": {"X-Nope": "true"}}, 400, "X-Nope"),
            ({"insert_headers": {"X-Forwarded-For": True}}, 400, "insert_headers"),
            ({"insert_headers": {"x-forwarded-for": "true"}}, 400, "insert_headers"),
            ({"insert_headers": {"X-SSL-Client-DN": "true"}}, 400, "X-SSL-Client-DN"),
            (
                {"protocol": "TCP", "insert_headers": {"X-Forwarded-For": "true"}},
                400,
                "insert-headers is not valid for protocol TCP",
            ),
            ({"allowed_cidrs": ["2001:db8::/32"]}, 400, "2001:db8::/32"),
            ({"allowed_cidrs": ["nonsense"]}, 400, "CIDR"),
            ({"allowed_cidrs": "10.0.0.0/8"}, 400, "list"),
            ({"timeout_client_data": 2_073_600_001}, 400, "timeout_client_data"),
            ({"timeout_client_data": -1}, 400, "timeout_client_data"),
            ({"protocol": "TERMINATED_HTTPS"}, 400, "default_tls_container_ref"),
            ({"client_authentication": "MAYBE"}, 400, "Value should be one of:"),
            ({"l7policies": [{"action": "REJECT"}]}, 400, "l7policies"),
            ({"default_pool": {"name": "x"}}, 400, "Unknown attribute"),
            ({"loadbalancers": []}, 400, "Unknown attribute"),
        ],
    )
    api.set_status(t.load_balancer, lb["id"], "PENDING_DELETE")
    strict = make_api(
        deployment=Deployment(
            concurrent_updates=Concurrency.REJECT,
            allow_prometheus_listeners=False,
            allow_tls_terminated_listeners=False,
        )
    )
    fault = f"Load Balancer {lb['id']} is immutable and cannot be updated."
    path = f"{LISTENERS}/{listener['id']}"
    calls = [("POST", LISTENERS, {"listener": good}), ("PUT", path, {"listener": {}}), ("DELETE", path, None)]
    locked(strict, t.load_balancer, lb["id"], calls, fault)
    for protocol in ("PROMETHEUS", "TERMINATED_HTTPS"):
        fault = strict.fault("POST", LISTENERS, {"listener": good | {"protocol": protocol}}, code=400)
        assert fault == f"The selected protocol is not allowed in this deployment: {protocol}"


@story("PUT /listeners/{listener_id}")
def test_a_listener_is_updated(api: Api) -> None:
    lb = api.load_balancer()
    pool, tcp = api.pool(lb), api.pool(lb, protocol="TCP")
    listener = api.listener(lb, tags=["t"], allowed_cidrs=["10.0.0.0/8"], timeout_client_data=1)
    path = f"{LISTENERS}/{listener['id']}"
    api.settle()
    nulls: dict[str, Any] = dict.fromkeys(
        words(
            "name description admin_state_up connection_limit default_pool_id insert_headers"
            " timeout_client_data timeout_member_connect timeout_member_data timeout_tcp_inspect tags"
            " allowed_cidrs default_tls_container_ref sni_container_refs hsts_max_age"
        )
    )
    api.put(path, {"listener": {"default_pool_id": pool["id"], "insert_headers": {"X-Real-IP": "true"}}})
    answer = api.put(path, {"listener": nulls})["listener"]
    check_fields("listener", answer)
    expected = {
        "name": "",
        "description": "",
        "admin_state_up": False,
        "connection_limit": -1,
        "default_pool_id": None,
        "insert_headers": {},
        "timeout_client_data": 50000,
        "timeout_member_connect": 5000,
        "timeout_member_data": 50000,
        "timeout_tcp_inspect": 0,
        "tags": ["t"],
        "allowed_cidrs": None,
        "sni_container_refs": [],
        "provisioning_status": "PENDING_UPDATE",
    }
    assert {name: answer[name] for name in expected} == expected
    empties: dict[str, Any] = {
        "allowed_cidrs": [],
        "insert_headers": {},
        "sni_container_refs": [],
        "tags": [],
    }
    answer = api.put(path, {"listener": empties})["listener"]
    assert (answer["allowed_cidrs"], answer["insert_headers"], answer["tags"]) == (None, {}, [])
    assert api.put(path, {"listener": {}})["listener"]["name"] == ""
    api.settle()
    check_body(api, "PUT", path, "listener")
    missing(api, "PUT", LISTENERS + "/{}", "Listener", {"listener": {}})
    immutable = "id protocol protocol_port loadbalancers project_id tenant_id l7policies created_at"
    check_refusals(
        api,
        "PUT",
        path,
        "listener",
        {},
        [
            *(({name: listener[name]}, 400, "Unknown attribute") for name in immutable.split()),
            ({"loadbalancer_id": lb["id"]}, 400, "Unknown attribute"),
            ({"default_pool_id": ""}, 400, "UUID"),
            ({"default_pool_id": UNKNOWN}, 404, f"Pool {UNKNOWN} not found."),
            ({"default_pool_id": tcp["id"]}, 400, "'TCP'"),
            ({"allowed_cidrs": ["10.0.0.0/8", "::/0"]}, 400, "::/0"),
            ({"insert_headers": {"X-Nope": "true"}}, 400, "X-Nope"),
            ({"connection_limit": -2}, 400, "connection_limit"),
        ],
    )


@story("DELETE /listeners/{listener_id}")
def test_a_listener_is_deleted_and_its_pool_stays(api: Api) -> None:
    lb = api.load_balancer()
    pool = api.pool(lb)
    listener = api.listener(lb, default_pool_id=pool["id"])
    policy = api.policy(listener)
    api.settle()
    path = f"{LISTENERS}/{listener['id']}"
    assert "Unknown argument" in api.fault("DELETE", f"{path}?cascade=true", code=400)
    api.delete(path)
    assert api.get(path)["listener"]["provisioning_status"] == "PENDING_DELETE"
    with unchanged(api):
        for method, body in (("PUT", {"listener": {}}), ("DELETE", None)):
            assert "immutable" in api.fault(method, path, body, code=409)
    assert api.get(f"{LB}/{lb['id']}")["loadbalancer"]["provisioning_status"] == "PENDING_UPDATE"
    api.settle()
    missing(api, "DELETE", LISTENERS + "/{}", "Listener")
    api.get(path, code=404)
    api.get(f"/l7policies/{policy['id']}", code=404)
    assert api.get(f"/pools/{pool['id']}")["pool"]["listeners"] == []
    assert api.get(f"{LB}/{lb['id']}")["loadbalancer"]["listeners"] == []


@story("GET /listeners/{listener_id}/stats")
def test_statistics_are_five_integers(api: Api) -> None:
    listener = api.listener(api.load_balancer())
    path = f"{LISTENERS}/{listener['id']}/stats"
    assert api.get(path) == {"stats": dict.fromkeys(COUNTERS, 0)}
    assert api.get(f"{path}?fields=bytes_in") == {"stats": dict.fromkeys(COUNTERS, 0)}
    assert "Unknown argument" in api.fault("GET", f"{path}?x=1", code=400)
    missing(api, "GET", LISTENERS + "/{}/stats", "Listener")
