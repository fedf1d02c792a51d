# SPDX-License-Identifier: Apache-2.0
"""Reading the children of a fully populated create (contract: api.md section 6.1).

What the children may be together is not here: see :mod:`octavia.domain.graph`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from octavia.api.schemas.fields import Schema
from octavia.api.schemas.health_monitor import HEALTH_MONITOR_OF_GRAPH
from octavia.api.schemas.l7_policy import L7_POLICY_OF_GRAPH
from octavia.api.schemas.l7_rule import L7_RULE_OF_GRAPH
from octavia.api.schemas.listener import LISTENER_OF_GRAPH
from octavia.api.schemas.member import MEMBER_OF_GRAPH, placed
from octavia.api.schemas.pool import POOL_OF_GRAPH
from octavia.api.schemas.types import excerpt
from octavia.api.settings import ApiSettings
from octavia.domain.errors import Invalid
from octavia.domain.graph import ListenerItem, PolicyItem, PoolItem
from octavia.domain.rules import Values


@dataclass(frozen=True, slots=True)
class Children:
    """What a create wants below the load balancer."""

    listeners: tuple[ListenerItem, ...]
    pools: tuple[PoolItem, ...]

    @property
    def members(self) -> list[Values]:
        """Those of every pool that is defined anywhere."""
        pools = [*self.pools, *(pool for one in self.listeners for pool in one.pools)]
        return [member for pool in pools for member in pool.members]


def read(listeners: Sequence[Any], pools: Sequence[Any], settings: ApiSettings) -> Children:
    """:raises Invalid: a field somewhere is unknown, missing or of the wrong type."""
    return Children(
        tuple(_listener(body, settings) for body in listeners),
        tuple(_pool(body, settings, "loadbalancer.pools") for body in pools),
    )


def _listener(body: Any, settings: ApiSettings) -> ListenerItem:
    path = "loadbalancer.listeners"
    values = LISTENER_OF_GRAPH.create(body, settings, path)
    default_pool, policies = values.pop("default_pool"), values.pop("l7policies")
    return ListenerItem(
        values=values,
        default_pool=None if default_pool is None else _pool(default_pool, settings, f"{path}.default_pool"),
        policies=tuple(
            _policy(one, settings, f"{path}.l7policies") for one in _list(policies, f"{path}.l7policies")
        ),
    )


def _policy(body: Any, settings: ApiSettings, path: str) -> PolicyItem:
    values = L7_POLICY_OF_GRAPH.create(body, settings, path)
    pool, rules = values.pop("redirect_pool"), values.pop("rules")
    return PolicyItem(
        values=values,
        redirect_pool=None if pool is None else _pool(pool, settings, f"{path}.redirect_pool"),
        rules=_each(rules, L7_RULE_OF_GRAPH, settings, f"{path}.rules"),
    )


def _pool(body: Any, settings: ApiSettings, path: str) -> PoolItem:
    values = POOL_OF_GRAPH.create(body, settings, path)
    members, monitor = values.pop("members"), values.pop("healthmonitor")
    return PoolItem(
        values=values,
        written=frozenset(name for name, value in body.items() if value is not None),
        members=tuple(map(placed, _each(members, MEMBER_OF_GRAPH, settings, f"{path}.members"))),
        health_monitor=None
        if monitor is None
        else HEALTH_MONITOR_OF_GRAPH.create(monitor, settings, f"{path}.healthmonitor"),
    )


def _each(items: Any, schema: Schema, settings: ApiSettings, path: str) -> tuple[dict[str, Any], ...]:
    return tuple(schema.create(item, settings, path) for item in _list(items, path))


def _list(items: Any, path: str) -> Sequence[Any]:
    if not isinstance(items, list | tuple):
        raise Invalid(
            f"Invalid input for field/attribute {path}. Value: '{excerpt(items)}'. Value should be a list"
        )
    return items
