# SPDX-License-Identifier: Apache-2.0
"""L7 policies and rules as HAProxy's conditions and consequences (contract: data-plane.md section 6).

A rule is an ``acl`` of its own name, a policy one line that asks for all of its rules. Which of them are
rendered is not here: see :mod:`octavia.dataplane.haproxy.render`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from octavia.dataplane.haproxy.model import Directive
from octavia.dataplane.haproxy.values import Unrenderable
from octavia.domain.tree import CompareType, L7Action, L7Policy, L7Rule, RuleType

_COMPARE: Final[Mapping[CompareType, str]] = {
    CompareType.REGEX: "reg",
    CompareType.STARTS_WITH: "beg",
    CompareType.ENDS_WITH: "end",
    CompareType.CONTAINS: "sub",
    CompareType.EQUAL_TO: "str",
}

# HAProxy asks for denials before redirects and for those before backends, wherever they stand; in any
# other order of lines it warns.
_TURN: Final[Mapping[L7Action, int]] = {
    L7Action.REJECT: 0,
    L7Action.REDIRECT_TO_URL: 1,
    L7Action.REDIRECT_PREFIX: 1,
    L7Action.REDIRECT_TO_POOL: 2,
}

_CODES: Final = frozenset({301, 302, 303, 307, 308})
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+,.^_`|~-]+")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_LARGEST_VERIFY_RESULT: Final = 2**31 - 1
_IN_QUOTES: Final = re.compile(r'"(.*)"', re.DOTALL)
_HEADER_LIKE: Final = frozenset({RuleType.HOST_NAME, RuleType.PATH, RuleType.FILE_TYPE, RuleType.HEADER})


@dataclass(frozen=True, slots=True)
class Rendered:
    """The lines of one policy.

    :param turn: lines of a lower one come first.
    """

    conditions: tuple[Directive, ...]
    consequence: Directive
    turn: int


def render(
    policy: L7Policy, rules: Sequence[L7Rule], backend: str | None, acl_ids: Mapping[str, int]
) -> Rendered:
    """A policy that asks for all of these rules.

    :param backend: where REDIRECT_TO_POOL leads.
    :param acl_ids: see :func:`octavia.dataplane.haproxy.values.acl_ids`.
    :raises Unrenderable: something of it cannot be told.
    """
    wanted = [f"!{rule.id}" if rule.invert else rule.id for rule in rules]
    words = (*_consequence(policy, backend), "if", *wanted)
    return Rendered(
        tuple(condition(rule, acl_ids[rule.id]) for rule in rules),
        Directive(words, policy.id),
        _TURN[policy.action],
    )


def condition(rule: L7Rule, acl_id: int) -> Directive:
    """A rule as an ``acl``; :mod:`octavia.dataplane.haproxy.patterns` reads it again.

    :raises Unrenderable: key or value mean nothing to HAProxy.
    """
    if rule.type is RuleType.SSL_CONN_HAS_CERT:
        return Directive(("acl", rule.id, "ssl_c_used"), rule.id)
    *test, value = _test(rule)
    # "--": a value that begins with a hyphen is no flag; "-f" would have HAProxy read a file.
    return Directive(("acl", rule.id, *test, "-u", str(acl_id), "--", value), rule.id)


def _test(rule: L7Rule) -> tuple[str, ...]:
    """What is looked at, how it is compared, and what with."""
    if rule.type is RuleType.SSL_VERIFY_RESULT:
        return ("ssl_c_verify", _number(rule.value))
    sample, *flags = _sample(rule)
    match = _COMPARE[rule.compare_type]
    if rule.type is RuleType.FILE_TYPE and rule.compare_type is CompareType.EQUAL_TO:
        match = "end"
    return (sample, *flags, "-m", match, _pattern(rule))


def _sample(rule: L7Rule) -> tuple[str, ...]:
    """What the rule looks at, and flags."""
    if rule.type is RuleType.HOST_NAME:
        return ("req.hdr(host)", "-i")
    if rule.type in (RuleType.PATH, RuleType.FILE_TYPE):
        return ("path",)
    name = _argument(rule.key)
    if rule.type is RuleType.HEADER:
        return (f"req.hdr({name})",)
    if rule.type is RuleType.COOKIE:
        return (f"req.cook({name})",)
    return (f"ssl_c_s_dn({name})",)


def _argument(key: str | None) -> str:
    """The name of a header, a cookie or a field, as the argument of a sample."""
    if not _NAME.fullmatch(key or ""):
        raise Unrenderable(f"The key {key!r} is no name; change it.")
    # Between double quotes neither a comma nor a single quote means anything.
    return key if key and _PLAIN_NAME.fullmatch(key) else f'"{key}"'


def _pattern(rule: L7Rule) -> str:
    """What is compared with. Quotes around a value only say where it begins and ends."""
    if rule.type in _HEADER_LIKE and rule.compare_type is not CompareType.REGEX:
        quoted = _IN_QUOTES.fullmatch(rule.value)
        if quoted and quoted[1]:
            return quoted[1]
    return rule.value


def _number(value: str) -> str:
    if not (value.isascii() and value.isdigit() and int(value) <= _LARGEST_VERIFY_RESULT):
        raise Unrenderable(f"The value {value!r} is no result of a verification; change it.")
    return str(int(value))


def _consequence(policy: L7Policy, backend: str | None) -> tuple[str, ...]:
    match policy.action:
        case L7Action.REJECT:
            return ("http-request", "deny")
        case L7Action.REDIRECT_TO_URL:
            return ("redirect", *_code(policy), "location", _location(policy.redirect_url))
        case L7Action.REDIRECT_PREFIX:
            return ("redirect", *_code(policy), "prefix", _location(policy.redirect_prefix))
        case L7Action.REDIRECT_TO_POOL:
            if backend is None:
                raise Unrenderable("It has no pool to redirect to; change it.")
            return ("use_backend", backend)


def _code(policy: L7Policy) -> tuple[str, ...]:
    return ("code", str(policy.redirect_http_code)) if policy.redirect_http_code in _CODES else ()


def _location(url: str | None) -> str:
    if not url or " " in url:
        raise Unrenderable(f"The address {url!r} cannot stand in a header; change it.")
    return url
