# SPDX-License-Identifier: Apache-2.0
"""Every rule, every role, the own project and a foreign one (contract: api.md sections 20.2 to 20.5)."""

import pytest

from octavia.api.policies.calls import CALLS, PREFIX
from tests.api.conftest import Api
from tests.api.rbac.callers import ALL_IN_ALL, KEYSTONE, LEGACY, NOTHING, Grant
from tests.api.rbac.conftest import World, ask
from tests.api.rbac.requests import LISTS, OWN, REQUESTS

DENIED = "Policy does not allow this request to be performed."

DEFAULTS = KEYSTONE | dict.fromkeys(LEGACY, NOTHING)
OLD_DEFAULTS_TOO = KEYSTONE | LEGACY
ADVANCED = (
    dict.fromkeys(("member,reader", "reader", "somebody", ""), NOTHING)
    | {"admin": ALL_IN_ALL, "service": KEYSTONE["service"]}
    | LEGACY
)


def _combinations(grants: dict[str, Grant]) -> pytest.MarkDecorator:
    every = [
        pytest.param(rule, roles, grant, id=f"{rule}-{roles or 'none'}")
        for rule in REQUESTS
        for roles, grant in grants.items()
    ]
    return pytest.mark.parametrize(("rule", "roles", "grant"), every)


def check(world: World, api: Api, rule: str, roles: str, grant: Grant) -> None:
    """Allowed exactly where the grant says so; a denied request changes nothing at all."""
    request = REQUESTS[rule]
    for project_id, tree in world.trees.items():
        world.restore()
        writes, rings = world.connection.total_changes, api.doorbell.rings
        ports = list(world.network.list_ports())
        result = ask(api, *request.to(tree), roles=roles)
        if grant.allows(request.takes, project_id):
            assert result.status_code == request.code, (project_id, result.text)
            continue
        assert result.status_code == 403, (project_id, result.text)
        assert result.json == {
            "faultcode": "Client",
            "faultstring": DENIED,
            "debuginfo": None,
            "code": 403,
            "title": "Forbidden",
            "description": DENIED,
        }
        assert (world.connection.total_changes, api.doorbell.rings) == (writes, rings)
        assert list(world.network.list_ports()) == ports


def test_every_rule_is_played() -> None:
    lists = {f"{kind}:get_all-global" for kind in LISTS}
    assert {one.name.removeprefix(PREFIX) for one in CALLS} == REQUESTS.keys() | lists


@_combinations(DEFAULTS)
def test_with_the_defaults(world: World, rule: str, roles: str, grant: Grant) -> None:
    check(world, world.api(), rule, roles, grant)


@_combinations(OLD_DEFAULTS_TOO)
def test_with_the_old_defaults_beside_the_new(world: World, rule: str, roles: str, grant: Grant) -> None:
    check(world, world.api(new_defaults=False), rule, roles, grant)


@_combinations(ADVANCED)
def test_with_the_advanced_policies(world: World, rule: str, roles: str, grant: Grant) -> None:
    check(world, world.api("octavia-advanced-rbac-policy.yaml"), rule, roles, grant)


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize(
    ("policy", "new_defaults", "grants"),
    [
        ("", True, DEFAULTS),
        ("", False, OLD_DEFAULTS_TOO),
        ("octavia-advanced-rbac-policy.yaml", True, ADVANCED),
    ],
    ids=["defaults", "old-defaults-too", "advanced"],
)
def test_a_list_without_a_filter_shows_what_the_caller_may_see(
    world: World, kind: str, policy: str, new_defaults: bool, grants: dict[str, Grant]
) -> None:
    check_list(world, world.api(policy, new_defaults=new_defaults), kind, grants)


def check_list(world: World, api: Api, kind: str, grants: dict[str, Grant]) -> None:
    """Every project's objects, the own project's, or none."""
    world.restore()
    takes_all, takes_own, path, root = LISTS[kind]
    for roles, grant in grants.items():
        result = ask(api, "GET", path, roles=roles)
        seen = {one["project_id"] for one in result.json.get(root, [])}
        if takes_all in grant.own:
            assert seen == set(world.trees), roles
        elif takes_own in grant.own:
            assert seen == {OWN}, roles
        else:
            assert result.status_code == 403, roles
