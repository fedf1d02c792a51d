# SPDX-License-Identifier: Apache-2.0
"""Every kind of L7 rule and policy, with requests through a real amphora. About TLS: ``test_tls.py``."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from octavia.domain.tree import CompareType, L7Action, L7Policy, L7Rule, RuleType
from tests.netns.agent_lab import needs_haproxy, needs_root
from tests.netns.feature_lab import World, ask, opened_world
from tests.unit.dataplane.samples import listener, policy, pool, pool_id, rule

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]

R, C, A = RuleType, CompareType, L7Action


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[World]:
    with opened_world() as one:
        yield one


@dataclass(frozen=True)
class Case:
    """A rule, requests that match it, and requests that do not: paths, or headers."""

    type: RuleType
    compare: CompareType
    value: str
    matching: tuple[Any, ...]
    others: tuple[Any, ...]
    fields: dict[str, Any] = field(default_factory=dict)

    def rule(self, number: int, **more: Any) -> L7Rule:
        return rule(self.type, self.compare, self.value, number, **self.fields, **more)


def host(*names: str) -> tuple[dict[str, str], ...]:
    return tuple({"Host": name} for name in names)


def header(*values: str) -> tuple[dict[str, str], ...]:
    return tuple({"X-Kind": value} for value in values)


def cookie(*values: str) -> tuple[dict[str, str], ...]:
    return tuple({"Cookie": f"before=1; kind={value}"} for value in values)


KEYED = {"key": "X-Kind"}
KEPT = {"key": "kind"}
CASES = [
    Case(
        R.HOST_NAME, C.EQUAL_TO, "www.example.org", host("www.example.org", "WWW.Example.org"), host("w", "x")
    ),
    Case(R.HOST_NAME, C.STARTS_WITH, "api.", host("api.example.org"), host("www.api.example.org")),
    Case(
        R.HOST_NAME, C.ENDS_WITH, ".example.org", host("a.example.org"), host("example.org", "b.example.com")
    ),
    Case(R.HOST_NAME, C.CONTAINS, "shop", host("a.shop.b", "SHOP"), host("sh.op")),
    Case(
        R.HOST_NAME,
        C.REGEX,
        r"^(a|b)\.example\.org$",
        host("b.example.org"),
        host("c.example.org", "b-example.org"),
    ),
    Case(R.PATH, C.EQUAL_TO, "/one", ("/one", "/one?x=1"), ("/one/", "/ONE", "/on")),
    Case(R.PATH, C.STARTS_WITH, "/api/", ("/api/", "/api/v1"), ("/api", "/v1/api/")),
    Case(R.PATH, C.ENDS_WITH, "/end", ("/the/end", "/end"), ("/end/", "/?x=/end")),
    Case(R.PATH, C.CONTAINS, "/mid'$dle&;/", ("/a/mid'$dle&;/b",), ("/a/mid/b",)),
    Case(R.PATH, C.REGEX, r"^/[a-z]{2}/\d+$", ("/ab/42",), ("/abc/42", "/ab/x")),
    Case(R.FILE_TYPE, C.EQUAL_TO, "jpg", ("/a/b.jpg",), ("/a/b.png", "/jpg/b")),
    Case(R.FILE_TYPE, C.REGEX, "jpe?g|gif", ("/a.jpeg", "/a.jpg", "/a.gif"), ("/a.png",)),
    Case(R.HEADER, C.EQUAL_TO, "some value", header("some value"), header("some", "some values"), KEYED),
    Case(R.HEADER, C.STARTS_WITH, "-f", header("-f /etc/passwd"), header("f", "x-f"), KEYED),
    Case(R.HEADER, C.ENDS_WITH, "\\end", header("the\\end"), header("end", "\\end."), KEYED),
    Case(R.HEADER, C.CONTAINS, "sub", header("a sub b"), header("SUB"), KEYED),
    Case(R.HEADER, C.REGEX, r"^\d{3}$", header("123"), header("12", "1234"), KEYED),
    Case(R.COOKIE, C.EQUAL_TO, "gold", cookie("gold"), (*cookie("silver"), {"Cookie": "other=gold"}), KEPT),
    Case(R.COOKIE, C.STARTS_WITH, "go", cookie("gold"), cookie("ago"), KEPT),
    Case(R.COOKIE, C.ENDS_WITH, "ld", cookie("gold"), cookie("lds"), KEPT),
    Case(R.COOKIE, C.CONTAINS, "ol", cookie("gold"), cookie("lo"), KEPT),
    Case(R.COOKIE, C.REGEX, "^(gold|silver)$", cookie("silver"), cookie("golden"), KEPT),
]
FIRST_PORT = 81


def status(port: int, request: Any) -> int:
    if isinstance(request, str):
        return ask(port, request).status
    return ask(port, headers=request).status


def serve(world: World, *policies: tuple[L7Policy, ...], **fields: Any) -> None:
    """A listener each, from the first port on."""
    one, two = world.echoes(2)
    world.serve(
        *(
            listener(number, l7_policies=made, default_pool_id=pool_id(1), **fields)
            for number, made in enumerate(policies, start=1)
        ),
        pools=(
            pool(1, members=(one.member(1),)),
            pool(2, members=(two.member(2),)),
            pool(3, members=(two.member(3),), admin_state_up=False),
        ),
    )


@pytest.mark.parametrize("invert", [False, True])
def test_rules_of_every_type_and_comparison_match_what_they_say(world: World, invert: bool) -> None:
    made = [
        (policy(number, rules=(case.rule(number, invert=invert),)),)
        for number, case in enumerate(CASES, start=1)
    ]
    serve(world, *made)
    matched, unmatched = (200, 403) if invert else (403, 200)
    for port, case in enumerate(CASES, start=FIRST_PORT):
        for request in case.matching:
            assert status(port, request) == matched, (case, request)
        for request in case.others:
            assert status(port, request) == unmatched, (case, request)


def test_the_cases_are_of_every_type_and_comparison() -> None:
    about_tls = {R.SSL_CONN_HAS_CERT, R.SSL_VERIFY_RESULT, R.SSL_DN_FIELD}
    for type_ in set(RuleType) - about_tls:
        compared = {case.compare for case in CASES if case.type is type_}
        assert compared == ({C.EQUAL_TO, C.REGEX} if type_ is R.FILE_TYPE else set(CompareType))


def test_a_policy_wants_all_of_its_rules_and_leaves_out_disabled_ones(world: World) -> None:
    path, kind = rule(R.PATH, C.STARTS_WITH, "/a", 1), rule(R.HEADER, C.EQUAL_TO, "x", 2, key="X-Kind")
    not_b = rule(R.PATH, C.CONTAINS, "b", 3, invert=True)
    off = replace(kind, admin_state_up=False)
    serve(
        world,
        (policy(1, rules=(path, kind, not_b)),),
        (policy(2, rules=(replace(path, id=rule(number=4).id), replace(off, id=rule(number=5).id))),),
        (policy(3, rules=(replace(off, id=rule(number=6).id),)),),
    )
    assert ask(81, "/a", headers={"X-Kind": "x"}).status == 403
    assert ask(81, "/ab", headers={"X-Kind": "x"}).status == 200
    assert ask(81, "/a").status == 200
    assert ask(82, "/a").status == 403
    assert ask(83, "/a").status == 200


@pytest.mark.parametrize("code", [None, 301, 302, 303, 307, 308])
def test_redirects_to_urls_and_prefixes_have_their_codes(world: World, code: int | None) -> None:
    url = "https://www.example.org/%41?b=c#d'e"
    serve(
        world,
        (policy(1, A.REDIRECT_TO_URL, redirect_url=url, redirect_http_code=code),),
        (policy(2, A.REDIRECT_PREFIX, redirect_prefix="https://p.example.org/x", redirect_http_code=code),),
    )
    answer = ask(81, "/x/y?z=1")
    assert (answer.status, answer.headers["location"]) == (code or 302, url)
    answer = ask(82, "/x/y?z=1")
    assert (answer.status, answer.headers["location"]) == (code or 302, "https://p.example.org/x/x/y?z=1")


def test_policies_are_asked_in_the_order_of_their_positions(world: World) -> None:
    def to(number: int, position: int, where: int) -> L7Policy:
        made = (rule(number=number),)
        return policy(
            number, A.REDIRECT_TO_POOL, redirect_pool_id=pool_id(where), position=position, rules=made
        )

    def away(number: int, position: int, where: str) -> L7Policy:
        return policy(
            number,
            A.REDIRECT_TO_URL,
            redirect_url=f"http://{where}/",
            position=position,
            rules=(rule(number=number),),
        )

    refuses = policy(9, position=3, rules=(rule(number=9, value="/x/no"),))
    serve(
        world,
        (to(1, 1, 2), to(2, 2, 1)),
        (to(3, 1, 1), to(4, 2, 2)),
        (away(5, 1, "first"), away(6, 2, "second")),
        # As documented: whatever the positions, denials come before redirects, and those before pools.
        (to(7, 1, 2), replace(away(8, 2, "away"), rules=(rule(number=8, value="/x/"),)), refuses),
        # Its pool is switched off, so it is as if it were not.
        (to(10, 1, 3), to(11, 2, 2)),
    )
    assert [ask(port, "/x").member for port in (81, 82)] == ["2", "1"]
    assert ask(83, "/x").headers["location"] == "http://first/"
    assert ask(84, "/x").member == "2"
    assert ask(84, "/x/y").headers["location"] == "http://away/"
    assert ask(84, "/x/no").status == 403
    assert ask(84, "/y").member == "1"
    assert ask(85, "/x").member == "2"
