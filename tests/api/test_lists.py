# SPDX-License-Identifier: Apache-2.0
"""Lists: filters, sorting, paging, fields and tags."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from tests.api.conftest import Api

ROOT = "/loadbalancers"


@pytest.fixture
def three(api: Api) -> list[Any]:
    """Three load balancers whose descriptions are not in order of creation, the last one down."""
    return [
        api.load_balancer(name=f"lb{n}", description=text, admin_state_up=n < 2, tags=tags)
        for n, (text, tags) in enumerate((("B", ["a", "b"]), ("A", ["a"]), ("C", [])))
    ]


def names(api: Api, query: str = "", **more: Any) -> str:
    return "".join(one["description"] for one in api.get(f"{ROOT}?{query}", **more)["loadbalancers"])


def test_a_list_is_ordered_by_creation_and_has_links(api: Api, three: list[Any]) -> None:
    answer = api.get(ROOT)
    assert list(answer) == ["loadbalancers", "loadbalancers_links"]
    assert answer["loadbalancers"] == three
    assert answer["loadbalancers_links"] == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sort=description", "ABC"),
        ("sort=description:asc", "ABC"),
        ("sort=description:DESC", "CBA"),
        ("sort=admin_state_up,description:desc", "CBA"),
        ("sort=admin_state_up:desc,description:desc", "BAC"),
        ("sort=vip_qos_policy_id,description", "ABC"),
        ("sort_key=description", "ABC"),
        ("sort_key=description&sort_dir=desc", "CBA"),
        ("sort_key=admin_state_up,description&sort_dir=desc", "ABC"),
        ("sort=", "BAC"),
        ("sort=name&sort_key=description", "BAC"),
        ("sort=created_at:desc", "CAB"),
        ("sort=vip_address:desc", "CAB"),
        ("name=lb1", "A"),
        ("name=LB1", ""),
        ("name=", ""),
        ("description=A&name=lb1", "A"),
        ("description=A&name=lb2", ""),
        ("admin_state_up=True", "BA"),
        ("admin_state_up=0", "C"),
        ("enabled=no", "C"),
        ("provisioning_status=PENDING_CREATE", "BAC"),
        ("operating_status=ONLINE", ""),
        ("provider=amphora", "BAC"),
        ("topology=SINGLE", "BAC"),
        ("project_id=demo", "BAC"),
        ("project_id=other", ""),
        ("flavor_id=x", ""),
        ("vip_address=198.18.64.3", "A"),
        ("created_at=2026-05-04T12:00:00", "BAC"),
        ("created_at=2026-05-04T12:00:01", ""),
        ("created_at=yesterday", ""),
        ("tags=a", "BA"),
        ("tags=a,b", "B"),
        ("tags=a&tags=b", "B"),
        ("tags=a,", ""),
        ("tags=", ""),
        ("tags-any=a,b", "BA"),
        ("tags-any=b,nope", "B"),
        ("tags-any=", ""),
        ("not-tags=a,b", "AC"),
        ("not-tags-any=b", "AC"),
        ("not-tags-any=a,b", "C"),
        ("tags=a&not-tags-any=b", "A"),
        ("tags=a&name=lb0", "B"),
        ("limit=2", "BA"),
        ("limit=0", "BAC"),
        ("limit=-5", "BAC"),
        ("limit=infinite", "BAC"),
        ("limit=99999999999999999999", "BAC"),
    ],
)
def test_a_list_can_be_sorted_filtered_and_cut(api: Api, three: list[Any], query: str, found: str) -> None:
    assert names(api, query) == found


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("nope=1", "One or more arguments are either duplicate or invalid"),
        ("name=a&name=b", "One or more arguments are either duplicate or invalid"),
        ("tenant_id=demo", "One or more arguments are either duplicate or invalid"),
        ("listeners=x", "One or more arguments are either duplicate or invalid"),
        ("additional_vips=x", "One or more arguments are either duplicate or invalid"),
        ("admin_state_up=maybe", "Value not an unambiguous boolean: maybe"),
        ("sort=nope", "Supplied sort key 'nope' is not valid."),
        ("sort=listeners", "Supplied sort key 'listeners' is not valid."),
        ("sort=name:up", "Supplied sort direction 'up' is not valid."),
        ("sort=name:asc:desc", "Supplied sort 'name:asc:desc' is not key:direction."),
        ("sort_key=name&sort_dir=up", "Supplied sort direction 'up' is not valid."),
        ("limit=x", "Supplied pagination limit 'x' is not valid."),
        ("limit=", "Supplied pagination limit '' is not valid."),
        ("marker=nope", "Supplied pagination marker 'nope' is not valid."),
        ("marker=", "Supplied pagination marker '' is not valid."),
        ("name=%00", "One or more arguments are not valid text"),
        ("&".join(f"a{n}=1" for n in range(300)), "More than 200 query parameters"),
    ],
)
def test_a_list_that_cannot_be_asked_for(api: Api, three: list[Any], query: str, fault: str) -> None:
    assert api.fault("GET", f"{ROOT}?{query}", code=400) == fault


def test_each_field_can_be_had_alone(api: Api, three: list[Any]) -> None:
    shown = api.get(f"{ROOT}/{three[0]['id']}")["loadbalancer"]
    for field in set(shown) - {"tenant_id", "status_reason"}:
        for one, whole in zip(api.get(f"{ROOT}?fields={field}")["loadbalancers"], three, strict=True):
            assert one == {field: whole[field]}
        alone = api.get(f"{ROOT}/{three[0]['id']}?fields={field}")["loadbalancer"]
        assert alone == {field: shown[field]}
    two = api.get(f"{ROOT}?fields=id&fields=name&fields=nope&fields=tenant_id&name=lb1")["loadbalancers"]
    assert two == [{"id": three[1]["id"], "name": "lb1"}]


def walk(api: Api, query: str) -> tuple[list[str], list[dict[str, list[str]]]]:
    """Follow the links from page to page, as clients do; the ids, and the queries of the links."""
    ids: list[str] = []
    queries: list[dict[str, list[str]]] = []
    path = f"{ROOT}?{query}"
    while True:
        answer = api.get(path)
        ids += [one["id"] for one in answer["loadbalancers"]]
        following = [link["href"] for link in answer["loadbalancers_links"] if link["rel"] == "next"]
        if not following:
            return ids, queries
        parts = urlsplit(following[0])
        assert (parts.scheme, parts.path) == ("http", "/v2.0/lbaas/loadbalancers")
        queries.append(parse_qs(parts.query))
        path = f"{ROOT}?{parts.query}"


def test_links_lead_through_all_pages_and_keep_the_query(api: Api) -> None:
    ids = [api.load_balancer(name="same", description=str(n % 2))["id"] for n in range(7)]
    assert walk(api, "limit=3")[0] == ids
    found, queries = walk(api, "limit=2&name=same&sort=description:desc&fields=id&tags-any=&project_id=demo")
    assert (found, queries) == ([], [])
    found, queries = walk(api, "limit=2&name=same&sort=description:desc&fields=id&project_id=demo")
    assert found == ids[1::2] + ids[0::2]
    for query in queries:
        del query["marker"]
        assert query == {
            "limit": ["2"],
            "name": ["same"],
            "sort": ["description:desc"],
            "fields": ["id"],
            "project_id": ["demo"],
        }


@pytest.mark.parametrize("sort", ["", "description", "description:desc", "vip_qos_policy_id:desc,name"])
def test_the_previous_page_ends_just_before_the_marker(api: Api, sort: str) -> None:
    for n in range(7):
        api.load_balancer(name=str(n), description=str(n % 3))
    every = [one["id"] for one in api.get(f"{ROOT}?sort={sort}")["loadbalancers"]]
    page = api.get(f"{ROOT}?sort={sort}&limit=3&marker={every[4]}")
    assert [one["id"] for one in page["loadbalancers"]] == every[5:]
    (link,) = page["loadbalancers_links"]
    assert link["rel"] == "previous"
    page = api.get(f"{ROOT}?{urlsplit(link['href']).query}")
    assert [one["id"] for one in page["loadbalancers"]] == every[2:5]
    assert {one["rel"] for one in page["loadbalancers_links"]} == {"next", "previous"}
    page = api.get(f"{ROOT}?sort={sort}&limit=3&marker={every[1]}&page_reverse=true")
    assert [one["id"] for one in page["loadbalancers"]] == every[2:5]


def test_an_empty_page_has_no_links(api: Api, three: list[Any]) -> None:
    answer = api.get(f"{ROOT}?limit=3&marker={three[2]['id']}")
    assert answer == {"loadbalancers": [], "loadbalancers_links": []}


def test_the_largest_page_is_the_operators(make_api: Callable[..., Api]) -> None:
    api = make_api(pagination_max_limit=2)
    for _ in range(3):
        api.load_balancer()
    for query in ("", "limit=100", "limit=0"):
        answer = api.get(f"{ROOT}?{query}")
        assert len(answer["loadbalancers"]) == 2
        (link,) = answer["loadbalancers_links"]
        assert len(api.get(f"{ROOT}?{urlsplit(link['href']).query}")["loadbalancers"]) == 1


def test_links_can_have_another_base(make_api: Callable[..., Api]) -> None:
    api = make_api(api_base_uri="https://lb.example/load-balancer/")
    api.load_balancer()
    (link,) = api.get(f"{ROOT}?limit=1")["loadbalancers_links"]
    assert link["href"].startswith("https://lb.example/load-balancer/v2.0/lbaas/loadbalancers?limit=1&")


def test_mechanisms_can_be_switched_off(make_api: Callable[..., Api], three: list[Any]) -> None:
    off = make_api(
        allow_pagination=False, allow_sorting=False, allow_filtering=False, allow_field_selection=False
    )
    query = "limit=1&marker=x&sort=nope&name=lb1&nope=1&tags=x&fields=id"
    assert off.get(f"{ROOT}?{query}") == {"loadbalancers": three}


def test_a_deleted_load_balancer_is_in_no_list(api: Api, three: list[Any]) -> None:
    api.delete(f"{ROOT}/{three[0]['id']}")
    assert names(api, "provisioning_status=PENDING_DELETE") == "B"
    api.settle()
    assert names(api) == "AC"
    assert names(api, "provisioning_status=DELETED") == ""


FILTERS = {
    "/listeners": [
        *("id", "name", "description", "project_id", "provisioning_status", "operating_status", "protocol"),
        *("admin_state_up", "protocol_port", "connection_limit", "default_pool_id", "created_at"),
        *("timeout_client_data", "timeout_member_connect", "timeout_member_data", "timeout_tcp_inspect"),
        "loadbalancer_id=load_balancer_id",
    ],
    "/pools": [
        *("id", "name", "description", "project_id", "provisioning_status", "operating_status", "protocol"),
        *("admin_state_up", "lb_algorithm", "healthmonitor_id", "created_at", "loadbalancer_id"),
    ],
    "/pools/{pool}/members": [
        *("id", "name", "project_id", "provisioning_status", "operating_status", "address", "backup"),
        *("protocol_port", "weight", "subnet_id", "monitor_address", "monitor_port", "vnic_type"),
        "admin_state_up",
    ],
    "/healthmonitors": [
        *("id", "name", "project_id", "provisioning_status", "operating_status", "type", "delay", "timeout"),
        *("max_retries", "max_retries_down", "http_method", "url_path", "expected_codes", "http_version"),
        *("domain_name", "pool_id", "admin_state_up", "created_at"),
    ],
    "/l7policies": [
        *("id", "name", "description", "project_id", "provisioning_status", "operating_status", "action"),
        *("admin_state_up", "listener_id", "position", "redirect_pool_id", "redirect_url"),
        *("redirect_prefix", "redirect_http_code", "created_at", "updated_at"),
    ],
    "/l7policies/{policy}/rules": [
        *("id", "project_id", "provisioning_status", "operating_status", "type", "compare_type", "key"),
        *("value", "invert", "admin_state_up", "created_at", "updated_at"),
    ],
}


@pytest.fixture
def two_of_each(api: Api) -> dict[str, Any]:
    """Objects that differ in everything, and their lists' paths."""
    one, other = api.load_balancer(project_id="p"), api.load_balancer(project_id="q")
    pool = api.pool(one, name="x", description="x", admin_state_up=False)
    other_pool = api.pool(other, protocol="TCP", lb_algorithm="SOURCE_IP")
    listener = api.listener(
        one,
        name="x",
        description="x",
        admin_state_up=False,
        connection_limit=5,
        default_pool_id=pool["id"],
        timeout_client_data=1,
        timeout_member_connect=2,
        timeout_member_data=3,
        timeout_tcp_inspect=4,
    )
    api.listener(other, protocol="TCP", protocol_port=81)
    member = {"name": "x", "admin_state_up": False, "weight": 7, "backup": True}
    member |= {"subnet_id": api.member_subnet, "monitor_address": "192.0.2.9", "monitor_port": 9}
    api.member(pool, **member)
    api.member(pool, address="192.0.2.11", protocol_port=81)
    http = {"http_method": "PUT", "url_path": "/x", "expected_codes": "201", "http_version": 1.1}
    http |= {"domain_name": "a.example", "max_retries": 9, "max_retries_down": 9, "delay": 9, "timeout": 9}
    api.monitor(pool, name="x", admin_state_up=False, **http)
    api.monitor(other_pool, type="TCP")
    front = {"id": listener["id"]}
    policy = api.policy(
        front,
        name="x",
        description="x",
        admin_state_up=False,
        action="REDIRECT_PREFIX",
        redirect_prefix="http://x",
        redirect_http_code=308,
    )
    api.policy(front, action="REDIRECT_TO_POOL", redirect_pool_id=pool["id"])
    rule = {"type": "HEADER", "compare_type": "REGEX", "key": "x", "value": "y", "invert": True}
    api.rule(policy, admin_state_up=False, **rule)
    api.rule(policy)
    return {"pool": pool["id"], "policy": policy["id"]}


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, every in FILTERS.items() for name in every]
)
def test_filters_of_children(api: Api, two_of_each: dict[str, Any], path: str, name: str) -> None:
    attribute, _, alias = name.partition("=")
    path = path.format(**two_of_each)
    (objects, _) = api.get(path).values()
    first = objects[0]
    value = {
        "loadbalancer_id": lambda: first["loadbalancers"][0]["id"],
        "pool_id": lambda: first["pools"][0]["id"],
    }.get(attribute, lambda: first[attribute])()
    same = [one for one in objects if attribute in one and one[attribute] == value]
    for parameter in filter(None, (attribute, alias)):
        (found, _) = api.get(path, params={parameter: str(value)}).values()
        if attribute in first and first[attribute] is None:
            assert found == []  # nothing is equal to what is not there
            continue
        assert first in found
        if same:
            assert found == same
        else:
            assert len(found) == 1
        other = str(not value) if isinstance(value, bool) else "99999999999999999999"
        (found, _) = api.get(path, params={parameter: other}).values()
        assert first not in found
    if attribute not in ("healthmonitor_id", "loadbalancer_id", "pool_id"):
        (up, _) = api.get(f"{path}?sort={attribute}").values()
        (down, _) = api.get(f"{path}?sort={attribute}:desc").values()
        assert sorted(one["id"] for one in up) == sorted(one["id"] for one in down)
        if up[0][attribute] != up[1][attribute]:
            assert up == down[::-1]
        if None in (up[0][attribute], up[1][attribute]):
            assert up[0][attribute] is None
        (rest, _) = api.get(f"{path}?sort={attribute}&marker={up[0]['id']}").values()
        assert rest == up[1:]
        (rest, _) = api.get(f"{path}?sort={attribute}:desc&marker={down[0]['id']}").values()
        assert rest == down[1:]


@pytest.mark.parametrize("name", ["allowed_cidrs", "insert_headers", "sni_container_refs", "loadbalancers"])
def test_lists_and_relations_are_no_filters(api: Api, name: str) -> None:
    api.fault("GET", f"/listeners?{name}=x", code=400)
    api.fault("GET", f"/listeners?sort={name}", code=400)
    api.fault("GET", "/pools?session_persistence=x", code=400)
    api.fault("GET", "/pools?cookie_name=x", code=400)
    pool = api.pool(api.load_balancer())
    api.fault("GET", f"/pools/{pool['id']}/members?nope=x", code=400)


def test_members_are_listed_below_their_own_pool(api: Api) -> None:
    lb = api.load_balancer()
    one, other = api.pool(lb), api.pool(lb)
    member = api.member(one, tags=["t"])
    api.member(other)
    assert api.get(f"/pools/{one['id']}/members?tags=t")["members"] == [member]


def test_the_number_of_queries_does_not_grow(api: Api) -> None:
    seen: list[str] = []

    def note(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    def queries(path: str) -> int:
        seen.clear()
        api.get(path)
        return len([one for one in seen if one.startswith("SELECT")])

    def grow() -> Any:
        lb = api.load_balancer(tags=["x"])
        listener = api.listener(lb, allowed_cidrs=["10.0.0.0/8"], tags=["y"])
        pool = api.pool(lb, listener_id=listener["id"], tags=["z"])
        api.monitor(pool)
        for port in range(1, 4):
            api.member(pool, protocol_port=port)
        policy = api.policy(listener, action="REDIRECT_TO_POOL", redirect_pool_id=pool["id"], tags=["a"])
        api.rule(policy, tags=["b"])
        return lb, pool, policy

    lb, pool, policy = grow()
    paths = [
        "/loadbalancers",
        f"/loadbalancers/{lb['id']}",
        f"/loadbalancers/{lb['id']}/status",
        f"/loadbalancers/{lb['id']}/stats",
        "/listeners",
        "/pools",
        f"/pools/{pool['id']}",
        f"/pools/{pool['id']}/members",
        "/healthmonitors",
        "/l7policies",
        f"/l7policies/{policy['id']}/rules",
        f"/l7policies/{policy['id']}/rules/{api.rule(policy)['id']}",
    ]
    sa.event.listen(api.database.engine, "before_cursor_execute", note)
    before = {path: queries(path) for path in paths}
    assert max(before.values()) <= 5
    for _ in range(5):
        grow()
        api.listener(lb, protocol_port=len(seen) + 1000)
        api.member(pool, protocol_port=len(seen) + 1000)
        api.rule(policy)
    assert {path: queries(path) for path in paths} == before
