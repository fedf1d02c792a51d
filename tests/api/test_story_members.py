# SPDX-License-Identifier: Apache-2.0
"""Stories of members (contract: api.md section 9)."""

import json
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


@pytest.fixture
def strict(make_api: Callable[..., Api]) -> Api:
    return make_api(deployment=Deployment(concurrent_updates=Concurrency.REJECT))


def sriov_flavor(api: Api) -> str:
    data = {"provider_name": "amphora", "name": "p", "flavor_data": json.dumps({"allow_member_sriov": True})}
    profile = api.post("/flavorprofiles", {"flavorprofile": data})["flavorprofile"]
    body = {"name": "sriov", "flavor_profile_id": profile["id"]}
    return str(api.post("/flavors", {"flavor": body})["flavor"]["id"])


@story("POST /pools/{pool_id}/members", "GET /pools/{pool_id}/members")
def test_a_member_is_created_and_listed(api: Api) -> None:
    lb = api.load_balancer(project_id="somebody")
    listener = api.listener(lb)
    pool = api.pool(lb, listener_id=listener["id"])
    path = f"/pools/{pool['id']}/members"
    api.settle()
    body = {
        "name": "n",
        "admin_state_up": True,
        "address": "2001:db8:0:0:0:0:0:1",
        "protocol_port": "80",
        "weight": 0,
        "backup": "true",
        "subnet_id": api.member_subnet,
        "project_id": "ignored",
        "monitor_address": "2001:DB8::2",
        "monitor_port": 65535,
        "tags": ["x"],
        "request_sriov": False,
    }
    member = api.post(path, {"member": body})["member"]
    check_fields("member", member)
    expected = {
        "operating_status": "NO_MONITOR",
        "provisioning_status": "PENDING_CREATE",
        "address": "2001:db8:0:0:0:0:0:1",
        "protocol_port": 80,
        "weight": 0,
        "backup": True,
        "subnet_id": api.member_subnet,
        "project_id": "somebody",
        "monitor_address": "2001:DB8::2",
        "monitor_port": 65535,
        "vnic_type": "normal",
        "updated_at": None,
    }
    assert {name: member[name] for name in expected} == expected
    marked = (f"/pools/{pool['id']}", "pool"), (f"/listeners/{listener['id']}", "listener")
    for marked_path, root in (*marked, (f"/loadbalancers/{lb['id']}", "loadbalancer")):
        assert api.get(marked_path)[root]["provisioning_status"] == "PENDING_UPDATE"
    api.settle()
    shown = api.get(f"{path}/{member['id']}")["member"]
    shown.pop("status_reason")
    names = words(
        "id name project_id provisioning_status operating_status address protocol_port weight subnet_id"
        " monitor_address monitor_port vnic_type created_at updated_at"
    )
    filters = {name: shown[name] for name in names}
    check_shows(api, path, "member", shown, **filters, backup="true", admin_state_up="1", tags="x")
    missing(api, "GET", "/pools/{}/members", "Pool")
    missing(api, "GET", path + "/{}", "Member")
    api.monitor(pool)
    assert api.member(pool)["operating_status"] == "OFFLINE"


def test_what_a_member_needs_and_cannot_have(api: Api, strict: Api) -> None:
    lb = api.load_balancer()
    pool = api.pool(lb)
    path = f"/pools/{pool['id']}/members"
    member = api.member(pool)
    good = {"address": "192.0.2.1", "protocol_port": 80}
    check_body(api, "POST", path, "member")
    missing(api, "POST", "/pools/{}/members", "Pool", {"member": good})
    check_refusals(
        api,
        "POST",
        path,
        "member",
        good,
        [
            *(({name: GONE}, 400, f"attribute {name}. Value: 'None'. Mandatory") for name in good),
            ({"address": "example.org"}, 400, "address"),
            ({"address": "10.0.0.0/8"}, 400, "address"),
            ({"address": "169.254.169.254"}, 400, "169.254.169.254 is not a valid option for member address"),
            ({"protocol_port": 0}, 400, "protocol_port"),
            ({"protocol_port": 65536}, 400, "protocol_port"),
            ({"weight": -1}, 400, "weight"),
            ({"weight": 257}, 400, "weight"),
            ({"weight": None}, 400, "weight"),
            ({"backup": None}, 400, "backup"),
            ({"subnet_id": UNKNOWN}, 400, f"Subnet {UNKNOWN} not found."),
            ({"monitor_port": 0}, 400, "monitor_port"),
            ({"request_sriov": True}, 400, "SR-IOV"),
            (
                {"address": member["address"], "protocol_port": member["protocol_port"]},
                409,
                f"Another member on this pool is already using ip {member['address']} on protocol_port 8080",
            ),
            ({"vnic_type": "direct"}, 400, "Unknown attribute"),
            ({"description": "x"}, 400, "Unknown attribute"),
        ],
    )
    api.settle()
    one = f"{path}/{member['id']}"
    batch = {"members": [good]}
    calls: list[tuple[str, str, Any]] = [
        ("POST", path, {"member": good}),
        ("PUT", path, batch),
        ("PUT", one, {"member": {}}),
        ("DELETE", one, None),
    ]
    locked(strict, t.load_balancer, lb["id"], calls, f"Load Balancer {lb['id']} is immutable")
    locked(strict, t.pool, pool["id"], calls, f"Pool {pool['id']} is immutable and cannot be updated.")


def test_a_member_gets_an_sr_iov_port_where_the_flavor_allows_it(api: Api) -> None:
    pool = api.pool(api.load_balancer(flavor_id=sriov_flavor(api)))
    member = api.member(pool, request_sriov="yes")
    assert member["vnic_type"] == "direct"
    path = f"/pools/{pool['id']}/members"
    assert api.get(f"{path}/{member['id']}")["member"]["vnic_type"] == "direct"
    kept = {"address": member["address"], "protocol_port": member["protocol_port"], "request_sriov": False}
    new = {"address": "192.0.2.77", "protocol_port": 1, "request_sriov": True}
    api.put(path, {"members": [kept, new]}, code=202)
    assert {one["vnic_type"] for one in api.get(path)["members"]} == {"direct"}


@story("PUT /pools/{pool_id}/members")
def test_a_batch_makes_the_list_what_the_pool_has(api: Api) -> None:
    lb = api.load_balancer()
    listener = api.listener(lb)
    pool = api.pool(lb, listener_id=listener["id"])
    path = f"/pools/{pool['id']}/members"
    a = api.member(pool, address="192.0.2.1", protocol_port=80)
    b = api.member(
        pool,
        protocol_port=81,
        name="b",
        weight=5,
        backup=True,
        monitor_port=1,
        tags=["t"],
        admin_state_up=False,
    )
    api.settle()
    again = {"address": b["address"], "protocol_port": "81", "request_sriov": True}
    c = {"address": "192.0.2.3", "protocol_port": 82, "name": "c"}
    assert api.put(path, {"members": [again, c]}, code=202) is None
    found = {one["protocol_port"]: one for one in api.get(path)["members"]}
    statuses = {port: one["provisioning_status"] for port, one in found.items()}
    assert statuses == {80: "PENDING_DELETE", 81: "PENDING_UPDATE", 82: "PENDING_CREATE"}
    assert found[81]["id"] == b["id"]
    reset = {"weight": 1, "backup": False, "admin_state_up": True, "monitor_port": None}
    kept = {"name": "b", "tags": ["t"], "vnic_type": "normal"}
    assert {name: found[81][name] for name in reset | kept} == reset | kept
    for marked, root in ((f"/pools/{pool['id']}", "pool"), (f"/listeners/{listener['id']}", "listener")):
        assert api.get(marked)[root]["provisioning_status"] == "PENDING_UPDATE"
    api.settle()
    assert a["id"] not in {one["id"] for one in api.get(path)["members"]}
    new = {"address": "192.0.2.4", "protocol_port": 83}
    api.put(f"{path}?additive_only=True", {"members": [new]}, code=202)
    statuses = {one["protocol_port"]: one["provisioning_status"] for one in api.get(path)["members"]}
    assert statuses == {81: "ACTIVE", 82: "ACTIVE", 83: "PENDING_CREATE"}
    api.settle()
    api.put(path, {"members": []}, code=202)
    assert {one["provisioning_status"] for one in api.get(path)["members"]} == {"PENDING_DELETE"}
    api.settle()
    with unchanged(api):
        api.put(path, {"members": []}, code=202)
        api.put(f"{path}?additive_only=true", {"members": []}, code=202)


def test_what_a_batch_cannot_say(api: Api) -> None:
    pool = api.pool(api.load_balancer())
    path = f"/pools/{pool['id']}/members"
    member = api.member(pool)
    present = {"address": member["address"], "protocol_port": member["protocol_port"]}
    new = {"address": "192.0.2.1", "protocol_port": 80}
    missing(api, "PUT", "/pools/{}/members", "Pool", {"members": [new]})
    refusals: list[tuple[Any, int, str]] = [
        ([present, present], 400, "listed twice"),
        ([new, new], 409, "already using ip 192.0.2.1 on protocol_port 80"),
        ([new | {"address": "169.254.169.254"}], 400, "for member address"),
        ([new | {"subnet_id": UNKNOWN}], 400, f"Subnet {UNKNOWN} not found."),
        ([new | {"request_sriov": True}], 400, "SR-IOV"),
        ([new | {"nonsense": 1}], 400, "Unknown attribute"),
        ([{"address": "192.0.2.1"}], 400, "protocol_port. Value: 'None'. Mandatory"),
        ([5], 400, "member"),
        ({}, 400, "list"),
        (None, 400, "members"),
    ]
    with unchanged(api):
        for items, code, fragment in refusals:
            assert fragment in api.fault("PUT", path, {"members": items}, code=code)
        assert "members" in api.fault("PUT", path, {}, code=400)
        assert "Missing argument" in api.fault("PUT", path, code=400)
        assert "Unknown argument" in api.fault("PUT", f"{path}?x=1", {"members": [new]}, code=400)


@story("GET /pools/{pool_id}/members/{member_id}", "PUT /pools/{pool_id}/members/{member_id}")
def test_a_member_is_updated(api: Api) -> None:
    lb = api.load_balancer()
    pool, other = api.pool(lb), api.pool(lb)
    member = api.member(pool, weight=9, backup=True, monitor_address="192.0.2.9", monitor_port=1, tags=["t"])
    path = f"/pools/{pool['id']}/members/{member['id']}"
    api.settle()
    nulls = dict.fromkeys(words("name admin_state_up weight backup monitor_address monitor_port tags"))
    answer = api.put(path, {"member": nulls})["member"]
    check_fields("member", answer)
    expected = {
        "name": "",
        "admin_state_up": False,
        "weight": 1,
        "backup": False,
        "monitor_address": None,
        "monitor_port": None,
        "tags": ["t"],
        "provisioning_status": "PENDING_UPDATE",
    }
    assert {name: answer[name] for name in expected} == expected
    shown = api.get(path)["member"]
    check_fields("member", shown)
    assert api.put(path, {"member": {}})["member"]["provisioning_status"] == "PENDING_UPDATE"
    check_body(api, "PUT", path, "member")
    elsewhere = f"/pools/{other['id']}/members/{member['id']}"
    for method, body in (("GET", None), ("PUT", {"member": {}}), ("DELETE", None)):
        missing(api, method, "/pools/{}/members/" + member["id"], "Pool", body)
        missing(api, method, f"/pools/{pool['id']}/members/" + "{}", "Member", body)
        assert api.fault(method, elsewhere, body, code=404) == f"Member {member['id']} not found."
    immutable = words("id address protocol_port subnet_id vnic_type project_id tenant_id")
    check_refusals(
        api,
        "PUT",
        path,
        "member",
        {},
        [
            *(({name: member[name]}, 400, "Unknown attribute") for name in immutable),
            ({"request_sriov": False}, 400, "Unknown attribute"),
            ({"weight": 257}, 400, "weight"),
            ({"monitor_address": "x"}, 400, "monitor_address"),
        ],
    )


@story("DELETE /pools/{pool_id}/members/{member_id}")
def test_a_member_is_deleted(api: Api) -> None:
    pool = api.pool(api.load_balancer())
    member = api.member(pool)
    path = f"/pools/{pool['id']}/members/{member['id']}"
    api.settle()
    assert "Unknown argument" in api.fault("DELETE", f"{path}?x=1", code=400)
    api.delete(path)
    assert api.get(path)["member"]["provisioning_status"] == "PENDING_DELETE"
    assert api.get(f"/pools/{pool['id']}")["pool"]["provisioning_status"] == "PENDING_UPDATE"
    with unchanged(api):
        assert "immutable" in api.fault("DELETE", path, code=409)
        assert "immutable" in api.fault("PUT", path, {"member": {}}, code=409)
    api.settle()
    api.get(path, code=404)
    assert api.get(f"/pools/{pool['id']}")["pool"]["members"] == []
