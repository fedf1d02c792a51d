# SPDX-License-Identifier: Apache-2.0
"""Rules of listeners, pools, members and health monitors, as requests meet them."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from octavia.domain import protocols
from octavia.domain.rules import Deployment
from octavia.domain.tree import MonitorType, Protocol
from tests.api.conftest import Api

UNKNOWN = "00000000-0000-0000-0000-00000000dead"
FORWARDED = [Protocol.HTTP, Protocol.HTTPS, Protocol.TCP]


@pytest.fixture
def lb(api: Api) -> Any:
    return api.load_balancer()


def refused(api: Api, path: str, root: str, code: int = 400, **values: Any) -> str:
    return api.fault("POST", path, {root: values}, code=code)


def http(lb: Any, **values: Any) -> dict[str, Any]:
    return {"loadbalancer_id": lb["id"], "protocol": "HTTP", "protocol_port": 80} | values


# Listeners


@pytest.mark.parametrize("listener", FORWARDED)
@pytest.mark.parametrize("pool", [p for p in protocols.POOL_PROTOCOLS if p not in protocols.DATAGRAMS])
def test_the_matrix_of_protocols_holds_wherever_a_pool_meets_a_listener(
    api: Api, lb: Any, listener: Protocol, pool: Protocol
) -> None:
    fits = pool in protocols.POOLS_OF_LISTENER[listener]
    made = api.pool(lb, protocol=pool)
    port = api.listener(lb, protocol=listener)
    body = http(lb, protocol=listener, protocol_port=81, default_pool_id=made["id"])
    results = [
        api.request("POST", "/listeners", {"listener": body}),
        api.request("PUT", f"/listeners/{port['id']}", {"listener": {"default_pool_id": made["id"]}}),
        api.request(
            "POST",
            "/pools",
            {
                "pool": {
                    "listener_id": api.listener(lb, protocol=listener, protocol_port=82)["id"],
                    "protocol": pool,
                    "lb_algorithm": "ROUND_ROBIN",
                }
            },
        ),
        api.request(
            "POST",
            "/loadbalancers",
            {
                "loadbalancer": {
                    "vip_subnet_id": api.subnet,
                    "listeners": [
                        {
                            "protocol": listener,
                            "protocol_port": 80,
                            "default_pool": {
                                "name": "p",
                                "protocol": pool,
                                "lb_algorithm": "ROUND_ROBIN",
                            },
                        }
                    ],
                }
            },
        ),
    ]
    assert [one.status_code for one in results] == ([201, 200, 201, 201] if fits else [400] * 4)
    if not fits:
        for one in results:
            assert f"'{pool}'" in one.json["faultstring"]
            assert f"'{listener}'" in one.json["faultstring"]


def test_a_port_belongs_to_one_listener(api: Api, lb: Any) -> None:
    api.listener(lb, protocol="TCP")
    fault = refused(api, "/listeners", "listener", 409, **http(lb))
    assert fault == (
        "Another Listener on this Load Balancer is already using protocol TCP and protocol_port 80"
    )
    assert api.listener(api.load_balancer())["protocol_port"] == 80


def test_the_load_balancer_must_exist(api: Api) -> None:
    fault = refused(api, "/listeners", "listener", 404, **http({"id": UNKNOWN}))
    assert fault == f"Load Balancer {UNKNOWN} not found."


def test_the_default_pool_must_be_on_the_same_load_balancer(api: Api, lb: Any) -> None:
    other = api.pool(api.load_balancer())["id"]
    for pool_id in (UNKNOWN, other):
        fault = refused(api, "/listeners", "listener", 404, **http(lb, default_pool_id=pool_id))
        assert fault == f"Pool {pool_id} not found."
    listener = api.listener(lb)
    path = f"/listeners/{listener['id']}"
    assert api.fault("PUT", path, {"listener": {"default_pool_id": other}}, code=404)


def test_the_default_pool_is_cleared_by_null(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    listener = api.listener(lb, default_pool_id=pool["id"])
    assert api.get(f"/pools/{pool['id']}")["pool"]["listeners"] == [{"id": listener["id"]}]
    changed = api.put(f"/listeners/{listener['id']}", {"listener": {"default_pool_id": None}})["listener"]
    assert changed["default_pool_id"] is None
    assert api.get(f"/pools/{pool['id']}")["pool"]["listeners"] == []


@pytest.mark.parametrize("protocol", ["TCP", "HTTPS"])
def test_only_http_takes_headers(api: Api, lb: Any, protocol: str) -> None:
    body = http(lb, protocol=protocol, insert_headers={"X-Forwarded-For": "true"})
    assert protocol in refused(api, "/listeners", "listener", **body)
    listener = api.listener(lb, protocol=protocol)
    update = {"listener": {"insert_headers": {"X-Forwarded-For": "true"}}}
    assert api.fault("PUT", f"/listeners/{listener['id']}", update, code=400)


def test_header_values_are_kept_as_text(api: Api, lb: Any) -> None:
    headers = {"X-Forwarded-For": "true", "X-Forwarded-Port": "false", "X-Real-IP": "maybe"}
    assert api.listener(lb, insert_headers=headers)["insert_headers"] == headers


def test_a_listener_that_terminates_tls_needs_a_certificate(api: Api, lb: Any) -> None:
    fault = refused(api, "/listeners", "listener", **http(lb, protocol="TERMINATED_HTTPS"))
    assert "default_tls_container_ref" in fault


def test_what_amphorae_cannot_do_is_501_and_stores_nothing(api: Api, lb: Any) -> None:
    body = {"loadbalancer_id": lb["id"], "protocol": "TCP", "lb_algorithm": "SOURCE_IP_PORT"}
    fault = refused(api, "/pools", "pool", 501, **body)
    assert fault.startswith("Provider 'amphora' does not support a requested option: ")
    assert "SOURCE_IP_PORT" in fault
    assert api.get("/pools")["pools"] == []


@pytest.mark.parametrize(
    ("option", "protocol"),
    [("allow_tls_terminated_listeners", "TERMINATED_HTTPS"), ("allow_prometheus_listeners", "PROMETHEUS")],
)
def test_protocols_can_be_switched_off(make_api: Callable[..., Api], option: str, protocol: str) -> None:
    switched_off: dict[str, Any] = {option: False}
    api = make_api(deployment=Deployment(**switched_off))
    fault = refused(api, "/listeners", "listener", **http(api.load_balancer(), protocol=protocol))
    assert fault == f"The selected protocol is not allowed in this deployment: {protocol}"


def test_deleting_a_listener_keeps_its_pool(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    listener = api.listener(lb, default_pool_id=pool["id"])
    api.delete(f"/listeners/{listener['id']}")
    assert api.get(f"/listeners/{listener['id']}")["listener"]["provisioning_status"] == "PENDING_DELETE"
    api.settle()
    api.get(f"/listeners/{listener['id']}", 404)
    assert api.get(f"/pools/{pool['id']}")["pool"]["provisioning_status"] == "ACTIVE"


# Pools


def test_a_pool_needs_a_parent(api: Api) -> None:
    fault = refused(api, "/pools", "pool", protocol="HTTP", lb_algorithm="ROUND_ROBIN")
    assert "loadbalancer_id" in fault
    assert "listener_id" in fault


def test_unknown_parents_of_pools_are_named(api: Api, lb: Any) -> None:
    rest = {"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    assert refused(api, "/pools", "pool", 404, **rest, loadbalancer_id=UNKNOWN).startswith("Load Balancer")
    assert refused(api, "/pools", "pool", 404, **rest, listener_id=UNKNOWN).startswith("Listener")
    elsewhere = api.listener(api.load_balancer())["id"]
    both = {"loadbalancer_id": lb["id"], "listener_id": elsewhere}
    assert refused(api, "/pools", "pool", 404, **rest, **both) == f"Listener {elsewhere} not found."


def test_a_listener_has_one_default_pool(api: Api, lb: Any) -> None:
    listener = api.listener(lb)
    pool = api.pool(lb, listener_id=listener["id"], loadbalancer_id=None)
    assert pool["listeners"] == [{"id": listener["id"]}]
    assert api.get(f"/listeners/{listener['id']}")["listener"]["default_pool_id"] == pool["id"]
    body = {"listener_id": listener["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    assert refused(api, "/pools", "pool", 409, **body) == "This listener already has a default pool"


def test_a_pool_can_be_shared_and_is_taken_from_its_listeners_at_once_when_it_goes(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    listeners = [api.listener(lb, protocol_port=n, default_pool_id=pool["id"]) for n in (80, 81)]
    shown = api.get(f"/pools/{pool['id']}")["pool"]
    assert shown["listeners"] == [{"id": one["id"]} for one in listeners]
    api.settle()
    api.delete(f"/pools/{pool['id']}")
    for one in api.get("/listeners")["listeners"]:
        assert (one["default_pool_id"], one["provisioning_status"]) == (None, "PENDING_UPDATE")
    api.settle()
    api.get(f"/pools/{pool['id']}", 404)


def test_members_and_monitor_go_with_their_pool(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    member, monitor = api.member(pool), api.monitor(pool)
    api.delete(f"/pools/{pool['id']}")
    assert api.get(f"/pools/{pool['id']}/members/{member['id']}")
    api.settle()
    api.get(f"/healthmonitors/{monitor['id']}", 404)
    assert api.rows(sa.select(t.member)) == []


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_amphorae_do_not_balance_by_source_port(api: Api, lb: Any, method: str) -> None:
    pool = api.pool(lb)
    if method == "PUT":
        body: dict[str, Any] = {"lb_algorithm": "SOURCE_IP_PORT"}
        fault = api.fault("PUT", f"/pools/{pool['id']}", {"pool": body}, code=501)
        assert api.get(f"/pools/{pool['id']}")["pool"]["lb_algorithm"] == "ROUND_ROBIN"
    else:
        body = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "lb_algorithm": "SOURCE_IP_PORT"}
        fault = api.fault("POST", "/pools", {"pool": body}, code=501)
    assert "SOURCE_IP_PORT" in fault


def test_a_missing_type_of_persistence_is_the_stored_one(api: Api, lb: Any) -> None:
    cookie = {"type": "APP_COOKIE", "cookie_name": "a"}
    pool = api.pool(lb, session_persistence=cookie)
    unset = {"persistence_timeout": None, "persistence_granularity": None}
    path = f"/pools/{pool['id']}"
    changed = api.put(path, {"pool": {"session_persistence": {"cookie_name": "b"}}})["pool"]
    wanted = {"type": "APP_COOKIE", "cookie_name": "b", **unset}
    assert changed["session_persistence"] == wanted
    assert api.put(path, {"pool": {"session_persistence": wanted}})["pool"]["session_persistence"] == wanted
    assert api.get(path)["pool"]["session_persistence"] == wanted
    assert api.put(path, {"pool": {"session_persistence": None}})["pool"]["session_persistence"] is None
    fault = api.fault("PUT", path, {"pool": {"session_persistence": {"cookie_name": "b"}}}, code=400)
    assert "type" in fault
    assert api.rows(sa.select(t.session_persistence)) == []


@pytest.mark.parametrize("key", ["members", "healthmonitor"])
def test_children_belong_into_the_create_of_a_load_balancer(api: Api, lb: Any, key: str) -> None:
    body = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", key: []}
    assert refused(api, "/pools", "pool", **body) == f"Unknown attribute for argument pool: {key}"


# Members


def test_an_address_is_kept_as_it_was_written(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    written = "2001:db8:0:0:0:0:0:1"
    member = api.member(pool, address=written)
    assert member["address"] == written
    assert api.get(f"/pools/{pool['id']}/members/{member['id']}")["member"]["address"] == written


def test_a_place_in_a_pool_is_taken_once(api: Api, lb: Any) -> None:
    pool, other = api.pool(lb), api.pool(lb)
    api.member(pool)
    path = f"/pools/{pool['id']}/members"
    fault = refused(api, path, "member", 409, address="192.0.2.10", protocol_port=8080)
    assert fault == "Another member on this pool is already using ip 192.0.2.10 on protocol_port 8080"
    api.member(other)
    api.member(pool, protocol_port=8081)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::a9fe:a9fe", "FE80:0:0:0:0:0:A9FE:A9FE"])
def test_reserved_addresses_are_refused(make_api: Callable[..., Api], address: str) -> None:
    deployment = Deployment(reserved_ips=("169.254.169.254", "FE80:0000:0000:0000:0000:0000:A9FE:A9FE"))
    api = make_api(deployment=deployment)
    pool = api.pool(api.load_balancer())
    fault = refused(api, f"/pools/{pool['id']}/members", "member", address=address, protocol_port=80)
    assert fault == f"{address} is not a valid option for member address"


def test_a_members_subnet_must_exist(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    path = f"/pools/{pool['id']}/members"
    values: dict[str, Any] = {"address": "192.0.2.1", "protocol_port": 80}
    assert refused(api, path, "member", **values, subnet_id=UNKNOWN) == f"Subnet {UNKNOWN} not found."
    assert refused(api, f"/pools/{UNKNOWN}/members", "member", 404, **values, subnet_id=UNKNOWN)
    assert api.member(pool, subnet_id=api.member_subnet)["subnet_id"] == api.member_subnet


def test_a_member_is_found_under_its_own_pool_alone(api: Api, lb: Any) -> None:
    pool, other = api.pool(lb), api.pool(lb)
    member = api.member(pool)["id"]
    for method, body in (("GET", None), ("PUT", {"member": {}}), ("DELETE", None)):
        fault = api.fault(method, f"/pools/{other['id']}/members/{member}", body, code=404)
        assert fault == f"Member {member} not found."
        fault = api.fault(method, f"/pools/{UNKNOWN}/members/{member}", body, code=404)
        assert fault == f"Pool {UNKNOWN} not found."


def test_members_are_watched_from_the_moment_that_there_is_a_monitor(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    path = f"/pools/{pool['id']}/members"

    def statuses() -> list[str]:
        return [one["operating_status"] for one in api.get(path)["members"]]

    assert api.member(pool)["operating_status"] == "NO_MONITOR"
    monitor = api.monitor(pool)
    assert api.member(pool, protocol_port=81)["operating_status"] == "OFFLINE"
    assert statuses() == ["OFFLINE", "OFFLINE"]
    api.delete(f"/healthmonitors/{monitor['id']}")
    assert statuses() == ["NO_MONITOR", "NO_MONITOR"]


# A batch of members


@pytest.fixture
def pool(api: Api, lb: Any) -> Any:
    made = api.pool(lb)
    api.member(made, address="192.0.2.1", protocol_port=80, name="a", weight=7, tags=["t"], backup=True)
    api.member(made, address="192.0.2.1", protocol_port=81, name="b", subnet_id=api.member_subnet)
    api.settle()
    return made


def batch(api: Api, pool: Any, members: Any, query: str = "", code: int = 202) -> Any:
    return api.put(f"/pools/{pool['id']}/members{query}", {"members": members}, code=code)


def members(api: Api, pool: Any) -> dict[int, Any]:
    listed = api.get(f"/pools/{pool['id']}/members")["members"]
    return {one["protocol_port"]: one for one in listed}


def test_a_batch_creates_updates_and_deletes(api: Api, pool: Any) -> None:
    before = members(api, pool)
    new = [{"address": "192.0.2.1", "protocol_port": port} for port in (80, 82)]
    assert batch(api, pool, new) is None
    after = members(api, pool)
    assert {port: one["provisioning_status"] for port, one in after.items()} == {
        80: "PENDING_UPDATE",
        81: "PENDING_DELETE",
        82: "PENDING_CREATE",
    }
    assert after[80]["id"] == before[80]["id"]
    assert (after[80]["name"], after[80]["tags"]) == ("a", ["t"])
    assert (after[80]["weight"], after[80]["backup"]) == (1, False)
    api.settle()
    assert sorted(members(api, pool)) == [80, 82]


def test_an_additive_batch_leaves_the_others_alone(api: Api, pool: Any) -> None:
    batch(api, pool, [{"address": "192.0.2.1", "protocol_port": 82}], "?additive_only=true")
    after = members(api, pool)
    assert {port: one["provisioning_status"] for port, one in after.items()} == {
        80: "ACTIVE",
        81: "ACTIVE",
        82: "PENDING_CREATE",
    }


def test_an_empty_batch_deletes_all_or_does_nothing(api: Api, pool: Any) -> None:
    rings = api.doorbell.rings
    batch(api, pool, [], "?additive_only=1")
    assert (api.doorbell.rings, api.rows(sa.select(t.work))) == (rings, [])
    assert {one["provisioning_status"] for one in members(api, pool).values()} == {"ACTIVE"}
    batch(api, pool, [])
    assert {one["provisioning_status"] for one in members(api, pool).values()} == {"PENDING_DELETE"}


def test_the_order_of_a_batch_is_the_order_of_creation(api: Api, pool: Any) -> None:
    ports = [90, 85, 99, 86]
    batch(api, pool, [{"address": "192.0.2.1", "protocol_port": port} for port in ports])
    assert list(members(api, pool))[2:] == ports


@pytest.mark.parametrize(
    ("items", "code", "fault"),
    [
        (None, 400, "members"),
        ("x", 400, "Value should be a list"),
        ([5], 400, "Value should be an object"),
        ([{"address": "192.0.2.1"}], 400, "Mandatory field missing"),
        ([{"address": "192.0.2.1", "protocol_port": 80}] * 2, 400, "listed twice"),
        ([{"address": "192.0.2.1", "protocol_port": 88}] * 2, 409, "already using"),
        ([{"address": "169.254.169.254", "protocol_port": 88}], 400, "not a valid option"),
        ([{"address": "192.0.2.1", "protocol_port": 88, "subnet_id": UNKNOWN}], 400, "not found"),
        ([{"address": "192.0.2.1", "protocol_port": 88, "request_sriov": True}], 400, "SR-IOV"),
        ([{"address": "192.0.2.1", "protocol_port": 88, "id": UNKNOWN}], 400, "Unknown attribute"),
    ],
)
def test_a_batch_that_is_refused_changes_nothing(
    api: Api, pool: Any, items: Any, code: int, fault: str
) -> None:
    before = members(api, pool)
    assert fault in batch(api, pool, items, code=code)["faultstring"]
    assert members(api, pool) == before
    batch(api, {"id": UNKNOWN}, [], code=404)


# Health monitors

DATAGRAM_TYPES = {MonitorType.UDP_CONNECT, MonitorType.SCTP}


@pytest.mark.parametrize("type_", list(MonitorType))
@pytest.mark.parametrize("protocol", [p for p in protocols.POOL_PROTOCOLS if p not in protocols.DATAGRAMS])
def test_the_matrix_of_monitors(api: Api, lb: Any, protocol: Protocol, type_: MonitorType) -> None:
    pool = api.pool(lb, protocol=protocol)
    body = {"pool_id": pool["id"], "type": type_, "delay": 5, "timeout": 1, "max_retries": 1}
    if type_ in DATAGRAM_TYPES:
        assert type_ in refused(api, "/healthmonitors", "healthmonitor", **body)
    else:
        assert api.monitor(pool, **body)["type"] == type_


@pytest.mark.parametrize("type_", ["HTTP", "HTTPS"])
def test_http_monitors_have_defaults(api: Api, lb: Any, type_: str) -> None:
    monitor = api.monitor(api.pool(lb), type=type_, http_method=None)
    fields = ("http_method", "url_path", "expected_codes", "http_version", "domain_name")
    assert [monitor[name] for name in fields] == ["GET", "/", "200", None, None]


@pytest.mark.parametrize("field", ["http_method", "url_path", "expected_codes"])
def test_other_monitors_have_no_http(api: Api, lb: Any, field: str) -> None:
    value = {"http_method": "GET", "url_path": "/", "expected_codes": "200"}[field]
    pool = api.pool(lb)
    body = {"pool_id": pool["id"], "type": "TCP", "delay": 5, "timeout": 1, "max_retries": 1}
    wanted = f"{field} is not a valid option for health monitors of type TCP"
    assert refused(api, "/healthmonitors", "healthmonitor", **(body | {field: value})) == wanted
    monitor = api.monitor(pool, type="TCP", **{field: None})
    assert monitor[field] is None
    for update in (value, None):
        path = f"/healthmonitors/{monitor['id']}"
        assert api.fault("PUT", path, {"healthmonitor": {field: update}}, code=400) == wanted


def test_a_host_name_needs_http_1_1(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    body = {"pool_id": pool["id"], "type": "HTTP", "delay": 5, "timeout": 1, "max_retries": 1}
    versions: list[dict[str, Any]] = [{}, {"http_version": 1.0}]
    for version in versions:
        fault = refused(api, "/healthmonitors", "healthmonitor", **body, domain_name="a.example", **version)
        assert "http_version" in fault
    monitor = api.monitor(pool, http_version="1.1", domain_name="_a.example.")
    assert (monitor["http_version"], monitor["domain_name"]) == (1.1, "_a.example.")
    path = f"/healthmonitors/{monitor['id']}"
    assert api.put(path, {"healthmonitor": {"domain_name": "b"}})["healthmonitor"]["domain_name"] == "b"
    assert api.fault("PUT", path, {"healthmonitor": {"http_version": None}}, code=400)
    cleared = api.put(path, {"healthmonitor": {"domain_name": None, "http_version": None}})
    assert cleared["healthmonitor"]["domain_name"] is None


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a..b", "a b", "x" * 64, "a_b", ".", "ä", "a." * 130, "a\n"]
)
def test_names_that_no_host_has(api: Api, lb: Any, name: str) -> None:
    body = {"pool_id": api.pool(lb)["id"], "type": "HTTP", "delay": 5, "timeout": 1, "max_retries": 1}
    assert refused(
        api, "/healthmonitors", "healthmonitor", **body, http_version=1.1, domain_name=name
    ).startswith("Invalid input for field/attribute domain_name.")


def test_a_pool_has_one_monitor(api: Api, lb: Any) -> None:
    pool = api.pool(lb)
    monitor = api.monitor(pool)
    body = {"pool_id": pool["id"], "type": "HTTP", "delay": 5, "timeout": 1, "max_retries": 1}
    fault = refused(api, "/healthmonitors", "healthmonitor", 409, **body)
    assert fault == "This pool already has a health monitor"
    assert api.get(f"/pools/{pool['id']}")["pool"]["healthmonitor_id"] == monitor["id"]
    assert "healthmonitor_id" not in api.pool(lb)
    assert refused(api, "/healthmonitors", "healthmonitor", 404, **body | {"pool_id": UNKNOWN})


def test_ping_can_be_switched_off(make_api: Callable[..., Api]) -> None:
    api = make_api(deployment=Deployment(allow_ping_health_monitors=False))
    pool = api.pool(api.load_balancer())
    body = {"pool_id": pool["id"], "type": "PING", "delay": 5, "timeout": 1, "max_retries": 1}
    fault = refused(api, "/healthmonitors", "healthmonitor", **body)
    assert fault == "The selected type is not allowed in this deployment: PING"


def test_a_settled_monitor_is_online_if_it_is_up(api: Api, lb: Any) -> None:
    up, down = api.monitor(api.pool(lb)), api.monitor(api.pool(lb), admin_state_up=False)
    api.settle()
    shown = [api.get(f"/healthmonitors/{one['id']}")["healthmonitor"] for one in (up, down)]
    assert [one["operating_status"] for one in shown] == ["ONLINE", "OFFLINE"]
