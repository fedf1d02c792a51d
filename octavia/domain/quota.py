# SPDX-License-Identifier: Apache-2.0
"""What a project may have of each resource, and what a change adds to that (contract: api.md section 13).

Counting what is there is not here: see :mod:`octavia.db.quotas`.
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from octavia.domain.errors import QuotaMet
from octavia.domain.tree import (
    HealthMonitor,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    Pool,
    Resource,
)

UNLIMITED: Final = -1

NOUNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "load_balancer": "Load Balancer",
        "listener": "Listener",
        "member": "Member",
        "pool": "Pool",
        "health_monitor": "Health Monitor",
        "l7policy": "L7 Policy",
        "l7rule": "L7 Rule",
    }
)
"""Every resource that has a limit, and what messages call it."""

_NAMES: Final[Mapping[type[Resource], str]] = {
    LoadBalancer: "load_balancer",
    Listener: "listener",
    Member: "member",
    Pool: "pool",
    HealthMonitor: "health_monitor",
    L7Policy: "l7policy",
    L7Rule: "l7rule",
}

NO_LIMITS: Final[Mapping[str, int]] = MappingProxyType(dict.fromkeys(NOUNS, UNLIMITED))


def added(before: LoadBalancer | None, after: LoadBalancer) -> Counter[str]:
    """How many objects of each resource a change makes; what it deletes counts until it is gone."""
    known = {one.id for one in before.walk()} if before else set()
    return Counter(_NAMES[type(one)] for one in after.walk() if one.id not in known)


def check(wanted: Mapping[str, int], in_use: Mapping[str, int], limits: Mapping[str, int]) -> None:
    """:raises QuotaMet: there is no room for what is wanted, in words that clients know."""
    met = [
        NOUNS[name]
        for name, more in wanted.items()
        if more and limits[name] != UNLIMITED and in_use[name] + more > limits[name]
    ]
    if met:
        raise QuotaMet(f"Quota has been met for resources: {', '.join(met)}")
