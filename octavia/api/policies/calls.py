# SPDX-License-Identifier: Apache-2.0
"""A rule a call of the API (contract: api.md section 20.2).

The target's ``project_id`` is the one of the object's load balancer; of the request, where there is no
object yet; of the caller, where objects belong to no project.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from oslo_policy.policy import DocumentedRuleDefault, RuleDefault

from octavia.api.policies.roles import (
    ACCESS,
    ADMIN,
    READ,
    READ_GLOBAL,
    READ_QUOTA,
    READ_QUOTA_GLOBAL,
    ROLES,
    SERVICE,
    WRITE,
    WRITE_QUOTA,
)

PREFIX: Final = "os_load-balancer_api:"

_LBAAS: Final = "/v2.0/lbaas"
_TENANTS: Final = {"get_all": READ, "get_all-global": READ_GLOBAL} | {
    "get_one": READ,
    "post": WRITE,
    "put": WRITE,
    "delete": WRITE,
}
_BELOW: Final = {action: check for action, check in _TENANTS.items() if action != "get_all-global"}
_OFFERS: Final = {"get_all": READ, "get_one": READ, "post": ADMIN, "put": ADMIN, "delete": ADMIN}
_OPERATORS: Final = dict.fromkeys(_OFFERS, ADMIN)

# Action → method, what the path has after the collection's, and what it does; {} is the noun.
_ACTIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "get_all": ("GET", "", "List the {}s of a project."),
    "get_all-global": ("GET", "", "List the {}s of every project."),
    "get_one": ("GET", "/{id}", "Show a {}."),
    "post": ("POST", "", "Create a {}."),
    "put": ("PUT", "/{id}", "Change a {}."),
    "delete": ("DELETE", "/{id}", "Delete a {}."),
    "get_stats": ("GET", "/{id}/stats", "Show the statistics of a {}."),
    "get_status": ("GET", "/{id}/status", "Show the statuses of a {} and of what is below it."),
    "put_failover": ("PUT", "/{id}/failover", "Replace a {} by a new one, or what serves it."),
    "put_config": ("PUT", "/{id}/config", "Send its configuration to the agent of an {} again."),
    "get_defaults": (
        "GET",
        "/{id}/default",
        "Show the limits that hold where a project has none of its own.",
    ),
    "post:vip_sg_ids": ("POST", "", "Create a {} with security groups of its own on the VIP's port."),
    "put:vip_sg_ids": ("PUT", "/{id}", "Change the security groups on the port of a {}'s VIP."),
}

# Type, noun, path of the collection, action → check.
_KINDS: Final[tuple[tuple[str, str, str, Mapping[str, str]], ...]] = (
    (
        "loadbalancer",
        "load balancer",
        f"{_LBAAS}/loadbalancers",
        _TENANTS
        | {"get_stats": READ, "get_status": READ, "put_failover": ADMIN}
        | {"post:vip_sg_ids": WRITE, "put:vip_sg_ids": WRITE},
    ),
    ("listener", "listener", f"{_LBAAS}/listeners", _TENANTS | {"get_stats": READ}),
    ("pool", "pool", f"{_LBAAS}/pools", _TENANTS),
    ("member", "member", f"{_LBAAS}/pools/{{pool_id}}/members", _BELOW | {"get_all": f"{READ} or {SERVICE}"}),
    ("healthmonitor", "health monitor", f"{_LBAAS}/healthmonitors", _TENANTS),
    ("l7policy", "L7 policy", f"{_LBAAS}/l7policies", _TENANTS),
    ("l7rule", "L7 rule", f"{_LBAAS}/l7policies/{{l7policy_id}}/rules", _BELOW),
    (
        "quota",
        "quota",
        f"{_LBAAS}/quotas",
        {"get_all": READ_QUOTA, "get_all-global": READ_QUOTA_GLOBAL, "get_one": READ_QUOTA}
        | {"get_defaults": READ_QUOTA, "put": WRITE_QUOTA, "delete": WRITE_QUOTA},
    ),
    ("provider", "provider", f"{_LBAAS}/providers", {"get_all": READ}),
    (
        "provider-flavor",
        "key that a flavor of a provider may have",
        f"{_LBAAS}/providers/{{provider}}/flavor_capabilities",
        {"get_all": ADMIN},
    ),
    (
        "provider-availability-zone",
        "key that an availability zone of a provider may have",
        f"{_LBAAS}/providers/{{provider}}/availability_zone_capabilities",
        {"get_all": ADMIN},
    ),
    ("flavor", "flavor", f"{_LBAAS}/flavors", _OFFERS),
    ("flavor-profile", "flavor profile", f"{_LBAAS}/flavorprofiles", _OPERATORS),
    ("availability-zone", "availability zone", f"{_LBAAS}/availabilityzones", _OFFERS),
    (
        "availability-zone-profile",
        "availability zone profile",
        f"{_LBAAS}/availabilityzoneprofiles",
        _OPERATORS,
    ),
    (
        "amphora",
        "amphora",
        "/v2.0/octavia/amphorae",
        dict.fromkeys(
            ("get_all", "get_one", "delete", "put_config", "put_failover", "get_stats"),
            ADMIN,
        ),
    ),
)


def _described(kind: str, action: str, noun: str) -> str:
    text = _ACTIONS[action][2]
    if action == "get_all" and kind not in _OWNED:
        text = "List the {}s."
    return text.format(noun).replace("policys", "policies").replace("amphoras", "amphorae")


_OWNED: Final = frozenset(kind for kind, _, _, checks in _KINDS if "get_all-global" in checks)


def _calls() -> Iterator[RuleDefault]:
    for kind, noun, path, checks in _KINDS:
        for action, check in checks.items():
            method, suffix, _ = _ACTIONS[action]
            suffix = suffix.replace("{id}", "{project_id}") if kind == "quota" else suffix
            yield DocumentedRuleDefault(
                f"{PREFIX}{kind}:{action}",
                check,
                _described(kind, action, noun),
                [{"method": method, "path": path + suffix}],
            )


CALLS: Final = tuple(_calls())


def list_rules() -> list[RuleDefault]:
    """Every rule with its default, for oslopolicy-sample-generator and its kin."""
    return [*ROLES, *ACCESS, *CALLS]
