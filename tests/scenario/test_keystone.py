# SPDX-License-Identifier: Apache-2.0
"""Tokens of a real Keystone: who comes in, as whom, and what it costs to ask."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from tests.scenario.keystone_cloud import ORIGIN, PROJECT, Cloud, cloud

pytestmark = pytest.mark.scenario


@pytest.fixture(scope="module")
def octavia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud(tmp_path_factory.mktemp("cloud")) as made:
        yield made


def _new() -> dict[str, dict[str, str]]:
    return {"loadbalancer": {"vip_network_id": str(uuid4())}}


@pytest.mark.parametrize("token", [None, "", "nonsense", "gAAAAABnonsense", "x" * 5000])
def test_without_a_valid_token_nothing_is_told(octavia: Cloud, token: str | None) -> None:
    for method, path in (
        ("GET", "/loadbalancers"),
        ("POST", "/loadbalancers"),
        ("GET", "//v2"),
        ("GET", "//x"),
    ):
        answer = octavia.ask(method, path, token, _new() if method == "POST" else None, {"Origin": ORIGIN})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{octavia.keystone.url}"'
        assert answer.headers["x-openstack-request-id"].startswith("req-")
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.json()["error"]["code"] == 401


def test_some_paths_need_no_token(octavia: Cloud) -> None:
    assert octavia.ask("GET", "//").json()["versions"]
    assert octavia.ask("HEAD", "//").status_code == 200
    assert octavia.ask("GET", "//healthcheck").status_code == 404  # it is not switched on, and that is all
    assert octavia.ask("GET", "//openapi.json").status_code == 200
    assert octavia.ask("OPTIONS", "/loadbalancers").status_code == 200
    for path in ("//healthcheck.json", "//x/healthcheck", "//load-balancer", "//healthcheck/x"):
        assert octavia.ask("GET", path).status_code == 401, path


def test_roles_are_the_tokens_and_the_project_too(octavia: Cloud) -> None:
    created = octavia.ask("POST", "/loadbalancers", octavia.token("member"), _new())
    assert created.status_code == 201, created.text
    lb = created.json()["loadbalancer"]
    assert lb["project_id"] == octavia.keystone.project_id(PROJECT)
    path = f"/loadbalancers/{lb['id']}"
    for user, shown, changed in (("operator", 200, 200), ("reader", 200, 403), ("stranger", 403, 403)):
        token = octavia.token(user)
        assert octavia.ask("GET", path, token).status_code == shown
        answer = octavia.ask("PUT", path, token, {"loadbalancer": {"name": user}})
        assert answer.status_code == changed, answer.text
    assert octavia.ask("GET", path, octavia.token("reader")).json()["loadbalancer"]["name"] == "operator"


def test_headers_that_look_like_a_tokens_are_not_believed(octavia: Cloud) -> None:
    forged = {
        "X-Roles": "admin",
        "X-Role": "admin",
        "X-Is-Admin-Project": "True",
        "X-Identity-Status": "Confirmed",
        "X-Project-Id": "another",
        "X-Tenant-Id": "another",
        "OpenStack-System-Scope": "all",
        "X-Service-Roles": "service",
        "X-Service-Identity-Status": "Confirmed",
    }
    assert octavia.ask("GET", "/amphorae", headers=forged).status_code == 401
    answer = octavia.ask("POST", "/loadbalancers", octavia.token("reader"), _new(), forged)
    assert answer.status_code == 403
    assert (
        octavia.ask("GET", "//v2/octavia/amphorae", octavia.token("reader"), headers=forged).status_code
        == 403
    )
    created = octavia.ask("POST", "/loadbalancers", octavia.token("member"), _new(), forged)
    assert created.json()["loadbalancer"]["project_id"] == octavia.keystone.project_id(PROJECT)


def test_other_projects_stay_out(octavia: Cloud) -> None:
    octavia.keystone.ensure_user("neighbour", "next door", "member", "reader")
    lb = octavia.ask("POST", "/loadbalancers", octavia.token("member"), _new()).json()["loadbalancer"]
    neighbour = octavia.token("neighbour", "next door")
    assert octavia.ask("GET", f"/loadbalancers/{lb['id']}", neighbour).status_code == 403
    assert octavia.ask("GET", "/loadbalancers", neighbour).json()["loadbalancers"] == []
    mine = octavia.ask("GET", f"/loadbalancers?project_id={lb['project_id']}", neighbour)
    assert mine.status_code == 403
    everything = octavia.ask("GET", "/loadbalancers", octavia.token("operator")).json()["loadbalancers"]
    assert lb["id"] in {one["id"] for one in everything}


def test_a_token_of_no_project_makes_nothing(octavia: Cloud) -> None:
    unscoped = octavia.keystone.token("member")
    assert octavia.ask("GET", "/loadbalancers", unscoped).status_code == 403
    answer = octavia.ask("POST", "/loadbalancers", unscoped, _new())
    assert (answer.status_code, "project" in answer.json()["faultstring"]) == (400, True)


def test_an_administrator_of_the_whole_system_is_of_no_project(octavia: Cloud) -> None:
    lb = octavia.ask("POST", "/loadbalancers", octavia.token("member"), _new()).json()["loadbalancer"]
    octavia.keystone.system_role("operator", "admin")
    token = octavia.keystone.token("operator", {"system": {"all": True}})
    everything = octavia.ask("GET", "/loadbalancers", token).json()["loadbalancers"]
    assert lb["id"] in {one["id"] for one in everything}
    assert octavia.ask("POST", "/loadbalancers", token, _new()).status_code == 400
    body = {"loadbalancer": _new()["loadbalancer"] | {"project_id": lb["project_id"]}}
    assert octavia.ask("POST", "/loadbalancers", token, body).status_code == 201


def test_a_revoked_token_is_worth_nothing(octavia: Cloud) -> None:
    token = octavia.token("member")
    octavia.keystone.revoke(token)
    assert octavia.ask("GET", "/loadbalancers", token).status_code == 401


def test_an_application_credential_may_be_for_one_path_alone(octavia: Cloud) -> None:
    token = octavia.token("member")
    asked = octavia.keystone
    user_id = asked.ask("GET", "/auth/tokens", subject=token)["token"]["user"]["id"]
    rules = [{"service": "load-balancer", "method": "GET", "path": "/v2/lbaas/pools"}]
    body = {"application_credential": {"name": str(uuid4()), "secret": "s", "access_rules": rules}}
    made = asked.ask("POST", f"/users/{user_id}/application_credentials", body, token=token)
    identifier = made["application_credential"]["id"]
    restricted = asked.token("member", application_credential={"id": identifier, "secret": "s"})
    assert octavia.ask("GET", "/pools", restricted).status_code == 200
    assert octavia.ask("GET", "/listeners", restricted).status_code == 401


@contextmanager
def _stopped(octavia: Cloud) -> Iterator[None]:
    group = octavia.keystone.process.pid
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


def test_keystone_is_asked_once_a_token(octavia: Cloud) -> None:
    known, unknown = octavia.token("reader"), octavia.token("reader")
    assert octavia.ask("GET", "/loadbalancers", known).status_code == 200
    with _stopped(octavia):
        for _ in range(20):  # whichever thread answers
            assert octavia.ask("GET", "/loadbalancers", known).status_code == 200
        answer = octavia.ask("GET", "/loadbalancers", unknown)
        assert answer.status_code == 503, answer.text
        assert "identity service" in answer.json()["faultstring"]
    assert octavia.ask("GET", "/loadbalancers", unknown).status_code == 200


def test_no_token_and_no_password_is_in_the_log(octavia: Cloud) -> None:
    token = octavia.token("member")
    octavia.ask("GET", "/loadbalancers", token)
    octavia.ask("GET", "/loadbalancers", "nonsense-of-a-token")
    said = octavia.octavia.log("octavia-api")
    assert token not in said
    assert "nonsense-of-a-token" not in said
    assert "of a test" not in said
