# SPDX-License-Identifier: Apache-2.0
"""Stories of L7 policies and their rules (contract: api.md sections 11 and 12)."""

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

POLICIES = "/l7policies"
URL = "https://example.org/x"
TARGETS = words("action redirect_pool_id redirect_url redirect_prefix redirect_http_code")


@pytest.fixture
def strict(make_api: Callable[..., Api]) -> Api:
    return make_api(deployment=Deployment(concurrent_updates=Concurrency.REJECT))


def targets(policy: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(policy[name] for name in TARGETS)


@story("POST /l7policies", "GET /l7policies", "GET /l7policies/{l7policy_id}")
def test_a_policy_is_created_shown_and_listed(api: Api) -> None:
    lb = api.load_balancer(project_id="somebody")
    listener = api.listener(lb)
    api.settle()
    body = {
        "name": "n",
        "description": "d",
        "admin_state_up": True,
        "project_id": "ignored",
        "action": "REDIRECT_TO_URL",
        "listener_id": listener["id"],
        "redirect_pool_id": None,
        "redirect_url": URL,
        "position": 2147483647,
        "tags": ["x"],
        "redirect_http_code": "307",
    }
    policy = api.post(POLICIES, {"l7policy": body})["l7policy"]
    check_fields("l7policy", policy)
    expected = {
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "project_id": "somebody",
        "position": 1,
        "rules": [],
        "updated_at": None,
    }
    assert {name: policy[name] for name in expected} == expected
    assert targets(policy) == ("REDIRECT_TO_URL", None, URL, None, 307)
    using = api.get(f"/listeners/{listener['id']}")["listener"]
    assert (using["provisioning_status"], using["l7policies"]) == ("PENDING_UPDATE", [{"id": policy["id"]}])
    api.settle()
    shown = api.get(f"{POLICIES}/{policy['id']}")["l7policy"]
    assert shown["operating_status"] == "ONLINE"
    shown.pop("status_reason")
    names = words(
        "id name description project_id provisioning_status operating_status action listener_id position"
        " redirect_url redirect_http_code created_at updated_at"
    )
    filters = {name: shown[name] for name in names}
    check_shows(
        api, POLICIES, "l7policy", shown, links="l7policies_links", **filters, admin_state_up="1", tags="x"
    )
    refused = api.fault("GET", f"{POLICIES}?loadbalancer_id={lb['id']}", code=400)
    assert "duplicate or invalid" in refused
    missing(api, "GET", POLICIES + "/{}", "L7 Policy")


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"action": "REJECT", "redirect_url": URL}, ("REJECT", None, None, None, None)),
        ({"action": "REJECT", "redirect_http_code": 301}, ("REJECT", None, None, None, 301)),
        ({"action": "REJECT", "redirect_prefix": URL}, ("REDIRECT_PREFIX", None, None, URL, 302)),
        (
            {"action": "REJECT", "redirect_prefix": URL, "redirect_url": URL},
            ("REDIRECT_TO_URL", None, URL, None, 302),
        ),
        ({"action": "REDIRECT_PREFIX", "redirect_prefix": URL}, ("REDIRECT_PREFIX", None, None, URL, 302)),
        (
            {"action": "REDIRECT_TO_POOL", "redirect_pool_id": "P", "redirect_url": URL},
            ("REDIRECT_TO_POOL", "P", None, None, None),
        ),
        (
            {"action": "REDIRECT_TO_POOL", "redirect_pool_id": "P", "redirect_http_code": 301},
            ("REDIRECT_TO_POOL", "P", None, None, None),
        ),
    ],
)
def test_what_belongs_to_another_action_is_dropped(api: Api, sent: dict[str, Any], found: Any) -> None:
    lb = api.load_balancer()
    pool, listener = api.pool(lb), api.listener(lb)
    values = {name: pool["id"] if value == "P" else value for name, value in sent.items()}
    policy = api.policy(listener, **values)
    assert targets(policy) == tuple(pool["id"] if one == "P" else one for one in found)


def test_what_a_policy_needs_and_cannot_have(api: Api, strict: Api) -> None:
    lb = api.load_balancer()
    listener, tcp = api.listener(lb), api.listener(lb, protocol="TCP", protocol_port=81)
    elsewhere, stream = api.pool(api.load_balancer()), api.pool(lb, protocol="TCP")
    policy = api.policy(listener)
    good = {"listener_id": listener["id"], "action": "REJECT"}
    arguments = "Invalid L7 Policy arguments:"

    def to_pool(pool_id: str) -> dict[str, Any]:
        return {"action": "REDIRECT_TO_POOL", "redirect_pool_id": pool_id}

    check_body(api, "POST", POLICIES, "l7policy")
    check_refusals(
        api,
        "POST",
        POLICIES,
        "l7policy",
        good,
        [
            *(({name: GONE}, 400, f"attribute {name}. Value: 'None'. Mandatory") for name in good),
            ({"listener_id": UNKNOWN}, 404, f"Listener {UNKNOWN} not found."),
            ({"listener_id": tcp["id"]}, 501, "TCP"),
            ({"action": "ALLOW"}, 400, "Value should be one of:"),
            ({"action": "REDIRECT_TO_URL"}, 400, arguments),
            ({"action": "REDIRECT_TO_URL"}, 400, "redirect_url"),
            ({"action": "REDIRECT_TO_POOL"}, 400, "redirect_pool_id"),
            ({"action": "REDIRECT_PREFIX"}, 400, "redirect_prefix"),
            (to_pool(UNKNOWN), 404, f"Pool {UNKNOWN} not found."),
            (to_pool(elsewhere["id"]), 404, f"Pool {elsewhere['id']} not found."),
            (to_pool(stream["id"]), 400, "'TCP'"),
            (
                {"action": "REDIRECT_PREFIX", "redirect_prefix": URL, "redirect_pool_id": stream["id"]},
                400,
                "redirect_pool_id",
            ),
            ({"redirect_url": "ftp://example.org"}, 400, "Value must be a valid URL string"),
            ({"redirect_url": "https://example.org/a b"}, 400, "Value must be a valid URL string"),
            ({"redirect_url": "https://"}, 400, "Value must be a valid URL string"),
            ({"redirect_url": URL + "x" * 255}, 400, "redirect_url"),
            ({"redirect_prefix": URL + "x" * 255}, 400, "redirect_prefix"),
            ({"redirect_http_code": 304}, 400, "redirect_http_code"),
            ({"position": 0}, 400, "position"),
            ({"position": 2147483648}, 400, "position"),
            ({"rules": []}, 400, "Unknown attribute"),
            ({"redirect_pool": {}}, 400, "Unknown attribute"),
        ],
    )
    api.settle()
    path = f"{POLICIES}/{policy['id']}"
    calls: list[tuple[str, str, Any]] = [
        ("POST", POLICIES, {"l7policy": good}),
        ("PUT", path, {"l7policy": {"name": "x"}}),
        ("DELETE", path, None),
    ]
    locked(strict, t.load_balancer, lb["id"], calls, f"Load Balancer {lb['id']} is immutable")


def test_positions_are_one_to_n(api: Api) -> None:
    listener = api.listener(api.load_balancer())
    first, second, third = (api.policy(listener, position=1) for _ in range(3))

    def positions() -> list[int]:
        return [api.get(f"{POLICIES}/{one['id']}")["l7policy"]["position"] for one in (first, second, third)]

    assert positions() == [3, 2, 1]
    assert api.policy(listener, position=99)["position"] == 4
    listed = api.get(f"/listeners/{listener['id']}")["listener"]["l7policies"]
    assert [one["id"] for one in listed[:3]] == [third["id"], second["id"], first["id"]]
    ordered = api.get(f"{POLICIES}?listener_id={listener['id']}&sort=position:desc")["l7policies"]
    assert [one["position"] for one in ordered] == [4, 3, 2, 1]
    assert api.get(POLICIES)["l7policies"][0]["id"] == first["id"]
    api.settle()
    answer = api.put(f"{POLICIES}/{third['id']}", {"l7policy": {"position": 3}})["l7policy"]
    assert answer["position"] == 3
    assert positions() == [2, 1, 3]
    assert api.get(f"{POLICIES}/{first['id']}")["l7policy"]["provisioning_status"] == "ACTIVE"
    api.delete(f"{POLICIES}/{second['id']}")
    api.settle()
    second = third
    assert positions()[:2] == [1, 2]


@story("PUT /l7policies/{l7policy_id}")
def test_a_policy_is_updated(api: Api) -> None:
    lb = api.load_balancer()
    pool, listener = api.pool(lb), api.listener(lb)
    policy = api.policy(
        listener, action="REDIRECT_TO_URL", redirect_url=URL, redirect_http_code=308, tags=["t"]
    )
    path = f"{POLICIES}/{policy['id']}"
    api.settle()

    def put(**values: Any) -> tuple[Any, ...]:
        answer = api.put(path, {"l7policy": values})["l7policy"]
        check_fields("l7policy", answer)
        assert answer["provisioning_status"] == "PENDING_UPDATE"
        return targets(answer)

    assert put(position=2) == ("REDIRECT_TO_URL", None, URL, None, 308)
    assert api.get(path)["l7policy"]["position"] == 1
    assert put(redirect_url=URL + "y") == ("REDIRECT_TO_URL", None, URL + "y", None, 302)
    assert put(redirect_http_code=303) == ("REDIRECT_TO_URL", None, URL + "y", None, 303)
    assert put(redirect_http_code=None) == ("REDIRECT_TO_URL", None, URL + "y", None, None)
    assert put(redirect_prefix=URL) == ("REDIRECT_PREFIX", None, None, URL, 302)
    assert put(redirect_pool_id=pool["id"]) == ("REDIRECT_TO_POOL", pool["id"], None, None, None)
    assert put(redirect_url=None, redirect_prefix=None)[1] == pool["id"]
    assert put(action="REDIRECT_TO_URL", redirect_url=URL, redirect_pool_id=pool["id"])[1:3] == (None, URL)
    assert put(action="REJECT", redirect_url=URL) == ("REJECT", None, None, None, None)
    assert put(redirect_http_code=301) == ("REJECT", None, None, None, 301)
    nulls = {"name": None, "description": None, "admin_state_up": None, "position": None, "tags": None}
    answer = api.put(path, {"l7policy": nulls})["l7policy"]
    expected = {"name": "", "description": "", "admin_state_up": False, "position": 1, "tags": []}
    assert {name: answer[name] for name in expected} == expected
    put(redirect_url=URL)
    check_body(api, "PUT", path, "l7policy")
    missing(api, "PUT", POLICIES + "/{}", "L7 Policy", {"l7policy": {"name": "x"}})
    check_refusals(
        api,
        "PUT",
        path,
        "l7policy",
        {},
        [
            ({}, 400, "Invalid L7 Policy arguments:"),
            *(({name: policy[name]}, 400, "Unknown attribute") for name in words("id listener_id rules")),
            ({"action": None}, 400, "action"),
            ({"action": "REDIRECT_TO_POOL"}, 400, "redirect_pool_id"),
            ({"action": "REDIRECT_TO_URL"}, 400, "redirect_url"),
            ({"redirect_url": None}, 400, "redirect_url"),
            ({"redirect_pool_id": pool["id"], "redirect_url": URL}, 400, "redirect_pool_id"),
            ({"redirect_pool_id": UNKNOWN}, 404, f"Pool {UNKNOWN} not found."),
            ({"redirect_http_code": 300}, 400, "redirect_http_code"),
            ({"position": 0}, 400, "position"),
        ],
    )


@story("DELETE /l7policies/{l7policy_id}")
def test_a_policy_is_deleted_with_its_rules(api: Api) -> None:
    listener = api.listener(api.load_balancer())
    policy = api.policy(listener)
    rule = api.rule(policy)
    path = f"{POLICIES}/{policy['id']}"
    api.settle()
    assert "Unknown argument" in api.fault("DELETE", f"{path}?x=1", code=400)
    api.delete(path)
    assert api.get(path)["l7policy"]["provisioning_status"] == "PENDING_DELETE"
    using = api.get(f"/listeners/{listener['id']}")["listener"]
    assert using["provisioning_status"] == "PENDING_UPDATE"
    with unchanged(api):
        for method, body in (("DELETE", None), ("PUT", {"l7policy": {"name": "x"}})):
            assert "immutable" in api.fault(method, path, body, code=409)
    api.settle()
    missing(api, "DELETE", POLICIES + "/{}", "L7 Policy")
    api.get(path, code=404)
    api.get(f"{path}/rules/{rule['id']}", code=404)
    assert api.get(f"/listeners/{listener['id']}")["listener"]["l7policies"] == []


# Rules


@story(
    "POST /l7policies/{l7policy_id}/rules",
    "GET /l7policies/{l7policy_id}/rules",
    "GET /l7policies/{l7policy_id}/rules/{l7rule_id}",
)
def test_a_rule_is_created_shown_and_listed(api: Api) -> None:
    lb = api.load_balancer(project_id="somebody")
    listener = api.listener(lb)
    policy = api.policy(listener)
    path = f"{POLICIES}/{policy['id']}/rules"
    api.settle()
    body = {
        "type": "HEADER",
        "compare_type": "STARTS_WITH",
        "key": "X-Mine",
        "value": "v",
        "invert": "yes",
        "project_id": "ignored",
        "admin_state_up": True,
        "tags": ["x"],
    }
    rule = api.post(path, {"rule": body})["rule"]
    check_fields("rule", rule)
    expected = {
        "key": "X-Mine",
        "invert": True,
        "provisioning_status": "PENDING_CREATE",
        "operating_status": "OFFLINE",
        "project_id": "somebody",
    }
    assert {name: rule[name] for name in expected} == expected
    marked = (f"{POLICIES}/{policy['id']}", "l7policy"), (f"/listeners/{listener['id']}", "listener")
    for marked_path, root in marked:
        assert api.get(marked_path)[root]["provisioning_status"] == "PENDING_UPDATE"
    api.settle()
    shown = api.get(f"{path}/{rule['id']}")["rule"]
    assert shown["operating_status"] == "ONLINE"
    shown.pop("status_reason")
    names = words(
        "id project_id provisioning_status operating_status type compare_type key value created_at updated_at"
    )
    filters = {name: shown[name] for name in names}
    check_shows(api, path, "rule", shown, **filters, rule_value="v", invert="1", admin_state_up="1", tags="x")
    other = api.policy(listener)
    for method, more in (("GET", None), ("PUT", {"rule": {}}), ("DELETE", None)):
        missing(api, method, path + "/{}", "L7 Rule", more)
        missing(api, method, POLICIES + "/{}/rules/" + rule["id"], "L7 Policy", more)
        elsewhere = f"{POLICIES}/{other['id']}/rules/{rule['id']}"
        assert api.fault(method, elsewhere, more, code=404) == f"L7 Rule {rule['id']} not found."
    missing(api, "GET", POLICIES + "/{}/rules", "L7 Policy")
    missing(api, "POST", POLICIES + "/{}/rules", "L7 Policy", {"rule": body})


def test_what_a_rule_needs_and_cannot_have(api: Api, strict: Api) -> None:
    lb = api.load_balancer()
    policy = api.policy(api.listener(lb))
    path = f"{POLICIES}/{policy['id']}/rules"
    good = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/x"}
    parsing = "Error parsing L7Rule:"
    header = {"type": "HEADER", "compare_type": "EQUAL_TO"}
    check_body(api, "POST", path, "rule")
    check_refusals(
        api,
        "POST",
        path,
        "rule",
        good,
        [
            *(({name: GONE}, 400, f"attribute {name}. Value: 'None'. Mandatory") for name in good),
            ({"type": "BODY"}, 400, "Value should be one of:"),
            ({"compare_type": "LIKE"}, 400, "Value should be one of:"),
            ({"value": ""}, 400, "value"),
            ({"value": "a b"}, 400, parsing),
            ({"value": "a\nb"}, 400, "value"),
            ({"value": "v" * 256}, 400, "value"),
            ({"compare_type": "REGEX", "value": "("}, 400, parsing),
            (header, 400, parsing),
            (header | {"key": "a b"}, 400, parsing),
            (header | {"key": "a\r\nb"}, 400, "key"),
            (header | {"key": "k" * 256}, 400, "key"),
            ({"type": "COOKIE", "key": "k", "value": "a;b"}, 400, parsing),
            ({"type": "FILE_TYPE"}, 400, parsing),
            ({"type": "SSL_CONN_HAS_CERT", "compare_type": "EQUAL_TO", "value": "yes"}, 400, parsing),
            ({"type": "SSL_VERIFY_RESULT", "compare_type": "EQUAL_TO", "value": "-1"}, 400, parsing),
            ({"type": "SSL_DN_FIELD", "key": "1x"}, 400, parsing),
            (
                {"type": "SSL_CONN_HAS_CERT", "compare_type": "EQUAL_TO", "value": "true", "key": "k"},
                400,
                parsing,
            ),
            ({"name": "x"}, 400, "Unknown attribute"),
            ({"position": 1}, 400, "Unknown attribute"),
        ],
    )
    rules = [api.rule(policy, value=f"/{n}") for n in range(50)]
    check_refusals(
        api, "POST", path, "rule", good, [({}, 409, f"Too many rules on L7 policy {policy['id']}")]
    )
    api.settle()
    one = f"{path}/{rules[0]['id']}"
    calls: list[tuple[str, str, Any]] = [("PUT", one, {"rule": {}}), ("DELETE", one, None)]
    locked(strict, t.load_balancer, lb["id"], calls, f"Load Balancer {lb['id']} is immutable")
    locked(strict, t.l7policy, policy["id"], calls, f"L7Policy {policy['id']} is immutable")


@story("PUT /l7policies/{l7policy_id}/rules/{l7rule_id}")
def test_a_rule_is_updated(api: Api) -> None:
    policy = api.policy(api.listener(api.load_balancer()))
    rule = api.rule(policy, type="HEADER", key="k", value="v", tags=["t"])
    path = f"{POLICIES}/{policy['id']}/rules/{rule['id']}"
    api.settle()
    changes = {"type": "COOKIE", "compare_type": "EQUAL_TO", "key": "c", "value": "w", "invert": True}
    answer = api.put(path, {"rule": changes | {"admin_state_up": None, "tags": None}})["rule"]
    check_fields("rule", answer)
    assert {name: answer[name] for name in changes} == changes
    assert (answer["admin_state_up"], answer["tags"]) == (False, [])
    assert answer["provisioning_status"] == "PENDING_UPDATE"
    shown = api.get(f"{POLICIES}/{policy['id']}")["l7policy"]
    assert shown["provisioning_status"] == "PENDING_UPDATE"
    assert api.put(path, {"rule": {"type": "PATH", "key": "ignored"}})["rule"]["key"] is None
    assert api.put(path, {"rule": {"invert": None}})["rule"]["invert"] is False
    api.put(path, {"rule": {}})
    check_body(api, "PUT", path, "rule")
    check_refusals(
        api,
        "PUT",
        path,
        "rule",
        {},
        [
            *(({name: rule[name]}, 400, "Unknown attribute") for name in words("id project_id created_at")),
            *(({name: None}, 400, name) for name in words("type compare_type value")),
            ({"type": "HEADER"}, 400, "Error parsing L7Rule:"),
            ({"type": "FILE_TYPE", "compare_type": "CONTAINS"}, 400, "Error parsing L7Rule:"),
            ({"value": "a b"}, 400, "Error parsing L7Rule:"),
        ],
    )


@story("DELETE /l7policies/{l7policy_id}/rules/{l7rule_id}")
def test_a_rule_is_deleted(api: Api) -> None:
    policy = api.policy(api.listener(api.load_balancer()))
    rule = api.rule(policy)
    path = f"{POLICIES}/{policy['id']}/rules/{rule['id']}"
    api.settle()
    assert "Unknown argument" in api.fault("DELETE", f"{path}?x=1", code=400)
    api.delete(path)
    assert api.get(path)["rule"]["provisioning_status"] == "PENDING_DELETE"
    with unchanged(api):
        assert "immutable" in api.fault("DELETE", path, code=409)
    api.settle()
    api.get(path, code=404)
    assert api.get(f"{POLICIES}/{policy['id']}")["l7policy"]["rules"] == []
