# SPDX-License-Identifier: Apache-2.0
"""A change that its provider refuses is taken back, and nothing but it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from octavia.domain import l7, rules
from octavia.domain.refusal import taken_back
from octavia.domain.statuses import OperatingStatus as O
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import LoadBalancer, Protocol
from tests.unit.providers.trees import DEPLOYMENT, POLICY, births, full

Change = Callable[[LoadBalancer], LoadBalancer]

CHANGES: dict[str, Change] = {
    "listener created": lambda lb: rules.create_listener(
        lb, {"protocol": Protocol.HTTP, "protocol_port": 81}, births(), DEPLOYMENT
    )[0],
    "listener updated": lambda lb: rules.update_listener(
        lb, lb.listeners[0].id, {"name": "other"}, DEPLOYMENT
    ),
    "listener deleted": lambda lb: rules.delete_listener(lb, lb.listeners[0].id, DEPLOYMENT),
    "pool deleted": lambda lb: rules.delete_pool(lb, lb.pools[0].id, DEPLOYMENT),
    "members replaced": lambda lb: rules.replace_members(
        lb, lb.pools[0].id, [], births(), DEPLOYMENT, additive_only=False
    ),
    "monitor deleted": lambda lb: rules.delete_health_monitor(
        lb, (lb.pools[0].health_monitor or lb).id, DEPLOYMENT
    ),
    "policy created before another": lambda lb: l7.create_policy(
        lb, lb.listeners[0].id, POLICY, births(), DEPLOYMENT
    )[0],
    "load balancer deleted": lambda lb: rules.delete_load_balancer(lb, cascade=True, deployment=DEPLOYMENT),
    "load balancer updated": lambda lb: rules.update_load_balancer(
        lb, {"name": "n", "vip_qos_policy_id": "q"}, DEPLOYMENT
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_taken_back_is_as_before_under_a_newer_generation(change: Change) -> None:
    before = full()
    after = change(before)
    assert after != before
    then = taken_back(after, before, after)
    assert then.generation > after.generation
    assert replace(then, generation=before.generation) == before


def test_what_was_reported_since_stays() -> None:
    before = full()
    after = rules.update_listener(before, before.listeners[0].id, {"name": "other"}, DEPLOYMENT)
    failed = replace(after.listeners[0], provisioning_status=P.ERROR, operating_status=O.ERROR, name="other")
    then = taken_back(replace(after.with_listener(failed), provisioning_status=P.ACTIVE), before, after)
    (listener,) = then.listeners
    assert (listener.name, listener.provisioning_status, listener.operating_status) == ("l", P.ERROR, O.ERROR)
    assert then.provisioning_status is P.ACTIVE


def test_a_later_change_stays() -> None:
    before = full()
    after = rules.update_listener(before, before.listeners[0].id, {"name": "other"}, DEPLOYMENT)
    reported = replace(
        after.with_listener(replace(after.listeners[0], provisioning_status=P.ACTIVE)),
        provisioning_status=P.ACTIVE,
    )
    later = rules.update_listener(reported, before.listeners[0].id, {"name": "third"}, DEPLOYMENT)
    then = taken_back(later, before, after)
    assert then.listeners[0].name == "third"
    assert then.provisioning_status is P.PENDING_UPDATE
