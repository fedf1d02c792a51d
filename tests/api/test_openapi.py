# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: valid, complete, and told by the same tables that read requests."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from octavia.api import app
from octavia.api.handlers import networks
from octavia.api.openapi import calls, document
from octavia.api.openapi.shapes import NAMES, Components, Use
from octavia.api.schemas.offers import FLAVOR
from octavia.api.schemas.types import schema_of
from octavia.api.settings import ApiSettings
from octavia.domain.errors import Invalid
from tests.api.conftest import Api

SETTINGS = ApiSettings(healthcheck_enabled=True, timeout_client_data=12_345)

# Contract: api.md section 26, below /v2.0/lbaas.
ENDPOINTS = {
    "loadbalancers": "GET POST",
    "loadbalancers/{load_balancer_id}": "GET PUT DELETE",
    "loadbalancers/{load_balancer_id}/status": "GET",
    "loadbalancers/{load_balancer_id}/stats": "GET",
    "loadbalancers/{load_balancer_id}/failover": "PUT",
    "listeners": "GET POST",
    "listeners/{listener_id}": "GET PUT DELETE",
    "listeners/{listener_id}/stats": "GET",
    "pools": "GET POST",
    "pools/{pool_id}": "GET PUT DELETE",
    "pools/{pool_id}/members": "GET POST PUT",
    "pools/{pool_id}/members/{member_id}": "GET PUT DELETE",
    "healthmonitors": "GET POST",
    "healthmonitors/{health_monitor_id}": "GET PUT DELETE",
    "l7policies": "GET POST",
    "l7policies/{l7policy_id}": "GET PUT DELETE",
    "l7policies/{l7policy_id}/rules": "GET POST",
    "l7policies/{l7policy_id}/rules/{l7rule_id}": "GET PUT DELETE",
    "quotas": "GET",
    "quotas/{project_id}": "GET PUT DELETE",  # /quotas/defaults is a show
    "quotas/{project_id}/default": "GET",
    "flavors": "GET POST",
    "flavors/{key}": "GET PUT DELETE",
    "flavorprofiles": "GET POST",
    "flavorprofiles/{key}": "GET PUT DELETE",
    "availabilityzones": "GET POST",
    "availabilityzones/{key}": "GET PUT DELETE",
    "availabilityzoneprofiles": "GET POST",
    "availabilityzoneprofiles/{key}": "GET PUT DELETE",
    "providers": "GET",
    "providers/{provider_name}/flavor_capabilities": "GET",
    "providers/{provider_name}/availability_zone_capabilities": "GET",
}
AMPHORAE = {
    "amphorae": "GET",
    "amphorae/{amphora_id}": "GET DELETE",
    "amphorae/{amphora_id}/stats": "GET",
    "amphorae/{amphora_id}/config": "PUT",
    "amphorae/{amphora_id}/failover": "PUT",
}
DISCOVERY = {("/", "GET"), ("/v2.0/lbaas", "GET"), ("/healthcheck", "GET")}


@pytest.fixture(scope="module")
def written() -> Any:
    return json.loads(json.dumps(document.write(app.routes(SETTINGS), SETTINGS)))


def operations(written: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in written["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method.upper(), operation


def test_it_is_valid(written: Any) -> None:
    assert [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(written)] == []
    for schema in written["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_every_endpoint_is_in_it_once(written: Any) -> None:
    wanted = {
        (f"/v2.0/{tree}/{path}", method)
        for tree, endpoints in (("lbaas", ENDPOINTS), ("octavia", AMPHORAE))
        for path, methods in endpoints.items()
        for method in methods.split()
    }
    found = [(path, method) for path, method, _ in operations(written)]
    assert set(found) == wanted | DISCOVERY
    ids = [operation["operationId"] for _, _, operation in operations(written)]
    assert len(found) == len(set(ids)) == len(wanted) + len(DISCOVERY)


def test_no_handler_is_forgotten() -> None:
    table = app.routes(SETTINGS)
    undescribed = {
        handler
        for path, methods in table.items()
        for handler in methods.values()
        if path != document.PATH and not calls.of(handler)
    }
    # PUT and DELETE on a collection: no call, but an error with words of its own.
    assert {one.__name__ for one in undescribed} == {"_no_id"}
    assert not any(calls.of(one) for one in vars(networks).values() if callable(one))


def test_every_reference_leads_somewhere(written: Any) -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    found = set(references(written))
    assert len(found) > 50
    for reference in found:
        where = written
        for step in reference.removeprefix("#/").split("/"):
            where = where[step]


def test_every_field_says_what_it_is(written: Any) -> None:
    for name, schema in written["components"]["schemas"].items():
        for field, told in schema["properties"].items():
            kinds = {"type", "enum", "anyOf", "const", "$ref"}
            assert kinds & set(told), f"{name}.{field} is not described: give its type a @described(...)"


def test_every_type_is_the_one_that_reads_requests() -> None:
    components = Components(SETTINGS)
    for schema in NAMES:
        components.refer(schema, Use.CREATE)
        for field in schema.fields:
            if field.type and field.create:
                told = components.schemas[f"{NAMES[schema]}Create"]["properties"][field.name]
                wanted = schema_of(field.type).get("maxLength"), schema_of(field.type).get("minimum")
                assert (told.get("maxLength"), told.get("minimum")) == wanted


def properties(written: Any, name: str) -> Any:
    return written["components"]["schemas"][name]["properties"]


def test_bounds_defaults_and_words_are_told(written: Any) -> None:
    listener = properties(written, "ListenerCreate")
    assert listener["name"] == listener["name"] | {
        "type": ["string", "null"],
        "maxLength": 255,
        "default": "",
    }
    port = listener["protocol_port"]
    assert port == port | {"type": "integer", "minimum": 1, "maximum": 65535}
    assert listener["protocol"]["enum"] == sorted(
        ["TCP", "HTTP", "HTTPS", "TERMINATED_HTTPS", "UDP", "SCTP", "PROMETHEUS"]
    )
    assert listener["timeout_client_data"]["default"] == 12_345, "the operator's default is the one told"
    required = written["components"]["schemas"]["ListenerCreate"]["required"]
    assert set(required) == {"protocol", "protocol_port", "loadbalancer_id"}


def test_what_cannot_be_changed_is_not_taken_by_an_update(written: Any) -> None:
    update = properties(written, "ListenerUpdate")
    assert {"name", "default_pool_id"} < set(update)
    assert not {"id", "protocol", "protocol_port", "loadbalancer_id", "project_id", "created_at"} & set(
        update
    )
    assert written["components"]["schemas"]["ListenerUpdate"]["additionalProperties"] is False


def test_null_is_told_where_it_means_something(written: Any) -> None:
    monitor = properties(written, "HealthMonitorUpdate")
    assert monitor["delay"]["type"] == "integer"
    assert monitor["max_retries_down"]["type"] == ["integer", "null"]
    assert None in monitor["http_method"]["enum"]


def test_a_create_of_a_load_balancer_takes_whole_children(written: Any) -> None:
    create = properties(written, "LoadBalancerCreate")
    assert create["listeners"]["items"] == {"$ref": "#/components/schemas/ListenerOfGraphCreate"}
    pool = properties(written, "PoolOfGraphCreate")
    assert pool["members"]["items"] == {"$ref": "#/components/schemas/MemberOfGraphCreate"}
    expanded = properties(written, "ExpandedLoadBalancer")
    assert expanded["pools"]["items"] == {"$ref": "#/components/schemas/ExpandedPool"}


def test_lists_have_their_filters(written: Any) -> None:
    listed = written["paths"]["/v2.0/lbaas/pools/{pool_id}/members"]["get"]
    named = {one["name"]: one["schema"] for one in listed["parameters"] if "name" in one}
    assert named["protocol_port"] == {"type": "integer"}
    assert named["backup"] == {"type": "boolean"}
    assert named["address"] == {"type": "string"}
    shared = {one["$ref"].rpartition("/")[2] for one in listed["parameters"] if "$ref" in one}
    assert shared >= {"limit", "marker", "page_reverse", "sort", "fields", "tags", "not-tags-any"}


def test_a_token_is_needed_but_for_discovery(written: Any) -> None:
    assert written["security"] == [{"token": []}]
    free = {path for path, _, operation in operations(written) if operation.get("security") == []}
    assert free == {"/", "/healthcheck"}
    unguarded = {path for path, _, operation in operations(written) if "401" not in operation["responses"]}
    assert unguarded == free


def test_the_health_check_speaks_of_illness_in_the_same_languages(written: Any) -> None:
    answers = written["paths"]["/healthcheck"]["get"]["responses"]
    assert set(answers["503"]["content"]) == {"text/plain", "application/json", "text/html"}
    assert answers["503"]["content"] == answers["200"]["content"]


def test_it_is_served_as_it_is(api: Api) -> None:
    first, second = (api.request("GET", "//openapi.json") for _ in range(2))
    assert (first.status_code, first.headers["content-type"]) == (200, "application/json")
    assert first.content == second.content
    assert first.json == json.loads(json.dumps(document.write(app.routes(api.settings), api.settings)))


def test_without_a_health_check_there_is_none(make_api: Callable[..., Api]) -> None:
    assert "/healthcheck" not in make_api().get("//openapi.json")["paths"]
    assert "/healthcheck" in make_api(healthcheck_enabled=True).get("//openapi.json")["paths"]


def accepted_by_both(written: Any, name: str, schema: Any, value: Any) -> tuple[bool, bool]:
    resolver = {"components": written["components"], **written["components"]["schemas"][name]}
    told = jsonschema_rs.Draft202012Validator(resolver).is_valid(value)
    try:
        schema.create(value, SETTINGS)
    except Invalid:
        return told, False
    return told, True


def test_texts_of_old_rows_are_empty_and_not_null() -> None:
    assert FLAVOR.show({"description": None})["description"] == ""


GOOD = {"subnet_id": "4f9a1f0e-46ea-4d30-9c39-7a2b6b1f4c5e"}


@pytest.mark.parametrize(
    "change",
    [{"subnet_id": None}, {"subnet_id": 5}, {"ip_address": 5}, {"x": 1}, {"port_id": []}],
)
def test_what_the_document_refuses_is_refused(written: Any, change: dict[str, Any]) -> None:
    (schema,) = (one for one, name in NAMES.items() if name == "AdditionalVip")
    assert accepted_by_both(written, "AdditionalVipCreate", schema, GOOD) == (True, True)
    assert accepted_by_both(written, "AdditionalVipCreate", schema, GOOD | change) == (False, False)
