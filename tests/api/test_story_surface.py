# SPDX-License-Identifier: Apache-2.0
"""What holds for every path, and for every list (contract: api.md sections 1 and 3), by the route table."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from octavia.api import app
from tests.api.conftest import Api
from tests.api.stories import FIELDS, UNKNOWN, unchanged
from tests.api.test_story_graph import graph

# Each collection with what its objects have that can be neither sorted nor filtered by.
LISTS = {
    "loadbalancer": ("/loadbalancers", "vip_sg_ids additional_vips listeners pools"),
    "listener": ("/listeners", "sni_container_refs l7policies insert_headers loadbalancers allowed_cidrs"),
    "pool": ("/pools", "session_persistence loadbalancers listeners members"),
    "member": ("/pools/{pool}/members", ""),
    "healthmonitor": ("/healthmonitors", "pools"),
    "l7policy": ("/l7policies", "rules"),
    "rule": ("/l7policies/{policy}/rules", ""),
    "quota": ("/quotas", ""),
    "flavor": ("/flavors", ""),
    "flavorprofile": ("/flavorprofiles", ""),
    "availability_zone": ("/availabilityzones", ""),
    "availability_zone_profile": ("/availabilityzoneprofiles", ""),
    "amphora": ("//v2.0/octavia/amphorae", ""),
}
WITHOUT_TAGS = frozenset(
    {"quota", "flavor", "flavorprofile", "availability_zone", "availability_zone_profile", "amphora"}
)


@pytest.fixture
def tree(api: Api) -> dict[str, str]:
    """Ids for the names that paths have."""
    lb = api.post("/loadbalancers", {"loadbalancer": graph(api)})["loadbalancer"]
    (listener,) = lb["listeners"]
    policy = next(one for one in listener["l7policies"] if one["rules"])
    pool = next(one for one in lb["pools"] if one["healthmonitor"])
    data = {"name": "p", "provider_name": "amphora"}
    profile = api.post("/flavorprofiles", {"flavorprofile": data | {"flavor_data": "{}"}})["flavorprofile"]
    body = {"availability_zone_profile": data | {"availability_zone_data": "{}"}}
    zone_profile = api.post("/availabilityzoneprofiles", body)["availability_zone_profile"]
    flavor = {"name": "f", "flavor_profile_id": profile["id"]}
    flavor_id = api.post("/flavors", {"flavor": flavor})["flavor"]["id"]
    zone = {"name": "z", "availability_zone_profile_id": zone_profile["id"]}
    api.post("/availabilityzones", {"availability_zone": zone})
    return {
        "load_balancer_id": lb["id"],
        "listener_id": listener["id"],
        "pool_id": pool["id"],
        "pool": pool["id"],
        "policy": policy["id"],
        "member_id": pool["members"][0]["id"],
        "health_monitor_id": pool["healthmonitor"]["id"],
        "l7policy_id": policy["id"],
        "l7rule_id": policy["rules"][0]["id"],
        "project_id": "demo",
        "provider_name": "amphora",
        "/flavors/{key}": flavor_id,
        "/flavorprofiles/{key}": profile["id"],
        "/availabilityzones/{key}": "z",
        "/availabilityzoneprofiles/{key}": zone_profile["id"],
    }


def concrete(path: str, tree: dict[str, str]) -> str:
    """A path of the route table with the ids of what is there."""
    return path.format_map(tree | {"key": tree.get(path, "")})


def test_every_path_can_be_written_in_every_way(api: Api, tree: dict[str, str]) -> None:
    for path, methods in app.LBAAS.items():
        if "GET" not in methods:
            continue
        target = concrete(path, tree)
        expected = api.get(target)
        for root in ("//v2.0/lbaas", "//v2/lbaas", "//v2.0", "//v2"):
            for suffix in ("", "/", ".json"):
                assert api.get(f"{root}{target}{suffix}") == expected, (root, target, suffix)
    for path in ("//", "//v2", "//v2.0/", "//v2/lbaas", "//v2.0/lbaas/", "//v2/octavia", "//v2.0/octavia"):
        assert api.request("GET", path).status_code == 200


def test_what_is_not_in_the_table_is_refused_in_both_shapes(api: Api, tree: dict[str, str]) -> None:
    with unchanged(api):
        for path, methods in app.LBAAS.items():
            target = concrete(path, tree)
            if path.endswith("}"):
                assert_unknown(api, f"{target}/nonsense")
            lacking = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"} - set(methods)
            if "POST" in methods or path == "/quotas":  # a collection says what it lacks
                for method in lacking & {"PUT", "DELETE"}:
                    assert "Missing argument: id" in api.fault(method, target, {}, code=400)
                lacking -= {"PUT", "DELETE"}
            for method in lacking:
                result = api.request(method, target, {} if method != "HEAD" else None)
                assert result.status_code == 405, (method, path)
                allowed = {one.strip() for one in result.headers["allow"].split(",")}
                assert set(methods) <= allowed
                assert method not in allowed
                if method != "HEAD":
                    assert (result.json["title"], result.json["description"]) == ("Method Not Allowed", "")
            options = api.request("OPTIONS", target)
            assert (options.status_code, options.text) == (200, "")
    for path in ("//nonsense", "//v3/lbaas/loadbalancers", "/nonsense", "//v2.0/octavia/loadbalancers"):
        assert_unknown(api, path)


def assert_unknown(api: Api, path: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = api.request(method, path).json
        assert (answer["code"], answer["title"], answer["description"]) == (404, "Not Found", "")
        assert (answer["faultcode"], answer["debuginfo"]) == ("Client", None)


@pytest.mark.parametrize("root", LISTS)
def test_lists_sort_by_every_scalar_and_by_nothing_else(api: Api, tree: dict[str, str], root: str) -> None:
    path, relations = LISTS[root]
    path = path.format_map(tree)
    not_scalar = {"tags", "tenant_id", *relations.split()}
    for name in FIELDS[root].split():
        keys = (f"sort={name}", f"sort={name}:DESC", f"sort_key={name}&sort_dir=desc")
        if name not in not_scalar:
            for query in keys:
                api.get(f"{path}?{query}")
            continue
        for query in keys:
            assert (
                api.fault("GET", f"{path}?{query}", code=400) == f"Supplied sort key '{name}' is not valid."
            )
        if name != "tags":
            assert "duplicate or invalid" in api.fault("GET", f"{path}?{name}=x", code=400)
    for parameter in ("tags", "tags-any", "not-tags", "not-tags-any"):
        if root in WITHOUT_TAGS:
            assert "duplicate or invalid" in api.fault("GET", f"{path}?{parameter}=x", code=400)
        else:
            api.get(f"{path}?{parameter}=x&{parameter}=y,z")


@pytest.mark.parametrize("root", LISTS)
def test_lists_refuse_what_is_malformed(api: Api, tree: dict[str, str], root: str) -> None:
    path = LISTS[root][0].format_map(tree)
    refusals = {
        "limit=": "Supplied pagination limit '' is not valid.",
        "limit=ten": "Supplied pagination limit 'ten' is not valid.",
        f"marker={UNKNOWN}": f"Supplied pagination marker '{UNKNOWN}' is not valid.",
        "marker=": "Supplied pagination marker '' is not valid.",
        "sort=id:up": "direction",
        "sort=id:asc:desc": "sort",
        "sort=nonsense": "Supplied sort key 'nonsense' is not valid.",
        "nonsense=1": "One or more arguments are either duplicate or invalid",
        "id=1&id=1": "One or more arguments are either duplicate or invalid",
        "tenant_id=x": "One or more arguments are either duplicate or invalid",
    }
    for query, fragment in refusals.items():
        assert fragment in api.fault("GET", f"{path}?{query}", code=400)
    for query in ("limit=0", "limit=-1", "limit=infinite", "sort=", "page_reverse=true"):
        api.get(f"{path}?{query}")


@pytest.mark.parametrize("root", ["loadbalancer", "member", "flavor", "quota", "availability_zone"])
def test_pages_lead_there_and_back(make_api: Callable[..., Api], root: str) -> None:
    api = make_api(api_base_uri="https://example.org/load-balancer")
    path, plural = some(api, root)
    every = api.get(f"{path}?limit=100")[plural]
    assert len(every) == 5
    page = api.get(f"{path}?limit=2")
    seen = list(page[plural])
    links_name = f"{plural}_links"
    while True:
        links = {one["rel"]: one["href"] for one in page[links_name]}
        if "next" not in links:
            break
        url = urlsplit(links["next"])
        assert links["next"].startswith("https://example.org/load-balancer/v2.0/lbaas/")
        assert set(parse_qs(url.query)) == {"limit", "marker"}
        page = api.get(f"{path}?{url.query}")
        seen += page[plural]
    assert seen == every
    back = urlsplit(links["previous"]).query
    assert api.get(f"{path}?{back}")[plural] == every[2:4]


def some(api: Api, root: str) -> tuple[str, str]:
    """Five of a kind."""
    if root == "loadbalancer":
        for _ in range(5):
            api.load_balancer()
        return "/loadbalancers", "loadbalancers"
    if root == "quota":
        for n in range(5):
            api.put(f"/quotas/p{n}", {"quota": {}}, code=202)
        return "/quotas", "quotas"
    if root == "member":
        pool = api.pool(api.load_balancer())
        for n in range(5):
            api.member(pool, protocol_port=n + 1)
        return f"/pools/{pool['id']}/members", "members"
    data: dict[str, Any] = {"name": "p", "provider_name": "amphora"}
    if root == "flavor":
        body = data | {"flavor_data": "{}"}
        profile = api.post("/flavorprofiles", {"flavorprofile": body})["flavorprofile"]
        for n in range(5):
            api.post("/flavors", {"flavor": {"name": f"f{n}", "flavor_profile_id": profile["id"]}})
        return "/flavors", "flavors"
    body = {"availability_zone_profile": data | {"availability_zone_data": "{}"}}
    zone_profile = api.post("/availabilityzoneprofiles", body)["availability_zone_profile"]
    for n in range(5):
        zone = {"name": f"z {n}", "availability_zone_profile_id": zone_profile["id"]}
        api.post("/availabilityzones", {"availability_zone": zone})
    return "/availabilityzones", "availability_zones"


def test_what_the_operator_switches_off_is_ignored(make_api: Callable[..., Api]) -> None:
    api = make_api(
        allow_pagination=False, allow_sorting=False, allow_filtering=False, allow_field_selection=False
    )
    first, second = api.load_balancer(name="b"), api.load_balancer(name="a")
    expected = {
        "loadbalancers": [api.get(f"/loadbalancers/{one['id']}")["loadbalancer"] for one in (first, second)]
    }
    for one in expected["loadbalancers"]:
        one.pop("status_reason")
    for query in (
        "limit=x&marker=x",
        "sort=name",
        "sort=nonsense",
        "name=b",
        "x=1&x=2",
        "fields=id",
        "tags=x",
    ):
        assert api.get(f"/loadbalancers?{query}") == expected, query
    shown = api.get(f"/loadbalancers/{first['id']}?fields=id")["loadbalancer"]
    assert len(shown) > 1


def test_large_bodies_and_other_types_are_refused_once_and_for_all(api: Api) -> None:
    with unchanged(api):
        huge = b'{"loadbalancer": {"name": "' + b"x" * 120_000 + b'"}}'
        assert api.request("POST", "/loadbalancers", huge).status_code == 413
        headers = {"Content-Type": "text/xml"}
        result = api.request("POST", "/loadbalancers", b"<lb/>", headers=headers)
        assert (result.status_code, result.json["faultstring"]) == (415, "Unknown mimetype: text/xml")
        result = api.request("GET", "/loadbalancers", headers={"Accept": "text/xml"})
        assert (result.status_code, result.json["title"]) == (406, "Not Acceptable")
        assert "application/json" in result.json["description"]
