# SPDX-License-Identifier: Apache-2.0
"""What callers are, and what may be done by whom, as rules that the rules of the calls refer to.

Operators override them by these names (contract: api.md sections 20.3 and 20.4).
"""

from typing import Final

from oslo_policy.policy import DeprecatedRule, RuleDefault

IS_ADMIN: Final = "context_is_admin"

ADMIN: Final = "rule:load-balancer:admin"
READ: Final = "rule:load-balancer:read"
READ_GLOBAL: Final = "rule:load-balancer:read-global"
WRITE: Final = "rule:load-balancer:write"
READ_QUOTA: Final = "rule:load-balancer:read-quota"
READ_QUOTA_GLOBAL: Final = "rule:load-balancer:read-quota-global"
WRITE_QUOTA: Final = "rule:load-balancer:write-quota"
SERVICE: Final = "rule:service"

_OWNER: Final = "rule:load-balancer:owner"
_OBSERVER: Final = "rule:load-balancer:observer_and_owner"
_GLOBAL_OBSERVER: Final = "rule:load-balancer:global_observer"
_MEMBER: Final = "rule:load-balancer:member_and_owner"
_QUOTA_ADMIN: Final = "rule:load-balancer:quota-admin"

_SINCE: Final = "W"
_WHY: Final = "Keystone's default roles admin, member and reader took the place of the load-balancer_* roles."


def _role(name: str, check: str, description: str, *, before: str | None = None) -> RuleDefault:
    """:param before: holds too while ``[oslo_policy] enforce_new_defaults`` is false."""
    deprecated = (
        DeprecatedRule(name, before, deprecated_reason=_WHY, deprecated_since=_SINCE) if before else None
    )
    return RuleDefault(name, check, description, deprecated_rule=deprecated, scope_types=["project"])


def _any(*checks: str) -> str:
    return " or ".join(checks)


ROLES: Final = (
    _role(
        IS_ADMIN,
        "role:admin",
        "Whose requests are an administrator's: is_admin:True holds for them.",
        before="role:admin or role:load-balancer_admin",
    ),
    _role("load-balancer:owner", "project_id:%(project_id)s", "Whose project the object is of."),
    _role("project-member", "role:member and project_id:%(project_id)s", "A member of the object's project."),
    _role("project-reader", "role:reader and project_id:%(project_id)s", "A reader of the object's project."),
    _role("service", "role:service", "Another service of the cloud."),
    _role(
        "load-balancer:admin",
        "is_admin:True or role:admin",
        "May do everything.",
        before="is_admin:True or role:admin or role:load-balancer_admin",
    ),
    _role(
        "load-balancer:global_observer",
        "role:admin",
        "May look at every project's objects.",
        before="role:load-balancer_global_observer",
    ),
    _role(
        "load-balancer:member_and_owner",
        "rule:project-member",
        "May change what is of the own project.",
        before=f"role:load-balancer_member and {_OWNER}",
    ),
    _role(
        "load-balancer:observer_and_owner",
        "rule:project-reader",
        "May look at what is of the own project.",
        before=f"role:load-balancer_observer and {_OWNER}",
    ),
    _role(
        "load-balancer:quota-admin",
        "role:admin",
        "May set the quotas of every project.",
        before="role:load-balancer_quota_admin",
    ),
)

ACCESS: Final = (
    RuleDefault(
        "load-balancer:read", _any(_OBSERVER, _GLOBAL_OBSERVER, _MEMBER, ADMIN), "Looking at an object."
    ),
    RuleDefault(
        "load-balancer:read-global", _any(_GLOBAL_OBSERVER, ADMIN), "Listing the objects of every project."
    ),
    RuleDefault("load-balancer:write", _any(_MEMBER, ADMIN), "Making, changing and deleting an object."),
    RuleDefault(
        "load-balancer:read-quota",
        _any(_OBSERVER, _GLOBAL_OBSERVER, _MEMBER, _QUOTA_ADMIN, ADMIN),
        "Looking at a project's quota.",
    ),
    RuleDefault(
        "load-balancer:read-quota-global",
        _any(_GLOBAL_OBSERVER, _QUOTA_ADMIN, ADMIN),
        "Listing the quotas of every project.",
    ),
    RuleDefault("load-balancer:write-quota", _any(_QUOTA_ADMIN, ADMIN), "Setting a project's quota."),
)
