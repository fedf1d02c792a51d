# SPDX-License-Identifier: Apache-2.0
"""L7 policies keep their places whatever is done to them; quotas are met exactly."""

from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.domain import l7, quota
from octavia.domain.errors import QuotaMet
from octavia.domain.rules import Births, Deployment
from octavia.domain.tree import (
    CompareType,
    L7Action,
    Listener,
    LoadBalancer,
    Protocol,
    RuleType,
    Vip,
)

LISTENER = Listener(id="listener", protocol=Protocol.HTTP, protocol_port=80)
LB = LoadBalancer(id="lb", vip=Vip(), listeners=(LISTENER,))
RULE = {"type": RuleType.PATH, "compare_type": CompareType.EQUAL_TO, "key": None, "value": "/"}


def births() -> Callable[[], Births]:
    numbers = count(1)
    return lambda: Births(datetime(2026, 1, 1), lambda: f"p{next(numbers)}")


def values(position: int = l7.APPEND, **more: Any) -> dict[str, Any]:
    targets = dict.fromkeys(("redirect_pool_id", "redirect_url", "redirect_prefix", "redirect_http_code"))
    return {"action": L7Action.REJECT, "position": position, **targets, **more}


@given(
    st.lists(st.tuples(st.sampled_from(["create", "move", "delete"]), st.integers(1, 9), st.integers(0, 9)))
)
def test_positions_have_no_gap_and_nobody_changes_place_with_another(
    operations: list[tuple[str, int, int]],
) -> None:
    lb, born, wanted = LB, births(), list[str]()
    for what, position, which in operations:
        present = lb.listeners[0].l7_policies
        if what == "create":
            lb, made = l7.create_policy(lb, "listener", values(position), born(), Deployment())
            wanted.insert(position - 1, made.id)
            assert made.position == wanted.index(made.id) + 1
        elif which < len(present) and not present[which].leaving:
            chosen = present[which].id
            if what == "delete":
                lb = l7.delete_policy(lb, chosen, Deployment())  # it keeps its place until it is gone
            else:
                lb = l7.update_policy(lb, chosen, {"position": position}, Deployment())
                wanted.remove(chosen)
                wanted.insert(position - 1, chosen)
        policies = lb.listeners[0].l7_policies
        assert [one.id for one in policies] == wanted
        assert [one.position for one in policies] == list(range(1, len(wanted) + 1))


def test_what_a_change_adds_is_counted_by_resource() -> None:
    after, policy = l7.create_policy(LB, "listener", values(), births()(), Deployment())
    assert quota.added(LB, after) == {"l7policy": 1}
    again, _ = l7.create_rule(after, policy.id, RULE, Births(datetime(2026, 1, 1), lambda: "r"), Deployment())
    assert quota.added(after, again) == {"l7rule": 1}
    assert quota.added(None, again) == {"load_balancer": 1, "listener": 1, "l7policy": 1, "l7rule": 1}
    gone = l7.delete_policy(again, policy.id, Deployment())
    assert not quota.added(again, gone)


@pytest.mark.parametrize(
    ("wanted", "in_use", "limit", "fits"),
    [
        (1, 0, 1, True),
        (1, 1, 1, False),
        (2, 0, 1, False),
        (0, 5, 1, True),
        (9, 9, -1, True),
        (1, 0, 0, False),
    ],
)
def test_a_limit_is_met_exactly(wanted: int, in_use: int, limit: int, fits: bool) -> None:
    def check() -> None:
        quota.check({"pool": wanted}, {"pool": in_use}, {"pool": limit})

    if fits:
        check()
    else:
        with pytest.raises(QuotaMet, match=r"Quota has been met for resources: Pool$"):
            check()
