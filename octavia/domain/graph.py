# SPDX-License-Identifier: Apache-2.0
"""The fully populated create: a load balancer with everything below it in one request.

Contract: api.md section 6. The rules of each object are the ones of separate creates, see
:mod:`octavia.domain.rules` and :mod:`octavia.domain.l7`; here is only how pools are named, referred to and
put together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from octavia.domain import l7, rules
from octavia.domain.errors import NotFound
from octavia.domain.rules import Births, Deployment, Values, invalid
from octavia.domain.tree import Listener, LoadBalancer, Pool

_ALLOWED_IN_REFERENCE: Final = frozenset({"name", "admin_state_up"})
_NEEDED_IN_DEFINITION: Final = ("protocol", "lb_algorithm")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolItem:
    """A pool of the request: a definition, or a reference to one by its name.

    :param written: the names of the fields that the request wrote.
    """

    values: Values
    written: frozenset[str]
    members: Sequence[Values] = ()
    health_monitor: Values | None = None

    @property
    def name(self) -> str:
        """What other parts of the request call it."""
        return str(self.values.get("name") or "")

    @property
    def is_reference(self) -> bool:
        """Does it say nothing but a name?"""
        return self.written <= _ALLOWED_IN_REFERENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyItem:
    """An L7 policy of the request."""

    values: Values
    redirect_pool: PoolItem | None = None
    rules: Sequence[Values] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerItem:
    """A listener of the request."""

    values: Values
    default_pool: PoolItem | None = None
    policies: Sequence[PolicyItem] = ()

    @property
    def pools(self) -> list[PoolItem]:
        """Those that it names or defines."""
        every = [self.default_pool, *(one.redirect_pool for one in self.policies)]
        return [one for one in every if one]


def populate(
    lb: LoadBalancer,
    listeners: Sequence[ListenerItem],
    pools: Sequence[PoolItem],
    births: Births,
    deployment: Deployment,
) -> LoadBalancer:
    """The new load balancer with its children.

    :raises RequestError: a rule is broken; nothing of the request may be stored.
    """
    every = [*pools, *(pool for one in listeners for pool in one.pools)]
    ids: dict[str, Pool] = {}
    for item in _definitions(every):
        pool = _pool(lb, item, births, deployment)
        ids[pool.name] = pool
        lb = lb.with_pool(pool)
    for listener in listeners:
        lb = _with_listener(lb, listener, ids, births, deployment)
    return lb


def _definitions(items: Iterable[PoolItem]) -> list[PoolItem]:
    defined: dict[str, PoolItem] = {}
    referred: list[str] = []
    for item in items:
        if not item.name:
            raise invalid("Every pool of a fully populated create needs a name.")
        if item.is_reference:
            referred.append(item.name)
            continue
        if item.name in defined:
            raise invalid(f"Two pools of the request are called '{item.name}'.")
        for field in _NEEDED_IN_DEFINITION:
            if item.values.get(field) is None:
                raise invalid(f"Pool '{item.name}' needs the attribute {field}.")
        defined[item.name] = item
    for name in referred:
        if name not in defined:
            raise invalid(f"The request refers to a pool '{name}', which it does not define.")
    return list(defined.values())


def _pool(lb: LoadBalancer, item: PoolItem, births: Births, deployment: Deployment) -> Pool:
    pool = rules.new_pool(lb, item.values, births, deployment)
    if item.health_monitor is not None:
        rules.check_monitor_allowed(item.health_monitor, deployment)
        monitor = rules.new_health_monitor(lb, pool, item.health_monitor, births)
        pool = replace(pool, health_monitor=monitor)
    rules.check_members(item.members, deployment)
    return replace(pool, members=rules.new_members(lb, pool, item.members, births))


def _with_listener(
    lb: LoadBalancer, item: ListenerItem, pools: dict[str, Pool], births: Births, deployment: Deployment
) -> LoadBalancer:
    values: dict[str, Any] = dict(item.values)
    if values.get("default_pool_id") is not None:
        # No pool can have an id before the load balancer exists.
        raise NotFound("Pool", values["default_pool_id"])
    rules.check_listener_allowed(values, deployment)
    if item.default_pool:
        pool = pools[item.default_pool.name]
        rules.check_pair(values["protocol"], pool.protocol)
        values["default_pool_id"] = pool.id
    listener = rules.new_listener(lb, values, births, deployment)
    for policy in item.policies:
        listener = _with_policy(lb, listener, policy, pools, births)
    return lb.with_listener(listener)


def _with_policy(
    lb: LoadBalancer, listener: Listener, item: PolicyItem, pools: dict[str, Pool], births: Births
) -> Listener:
    l7.check_listener(listener.protocol)
    pool = pools[item.redirect_pool.name] if item.redirect_pool else None
    values = l7.completed(dict(item.values) | {"redirect_pool_id": pool.id if pool else None})
    if pool and values["redirect_pool_id"]:
        rules.check_pair(listener.protocol, pool.protocol)
    listener, policy = l7.with_new_policy(lb, listener, values, births)
    for rule in item.rules:
        l7.check_rule(rule)
        policy, _ = l7.with_new_rule(lb, policy, rule, births)
    return l7.with_policy(listener, policy)
