# SPDX-License-Identifier: Apache-2.0
"""Values of L7 rules change at runtime; whatever else differs about a rule is a reload."""

from typing import Any

import pytest

from octavia.dataplane.haproxy.diff import AddServer, RemoveServer, change
from octavia.dataplane.haproxy.patterns import SetPattern
from octavia.dataplane.haproxy.reload import Cause, Reload
from octavia.dataplane.haproxy.values import acl_ids
from octavia.domain.tree import CompareType, RuleType
from tests.unit.dataplane.samples import member, policy, rule, rule_id, with_members, with_policies
from tests.unit.dataplane.test_haproxy_diff import commands, text

ID = acl_ids([rule_id(1)])[rule_id(1)]


def ruled(**fields: Any) -> str:
    return text(with_policies(policy(rules=(rule(**fields),))))


@pytest.mark.parametrize(
    ("before", "after", "old", "new"),
    [
        ({}, {"value": "/y z"}, r"\/x", r"\/y\ z"),
        ({"compare": CompareType.REGEX, "value": "a;b"}, {"value": r"\d <<"}, r"a\;b", r"\\d\ \<\<"),
        ({"type_": RuleType.HOST_NAME, "value": "a"}, {"value": "bé\u2028"}, "a", "bé\u2028"),
        ({"type_": RuleType.SSL_VERIFY_RESULT, "value": "0"}, {"value": "010"}, "0", "10"),
    ],
)
def test_a_rule_gets_its_new_value_before_it_loses_the_old_one(
    before: dict[str, Any], after: dict[str, Any], old: str, new: str
) -> None:
    assert commands(ruled(**before), ruled(**{**before, **after})) == [
        f"show acl #{ID}",
        f"add acl #{ID} {new}",
        f"del acl #{ID} {old}",
        f"show acl #{ID}",
    ]


def test_each_rule_is_changed_by_its_own_number_wherever_its_line_is() -> None:
    first, other, third = (rule(number=number, value=f"/{number}") for number in (1, 2, 3))
    old = text(with_policies(*(policy(number, rules=(one,)) for number, one in ((1, first), (2, other)))))
    new = text(with_policies(policy(1, rules=(first,)), policy(2, rules=(rule(number=2, value="/y"),))))
    assert change(old, new) == [SetPattern(acl_ids([rule_id(2)])[rule_id(2)], "/2", "/y")]
    assert isinstance(change(old, text(with_policies(policy(rules=(first, other, third))))), Reload)


def test_rules_and_members_change_together_capacity_first() -> None:
    old, new = (with_policies(policy(rules=(rule(value=value),))) for value in ("/x", "/y"))
    changes = change(text(with_members(old, member(1))), text(with_members(new, member(2))))
    assert isinstance(changes, list)
    assert [type(one) for one in changes] == [AddServer, SetPattern, RemoveServer]


@pytest.mark.parametrize(
    ("before", "after", "cause", "reason"),
    [
        ({}, {"invert": True}, Cause.LISTENER, "in more than the values of its rules"),
        ({}, {"compare": CompareType.ENDS_WITH}, Cause.LISTENER, "in more than the values of its rules"),
        ({}, {"type_": RuleType.HOST_NAME}, Cause.LISTENER, "in more than the values of its rules"),
        ({}, {"number": 2}, Cause.LISTENER, "in more than the values of its rules"),
        ({"value": "#1"}, {"value": "/"}, Cause.L7_RULE, "begins with '#'"),
    ],
)
def test_whatever_else_differs_about_a_rule_is_a_reload(
    before: dict[str, Any], after: dict[str, Any], cause: Cause, reason: str
) -> None:
    found = change(ruled(**before), ruled(**{**before, **after}))
    assert isinstance(found, Reload)
    assert found.cause is cause
    assert reason in found.reason


@pytest.mark.parametrize(
    "condition",
    [
        "acl x path {}",
        "acl x path -m beg -- {}",
        "acl x path -u 5 {}",
        "acl x path -u 05 -- {}",
        "acl x path -u 5 -- a {}",
        "acl x path -- -u 5 -- {}",
        "acl x path a -u 5 -- {}",
        "acl x path -f /a -u 5 -- {}",
        "acl x path -f -u 5 -- {}",
        "acl x path -m -u 5 -- {}",
        "http-request deny if -u 5 -- {}",
    ],
)
def test_a_condition_of_another_shape_is_not_touched(condition: str) -> None:
    other = "frontend f\n mode http\n {}\n"
    found = change(other.format(condition.format("v")), other.format(condition.format("w")))
    assert isinstance(found, Reload)
    assert found.cause is Cause.LISTENER
    ours = "acl x path -i -m beg -u 5 -- {}"
    assert isinstance(change(other.format(ours.format("v")), other.format(ours.format(""))), Reload)
    assert change(other.format(ours.format("v")), other.format(ours.format("w"))) == [SetPattern(5, "v", "w")]
