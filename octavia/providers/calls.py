# SPDX-License-Identifier: Apache-2.0
"""Which call a third-party driver gets for a write, and with what (contract: provider-drivers.md section 5).

Handlers say what they were asked; the models are made when the change is stored.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

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
from octavia.providers.models import Models

_NOUN: Final[Mapping[type[Resource], str]] = {
    LoadBalancer: "loadbalancer",
    Listener: "listener",
    Pool: "pool",
    Member: "member",
    HealthMonitor: "health_monitor",
    L7Policy: "l7policy",
    L7Rule: "l7rule",
}


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """One call of a driver.

    :param arguments: given the models of the tree before and after the change.
    :param tolerant: certificates that cannot be retrieved are left out, and are no error.
    """

    method: str
    arguments: Callable[[Models, Models], tuple[Any, ...]]
    tolerant: bool = False


Tells = Callable[[Any], ProviderCall]
"""What a provider is told, given what the rule has found or made."""


def created(made: Resource) -> ProviderCall:
    """A new object, as it is stored."""
    return ProviderCall(f"{_NOUN[type(made)]}_create", lambda _, after: (after.of(made),))


def updated(type_: type[Resource], object_id: str, written: Iterable[str]) -> Tells:
    """An object as it was, and what the request has written of it.

    :param written: names of fields.
    """
    names = frozenset(written)

    def arguments(before: Models, after: Models) -> tuple[Any, ...]:
        new = after.changed(_found(after, object_id), names)
        return before.of(_found(before, object_id)), new

    return lambda _: ProviderCall(f"{_NOUN[type_]}_update", arguments)


def deleted(type_: type[Resource], object_id: str) -> Tells:
    """An object as it was."""
    method = f"{_NOUN[type_]}_delete"
    return lambda _: ProviderCall(
        method, lambda before, _after: (before.of(_found(before, object_id)),), tolerant=True
    )


def load_balancer_deleted(*, cascade: bool) -> Tells:
    """The load balancer as it was."""
    return lambda _: ProviderCall(
        "loadbalancer_delete", lambda before, _after: (before.of(before.lb), cascade), tolerant=True
    )


def failed_over(_found: object) -> ProviderCall:
    """The load balancer's id."""
    return ProviderCall("loadbalancer_failover", lambda before, _after: (before.lb.id,), tolerant=True)


def members_replaced(pool_id: str) -> Tells:
    """Every member that the pool is to have: what is not listed goes."""

    def arguments(_before: Models, after: Models) -> tuple[Any, ...]:
        pool = after.lb.pool(pool_id)
        assert pool, "a batch changes a pool that is there"
        return pool_id, [after.of(one) for one in pool.members if not one.leaving]

    return lambda _: ProviderCall("member_batch_update", arguments)


def _found(models: Models, object_id: str) -> Resource:
    return next(one for one in models.lb.walk() if one.id == object_id)
