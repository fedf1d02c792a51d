# SPDX-License-Identifier: Apache-2.0
"""Every field of every resource, one at a time, with what its table does not allow: a 400 that names it.

What is sent follows from the tables themselves, so that a new field is tested from its first day.
"""

import json
import logging
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from octavia.api.body import LARGEST
from octavia.api.schemas.fields import Field, Null, Schema
from octavia.api.schemas.health_monitor import HEALTH_MONITOR
from octavia.api.schemas.l7_policy import L7_POLICY
from octavia.api.schemas.l7_rule import L7_RULE
from octavia.api.schemas.listener import LISTENER
from octavia.api.schemas.load_balancer import LOAD_BALANCER
from octavia.api.schemas.member import MEMBER
from octavia.api.schemas.offers import AVAILABILITY_ZONE, AVAILABILITY_ZONE_PROFILE, FLAVOR, FLAVOR_PROFILE
from octavia.api.schemas.pool import POOL
from octavia.api.schemas.quota import QUOTA
from octavia.api.schemas.types import JsonSchema, schema_of
from tests.api.deployment import Deployment

TOKEN = "gAAAAAB-never-to-be-seen-in-a-log"
SURROGATE = "\ud800"

# Path of the collection, path of one, and a body that is created.
RESOURCES: dict[Schema, tuple[str, str, dict[str, Any]]] = {
    LOAD_BALANCER: ("/loadbalancers", "/{load_balancer_id}", {"vip_subnet_id": "{vip_subnet_id}"}),
    LISTENER: (
        "/listeners",
        "/{listener_id}",
        {"loadbalancer_id": "{load_balancer_id}", "protocol": "HTTP", "protocol_port": 8081},
    ),
    POOL: (
        "/pools",
        "/{pool_id}",
        {"loadbalancer_id": "{load_balancer_id}", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"},
    ),
    MEMBER: ("/pools/{pool_id}/members", "/{member_id}", {"address": "192.0.2.77", "protocol_port": 1}),
    HEALTH_MONITOR: (
        "/healthmonitors",
        "/{health_monitor_id}",
        {"pool_id": "{pool_id}", "type": "HTTP", "delay": 1, "timeout": 1, "max_retries": 1},
    ),
    L7_POLICY: ("/l7policies", "/{l7policy_id}", {"listener_id": "{listener_id}", "action": "REJECT"}),
    L7_RULE: (
        "/l7policies/{l7policy_id}/rules",
        "/{l7rule_id}",
        {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/x"},
    ),
    QUOTA: ("/quotas", "/{project_id}", {}),
    FLAVOR: ("/flavors", "/{flavor_id}", {"name": "g", "flavor_profile_id": "{flavor_profile_id}"}),
    FLAVOR_PROFILE: (
        "/flavorprofiles",
        "/{flavor_profile_id}",
        {"name": "g", "provider_name": "amphora", "flavor_data": "{{}}"},
    ),
    AVAILABILITY_ZONE: (
        "/availabilityzones",
        "/z",
        {"name": "g", "availability_zone_profile_id": "{availability_zone_profile_id}"},
    ),
    AVAILABILITY_ZONE_PROFILE: (
        "/availabilityzoneprofiles",
        "/{availability_zone_profile_id}",
        {"name": "g", "provider_name": "amphora", "availability_zone_data": "{{}}"},
    ),
}


def fields(use: str) -> list[Any]:
    return list(_fields(use))


def _fields(use: str) -> Iterator[Any]:
    for schema in RESOURCES:
        if schema is QUOTA and use == "create":
            continue
        for field in schema.fields:
            if field.type and getattr(field, use):
                yield pytest.param(schema, field, id=f"{schema.root}-{field.name}")


WRONG_TYPES: dict[str, list[Any]] = {
    "string": [5, True, ["x"], {"x": "y"}, 1.5],
    "integer": ["x", "", [], {}, "1e3", "0x10", "٣" * 3, 1e308, -(10**30), 10**30, True],
    "number": ["x", [], {}, 10**30, -1],
    "boolean": ["perhaps", "", [], {}, 1.5],
    "array": ["x", 5, {}, True],
    "object": ["x", 5, [], True],
}


def bad_values(schema: JsonSchema) -> list[Any]:
    """What the schema forbids, and what no database could hold."""
    kind = schema.get("type")
    bad = list(WRONG_TYPES[kind]) if kind else ["no such word", {"x": 1}]
    if kind == "string":
        bad += ["\x00", f"a\x00{SURROGATE}", SURROGATE]
        if "maxLength" in schema:
            bad.append("a" * (schema["maxLength"] + 1))
        if "enum" in schema:
            bad += ["", "NOPE", schema["enum"][0].lower() + " "]
        if "format" in schema or "anyOf" in schema:
            bad += ["", "x" * 36, "١٢٣"]
        if schema.get("minLength"):
            bad.append("")
    if "minimum" in schema:
        bad += [schema["minimum"] - 1, str(schema["minimum"] - 1), schema["maximum"] + 1]
    if kind == "array":
        bad += [[one] for one in (*bad_items(schema["items"]), None)]
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        bad += [{"X-Forwarded-For": one} for one in bad_values(schema["additionalProperties"])]
    return bad


def bad_items(schema: JsonSchema) -> list[Any]:
    # What is itself a resource is read by its own table, which has its own turn.
    return ["x", 5, []] if "$ref" in schema else bad_values(schema)


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    made = Deployment()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_secret_in_a_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert TOKEN not in caplog.text
    assert "Traceback" not in caplog.text


def send(deployment: Deployment, method: str, path: str, body: Any) -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "X-Auth-Token": TOKEN}
    result = deployment.api.request(method, path.format(**deployment.ids), text, headers=headers)
    assert result.status_code < 500 or result.status_code == 501, result.text
    for word in ("Traceback", "site-packages", "sqlite", "[SQL", TOKEN):
        assert word not in result.text
    return result


def filled(body: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    return {name: one.format(**ids) if isinstance(one, str) else one for name, one in body.items()}


@pytest.mark.parametrize("schema", RESOURCES, ids=lambda schema: schema.root)
def test_the_bodies_are_good_without_the_bad_field(deployment: Deployment, schema: Schema) -> None:
    collection, one, body = RESOURCES[schema]
    if schema is QUOTA:
        assert send(deployment, "PUT", collection + one, {"quota": {}}).status_code == 202
        return
    deployment.restore()
    body = filled(body, deployment.ids)
    if schema is HEALTH_MONITOR:
        send(deployment, "DELETE", collection + one, b"")
    assert send(deployment, "POST", collection, {schema.root: body}).status_code == 201


@pytest.mark.parametrize(("schema", "field"), fields("create"))
def test_a_create_with_one_bad_field_names_it(deployment: Deployment, schema: Schema, field: Field) -> None:
    assert field.type is not None
    collection, _, body = RESOURCES[schema]
    for value in bad_values(schema_of(field.type)):
        written = {schema.root: filled(body, deployment.ids) | {field.name: value}}
        refused(deployment, "POST", collection, written, field.name)


@pytest.mark.parametrize(("schema", "field"), fields("update"))
def test_an_update_with_one_bad_field_names_it(deployment: Deployment, schema: Schema, field: Field) -> None:
    assert field.type is not None
    collection, one, _ = RESOURCES[schema]
    for value in bad_values(schema_of(field.type)):
        refused(deployment, "PUT", collection + one, {schema.root: {field.name: value}}, field.name)
    if field.null_on_update is Null.REFUSED:
        refused(deployment, "PUT", collection + one, {schema.root: {field.name: None}}, field.name)


def refused(deployment: Deployment, method: str, path: str, body: Any, name: str) -> None:
    before = deployment.contents()
    result = send(deployment, method, path, body)
    assert result.status_code == 400, (body, result.text)
    assert name in result.json["faultstring"], (body, result.text)
    assert deployment.contents() == before


@pytest.mark.parametrize(("schema", "field"), fields("create"))
def test_a_field_that_is_needed_is_missed_by_name(
    deployment: Deployment, schema: Schema, field: Field
) -> None:
    collection, _, body = RESOURCES[schema]
    body = filled(body, deployment.ids)
    if field.required:
        refused(deployment, "POST", collection, {schema.root: body | {field.name: None}}, field.name)
        del body[field.name]
        refused(deployment, "POST", collection, {schema.root: body}, field.name)
    else:
        deployment.restore()
        result = send(deployment, "POST", collection, {schema.root: body | {field.name: None}})
        if field.null_on_create is Null.REFUSED:
            assert (result.status_code, field.name in result.json["faultstring"]) == (400, True)


NASTY = [
    '"; DROP TABLE member; --',
    "'\"`${IFS}$(reboot)",
    "a\r\nX-Injected: yes",
    "a\n  server evil 192.0.2.9:80",
    "\u202egnp.exe\u202c",
    "🐙👩‍👩‍👧‍👦",
    "\ufeff\u200b\u2028",
    "../../../etc/passwd",
    "%s%n%x{0.__class__}",
    "\x7f\x1b[31m",
    "\uff10\uff11\uff12",
]
nasty = st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=()), min_size=1, max_size=80)


@pytest.mark.parametrize(
    ("schema", "field"),
    [one for one in fields("update") if schema_of(one.values[1].type).get("type") == "string"],
)
@hypothesis.settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(text=nasty)
def test_any_text_is_kept_as_it_is_or_refused_by_name(
    deployment: Deployment, schema: Schema, field: Field, text: str
) -> None:
    collection, one, _ = RESOURCES[schema]
    deployment.restore()
    result = send(deployment, "PUT", collection + one, {schema.root: {field.name: text}})
    if result.status_code == 400:
        assert result.json["faultstring"]
        return
    assert result.status_code in (200, 404, 409, 501), result.text
    if result.status_code == 200 and "format" not in schema_of(field.type or str):
        assert result.json[schema.root][field.name] == text


HUGE = b'{"loadbalancer": {"name": "' + b"a" * 10_000_000 + b'"}}'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (HUGE, 413),
        (b"a" * (LARGEST + 1), 413),
        (b'{"loadbalancer": ' * 5_000 + b"1" + b"}" * 5_000, 400),
        (b'{"loadbalancer": {"tags": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}", 400),
        (b'{"loadbalancer": {"name": NaN}}', 400),
        (b'{"loadbalancer": {"admin_state_up": Infinity}}', 400),
        (b'{"loadbalancer": {"admin_state_up": -Infinity}}', 400),
        (b'{"loadbalancer": {"admin_state_up": 1e999}}', 400),
        (b'{"loadbalancer": {"name": ' + b"9" * 100_000 + b"}}", 400),
        (b'{"loadbalancer": {"name": "\\ud800"}}', 400),
        (b'{"loadbalancer": {"\\ud800": 1}}', 400),
        (b'{"loadbalancer": {"name": "\xff"}}', 400),
        (b'\xef\xbb\xbf{"loadbalancer": {}}', 400),
        (b'{"loadbalancer": {}} {"loadbalancer": {}}', 400),
        (b'{"loadbalancer": {"vip_subnet_id": "x"}, "loadbalancer": {"name": 5}}', 400),
        (b'{"loadbalancer": {"name": "a", "name": 5}}', 400),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else str(value),
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_bodies_that_are_made_to_hurt(deployment: Deployment, method: str, body: bytes, code: int) -> None:
    path = "/loadbalancers" if method == "POST" else "/loadbalancers/{load_balancer_id}"
    before = deployment.contents()
    assert send(deployment, method, path, body).status_code == code
    assert deployment.contents() == before


def test_a_body_whose_length_nobody_tells_is_measured(deployment: Deployment) -> None:
    result = deployment.api.client.simulate_post(
        "/v2.0/lbaas/loadbalancers",
        body=HUGE[: LARGEST * 3],
        headers={"Content-Type": "application/json", "Transfer-Encoding": "chunked", "Content-Length": "5"},
    )
    assert result.status_code == 400


def test_a_name_from_a_path_is_no_line_of_its_own_in_the_log(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(deployment.api.database, "read", broken)
    result = deployment.api.request("GET", "/pools/a%0AERROR%20forged%20line")
    assert result.status_code == 500
    assert "broken" not in result.text
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert "\n" not in record.getMessage()
    caplog.clear()
