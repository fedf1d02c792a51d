# SPDX-License-Identifier: Apache-2.0
"""The value of an L7 rule changes in the running process, to what a fresh start would make of it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavia.dataplane.haproxy import runtime
from octavia.dataplane.haproxy.diff import change
from octavia.dataplane.haproxy.patterns import SetPattern
from octavia.dataplane.haproxy.reload import Cause, Reload
from octavia.dataplane.haproxy.runtime import Verdict
from octavia.dataplane.haproxy.values import acl_ids
from octavia.domain.tree import CompareType, L7Rule, LoadBalancer, RuleType
from tests.corpus import hostile_strings
from tests.haproxy.live import check, directory, needs_haproxy, needs_root, rendered, running
from tests.haproxy.test_l7 import DEFAULT, MATCHES, OTHER, TO_POOL, ask, small
from tests.haproxy.test_runtime_changes import apply, assert_same
from tests.unit.dataplane.samples import (
    every_rule,
    listener,
    load_balancer,
    member,
    policy,
    pool,
    rule,
    rule_id,
    with_policies,
)
from tests.unit.dataplane.test_haproxy_render import HOSTILE

pytestmark = [pytest.mark.haproxy, needs_haproxy, needs_root]

C, R = CompareType, RuleType


@pytest.fixture
def base() -> Iterator[Path]:
    with directory() as made:
        yield made


def with_rules(*rules: L7Rule) -> LoadBalancer:
    """A policy for each."""
    return small(with_policies(*(policy(n, rules=(one,), **TO_POOL) for n, one in enumerate(rules, 1))))


def other_value(one: L7Rule) -> L7Rule:
    if one.type is R.SSL_CONN_HAS_CERT:
        return one
    if one.type is R.SSL_VERIFY_RESULT:
        return replace(one, value="23")
    return replace(one, value="^/(new|[0-9]{2})$" if one.compare_type is C.REGEX else f"/new {one.value}")


def test_every_type_and_comparison_changes_to_what_a_start_would_make_of_it(base: Path) -> None:
    old, new = every_rule(), tuple(other_value(one) for one in every_rule())
    texts = [rendered(with_rules(*rules), base).text for rules in (old, new)]
    with directory() as fresh, running(texts[0], base) as haproxy:
        before = haproxy.ask("show info").split("Pid: ")[1].split()[0]
        changes = apply(haproxy, *texts)
        assert len(changes) == len([one for one in old if one.type is not R.SSL_CONN_HAS_CERT]) > 30
        with running(rendered(with_rules(*new), fresh).text, fresh) as other:
            assert_same(haproxy, other)
        apply(haproxy, texts[1], texts[0])
        with running(rendered(with_rules(*old), fresh).text, fresh) as other:
            assert_same(haproxy, other)
        assert haproxy.ask("show info").split("Pid: ")[1].split()[0] == before


def test_requests_are_decided_by_the_new_value_and_no_longer_by_the_old(base: Path) -> None:
    """Each rule of the table begins with a value that matches nothing, gets its own, and loses it again."""
    rows = [row for row in MATCHES if row[0] is not R.SSL_CONN_HAS_CERT]
    for type_, compare, key, value, matching, others in rows:
        made = rule(type_, compare, value, key=key)
        nothing = replace(made, value="^never$" if compare is C.REGEX else "never")
        idle, busy = (rendered(with_rules(one), base).text for one in (nothing, made))
        with running(idle, base) as haproxy:
            for was, now, hit in ((idle, busy, OTHER), (busy, idle, DEFAULT)):
                apply(haproxy, was, now)
                for request, body in [(one, hit) for one in matching] + [(one, DEFAULT) for one in others]:
                    sent = (request,) if request.startswith("/") else ("/", request)
                    assert ask(haproxy, *sent) == (200, "", body), (made, request)


# What the runtime socket gives a meaning to: separators, escapes, payloads, versions, addresses.
SOCKETS_OWN = [
    "<<",
    "a <<",
    "a;show info",
    "\\",
    "\\\\ ",
    " a ",
    "  ",
    "@1",
    "#0x1",
    "#",
    "-f",
    "--",
    "*",
    "quit",
]
VALUES = st.sampled_from([*SOCKETS_OWN, *hostile_strings().values()]) | HOSTILE | st.text(max_size=255)
KINDS = [one for one in every_rule() if one.type not in (R.SSL_CONN_HAS_CERT, R.SSL_VERIFY_RESULT)]


@st.composite
def rules(draw: st.DrawFn) -> tuple[L7Rule, ...]:
    """Always the same rules with other values: any text, or a regular expression of any text."""
    made = []
    for kind in KINDS[::3]:
        value = draw(VALUES)[:255]
        value = re.escape(value)[:255].rstrip("\\") if kind.compare_type is C.REGEX else value
        tellable = value and not any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in value)
        told = tellable and not any(0xD800 <= ord(char) <= 0xDFFF for char in value)
        made.append(replace(kind, value=value if told else "told by no file"))
    return tuple(made)


def test_any_text_becomes_a_value_and_nothing_else(base: Path) -> None:
    runs = rendered(with_rules(*(replace(one, value="start") for one in KINDS[::3])), base).text
    changed_at_runtime = 0
    with running(runs, base) as haproxy:

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        @given(rules())
        def become(wanted_rules: tuple[L7Rule, ...]) -> None:
            nonlocal runs, changed_at_runtime
            lb = with_rules(*wanted_rules)
            wanted = rendered(lb, base).text
            verdict = change(runs, wanted)
            if isinstance(verdict, Reload):
                assert (verdict.cause, "begins with '#'" in verdict.reason) == (Cause.L7_RULE, True)
                haproxy.reload(wanted)
            else:
                apply(haproxy, runs, wanted)
                changed_at_runtime += len(verdict)
            runs = wanted
            with directory() as fresh, running(rendered(lb, fresh).text, fresh) as other:
                assert_same(haproxy, other)

        become()
    assert changed_at_runtime > 20


def test_the_right_rule_changes_after_lines_of_the_file_have_moved(base: Path) -> None:
    """Where HAProxy names conditions by their lines, those are the lines of the file that it once read."""

    def lb(first: str, second: str, members: int) -> LoadBalancer:
        sites = [
            (
                listener(n, l7_policies=(policy(n, rules=(rule(value=value, number=n),)),)),
                pool(n, members=tuple(member(10 * n + one, address="10.1.0.1") for one in range(members))),
            )
            for n, value in enumerate((first, second), 1)
        ]
        return load_balancer(*sites)

    with running(before := rendered(lb("/a", "/b", 1), base).text, base) as haproxy:
        apply(haproxy, before, grown := rendered(lb("/a", "/b", 6), base).text)
        apply(haproxy, grown, after := rendered(lb("/a", "/c", 6), base).text)
        assert [ask(haproxy, path)[0] for path in ("/a", "/b", "/c")] == [403, 200, 200]
        with directory() as fresh, running(rendered(lb("/a", "/c", 6), fresh).text, fresh) as other:
            assert_same(haproxy, other)
        # A process that is not what the file says is found out, before and after.
        haproxy.ask(f"add acl #{ID} /by/hand")
        changes = change(after, rendered(lb("/x", "/c", 6), base).text)
        assert isinstance(changes, list)
        assert haproxy.tell(changes[0].commands[0]) is Verdict.FAILED
        assert haproxy.tell(changes[0].commands[-1]) is Verdict.FAILED


ID = acl_ids([rule_id(1)])[rule_id(1)]


@pytest.mark.parametrize("expression", ["(?<=a+)b", "(?P<a", "(?1)", "[z-a]"])
def test_an_expression_that_a_start_would_refuse_is_refused_and_the_old_one_stays(
    expression: str, base: Path
) -> None:
    old, bad = (rendered(with_rules(rule(R.PATH, C.REGEX, one)), base).text for one in ("^/x$", expression))
    at_start = check(bad, base).stderr
    with running(old, base) as haproxy:
        change_to_bad = SetPattern(ID, "^/x$", expression)
        first, second = change_to_bad.commands[:2]
        assert haproxy.tell(first) is Verdict.DONE
        answer = haproxy.ask(second.text)
        assert second.verdict(answer) is Verdict.FAILED
        assert answer.strip().rstrip(".") in at_start
        assert haproxy.tell(runtime.expect_pattern(ID, "^/x$")) is Verdict.DONE
        assert ask(haproxy, "/x")[2] == OTHER
