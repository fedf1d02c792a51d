# SPDX-License-Identifier: Apache-2.0
"""Stories of load balancers (contract: api.md section 5)."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from octavia.api.settings import ApiSettings
from octavia.db import tables as t
from octavia.db.engine import Database
from octavia.db.tree import loading
from octavia.domain.rules import Concurrency, Deployment
from octavia.drivers.network.memory import MemoryNetwork
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
from tests.api.test_story_graph import graph

COUNTERS = {"bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors"}
LB = "/loadbalancers"


@pytest.fixture
def strict(make_api: Callable[..., Api]) -> Api:
    return make_api(deployment=Deployment(concurrent_updates=Concurrency.REJECT))


@story("POST /loadbalancers", "GET /loadbalancers", "GET /loadbalancers/{load_balancer_id}")
def test_a_load_balancer_is_created_shown_and_listed(api: Api) -> None:
    body = {
        "name": "näme",
        "description": "d" * 255,
        "admin_state_up": "no",
        "project_id": "ignored",
        "tenant_id": "p" * 36,
        "vip_address": "198.18.64.77",
        "vip_subnet_id": api.subnet.replace("-", "").upper(),
        "vip_port_id": None,
        "vip_network_id": None,
        "vip_sg_ids": [],
        "additional_vips": [],
        "listeners": None,
        "pools": None,
        "provider": "octavia",
        "vip_qos_policy_id": None,
        "tags": ["b", "a", "b"],
    }
    lb = api.load_balancer(**body)
    check_fields("loadbalancer", lb)
    network_id = api.network.get_subnet(api.subnet).network_id
    port = api.network.get_port(lb["vip_port_id"])
    assert [one.ip_address for one in port.fixed_ips] == ["198.18.64.77"]
    expected = {
        "name": "näme",
        "description": "d" * 255,
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "admin_state_up": False,
        "project_id": "p" * 36,
        "tenant_id": "p" * 36,
        "updated_at": None,
        "vip_address": "198.18.64.77",
        "vip_subnet_id": api.subnet,
        "vip_network_id": network_id,
        "vip_sg_ids": [],
        "additional_vips": [],
        "listeners": [],
        "pools": [],
        "provider": "octavia",
        "flavor_id": None,
        "vip_qos_policy_id": None,
        "tags": ["a", "b"],
        "availability_zone": None,
        "vip_vnic_type": "normal",
    }
    assert {name: lb[name] for name in expected} == expected
    api.settle()
    shown = api.get(f"{LB}/{lb['id']}")["loadbalancer"]
    assert (shown["provisioning_status"], shown["operating_status"]) == ("ACTIVE", "OFFLINE")
    assert shown["updated_at"] >= shown["created_at"]
    assert "." not in shown["updated_at"] + shown["created_at"]
    shown.pop("status_reason")
    check_shows(
        api,
        LB,
        "loadbalancer",
        shown,
        **{
            name: shown[name]
            for name in words(
                "id name description project_id provisioning_status operating_status provider vip_address"
                " vip_subnet_id vip_port_id vip_network_id vip_vnic_type created_at updated_at"
            )
        },
        admin_state_up="False",
        enabled="0",
        topology="SINGLE",
        tags="a,b",
    )
    missing(api, "GET", LB + "/{}", "Load Balancer")


def test_what_a_load_balancer_needs_and_cannot_have(api: Api) -> None:
    missing_one = "VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id."
    known = [one.id for one in api.network.list_networks()]
    other = api.member_subnet
    check_body(api, "POST", LB, "loadbalancer")
    check_refusals(
        api,
        "POST",
        LB,
        "loadbalancer",
        {"vip_subnet_id": api.subnet},
        [
            ({"vip_subnet_id": GONE}, 400, f"Validation failure: {missing_one}"),
            ({"vip_subnet_id": None}, 400, missing_one),
            ({"vip_subnet_id": "x"}, 400, "Value should be UUID format"),
            ({"vip_subnet_id": UNKNOWN}, 400, f"Subnet {UNKNOWN} not found."),
            ({"vip_network_id": UNKNOWN}, 400, f"Network {UNKNOWN} not found."),
            ({"vip_network_id": known[0], "vip_subnet_id": other}, 400, f"Subnet {other} not found."),
            ({"vip_network_id": known[0], "vip_subnet_id": GONE, "vip_address": "8.8.8.8"}, 400, "8.8.8.8"),
            ({"vip_port_id": UNKNOWN}, 400, f"Port {UNKNOWN} not found."),
            ({"vip_qos_policy_id": UNKNOWN}, 400, f"qos_policy {UNKNOWN} not found."),
            ({"vip_sg_ids": [UNKNOWN]}, 400, f"Security Group {UNKNOWN} not found."),
            ({"vip_address": "198.18.64.0/24"}, 400, "vip_address"),
            ({"additional_vips": [{}]}, 400, "subnet_id"),
            ({"additional_vips": [{"subnet_id": api.subnet}]}, 400, "one address a subnet"),
            ({"additional_vips": [{"subnet_id": UNKNOWN}]}, 400, f"Subnet {UNKNOWN} not found"),
            ({"additional_vips": [{"subnet_id": other}]}, 400, "network"),
            ({"flavor_id": UNKNOWN}, 400, "Invalid flavor_id."),
            ({"flavor_id": None}, 400, "Invalid flavor_id."),
            ({"availability_zone": "nowhere"}, 400, "Invalid availability zone."),
            ({"availability_zone": None}, 400, "Invalid availability zone."),
            ({"provider": "nobody"}, 400, "Provider 'nobody' is not enabled."),
            ({"name": "n" * 256}, 400, "maximum character requirement of 255"),
            ({"name": 5}, 400, "Value should be string"),
            ({"admin_state_up": "perhaps"}, 400, "Value not an unambiguous boolean: perhaps"),
            ({"tags": "a"}, 400, "tags"),
            ({"tags": [1]}, 400, "tags"),
            ({"tags": ["t" * 256]}, 400, "tags"),
            ({"project_id": "p" * 37}, 400, "project_id"),
            ({"id": UNKNOWN}, 400, "Unknown attribute"),
            ({"vip_vnic_type": "direct"}, 400, "Unknown attribute"),
        ],
    )
    taken = api.load_balancer(vip_address="198.18.64.78")
    with unchanged(api):
        fault = api.fault("POST", LB, {"loadbalancer": taken_body(api, taken)}, code=409)
        assert "198.18.64.78" in fault
    used = {"vip_port_id": taken["vip_port_id"]}
    with unchanged(api):
        fault = api.fault("POST", LB, {"loadbalancer": used}, code=400)
        assert taken["vip_port_id"] in fault


def taken_body(api: Api, taken: dict[str, Any]) -> dict[str, Any]:
    return {"vip_subnet_id": api.subnet, "vip_address": taken["vip_address"]}


def test_the_operator_switches_sources_of_vips_off(make_api: Callable[..., Api]) -> None:
    api = make_api(allow_vip_subnet_id=False, allow_vip_port_id=False)
    fault = api.fault("POST", LB, {"loadbalancer": {"vip_subnet_id": api.subnet}}, code=400)
    assert "vip_subnet_id" in fault
    fault = api.fault("POST", LB, {"loadbalancer": {}}, code=400)
    assert fault == "Validation failure: VIP must contain one of: vip_network_id."


def test_an_additional_vip_shows_all_its_keys(api: Api) -> None:
    six = next(one for one in api.network.list_subnets() if one.name == "demo-6")
    address = "fd00:6f63:7461:64:0:0:0:99"
    lb = api.load_balancer(additional_vips=[{"subnet_id": six.id, "ip_address": address, "port_id": UNKNOWN}])
    assert lb["additional_vips"] == [
        {"subnet_id": six.id, "ip_address": address, "port_id": lb["vip_port_id"]}
    ]
    assert api.get(f"{LB}/{lb['id']}")["loadbalancer"]["additional_vips"] == lb["additional_vips"]
    # Everything but the API uses one spelling.
    with api.database.read() as tx:
        stored = loading.load(tx, lb["id"])
    assert stored
    assert stored.vip_addresses == (lb["vip_address"], "fd00:6f63:7461:64::99")


class Known(MemoryNetwork):
    """A network that knows some policies and groups."""

    def has_qos_policy(self, policy_id: str) -> bool:
        return policy_id != UNKNOWN

    def has_security_group(self, group_id: str) -> bool:
        return group_id != UNKNOWN


GROUPS = ["22222222-2222-4222-8222-222222222222", "11111111-1111-4111-8111-111111111111"]


@pytest.fixture
def known(database: Database) -> Api:
    return Api(database, ApiSettings(), network=Known())


def test_a_vip_has_the_tenants_security_groups_and_qos_policy(known: Api) -> None:
    api = known
    lb = api.load_balancer(vip_sg_ids=GROUPS, vip_qos_policy_id=GROUPS[0])
    path = f"{LB}/{lb['id']}"
    assert (lb["vip_sg_ids"], lb["vip_qos_policy_id"]) == (sorted(GROUPS), GROUPS[0])
    api.settle()
    shown = api.get(path)["loadbalancer"]
    assert (shown["vip_sg_ids"], shown["vip_qos_policy_id"]) == (sorted(GROUPS), GROUPS[0])
    assert api.get(f"{LB}?vip_qos_policy_id={GROUPS[0]}")["loadbalancers"][0]["vip_sg_ids"] == sorted(GROUPS)
    for changes in ({"vip_sg_ids": [UNKNOWN]}, {"vip_qos_policy_id": UNKNOWN}):
        api.fault("PUT", path, {"loadbalancer": changes}, code=400)
    good = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "protocol_port": 80}
    cidrs = {"allowed_cidrs": ["10.0.0.0/8"]}
    check_refusals(api, "POST", "/listeners", "listener", good, [(cidrs, 400, "vip_sg_ids")])
    listener = api.listener(lb)
    check_refusals(api, "PUT", f"/listeners/{listener['id']}", "listener", {}, [(cidrs, 400, "vip_sg_ids")])
    update = {"vip_sg_ids": GROUPS[:1], "vip_qos_policy_id": None, "name": "new"}
    answer = api.put(path, {"loadbalancer": update})["loadbalancer"]
    assert {name: answer[name] for name in update} == update
    assert api.put(path, {"loadbalancer": {"vip_sg_ids": None}})["loadbalancer"]["vip_sg_ids"] == []
    assert api.get(path)["loadbalancer"]["vip_sg_ids"] == []
    assert api.put(f"/listeners/{listener['id']}", {"listener": cidrs})["listener"]["allowed_cidrs"]
    api.put(path, {"loadbalancer": {"vip_sg_ids": GROUPS}})
    api.delete(f"{path}?cascade=true")


def test_a_vip_on_an_sr_iov_port_has_no_security_groups(known: Api) -> None:
    api = known
    data = {"name": "p", "provider_name": "amphora", "flavor_data": '{"sriov_vip": true}'}
    profile = api.post("/flavorprofiles", {"flavorprofile": data})["flavorprofile"]
    flavor = {"name": "f", "flavor_profile_id": profile["id"]}
    flavor_id = api.post("/flavors", {"flavor": flavor})["flavor"]["id"]
    good = {"vip_subnet_id": api.subnet, "flavor_id": flavor_id}
    groups: dict[str, Any] = {"vip_sg_ids": GROUPS}
    check_refusals(api, "POST", LB, "loadbalancer", good, [(groups, 400, "vip_sg_ids")])
    assert not list(api.network.list_ports())
    lb = api.load_balancer(**good)
    assert lb["vip_vnic_type"] == "direct"
    assert api.get(f"{LB}?vip_vnic_type=direct")["loadbalancers"]
    check_refusals(api, "PUT", f"{LB}/{lb['id']}", "loadbalancer", {}, [(groups, 400, "vip_sg_ids")])


def test_an_availability_zone_says_on_which_networks_vips_may_be(api: Api) -> None:
    demo, members = (one.id for one in api.network.list_networks())
    data = json.dumps({"valid_vip_networks": [members.upper()]})
    body = {"name": "p", "provider_name": "amphora", "availability_zone_data": data}
    created = api.post("/availabilityzoneprofiles", {"availability_zone_profile": body})
    zone = {"name": "z", "availability_zone_profile_id": created["availability_zone_profile"]["id"]}
    api.post("/availabilityzones", {"availability_zone": zone})
    good = {"vip_network_id": demo, "availability_zone": "z"}
    check_refusals(api, "POST", LB, "loadbalancer", good, [({}, 400, demo)])
    lb = api.load_balancer(vip_subnet_id=None, vip_network_id=members, availability_zone="z")
    assert lb["vip_subnet_id"] == api.member_subnet


@story("PUT /loadbalancers/{load_balancer_id}")
def test_a_load_balancer_is_updated(api: Api, strict: Api) -> None:
    lb = api.load_balancer(name="old", tags=["t"])
    path = f"{LB}/{lb['id']}"
    api.settle()
    body = {"name": "new", "description": None, "admin_state_up": None, "tags": None, "vip_sg_ids": None}
    answer = api.put(path, {"loadbalancer": body | {"vip_qos_policy_id": None}})["loadbalancer"]
    check_fields("loadbalancer", answer)
    changed = {"name": "new", "description": "", "admin_state_up": False, "tags": ["t"], "vip_sg_ids": []}
    assert {name: answer[name] for name in changed} == changed
    assert answer["provisioning_status"] == "PENDING_UPDATE"
    api.settle()
    assert api.put(path, {"loadbalancer": {}})["loadbalancer"]["provisioning_status"] == "PENDING_UPDATE"
    api.settle()
    assert api.put(path, {"loadbalancer": {"tags": []}})["loadbalancer"]["tags"] == []
    api.settle()
    check_body(api, "PUT", path, "loadbalancer")
    missing(api, "PUT", LB + "/{}", "Load Balancer", {"loadbalancer": {"vip_sg_ids": [UNKNOWN]}})
    immutable = (
        "id project_id tenant_id vip_address vip_port_id vip_subnet_id vip_network_id additional_vips"
        " listeners pools provider flavor_id availability_zone vip_vnic_type provisioning_status"
        " operating_status created_at updated_at"
    )
    check_refusals(
        api,
        "PUT",
        path,
        "loadbalancer",
        {},
        [
            *(({name: lb[name]}, 400, "Unknown attribute") for name in immutable.split()),
            ({"vip_qos_policy_id": UNKNOWN}, 400, f"qos_policy {UNKNOWN} not found."),
            ({"vip_sg_ids": [UNKNOWN]}, 400, f"Security Group {UNKNOWN} not found."),
            ({"name": "n" * 256}, 400, "name"),
        ],
    )
    fault = f"Invalid state {{}} of loadbalancer resource {lb['id']}"
    locked(strict, t.load_balancer, lb["id"], [("PUT", path, {"loadbalancer": {"name": "x"}})], fault)


@story("DELETE /loadbalancers/{load_balancer_id}")
def test_a_load_balancer_is_deleted(api: Api, strict: Api) -> None:
    lb = api.load_balancer()
    path = f"{LB}/{lb['id']}"
    api.settle()
    listener = api.listener(lb)
    for status in ("PENDING_UPDATE", "ACTIVE"):
        api.set_status(t.load_balancer, lb["id"], status)
        with unchanged(api):
            for query in ("", "?cascade=false", "?cascade=perhaps"):
                fault = strict.fault("DELETE", path + query, code=400)
                assert "has children" in fault
                assert lb["id"] in fault
            assert "Unknown argument" in api.fault("DELETE", f"{path}?force=1", code=400)
    for status in ("PENDING_CREATE", "PENDING_UPDATE", "PENDING_DELETE"):
        api.set_status(t.load_balancer, lb["id"], status)
        with unchanged(api):
            fault = strict.fault("DELETE", f"{path}?cascade=True", code=409)
            assert fault == f"Invalid state {status} of loadbalancer resource {lb['id']}"
    api.set_status(t.load_balancer, lb["id"], "ERROR")
    strict.delete(f"{path}?cascade=True")
    shown = api.get(path)["loadbalancer"]
    assert shown["provisioning_status"] == "PENDING_DELETE"
    assert api.get(f"/listeners/{listener['id']}")["listener"]["provisioning_status"] == "PENDING_CREATE"
    with unchanged(api):
        api.put(path, {"loadbalancer": {}}, code=409)
        api.delete(f"{path}?cascade=true", code=409)
    api.settle()
    missing(api, "DELETE", LB + "/{}", "Load Balancer")
    api.get(path, code=404)
    api.get(f"/listeners/{listener['id']}", code=404)
    assert api.get(LB) == {"loadbalancers": [], "loadbalancers_links": []}


@story("PUT /loadbalancers/{load_balancer_id}/failover")
def test_a_load_balancer_is_failed_over(api: Api, strict: Api) -> None:
    lb = api.load_balancer()
    path = f"{LB}/{lb['id']}/failover"
    bodies: tuple[Any, ...] = (None, {})
    for body in bodies:
        api.settle()
        assert api.put(path, body, code=202) is None
        shown = api.get(f"{LB}/{lb['id']}")["loadbalancer"]
        assert shown["provisioning_status"] == "PENDING_UPDATE"
    api.settle()
    with unchanged(api):
        assert "Unknown argument" in api.fault("PUT", path, {"loadbalancer": {}}, code=400)
        assert "Unknown argument" in api.fault("PUT", f"{path}?now=1", code=400)
    missing(api, "PUT", LB + "/{}/failover", "Load Balancer")
    for status in ("PENDING_CREATE", "PENDING_UPDATE", "PENDING_DELETE"):
        api.set_status(t.load_balancer, lb["id"], status)
        with unchanged(api):
            strict.put(path, code=409)
    api.set_status(t.load_balancer, lb["id"], "ERROR")
    strict.put(path, code=202)


@story("GET /loadbalancers/{load_balancer_id}/status", "GET /loadbalancers/{load_balancer_id}/statuses")
def test_the_status_tree_has_listeners_pools_monitors_and_members(api: Api) -> None:
    empty = api.load_balancer()
    tree = api.get(f"{LB}/{empty['id']}/status")
    assert tree == {
        "statuses": {
            "loadbalancer": {
                "id": empty["id"],
                "name": "",
                "operating_status": "OFFLINE",
                "provisioning_status": "PENDING_CREATE",
                "listeners": [],
            }
        }
    }
    lb = api.post(LB, {"loadbalancer": graph(api)})["loadbalancer"]
    tree = api.get(f"{LB}/{lb['id']}/status")["statuses"]["loadbalancer"]
    assert set(tree) == {"id", "name", "operating_status", "provisioning_status", "listeners"}
    (listener,) = tree["listeners"]
    assert set(listener) == {"id", "name", "operating_status", "provisioning_status", "pools"}
    assert [pool["name"] for pool in listener["pools"]] == ["web", "other"]
    statuses = {"id", "name", "operating_status", "provisioning_status"}
    for pool in listener["pools"]:
        assert set(pool) == statuses | {"health_monitor", "members"}
        assert set(pool["members"][0]) == statuses | {"address", "protocol_port"}
    web, other = listener["pools"]
    assert set(web["health_monitor"]) == statuses | {"type"}
    assert other["health_monitor"] is None
    assert api.get(f"{LB}/{lb['id']}/statuses")["statuses"]["loadbalancer"] == tree
    for alias in ("status", "statuses"):
        missing(api, "GET", LB + "/{}/" + alias, "Load Balancer")
        assert "Unknown argument" in api.fault("GET", f"{LB}/{lb['id']}/{alias}?x=1", code=400)


@story("GET /loadbalancers/{load_balancer_id}/stats")
def test_statistics_are_five_integers(api: Api) -> None:
    lb = api.load_balancer()
    path = f"{LB}/{lb['id']}/stats"
    assert api.get(path) == {"stats": dict.fromkeys(COUNTERS, 0)}
    assert api.get(f"{path}?fields=bytes_in") == {"stats": dict.fromkeys(COUNTERS, 0)}
    assert "Unknown argument" in api.fault("GET", f"{path}?x=1", code=400)
    missing(api, "GET", LB + "/{}/stats", "Load Balancer")
