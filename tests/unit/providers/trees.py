# SPDX-License-Identifier: Apache-2.0
"""A load balancer of a third party with one of everything below it, all of it ACTIVE."""

from dataclasses import replace
from datetime import datetime
from itertools import count
from typing import Any, Final

from octavia.domain import l7, rules
from octavia.domain.rules import Births, Deployment
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import (
    Algorithm,
    CompareType,
    L7Action,
    LoadBalancer,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    Resource,
    RuleType,
    Vip,
)

NOW = datetime(2026, 5, 4)
DEPLOYMENT = Deployment()
POLICY: Final = {
    "action": L7Action.REJECT,
    "position": 1,
    "redirect_pool_id": None,
    "redirect_url": None,
    "redirect_prefix": None,
    "redirect_http_code": None,
}
_numbers = count(1)


def births() -> Births:
    return Births(NOW, lambda: f"00000000-0000-4000-8000-{next(_numbers):012}")


def settled(lb: LoadBalancer) -> LoadBalancer:
    """Everything pending is done."""

    def active(one: Resource) -> Resource:
        below: dict[str, Any] = {
            name: tuple(map(active, getattr(one, name)))
            for name in ("listeners", "pools", "l7_policies", "rules", "members")
            if hasattr(one, name)
        }
        if isinstance(one, Pool) and one.health_monitor:
            below["health_monitor"] = active(one.health_monitor)
        return replace(one, provisioning_status=P.ACTIVE, **below)

    done = active(lb)
    assert isinstance(done, LoadBalancer)
    return done


def full() -> LoadBalancer:
    lb = LoadBalancer(
        id="lb",
        provider="recording",
        generation=1,
        provisioning_status=P.ACTIVE,
        vip=Vip(ip_address="198.51.100.1", subnet_id="s", network_id="n", port_id="p"),
    )
    pool_values = {
        "protocol": Protocol.HTTP,
        "lb_algorithm": Algorithm.ROUND_ROBIN,
        "session_persistence": {"type": PersistenceType.HTTP_COOKIE},
    }
    lb, listener = rules.create_listener(
        lb, {"protocol": Protocol.HTTP, "protocol_port": 80, "name": "l"}, births(), DEPLOYMENT
    )
    lb, pool = rules.create_pool(settled(lb), pool_values, births(), DEPLOYMENT, listener_id=listener.id)
    member_values = {"address": "192.0.2.1", "protocol_port": 80, "vnic_type": "normal"}
    lb, _ = rules.create_member(settled(lb), pool.id, member_values, births(), DEPLOYMENT)
    monitor = {"type": MonitorType.HTTP, "delay": 5, "timeout": 3, "max_retries": 2}
    lb, _ = rules.create_health_monitor(settled(lb), pool.id, monitor, births(), DEPLOYMENT)
    lb, policy = l7.create_policy(settled(lb), listener.id, POLICY, births(), DEPLOYMENT)
    rule = {"type": RuleType.PATH, "compare_type": CompareType.EQUAL_TO, "key": None, "value": "/"}
    lb, _ = l7.create_rule(settled(lb), policy.id, rule, births(), DEPLOYMENT)
    return settled(lb)
