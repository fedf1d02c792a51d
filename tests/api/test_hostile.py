# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in, the answer is a 2xx or a 4xx in our shape: never a 500, and nothing half done."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st

from octavia.api.app import LBAAS, OCTAVIA
from octavia.api.schemas.health_monitor import HEALTH_MONITOR
from octavia.api.schemas.l7_policy import L7_POLICY
from octavia.api.schemas.l7_rule import L7_RULE
from octavia.api.schemas.listener import LISTENER
from octavia.api.schemas.load_balancer import LOAD_BALANCER
from octavia.api.schemas.member import MEMBER
from octavia.api.schemas.pool import POOL
from octavia.api.settings import ApiSettings
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from tests.api.conftest import Api

SCHEMAS = (LOAD_BALANCER, LISTENER, POOL, MEMBER, HEALTH_MONITOR, L7_POLICY, L7_RULE)
NAMES = sorted(
    {field.name for schema in SCHEMAS for field in schema.fields} | {"members", "healthmonitor", "rules"}
)
WORDS = [
    *("HTTP", "TCP", "UDP", "ROUND_ROBIN", "SOURCE_IP_PORT", "APP_COOKIE", "type", "cookie_name", "PING"),
    *("REDIRECT_TO_URL", "REDIRECT_TO_POOL", "REGEX", "HEADER", "(", "[[:alpha:]]", "a{99999}", "key"),
    *("UDP-CONNECT", "192.0.2.1", "169.254.169.254", "fe80::1%1", "10.0.0.0/8", "::/0", "80", "1e3", "true"),
    *("\x00", "\ud800", "🐙", "a\nb", "1" * 300, "٣", "-1", "X-Forwarded-For", "name", "http://x", "/"),
]
IDS = [
    "{policy}",
    "{rule}",
    "{lb}",
    "{listener}",
    "{pool}",
    "{member}",
    "{monitor}",
    "{subnet}",
    "{network}",
    "{port}",
    "nope",
    "",
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 70_000)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
    | st.sampled_from(IDS)
)
keys = st.sampled_from(NAMES) | st.sampled_from(WORDS) | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda one: st.lists(one, max_size=4) | st.dictionaries(keys, one, max_size=6), max_leaves=25
)
objects = st.dictionaries(keys, anything, max_size=8)


@pytest.fixture(scope="module")
def api() -> Any:
    engine = create_engine("sqlite://")
    t.metadata.create_all(engine)
    yield Api(Database(engine), ApiSettings(serve_network=True))
    engine.dispose()


@pytest.fixture(scope="module")
def ids(api: Api) -> dict[str, str]:
    lb = api.load_balancer()
    listener, pool = api.listener(lb), api.pool(lb)
    policy = api.policy(listener)
    return {
        "policy": policy["id"],
        "rule": api.rule(policy)["id"],
        "lb": lb["id"],
        "listener": listener["id"],
        "pool": pool["id"],
        "member": api.member(pool)["id"],
        "monitor": api.monitor(pool)["id"],
        "subnet": api.subnet,
        "network": lb["vip_network_id"],
        "port": lb["vip_port_id"],
    }


def real(value: Any, ids: dict[str, str]) -> Any:
    """The same value, with ids of things that exist in it."""
    if isinstance(value, str) and value in IDS:
        return value.format(**ids)
    if isinstance(value, list):
        return [real(one, ids) for one in value]
    if isinstance(value, dict):
        return {name: real(one, ids) for name, one in value.items()}
    return value


def send(api: Api, method: str, path: str, body: bytes = b"", query: str = "") -> int:
    before = state(api)
    result = api.request(
        method,
        path,
        body,
        query_string=query,
        headers={"Content-Type": "application/json"},
    )
    assert result.status_code in (200, 201, 202, 204, 400, 404, 405, 409, 413, 501), (path, body, result.text)
    if result.status_code >= 400:
        assert {"faultcode", "faultstring", "debuginfo"} < set(result.json)
        assert state(api) == before
    return int(result.status_code)


def state(api: Api) -> Any:
    tables = [t.load_balancer, t.listener, t.pool, t.member, t.health_monitor, t.reservation, t.work, t.tags]
    tables += [t.l7policy, t.l7rule]
    rows = [[tuple(row.values()) for row in api.rows(sa.select(table))] for table in tables]
    return rows, len(list(api.network.list_ports()))


TARGETS = {
    "POST": ["/loadbalancers", "/listeners", "/pools", "/pools/{pool}/members", "/healthmonitors"],
    "PUT": [
        *("/loadbalancers/{lb}", "/listeners/{listener}", "/pools/{pool}", "/pools/{pool}/members"),
        *("/pools/{pool}/members/{member}", "/healthmonitors/{monitor}"),
        *("/l7policies/{policy}", "/l7policies/{policy}/rules/{rule}"),
    ],
}
ROOTS = {"loadbalancers": "loadbalancer", "listeners": "listener", "pools": "pool", "members": "member"}
ROOTS |= {"healthmonitors": "healthmonitor", "l7policies": "l7policy", "rules": "rule"}


TARGETS["POST"] += ["/l7policies", "/l7policies/{policy}/rules"]


def root_of(method: str, path: str) -> str:
    collection = [part for part in path.split("/") if not part.startswith("{")][-1]
    return (
        "members"
        if (method, collection) == ("PUT", "members") and path.endswith("members")
        else ROOTS[collection]
    )


QUIET = hypothesis.settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, paths in TARGETS.items() for p in paths])
@QUIET
@hypothesis.given(content=anything | objects | st.lists(objects, max_size=3))
def test_any_json_under_the_right_root(
    api: Api, ids: dict[str, str], method: str, path: str, content: Any
) -> None:
    body = json.dumps({root_of(method, path): real(content, ids)}).encode()
    send(api, method, path.format(**ids), body)


def mutations() -> Any:
    """Good bodies with one field gone bad: they get past the first check."""
    good: dict[str, dict[str, Any]] = {
        "/loadbalancers": {"vip_subnet_id": "{subnet}"},
        "/listeners": {"loadbalancer_id": "{lb}", "protocol": "HTTP", "protocol_port": 1},
        "/pools": {"loadbalancer_id": "{lb}", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"},
        "/pools/{pool}/members": {"address": "192.0.2.1", "protocol_port": 1},
        "/healthmonitors": {
            "pool_id": "{pool}",
            "type": "HTTP",
            "delay": 1,
            "timeout": 1,
            "max_retries": 1,
        },
        "/l7policies": {"listener_id": "{listener}", "action": "REDIRECT_TO_URL", "redirect_url": "http://a"},
        "/l7policies/{policy}/rules": {"type": "HEADER", "compare_type": "REGEX", "key": "k", "value": "v"},
    }
    schemas = dict(zip(good, SCHEMAS, strict=True))
    return st.sampled_from(list(good)).flatmap(
        lambda path: st.tuples(
            st.just(path),
            st.dictionaries(
                st.sampled_from([one.name for one in schemas[path].fields if one.type and one.create]),
                anything,
                max_size=3,
            ).map(lambda bad: good[path] | bad),
        )
    )


@hypothesis.settings(QUIET, max_examples=200)
@hypothesis.given(case=mutations())
def test_good_bodies_with_bad_fields(api: Api, ids: dict[str, str], case: tuple[str, dict[str, Any]]) -> None:
    path, content = case
    send(api, "POST", path.format(**ids), json.dumps({root_of("POST", path): real(content, ids)}).encode())


@QUIET
@hypothesis.given(listeners=st.lists(objects, max_size=3), pools=st.lists(objects, max_size=3))
def test_any_graph(api: Api, ids: dict[str, str], listeners: Any, pools: Any) -> None:
    listeners = [{"protocol": "HTTP", "protocol_port": n + 1} | one for n, one in enumerate(listeners)]
    pools = [
        {"name": f"p{n}", "protocol": "HTTP", "lb_algorithm": "SOURCE_IP"} | one
        for n, one in enumerate(pools)
    ]
    content = {"vip_subnet_id": api.subnet, "listeners": listeners, "pools": pools}
    send(api, "POST", "/loadbalancers", json.dumps({"loadbalancer": real(content, ids)}).encode())


@QUIET
@hypothesis.given(body=st.binary(max_size=60))
def test_any_bytes(api: Api, body: bytes) -> None:
    assert send(api, "POST", "/loadbalancers", body) >= 400


LISTS = ["/loadbalancers", "/listeners", "/pools", "/pools/{pool}/members", "/healthmonitors"]
LISTS += ["/l7policies", "/l7policies/{policy}/rules"]
LISTS += ["//v2/octavia/amphorae", "//network/v2.0/subnets", "//network/v2.0/ports", "/providers"]
parameters = st.lists(
    st.tuples(
        st.sampled_from(
            [*NAMES, "limit", "marker", "sort", "sort_key", "sort_dir", "page_reverse", "fields", "tags"]
        ),
        st.text(max_size=10)
        | st.sampled_from([one for one in WORDS if one != "\ud800"])
        | st.integers().map(str),
    ),
    max_size=4,
)


@pytest.mark.parametrize("path", LISTS)
@QUIET
@hypothesis.given(query=parameters)
def test_any_query(api: Api, ids: dict[str, str], path: str, query: list[tuple[str, str]]) -> None:
    text = urlencode(query, errors="replace")
    assert send(api, "GET", path.format(**ids), query=text) in (200, 400)


@QUIET
@hypothesis.given(
    identifier=st.text(min_size=1, max_size=30), method=st.sampled_from(["GET", "PUT", "DELETE"])
)
def test_any_identifier(api: Api, identifier: str, method: str) -> None:
    for path in [*LBAAS, *(f"//v2/octavia{one}" for one in OCTAVIA)]:
        if "{" not in path:
            continue
        names = (
            "key",
            "project_id",
            "provider_name",
            "l7policy_id",
            "l7rule_id",
            "load_balancer_id",
            "listener_id",
            "pool_id",
            "member_id",
            "health_monitor_id",
            "amphora_id",
        )
        text = quote(identifier, safe="", errors="replace")
        code = send(api, method, path.format(**dict.fromkeys(names, text)), b"{}")
        # Every project has quotas, whether it exists or not.
        assert code >= 400 or (method == "GET" and path.startswith("/quotas"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/l7policies/{policy}/rules/{rule}", {"rule": {"value": "a\x1b[31m"}}),
        ("/l7policies/{policy}/rules/{rule}", {"rule": {"value": "a\x85b", "compare_type": "REGEX"}}),
        ("/l7policies/{policy}/rules/{rule}", {"rule": {"type": "HEADER", "key": "a\x7f", "value": "b"}}),
        (
            "/l7policies/{policy}/rules/{rule}",
            {"rule": {"type": "SSL_VERIFY_RESULT", "compare_type": "EQUAL_TO", "value": "9" * 10}},
        ),
        ("/pools/{pool}", {"pool": {"session_persistence": {"type": "APP_COOKIE", "cookie_name": "sïd"}}}),
        ("/healthmonitors/{monitor}", {"healthmonitor": {"expected_codes": "500-200"}}),
        ("/healthmonitors/{monitor}", {"healthmonitor": {"expected_codes": "200,000"}}),
    ],
)
def test_what_no_proxy_could_be_told_is_refused_at_once(
    path: str, body: Any, api: Api, ids: dict[str, str]
) -> None:
    assert send(api, "PUT", path.format(**ids), json.dumps(body).encode()) == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/l7policies/{policy}/rules/{rule}", {"rule": {"value": '"a\tb"'}}),
        ("/pools/{pool}", {"pool": {"session_persistence": {"type": "APP_COOKIE", "cookie_name": "o'sid"}}}),
        ("/healthmonitors/{monitor}", {"healthmonitor": {"expected_codes": "200-200"}}),
    ],
)
def test_what_is_odd_and_can_be_told_is_taken(path: str, body: Any, api: Api, ids: dict[str, str]) -> None:
    assert send(api, "PUT", path.format(**ids), json.dumps(body).encode()) == 200
