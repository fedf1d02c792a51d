# SPDX-License-Identifier: Apache-2.0
"""The shape of quotas (contract: api.md section 13.2): two limits have two names each."""

from collections.abc import Mapping
from typing import Any, Final

from octavia.api.schemas import types
from octavia.api.schemas.common import STRING
from octavia.api.schemas.fields import Field, Schema, shown

# Aliases come first in the table, so that the name without underscore wins where both are sent.
NAMES: Final[Mapping[str, str]] = {
    "load_balancer": "load_balancer",
    "loadbalancer": "load_balancer",
    "listener": "listener",
    "member": "member",
    "pool": "pool",
    "health_monitor": "health_monitor",
    "healthmonitor": "health_monitor",
    "l7policy": "l7policy",
    "l7rule": "l7rule",
}
"""Name in the API to resource."""


_LIMIT: Final = types.integer(-1, 2_000_000_000)


def _limit(name: str) -> Field:
    return Field(
        name=name, type=_LIMIT, answer=types.schema_of(_LIMIT), about="-1: no limit. Null: the default."
    )


QUOTA: Final = Schema(
    "quota",
    shown("project_id", answer=STRING),
    _limit("loadbalancer"),
    _limit("load_balancer"),
    _limit("listener"),
    _limit("member"),
    _limit("pool"),
    _limit("healthmonitor"),
    _limit("health_monitor"),
    _limit("l7policy"),
    _limit("l7rule"),
    shown("tenant_id", answer=STRING),
)


def by_resource(values: Mapping[str, Any]) -> dict[str, Any]:
    """What an update sends, each limit once."""
    return {resource: values[name] for name, resource in NAMES.items() if name in values}


def shown_limits(project_id: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """A project's limits under all their names."""
    named = {name: limits[resource] for name, resource in NAMES.items()}
    return QUOTA.show({"project_id": project_id, "tenant_id": project_id} | named)
