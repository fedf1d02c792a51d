# SPDX-License-Identifier: Apache-2.0
"""Stories of flavors, availability zones, their profiles, and providers (contract: api.md sections 14-18)."""

import json
from typing import Any

from tests.api.conftest import Api
from tests.api.stories import (
    GONE,
    UNKNOWN,
    check_body,
    check_fields,
    check_refusals,
    check_shows,
    missing,
    story,
    unchanged,
    words,
)

NIL = "00000000-0000-0000-0000-000000000000"
FLAVORS, FLAVOR_PROFILES = "/flavors", "/flavorprofiles"
ZONES, ZONE_PROFILES = "/availabilityzones", "/availabilityzoneprofiles"
TOPOLOGY = '{ "loadbalancer_topology":"SINGLE" }'


def flavor_profile(api: Api, **values: Any) -> Any:
    body = {"name": "p", "provider_name": "amphora", "flavor_data": TOPOLOGY} | values
    return api.post(FLAVOR_PROFILES, {"flavorprofile": body})["flavorprofile"]


def zone_profile(api: Api, **values: Any) -> Any:
    data = json.dumps({"compute_zone": "nova"})
    body = {"name": "p", "provider_name": "amphora", "availability_zone_data": data} | values
    return api.post(ZONE_PROFILES, {"availability_zone_profile": body})["availability_zone_profile"]


@story(
    "POST /flavorprofiles",
    "GET /flavorprofiles",
    "GET /flavorprofiles/{key}",
    "PUT /flavorprofiles/{key}",
    "DELETE /flavorprofiles/{key}",
)
def test_flavor_profiles(api: Api) -> None:
    profile = flavor_profile(api)
    check_fields("flavorprofile", profile)
    assert profile["flavor_data"] == TOPOLOGY
    for name in words("id name provider_name"):
        assert api.get(f"{FLAVOR_PROFILES}?{name}={profile[name]}")["flavorprofiles"] == [profile]
    listed = api.get(FLAVOR_PROFILES)
    assert listed == {"flavorprofiles": [profile], "flavorprofile_links": []}
    path = f"{FLAVOR_PROFILES}/{profile['id']}"
    assert api.get(path) == {"flavorprofile": profile}
    good = {"name": "p", "provider_name": "amphora", "flavor_data": TOPOLOGY}
    refusals: list[tuple[dict[str, Any], int, str]] = [
        ({"flavor_data": "{"}, 400, "{ is not a valid option for flavor_data"),
        ({"flavor_data": "[1]"}, 400, "[1] is not a valid option for flavor_data"),
        ({"flavor_data": {}}, 400, "Value should be string"),
        ({"flavor_data": json.dumps({"x": "y" * 4096})}, 400, "flavor_data"),
        ({"flavor_data": '{"nonsense": 1}'}, 501, "nonsense"),
        ({"flavor_data": '{"loadbalancer_topology": "TRIPLE"}'}, 501, "loadbalancer_topology"),
        ({"provider_name": "nobody"}, 400, "Provider 'nobody' is not enabled."),
        ({"name": "n" * 256}, 400, "name"),
        ({"description": ""}, 400, "Unknown attribute"),
    ]
    gone = [({name: GONE}, 400, "Mandatory field missing.") for name in good]
    check_body(api, "POST", FLAVOR_PROFILES, "flavorprofile")
    check_refusals(api, "POST", FLAVOR_PROFILES, "flavorprofile", good, [*gone, *refusals])
    check_body(api, "PUT", path, "flavorprofile")
    nulls = [({name: None}, 400, f"None is not a valid option for {name}") for name in good]
    check_refusals(api, "PUT", path, "flavorprofile", {}, [*nulls, *refusals])
    assert api.put(path, {"flavorprofile": {}})["flavorprofile"] == profile
    answer = api.put(path, {"flavorprofile": {"name": "new", "flavor_data": "{}"}})["flavorprofile"]
    check_fields("flavorprofile", answer)
    assert (answer["name"], answer["flavor_data"]) == ("new", "{}")
    api.post(FLAVORS, {"flavor": {"name": "f", "flavor_profile_id": profile["id"]}})
    in_use = f"Flavor profile {profile['id']} is in use and cannot be modified."
    check_refusals(
        api,
        "PUT",
        path,
        "flavorprofile",
        {},
        [({"flavor_data": "{}"}, 409, in_use), ({"provider_name": "amphora"}, 409, in_use)],
    )
    assert api.fault("DELETE", path, code=409) == in_use
    assert api.put(path, {"flavorprofile": {"name": "other"}})["flavorprofile"]["name"] == "other"
    unused = flavor_profile(api)
    assert "Unknown argument" in api.fault("DELETE", f"{FLAVOR_PROFILES}/{unused['id']}?x=1", code=400)
    api.delete(f"{FLAVOR_PROFILES}/{unused['id']}")
    for method, body in (("GET", None), ("PUT", {"flavorprofile": {}}), ("DELETE", None)):
        missing(api, method, FLAVOR_PROFILES + "/{}", "Flavor Profile", body)
        api.fault(method, f"{FLAVOR_PROFILES}/{NIL}", body, code=404)


@story("POST /flavors", "GET /flavors", "GET /flavors/{key}", "PUT /flavors/{key}", "DELETE /flavors/{key}")
def test_flavors(api: Api) -> None:
    profile = flavor_profile(api)
    good = {"name": "f", "flavor_profile_id": profile["id"]}
    flavor = api.post(FLAVORS, {"flavor": good})["flavor"]
    check_fields("flavor", flavor)
    assert (flavor["description"], flavor["enabled"]) == ("", True)
    names = words("id name flavor_profile_id")
    filters = {name: flavor[name] for name in names}
    check_shows(api, FLAVORS, "flavor", flavor, **filters, enabled="true", description="")
    others = [api.post(FLAVORS, {"flavor": good | {"name": name}})["flavor"] for name in "zy"]
    ids = [one["id"] for one in api.get(FLAVORS)["flavors"]]
    assert ids == sorted([flavor["id"], *(one["id"] for one in others)])
    assert [one["name"] for one in api.get(f"{FLAVORS}?sort=name:desc")["flavors"]] == ["z", "y", "f"]
    refusals: list[tuple[dict[str, Any], int, str]] = [
        ({"name": GONE}, 400, "Mandatory field missing."),
        ({"flavor_profile_id": GONE}, 400, "Mandatory field missing."),
        ({}, 409, "A flavor of f already exists."),
        ({"name": "n", "flavor_profile_id": UNKNOWN}, 400, f"Flavor Profile {UNKNOWN} not found."),
        ({"name": "n", "enabled": None}, 400, "enabled"),
        ({"name": "n", "tags": []}, 400, "Unknown attribute"),
    ]
    check_body(api, "POST", FLAVORS, "flavor")
    check_refusals(api, "POST", FLAVORS, "flavor", good, refusals)
    path = f"{FLAVORS}/{flavor['id']}"
    lb = api.load_balancer(flavor_id=flavor["id"])
    assert (lb["flavor_id"], lb["provider"]) == (flavor["id"], "amphora")
    answer = api.put(path, {"flavor": {"name": "new", "description": None, "enabled": "no"}})["flavor"]
    assert answer == flavor | {"name": "new", "enabled": False}
    assert api.put(path, {"flavor": {}})["flavor"] == answer
    check_body(api, "PUT", path, "flavor")
    check_refusals(
        api,
        "PUT",
        path,
        "flavor",
        {},
        [
            ({"name": "z"}, 409, "A flavor of z already exists."),
            ({"enabled": None}, 400, "enabled"),
            ({"flavor_profile_id": profile["id"]}, 400, "Unknown attribute"),
        ],
    )
    disabled = f"The selected flavor is not allowed in this deployment: {flavor['id']}"
    body = {"vip_subnet_id": api.subnet, "flavor_id": flavor["id"]}
    with unchanged(api):
        assert api.fault("POST", "/loadbalancers", {"loadbalancer": body}, code=400) == disabled
        in_use = f"Flavor {flavor['id']} is in use and cannot be modified."
        assert api.fault("DELETE", path, code=409) == in_use
        body = {"vip_subnet_id": api.subnet, "flavor_id": others[0]["id"], "provider": "octavia"}
        api.fault("POST", "/loadbalancers", {"loadbalancer": body}, code=400)
    api.delete(f"{FLAVORS}/{others[0]['id']}")
    for method, more in (("GET", None), ("PUT", {"flavor": {}}), ("DELETE", None)):
        missing(api, method, FLAVORS + "/{}", "Flavor", more)
        assert api.fault(method, f"{FLAVORS}/{NIL}", more, code=404) == f"Flavor {NIL} not found."


@story(
    "POST /availabilityzoneprofiles",
    "GET /availabilityzoneprofiles",
    "GET /availabilityzoneprofiles/{key}",
    "PUT /availabilityzoneprofiles/{key}",
    "DELETE /availabilityzoneprofiles/{key}",
)
def test_zone_profiles(api: Api) -> None:
    profile = zone_profile(api)
    root = "availability_zone_profile"
    check_fields(root, profile)
    assert api.get(ZONE_PROFILES) == {
        "availability_zone_profiles": [profile],
        "availability_zone_profile_links": [],
    }
    path = f"{ZONE_PROFILES}/{profile['id']}"
    assert api.get(path) == {root: profile}
    network = api.network.list_networks()[0].id
    good = {"name": "p", "provider_name": "amphora", "availability_zone_data": "{}"}
    refusals: list[tuple[dict[str, Any], int, str]] = [
        ({name: value}, 400, fragment)
        for name, value, fragment in (
            ("availability_zone_data", "{", "{ is not a valid option for availability_zone_data"),
            ("provider_name", "nobody", "Provider 'nobody' is not enabled."),
            ("nonsense", 1, "Unknown attribute"),
        )
    ]
    refusals += [
        ({"availability_zone_data": json.dumps(data)}, 501, fragment)
        for data, fragment in (
            ({"nonsense": 1}, "nonsense"),
            ({"management_network": UNKNOWN}, UNKNOWN),
            ({"valid_vip_networks": [network, UNKNOWN]}, UNKNOWN),
            ({"valid_vip_networks": network}, "valid_vip_networks"),
        )
    ]
    check_body(api, "POST", ZONE_PROFILES, root)
    check_refusals(api, "POST", ZONE_PROFILES, root, good, refusals)
    check_body(api, "PUT", path, root)
    nulls = [({name: None}, 400, f"None is not a valid option for {name}") for name in good]
    check_refusals(api, "PUT", path, root, {}, [*nulls, *refusals])
    data = json.dumps({"valid_vip_networks": [network], "management_network": network})
    answer = api.put(path, {root: {"availability_zone_data": data}})[root]
    assert answer == profile | {"availability_zone_data": data}
    assert api.put(path, {root: {}})[root] == answer
    body = {"name": "z", "availability_zone_profile_id": profile["id"]}
    api.post(ZONES, {"availability_zone": body})
    in_use = f"Availability Zone Profile {profile['id']} is in use and cannot be modified."
    check_refusals(api, "PUT", path, root, {}, [({"availability_zone_data": data}, 409, in_use)])
    assert api.fault("DELETE", path, code=409) == in_use
    api.delete(f"{ZONE_PROFILES}/{zone_profile(api)['id']}")
    for method, more in (("GET", None), ("PUT", {root: {}}), ("DELETE", None)):
        missing(api, method, ZONE_PROFILES + "/{}", "Availability Zone Profile", more)


@story(
    "POST /availabilityzones",
    "GET /availabilityzones",
    "GET /availabilityzones/{key}",
    "PUT /availabilityzones/{key}",
    "DELETE /availabilityzones/{key}",
)
def test_zones(api: Api) -> None:
    profile = zone_profile(api)
    root = "availability_zone"
    good = {"name": "zone b", "availability_zone_profile_id": profile["id"], "description": "d"}
    zone = api.post(ZONES, {root: good})[root]
    check_fields(root, zone)
    filters = {name: zone[name] for name in words("name description availability_zone_profile_id")}
    assert api.get(f"{ZONES}/zone%20b") == {root: zone}
    for name, value in filters.items():
        assert api.get(f"{ZONES}?{name}={value}")["availability_zones"] == [zone]
    for name in "ca":
        api.post(ZONES, {root: good | {"name": name}})
    listed = api.get(ZONES)
    assert list(listed) == ["availability_zones", "availability_zones_links"]
    assert [one["name"] for one in listed["availability_zones"]] == ["a", "c", "zone b"]
    page = api.get(f"{ZONES}?limit=2")
    assert "marker=c" in page["availability_zones_links"][0]["href"]
    assert [one["name"] for one in api.get(f"{ZONES}?limit=2&marker=c")["availability_zones"]] == ["zone b"]
    check_body(api, "POST", ZONES, root)
    check_refusals(
        api,
        "POST",
        ZONES,
        root,
        good,
        [
            ({}, 409, "A availability zone of zone b already exists."),
            ({"name": GONE}, 400, "Mandatory field missing."),
            ({"name": "x", "availability_zone_profile_id": UNKNOWN}, 400, UNKNOWN),
            ({"name": "x", "enabled": None}, 400, "enabled"),
            ({"id": UNKNOWN}, 400, "Unknown attribute"),
        ],
    )
    path = f"{ZONES}/c"
    lb = api.load_balancer(availability_zone="c")
    assert lb["availability_zone"] == "c"
    answer = api.put(path, {root: {"description": None, "enabled": False}})[root]
    assert answer == zone | {"name": "c", "description": "", "enabled": False}
    assert api.put(path, {root: {}})[root] == answer
    check_body(api, "PUT", path, root)
    refusals: list[tuple[dict[str, Any], int, str]] = [
        ({"name": "new"}, 400, "Unknown attribute"),
        ({"availability_zone_profile_id": profile["id"]}, 400, "Unknown attribute"),
        ({"enabled": None}, 400, "enabled"),
    ]
    check_refusals(api, "PUT", path, root, {}, refusals)
    body = {"vip_subnet_id": api.subnet, "availability_zone": "c"}
    with unchanged(api):
        fault = api.fault("POST", "/loadbalancers", {"loadbalancer": body}, code=400)
        assert fault == "The selected availability_zone is not allowed in this deployment: c"
        in_use = "Availability Zone c is in use and cannot be modified."
        assert api.fault("DELETE", path, code=409) == in_use
    api.delete(f"{ZONES}/a")
    for method, more in (("GET", None), ("PUT", {root: {}}), ("DELETE", None)):
        missing(api, method, ZONES + "/{}", "Availability Zone", more)
        api.fault(method, f"{ZONES}/{NIL}", more, code=404)


@story(
    "GET /providers",
    "GET /providers/{provider_name}/flavor_capabilities",
    "GET /providers/{provider_name}/availability_zone_capabilities",
)
def test_providers_and_what_they_can(api: Api) -> None:
    assert api.get("/providers") == {
        "providers": [
            {"name": "amphora", "description": "The Octavia Amphora driver."},
            {"name": "octavia", "description": "Deprecated alias of the Octavia Amphora driver."},
        ]
    }
    assert api.get("/providers?fields=name&x=1")["providers"] == [{"name": "amphora"}, {"name": "octavia"}]
    assert api.request("GET", "/providers/amphora").status_code == 405
    expected = {
        "flavor_capabilities": (
            "loadbalancer_topology",
            "The load balancer topology. One of: SINGLE - One amphora per load balancer. ACTIVE_STANDBY - Two"
            " amphora per load balancer.",
        ),
        "availability_zone_capabilities": ("compute_zone", "The compute availability zone."),
    }
    for provider in ("amphora", "octavia"):
        for kind, (name, text) in expected.items():
            path = f"/providers/{provider}/{kind}"
            found = api.get(path)
            assert list(found) == [kind]
            assert {"name": name, "description": text} in found[kind]
            assert api.get(f"{path}?name={name}")[kind] == [{"name": name, "description": text}]
            assert api.get(f"{path}?name={name}&fields=name")[kind] == [{"name": name}]
            assert api.get(f"{path}?description=x")[kind] == []
            assert "duplicate or invalid" in api.fault("GET", f"{path}?x=1", code=400)
    for kind in expected:
        fault = api.fault("GET", f"/providers/nobody/{kind}", code=400)
        assert fault == "Provider 'nobody' is not enabled."
