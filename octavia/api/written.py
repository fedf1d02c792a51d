# SPDX-License-Identifier: Apache-2.0
"""Responses to writes: the objects of the tree that was saved, in the shape of the resource.

The names are the ones of :mod:`octavia.db.views`, so that a write and a later show answer alike.
"""

from typing import Any

from octavia.api.schemas.fields import Schema
from octavia.api.schemas.health_monitor import EXPANDED_HEALTH_MONITOR, HEALTH_MONITOR
from octavia.api.schemas.l7_policy import EXPANDED_L7_POLICY, L7_POLICY
from octavia.api.schemas.l7_rule import L7_RULE
from octavia.api.schemas.listener import EXPANDED_LISTENER, LISTENER
from octavia.api.schemas.load_balancer import LOAD_BALANCER
from octavia.api.schemas.member import MEMBER
from octavia.api.schemas.pool import EXPANDED_POOL, POOL
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

Shown = dict[str, Any]


def load_balancer(lb: LoadBalancer) -> Shown:
    """As it is shown."""
    vip = lb.vip
    return _show(
        LOAD_BALANCER,
        lb,
        vip_address=vip.ip_address,
        vip_port_id=vip.port_id,
        vip_subnet_id=vip.subnet_id,
        vip_network_id=vip.network_id,
        vip_qos_policy_id=vip.qos_policy_id,
        vip_vnic_type=vip.vnic_type,
        vip_sg_ids=vip.sg_ids,
        additional_vips=[
            {"subnet_id": one.subnet_id, "ip_address": one.ip_address, "port_id": one.port_id}
            for one in lb.additional_vips
        ],
        listeners=[one.id for one in lb.listeners],
        pools=[one.id for one in lb.pools],
    )


def expanded(lb: LoadBalancer) -> Shown:
    """As the answer to its creation: with whole children."""
    return load_balancer(lb) | {
        "listeners": [_expanded_listener(one) for one in lb.listeners],
        "pools": [_expanded_pool(lb, one) for one in lb.pools],
    }


def _expanded_listener(one: Listener) -> Shown:
    policies = [
        _show(EXPANDED_L7_POLICY, policy, listener_id=one.id, rules=[l7_rule(rule) for rule in policy.rules])
        for policy in one.l7_policies
    ]
    return _show(EXPANDED_LISTENER, one, l7policies=policies)


def _expanded_pool(lb: LoadBalancer, pool: Pool) -> Shown:
    monitor = pool.health_monitor
    return _show(
        EXPANDED_POOL,
        pool,
        listeners=[one.id for one in lb.listeners_using(pool.id)],
        healthmonitor=_show(EXPANDED_HEALTH_MONITOR, monitor) if monitor else None,
        members=[member(one) for one in pool.members],
    )


def listener(lb: LoadBalancer, one: Listener) -> Shown:
    """As it is shown."""
    policies = [policy.id for policy in one.l7_policies]
    return _show(LISTENER, one, loadbalancers=lb.id, l7policies=policies)


def l7_policy(listener_id: str, one: L7Policy) -> Shown:
    """As it is shown."""
    return _show(L7_POLICY, one, listener_id=listener_id, rules=[rule.id for rule in one.rules])


def l7_rule(one: L7Rule) -> Shown:
    """As it is shown."""
    return _show(L7_RULE, one)


def pool(lb: LoadBalancer, one: Pool) -> Shown:
    """As it is shown."""
    return _show(
        POOL,
        one,
        loadbalancers=lb.id,
        listeners=[listener.id for listener in lb.listeners_using(one.id)],
        healthmonitor_id=one.health_monitor.id if one.health_monitor else None,
        members=[member.id for member in one.members],
    )


def member(one: Member) -> Shown:
    """As it is shown."""
    return _show(MEMBER, one)


def health_monitor(pool: Pool, one: HealthMonitor) -> Shown:
    """As it is shown."""
    return _show(HEALTH_MONITOR, one, pools=pool.id)


def _show(schema: Schema, resource: Resource, **relations: Any) -> Shown:
    record = {
        name: getattr(resource, name) for name in schema.shown_names if hasattr(resource, name)
    } | relations
    answer = schema.show(record)
    answer["tenant_id"] = resource.project_id
    return answer
