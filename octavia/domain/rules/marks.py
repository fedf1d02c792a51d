# SPDX-License-Identifier: Apache-2.0
"""Who may write to a tree now, and what a write marks (contract: api.md sections 4.1 and 4.2).

Which writes exclude each other is SEMANTICS "Statuses".
"""

from dataclasses import replace
from typing import Any, TypeVar

from octavia.domain.errors import Conflict
from octavia.domain.rules.ground import Births, Deployment
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import L7Policy, Listener, LoadBalancer, Pool, Resource

_R = TypeVar("_R", bound=Resource)


def retries(before: LoadBalancer, after: LoadBalancer) -> bool:
    """Did the write touch something in ERROR? Then its deadline starts anew."""
    failed = {one.id: one.generation for one in before.walk() if one.provisioning_status is P.ERROR}
    return bool(failed) and any(failed.get(one.id, one.generation) != one.generation for one in after.walk())


def strict(lb: LoadBalancer, deployment: Deployment) -> bool:
    """Does anything pending exclude further writes? Third-party providers always want it so."""
    return deployment.strict or lb.third_party


def lock(lb: LoadBalancer, deployment: Deployment) -> None:
    """For writes below a load balancer."""
    if lb.leaving or (strict(lb, deployment) and lb.provisioning_status is not P.ACTIVE):
        raise immutable("Load Balancer", lb.id)


def lock_policy(lb: LoadBalancer, listener: Listener, policy: L7Policy, deployment: Deployment) -> None:
    """For writes to L7 rules."""
    lock(lb, deployment)
    stays("Listener", listener)
    if policy.leaving or (strict(lb, deployment) and policy.provisioning_status is not P.ACTIVE):
        raise immutable("L7Policy", policy.id)


def lock_pool(lb: LoadBalancer, pool: Pool, deployment: Deployment) -> None:
    """For writes to members and monitors."""
    lock(lb, deployment)
    if pool.leaving or (strict(lb, deployment) and pool.provisioning_status is not P.ACTIVE):
        raise immutable("Pool", pool.id)


def stays(noun: str, resource: Resource) -> None:
    """What is being deleted takes no other write."""
    if resource.leaving:
        raise immutable(noun, resource.id)


def may_leave(noun: str, resource: Resource) -> None:
    """A failed delete may be asked for again, one that is under way not."""
    if resource.provisioning_status is P.PENDING_DELETE:
        raise immutable(noun, resource.id)


def immutable(noun: str, identifier: str) -> Conflict:
    """Something is changing or going and takes no other write now."""
    return Conflict(f"{noun} {identifier} is immutable and cannot be updated.")


def wrong_state(lb: LoadBalancer) -> Conflict:
    """The load balancer itself takes no such write now."""
    return Conflict(f"Invalid state {lb.provisioning_status} of loadbalancer resource {lb.id}")


# What a write marks


def _pending(status: P) -> P:
    # Not live for the first time yet: it stays a creation, with a newer generation.
    return P.PENDING_CREATE if status is P.PENDING_CREATE else P.PENDING_UPDATE


def written(lb: LoadBalancer) -> LoadBalancer:
    """The tree under its next generation; every write begins here."""
    return replace(lb.bumped(), provisioning_status=_pending(lb.provisioning_status))


def touched(lb: LoadBalancer, resource: _R) -> _R:
    """Something that the write changes, under the tree's generation."""
    if resource.leaving:
        return resource
    status = _pending(resource.provisioning_status)
    return replace(resource, generation=lb.generation, provisioning_status=status)


def leaving(lb: LoadBalancer, resource: _R) -> _R:
    """Something that the write deletes; it stays until that is live."""
    return replace(
        resource,
        generation=lb.generation,
        provisioning_status=P.PENDING_DELETE,
        delete_requested=True,
    )


def touched_listeners(lb: LoadBalancer, pool_id: str) -> LoadBalancer:
    """After a change of a pool: the listeners that use it."""
    for listener in lb.listeners_using(pool_id):
        lb = lb.with_listener(touched(lb, listener))
    return lb


def touched_pool(lb: LoadBalancer, pool: Pool) -> LoadBalancer:
    """After a change of a member or a monitor: the pool, and the listeners that use it."""
    return touched_listeners(lb.with_pool(touched(lb, pool)), pool.id)


def born(lb: LoadBalancer, births: Births) -> dict[str, Any]:
    """What every new child has first."""
    return births.next() | {"project_id": lb.project_id, "generation": lb.generation}
