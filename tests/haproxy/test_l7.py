# SPDX-License-Identifier: Apache-2.0
"""A real HAProxy routes, redirects and rejects as the policies say."""

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from octavia.domain.tree import CompareType, L7Action, LoadBalancer, RuleType
from tests.haproxy.live import Haproxy, check, directory, needs_haproxy, needs_root, rendered, running
from tests.unit.dataplane.samples import (
    member,
    policy,
    policy_id,
    pool_id,
    rule,
    rule_id,
    simple,
    with_members,
    with_policies,
)

pytestmark = [pytest.mark.haproxy, needs_haproxy]

TO_POOL: dict[str, Any] = {"action": L7Action.REDIRECT_TO_POOL, "redirect_pool_id": pool_id(2)}
DEFAULT, OTHER = "10.1.0.1", "10.1.0.3"


def small(lb: LoadBalancer) -> LoadBalancer:
    """One member a pool, so that the body of an answer tells the pool."""
    return with_members(lb, member(1))


def ask(haproxy: Haproxy, path: str = "/", *headers: str) -> tuple[int, str, str]:
    """Code, where it redirects to, and body."""
    options = [word for one in headers for word in ("-H", one)]
    shown = ["-w", "\n%{http_code}\n%header{location}"]
    command = ["curl", "-s", "--path-as-is", "-g", "--max-time", "5", *options, *shown]
    answer = subprocess.run(
        haproxy.inside(*command, f"http://127.0.0.1:81{path}"), capture_output=True, timeout=10, check=True
    )
    body, code, location = answer.stdout.decode().rsplit("\n", 2)
    return int(code), location, body.strip()


@needs_root
def test_policies_route_redirect_and_reject_whatever_their_positions() -> None:
    prefixes = {"/pool": 1, "/url": 2, "/prefix": 3, "/no": 4}
    rules = {name: (rule(value=name, number=number),) for name, number in prefixes.items()}
    lb = small(
        with_policies(
            policy(1, rules=rules["/pool"], **TO_POOL),
            policy(
                2, L7Action.REDIRECT_TO_URL, redirect_url="https://u.example/%41?a=b&c", rules=rules["/url"]
            ),
            policy(
                3,
                L7Action.REDIRECT_PREFIX,
                redirect_prefix="https://p.example",
                redirect_http_code=308,
                rules=rules["/prefix"],
            ),
            policy(4, L7Action.REJECT, rules=rules["/no"]),
            policy(5, L7Action.REJECT, rules=(rule(compare=CompareType.ENDS_WITH, value="!", number=5),)),
        )
    )
    with directory() as base, running(rendered(lb, base).text, base) as haproxy:
        assert ask(haproxy) == (200, "", DEFAULT)
        assert ask(haproxy, "/pool/a") == (200, "", OTHER)
        assert ask(haproxy, "/url") == (302, "https://u.example/%41?a=b&c", "")
        assert ask(haproxy, "/prefix/a?b") == (308, "https://p.example/prefix/a?b", "")
        assert ask(haproxy, "/no")[0] == 403
        # A rejection wins, wherever it stands.
        assert [ask(haproxy, one)[0] for one in ("/pool!", "/url!")] == [403, 403]


R, C = RuleType, CompareType
MATCHES = [
    # rule's type, compare type, key, value; requests that match; requests that do not
    (R.HOST_NAME, C.EQUAL_TO, None, "www.Example.com", ["Host: WWW.example.COM"], ["Host: example.com"]),
    (R.HOST_NAME, C.ENDS_WITH, None, ".example.com", ["Host: a.EXAMPLE.com"], ["Host: a.example.org"]),
    (R.PATH, C.EQUAL_TO, None, "/a'b\"c;d", ["/a'b\"c;d"], ["/a", "/A'B\"C;D"]),
    (R.PATH, C.CONTAINS, None, "-f", ["/x-fy"], ["/xf"]),
    (R.PATH, C.REGEX, None, r"^/v[0-9]+/(a|b)$", ["/v12/b"], ["/v/b", "/v1/c"]),
    (R.FILE_TYPE, C.EQUAL_TO, None, "jpg", ["/a.jpg", "/a.jpg?q=png"], ["/a.jpeg", "/jpg/a"]),
    (R.FILE_TYPE, C.REGEX, None, r"\.jpe?g$", ["/a.jpg", "/a.jpeg"], ["/a.png"]),
    (R.HEADER, C.EQUAL_TO, "X-Key", '"a b"', ["X-Key: a b"], ["X-Key: a", 'X-Key: "a b"', "X-Other: a b"]),
    (R.HEADER, C.STARTS_WITH, "X-Odd'!#$%&*+.^_`|~", "-i", ["X-Odd'!#$%&*+.^_`|~: -ix"], ["X-Odd: -i"]),
    (R.HEADER, C.CONTAINS, "X-Key", "%[env(HOME)]$HOME\\", ["X-Key: a%[env(HOME)]$HOME\\b"], ["X-Key: a"]),
    (R.COOKIE, C.EQUAL_TO, "sid", "a=b", ["Cookie: x=y; sid=a=b"], ["Cookie: sid=a", "Cookie: x=a=b"]),
    (R.SSL_CONN_HAS_CERT, C.EQUAL_TO, None, "true", [], ["/"]),
]


@needs_root
def test_each_type_of_rule_matches_what_it_says() -> None:
    for type_, compare, key, value, matching, others in MATCHES:
        made = rule(type_, compare, value, key=key)
        plain, inverted = (
            small(with_policies(policy(rules=(replace(made, invert=invert),), **TO_POOL)))
            for invert in (False, True)
        )
        for lb, hit, miss in ((plain, OTHER, DEFAULT), (inverted, DEFAULT, OTHER)):
            with directory() as base, running(rendered(lb, base).text, base) as haproxy:
                for request, body in [(one, hit) for one in matching] + [(one, miss) for one in others]:
                    sent = (request,) if request.startswith("/") else ("/", request)
                    assert ask(haproxy, *sent) == (200, "", body), (made, request)


@needs_root
def test_without_a_default_pool_what_matches_nothing_is_a_503() -> None:
    lb = with_policies(policy(**TO_POOL), default_pool_id=None)
    with directory() as base, running(rendered(lb, base).text, base) as haproxy:
        assert ask(haproxy, "/x") == (200, "", OTHER)
        assert ask(haproxy, "/")[0] == 503


@pytest.mark.parametrize("expression", ["(?<=a+)b", "(?P<a", "(?1)", "[z-a]"])
def test_an_expression_that_the_library_refuses_leads_to_its_rule(expression: str) -> None:
    bad = rule(compare=CompareType.REGEX, value=expression, number=2)
    lb = with_policies(policy(1), policy(2, rules=(bad,)))
    with directory() as base:
        made = rendered(lb, base)
        refusal = check(made.text, base)
        assert refusal.returncode != 0
        assert made.blame(refusal.stderr) == rule_id(2), refusal.stderr


def test_a_good_load_balancer_without_policies_has_no_conditions() -> None:
    with directory() as base:
        assert "acl" not in rendered(simple(), base).text
        assert policy_id(1) in "".join(
            owner or "" for owner in rendered(with_policies(policy()), base).owners
        )
