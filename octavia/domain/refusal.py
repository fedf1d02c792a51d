# SPDX-License-Identifier: Apache-2.0
"""Taking back a change that a third-party provider has refused.

What was written since stays: the provider's own statuses, and later changes, which have a higher generation.
"""

from dataclasses import replace
from typing import Any, Final

from octavia.domain.tree import LoadBalancer, Pool, Resource

_SEQUENCES: Final = ("listeners", "pools", "l7_policies", "rules", "members")


def taken_back(now: LoadBalancer, before: LoadBalancer, after: LoadBalancer) -> LoadBalancer:
    """The tree as it is now without the change from ``before`` to ``after``, under a new generation."""
    old = {one.id: one for one in before.walk()}
    new = {one.id: one for one in after.walk()}

    def back(one: Resource) -> Resource | None:
        below = _below(one)
        mine = new.get(one.id)
        if mine is None or mine.generation != one.generation:
            return replace(one, **below)
        if one.id not in old:
            return None
        return replace(old[one.id], **below, **_since(one, mine, old[one.id]))

    def _below(one: Resource) -> dict[str, Any]:
        below: dict[str, Any] = {}
        for name in _SEQUENCES:
            if hasattr(one, name):
                found = (back(child) for child in getattr(one, name))
                below[name] = tuple(child for child in found if child)
        if isinstance(one, Pool):
            below["health_monitor"] = one.health_monitor and back(one.health_monitor)
        return below

    then = back(now)
    assert isinstance(then, LoadBalancer), "a load balancer that was there before stays"
    return replace(then, generation=now.generation + 1, observed_generation=now.observed_generation)


def _since(one: Resource, mine: Resource, old: Resource) -> dict[str, Any]:
    """What of an object is not the change's but was reported after it."""
    reported = one if one.provisioning_status is not mine.provisioning_status else old
    return {
        "provisioning_status": reported.provisioning_status,
        "delete_requested": reported.delete_requested,
        "operating_status": one.operating_status
        if one.operating_status is not mine.operating_status
        else old.operating_status,
        "updated_at": one.updated_at,
    }
