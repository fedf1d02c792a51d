# SPDX-License-Identifier: Apache-2.0
"""The policy files that come with the package do what they say (contract: api.md section 20.6)."""

import pytest
from oslo_policy.policy import parse_file_contents

from octavia.api.policies.calls import list_rules
from tests.api.rbac.callers import ALL_IN_ALL, KEYSTONE, NOTHING, Grant
from tests.api.rbac.conftest import SHIPPED, World
from tests.api.rbac.requests import (
    ADMIN,
    ANY_READ,
    READ,
    READ_GLOBAL,
    READ_QUOTA,
    READ_QUOTA_GLOBAL,
    REQUESTS,
    SERVICE_READ,
    WRITE,
)
from tests.api.rbac.test_rules import check, check_list

_OWNER = Grant(frozenset({READ, READ_QUOTA, SERVICE_READ, WRITE, ANY_READ}))
_SERVICE = KEYSTONE["service"]
_SYSTEM_READER_TAKES = frozenset({READ, READ_GLOBAL, READ_QUOTA, READ_QUOTA_GLOBAL, SERVICE_READ, ANY_READ})
_SYSTEM_READER = Grant(_SYSTEM_READER_TAKES, _SYSTEM_READER_TAKES)
_ADMIN_CALLS = Grant(frozenset({ADMIN}), frozenset({ADMIN}))

FILES = {
    "admin_or_owner-policy.yaml": {
        "admin": ALL_IN_ALL,
        "load-balancer_admin": ALL_IN_ALL,
        "member,reader": _OWNER,
        "somebody": _OWNER,
        "": _OWNER,
        "load-balancer_quota_admin": _OWNER,
    },
    "keystone_default_roles-policy.yaml": {
        "admin": ALL_IN_ALL,
        "load-balancer_admin": _ADMIN_CALLS,
        "member,reader": KEYSTONE["member,reader"],
        "reader": KEYSTONE["reader"],
        "service": _SERVICE,
        "somebody": NOTHING,
        "load-balancer_member": NOTHING,
        "load-balancer_global_observer": NOTHING,
    },
    "keystone_default_roles_scoped-policy.yaml": {
        "system:admin,member,reader": ALL_IN_ALL,
        "system:reader": _SYSTEM_READER,
        "system:member": NOTHING,
        "admin": NOTHING,
        "admin,member,reader": KEYSTONE["member,reader"],
        "reader": KEYSTONE["reader"],
        "service": _SERVICE,
    },
}


# The files override what rules refer to, so one of each manner will do.
RULES = {(one.takes, one.method): rule for rule, one in REQUESTS.items()}.values()


@pytest.mark.parametrize(
    ("file", "rule", "roles", "grant"),
    [
        pytest.param(file, rule, roles, grant, id=f"{file.split('-')[0]}-{rule}-{roles or 'none'}")
        for file, grants in FILES.items()
        for rule in RULES
        for roles, grant in grants.items()
    ],
)
def test_a_role_may_what_the_file_says(world: World, file: str, rule: str, roles: str, grant: Grant) -> None:
    check(world, world.api(file), rule, roles, grant)


@pytest.mark.parametrize("kind", ["listener", "quota"])
@pytest.mark.parametrize("file", FILES)
def test_a_list_shows_what_the_file_says(world: World, file: str, kind: str) -> None:
    check_list(world, world.api(file), kind, FILES[file])


def test_all_files_are_known_and_override_rules_that_exist_or_that_they_use() -> None:
    files = {one.name for one in SHIPPED.glob("*-policy.yaml")}
    assert files == {*FILES, "octavia-advanced-rbac-policy.yaml"}
    known = {rule.name for rule in list_rules()}
    for name in files:
        text = (SHIPPED / name).read_text()
        for rule in parse_file_contents(text):
            assert rule in known or f"rule:{rule}" in text or rule == "admin_or_owner", (name, rule)
