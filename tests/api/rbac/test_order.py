# SPDX-License-Identifier: Apache-2.0
"""What is told first, and what callers are told of others (contract: api.md sections 2.7 and 3.5)."""

from typing import Any

import pytest

from octavia.api.settings import ApiSettings, check_binding
from octavia.db import tables as t
from octavia.domain.errors import Terminal
from tests.api.conftest import Api
from tests.api.rbac.conftest import World, ask
from tests.api.rbac.requests import FOREIGN, OWN


@pytest.fixture
def api(world: World) -> Api:
    world.restore()
    return world.api()


def _fault(
    api: Api, method: str, path: str, body: object = None, *, roles: str = "reader"
) -> tuple[int, str]:
    result = ask(api, method, path, body, roles=roles)
    return result.status_code, result.json["faultstring"]


def test_a_field_of_the_wrong_type_is_told_before_the_policy(api: Api) -> None:
    for path, root in (
        ("/loadbalancers", "loadbalancer"),
        ("/listeners", "listener"),
        ("/flavors", "flavor"),
    ):
        code, text = _fault(api, "POST", path, {root: {"name": 5}})
        assert (code, "name" in text) == (400, True)


@pytest.mark.parametrize(
    "path", ["/loadbalancers", "/listeners", "/pools", "/healthmonitors", "/l7policies", "/flavors"]
)
def test_what_does_not_exist_is_told_before_the_policy(api: Api, path: str) -> None:
    for method in ("GET", "DELETE"):
        assert ask(api, method, f"{path}/nothing", roles="").status_code == 404


def test_the_policy_is_told_before_states_and_quotas_and_references(world: World, api: Api) -> None:
    tree = world.trees[OWN]
    api.set_status(t.load_balancer, tree["loadbalancer"], "PENDING_DELETE")
    body: Any
    for path, root, body in (
        (f"/loadbalancers/{tree['loadbalancer']}", "loadbalancer", {"name": "x"}),
        (f"/loadbalancers/{tree['loadbalancer']}", "loadbalancer", {"vip_qos_policy_id": tree["pool"]}),
        (f"/listeners/{tree['listener']}", "listener", {"name": "x"}),
    ):
        assert ask(api, "PUT", path, {root: body}, roles="reader").status_code == 403
    member = {
        "address": "192.0.2.1",
        "protocol_port": 1,
        "subnet_id": tree["pool"],
    }  # there is no such subnet
    path = f"/pools/{tree['pool']}/members"
    assert ask(api, "POST", path, {"member": member}, roles="reader").status_code == 403
    assert ask(api, "PUT", path, {"members": [member]}, roles="reader").status_code == 403
    api.database.write(lambda tx: tx.execute(t.quotas.update().values(load_balancer=0)))
    new = {"loadbalancer": {"vip_subnet_id": tree["pool"]}}
    assert ask(api, "POST", "/loadbalancers", new, roles="reader").status_code == 403
    assert ask(api, "POST", "/loadbalancers", new, roles="member").status_code == 400


def test_a_batch_needs_every_rule_that_it_could_use(world: World) -> None:
    tree = world.trees[OWN]
    for denied in ("post", "put", "delete"):
        api = world.api(text=f'"os_load-balancer_api:member:{denied}": "!"\n')
        for query, code in (("", 403), ("?additive_only=true", 202 if denied == "delete" else 403)):
            world.restore()
            path = f"/pools/{tree['pool']}/members{query}"
            body = {"members": [{"address": "192.0.2.1", "protocol_port": 1}]}
            assert ask(api, "PUT", path, body, roles="member").status_code == code, (denied, query)


def test_security_groups_have_rules_of_their_own(world: World) -> None:
    tree = world.trees[OWN]
    api = world.api(
        text='"os_load-balancer_api:loadbalancer:post:vip_sg_ids": "!"\n'
        '"os_load-balancer_api:loadbalancer:put:vip_sg_ids": "!"\n'
    )
    world.restore()
    body: Any
    groups = {"vip_sg_ids": [tree["pool"]]}
    path = f"/loadbalancers/{tree['loadbalancer']}"
    for body, code in (({"name": "x"}, 200), (groups, 403)):
        assert ask(api, "PUT", path, {"loadbalancer": body}, roles="member").status_code == code
    new = {"vip_subnet_id": tree["subnet"]}
    for body, code in ((new | groups, 403), (new, 201)):
        assert ask(api, "POST", "/loadbalancers", {"loadbalancer": body}, roles="member").status_code == code


def test_a_project_comes_from_the_token_or_from_the_request_or_the_request_is_refused(
    world: World, api: Api
) -> None:
    body = {"vip_subnet_id": world.trees[OWN]["subnet"]}
    created = ask(api, "POST", "/loadbalancers", {"loadbalancer": body}, roles="member")
    assert created.json["loadbalancer"]["project_id"] == OWN
    named = body | {"project_id": FOREIGN}
    created = ask(api, "POST", "/loadbalancers", {"loadbalancer": named}, roles="admin", project_id=None)
    assert created.json["loadbalancer"]["project_id"] == FOREIGN
    refused = ask(api, "POST", "/loadbalancers", {"loadbalancer": body}, roles="admin", project_id=None)
    assert (refused.status_code, "names a project" in refused.json["faultstring"]) == (400, True)


def test_the_defaults_of_quotas_are_for_those_who_see_all(api: Api) -> None:
    assert ask(api, "GET", "/quotas/defaults", roles="admin").status_code == 200
    assert ask(api, "GET", "/quotas/defaults", roles="member,reader").status_code == 403


def test_what_needs_no_caller_and_what_a_caller_cannot_be(api: Api) -> None:
    assert ask(api, "GET", "//", roles="").status_code == 200
    assert ask(api, "OPTIONS", "/listeners", roles="").status_code == 200
    assert ask(api, "GET", "/listeners", roles="admin", project_id="x" * 37).status_code == 400


def test_who_believes_headers_listens_to_this_machine_alone() -> None:
    check_binding(ApiSettings(auth_strategy="keystone"), "0.0.0.0")
    check_binding(ApiSettings(auth_strategy="testing"), "127.0.0.1")
    with pytest.raises(Terminal, match="auth_strategy = testing"):
        check_binding(ApiSettings(auth_strategy="testing"), "0.0.0.0")
