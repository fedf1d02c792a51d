# SPDX-License-Identifier: Apache-2.0
"""What a request may do to the L7 policies of a listener and to their rules.

Contract: api.md sections 11 and 12. In the manner of :mod:`octavia.domain.rules`, which has what all
resources share: who may write now, and what a write marks. What a rule may look at and compare with is a
table here; how HAProxy is told is not, see :mod:`octavia.dataplane.haproxy.l7`.
"""

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from octavia.domain import rules
from octavia.domain.errors import Conflict, Invalid, NotFound
from octavia.domain.rules import Births, Deployment, Values
from octavia.domain.tree import (
    CompareType,
    L7Action,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Protocol,
    RuleType,
)

APPEND: Final = 2**31 - 1
"""The position that means: after all others."""

MOST_RULES: Final = 50
DEFAULT_CODE: Final = 302

_TARGETS: Final[Mapping[L7Action, str]] = {
    L7Action.REDIRECT_TO_POOL: "redirect_pool_id",
    L7Action.REDIRECT_TO_URL: "redirect_url",
    L7Action.REDIRECT_PREFIX: "redirect_prefix",
}
_BY_LOCATION: Final = frozenset({L7Action.REDIRECT_TO_URL, L7Action.REDIRECT_PREFIX})


# Policies


def create_policy(
    lb: LoadBalancer, listener_id: str, values: Values, births: Births, deployment: Deployment
) -> tuple[LoadBalancer, L7Policy]:
    """:raises RequestError: a rule of contract api.md section 11 is broken."""
    listener = lb.listener(listener_id)
    if listener is None:
        raise NotFound("Listener", listener_id)
    check_listener(listener.protocol)
    values = completed(values)
    _check_pool(lb, listener.protocol, values)
    rules.lock(lb, deployment)
    rules.stays("Listener", listener)
    lb = rules.written(lb)
    listener, policy = with_new_policy(lb, rules.touched(lb, listener), values, births)
    return lb.with_listener(listener), policy


def check_listener(protocol: Protocol) -> None:
    """:raises Invalid: a listener of that protocol can have no policies."""
    if protocol is Protocol.PROMETHEUS:
        raise rules.childless(protocol)


def with_new_policy(
    lb: LoadBalancer, listener: Listener, values: Values, births: Births
) -> tuple[Listener, L7Policy]:
    """A listener with one more policy, and that policy in its place.

    :param values: as :func:`completed` gives them.
    """
    policy = L7Policy(**rules.born(lb, births), **values)
    policies = _placed(listener.l7_policies, policy, values["position"])
    return replace(listener, l7_policies=policies), policy_among(policies, policy.id)


def completed(values: Values) -> dict[str, Any]:
    """The fields of a new policy as its action wants them; what belongs to another action is dropped.

    :raises Invalid: what the action needs is missing.
    """
    action, prefix = values["action"], values["redirect_prefix"]
    if values["redirect_url"] is not None and prefix is not None:
        action, values = L7Action.REDIRECT_TO_URL, dict(values) | {"redirect_pool_id": None}
    elif action is L7Action.REJECT and prefix is not None:
        action = L7Action.REDIRECT_PREFIX
    if action is L7Action.REDIRECT_PREFIX and values["redirect_pool_id"] is not None:
        raise arguments("redirect_pool_id is not for the action REDIRECT_PREFIX")
    code = values["redirect_http_code"]
    # A code on REJECT means nothing and is kept, as it always was.
    kept = {"redirect_http_code": code} if action is L7Action.REJECT else {}
    return dict(values) | _targets(action, values) | kept


def _targets(action: L7Action, values: Values) -> dict[str, Any]:
    """The action with its own target and no other.

    :raises Invalid: the target is missing.
    """
    needed = _TARGETS.get(action)
    if needed and values.get(needed) is None:
        raise arguments(f"the action {action} needs {needed}")
    targets = {name: values[name] if name == needed else None for name in _TARGETS.values()}
    code = (values.get("redirect_http_code") or DEFAULT_CODE) if action in _BY_LOCATION else None
    return {"action": action, **targets, "redirect_http_code": code}


def arguments(what: str) -> Invalid:
    """The fields of a policy do not go together."""
    return Invalid(f"Invalid L7 Policy arguments: {what}.")


def _check_pool(lb: LoadBalancer, protocol: Protocol, values: Values) -> None:
    if values.get("redirect_pool_id") is not None:
        rules.check_target(lb, protocol, values["redirect_pool_id"])


def update_policy(lb: LoadBalancer, policy_id: str, values: Values, deployment: Deployment) -> LoadBalancer:
    """:raises RequestError: a rule of contract api.md section 11.4 is broken."""
    listener, policy = policy_of(lb, policy_id)
    changes = dict(values)
    position = changes.pop("position", policy.position)
    changes |= _changed_action(policy, values)
    _check_pool(lb, listener.protocol, changes)
    rules.lock(lb, deployment)
    rules.stays("Listener", listener)
    rules.stays("L7Policy", policy)
    lb = rules.written(lb)
    policies = listener.l7_policies
    policy = replace(rules.touched(lb, policy), **changes)
    others = tuple(one for one in policies if one.id != policy_id)
    listener = replace(rules.touched(lb, listener), l7_policies=_placed(others, policy, position))
    return lb.with_listener(listener)


def _changed_action(policy: L7Policy, values: Values) -> dict[str, Any]:
    """What an update makes of action, targets and code: all of them, or what of them stays as sent."""
    sent = [name for name in _TARGETS.values() if values.get(name) is not None]
    if "action" in values:
        return _targets(values["action"], values)
    if sent:
        if "redirect_pool_id" in sent and len(sent) > 1:
            raise arguments("redirect_pool_id excludes redirect_url and redirect_prefix")
        action = (
            L7Action.REDIRECT_TO_URL
            if "redirect_url" in sent
            else next(one for one, name in _TARGETS.items() if name == sent[0])
        )
        return _targets(action, values)
    needed = _TARGETS.get(policy.action)
    if needed in values:
        raise arguments(f"the action {policy.action} needs {needed}")
    return {name: getattr(policy, name) for name in _TARGETS.values()}


def delete_policy(lb: LoadBalancer, policy_id: str, deployment: Deployment) -> LoadBalancer:
    """Its rules go with it; the policies behind it move up once it is really gone.

    :raises Conflict: the state of the tree takes no delete.
    """
    listener, policy = policy_of(lb, policy_id)
    rules.lock(lb, deployment)
    rules.stays("Listener", listener)
    rules.may_leave("L7Policy", policy)
    lb = rules.written(lb)
    return lb.with_listener(with_policy(rules.touched(lb, listener), rules.leaving(lb, policy)))


def policy_of(lb: LoadBalancer, policy_id: str) -> tuple[Listener, L7Policy]:
    """The policy and its listener.

    :raises NotFound: it is not in this tree.
    """
    for listener in lb.listeners:
        for policy in listener.l7_policies:
            if policy.id == policy_id:
                return listener, policy
    raise NotFound("L7 Policy", policy_id)


def policy_among(policies: Iterable[L7Policy], policy_id: str) -> L7Policy:
    """The policy of that id, which is among them."""
    return next(one for one in policies if one.id == policy_id)


def _placed(others: tuple[L7Policy, ...], policy: L7Policy, position: int) -> tuple[L7Policy, ...]:
    """All policies with one at a position, or at the end; the positions are 1, 2, 3."""
    at = min(position - 1, len(others))
    ordered = (*others[:at], policy, *others[at:])
    # Who only moves is not touched: nothing about it is pending.
    return tuple(
        one if one.position == n else replace(one, position=n) for n, one in enumerate(ordered, start=1)
    )


def with_policy(listener: Listener, policy: L7Policy) -> Listener:
    """The listener with the policy of the same id replaced."""
    policies = tuple(policy if one.id == policy.id else one for one in listener.l7_policies)
    return replace(listener, l7_policies=policies)


# Rules


def create_rule(
    lb: LoadBalancer, policy_id: str, values: Values, births: Births, deployment: Deployment
) -> tuple[LoadBalancer, L7Rule]:
    """:raises RequestError: a rule of contract api.md section 12 is broken."""
    listener, policy = policy_of(lb, policy_id)
    check_rule(values)
    rules.lock_policy(lb, listener, policy, deployment)
    lb = rules.written(lb)
    policy, rule = with_new_rule(lb, policy, values, births)
    return _touched_policy(lb, listener, policy), rule


def with_new_rule(
    lb: LoadBalancer, policy: L7Policy, values: Values, births: Births
) -> tuple[L7Policy, L7Rule]:
    """A policy with one more rule, and that rule.

    :raises Conflict: it has as many as a policy can have.
    """
    if sum(not one.leaving for one in policy.rules) >= MOST_RULES:
        raise Conflict(f"Too many rules on L7 policy {policy.id}")
    rule = L7Rule(**rules.born(lb, births), **values)
    return replace(policy, rules=(*policy.rules, rule)), rule


def update_rule(
    lb: LoadBalancer, policy_id: str, rule_id: str, values: Values, deployment: Deployment
) -> LoadBalancer:
    """:raises RequestError: a rule of contract api.md section 12 is broken."""
    listener, policy = policy_of(lb, policy_id)
    rule = rule_of(policy, rule_id)
    changes = dict(values)
    if changes.get("type", rule.type) in _KEYLESS:
        changes["key"] = None
    merged = {name: getattr(rule, name) for name in ("type", "compare_type", "key", "value")} | changes
    check_rule(merged)
    rules.lock_policy(lb, listener, policy, deployment)
    rules.stays("L7 Rule", rule)
    lb = rules.written(lb)
    return _touched_policy(lb, listener, _with_rule(policy, replace(rules.touched(lb, rule), **changes)))


def delete_rule(lb: LoadBalancer, policy_id: str, rule_id: str, deployment: Deployment) -> LoadBalancer:
    """:raises Conflict: the state of the tree takes no delete."""
    listener, policy = policy_of(lb, policy_id)
    rule = rule_of(policy, rule_id)
    rules.lock_policy(lb, listener, policy, deployment)
    rules.may_leave("L7 Rule", rule)
    lb = rules.written(lb)
    return _touched_policy(lb, listener, _with_rule(policy, rules.leaving(lb, rule)))


def rule_of(policy: L7Policy, rule_id: str) -> L7Rule:
    """:raises NotFound: it is not in this policy."""
    rule = next((one for one in policy.rules if one.id == rule_id), None)
    if rule is None:
        raise NotFound("L7 Rule", rule_id)
    return rule


def _with_rule(policy: L7Policy, rule: L7Rule) -> L7Policy:
    return replace(policy, rules=tuple(rule if one.id == rule.id else one for one in policy.rules))


def _touched_policy(lb: LoadBalancer, listener: Listener, policy: L7Policy) -> LoadBalancer:
    return lb.with_listener(with_policy(rules.touched(lb, listener), rules.touched(lb, policy)))


# What a rule may look at, and compare with

_ALNUM: Final = string.ascii_letters + string.digits


def _only(characters: str, *, also: str = "") -> re.Pattern[str]:
    quoted = f'|"[{re.escape(characters + also)}]*"' if also else ""
    return re.compile(f"[{re.escape(characters)}]+{quoted}")


_HEADER_NAME: Final = _only(_ALNUM + "!#$%&'*+,-.^_~`|")
_HEADER_VALUE: Final = _only(_ALNUM + string.punctuation, also=" \t")
_COOKIE_VALUE: Final = _only(_ALNUM + "".join(one for one in string.punctuation if one not in '";\\'))
_DN_FIELD: Final = re.compile(r"[a-zA-Z][A-Za-z0-9-]*")
_NUMBER: Final = re.compile(r"0*[0-9]{1,9}")  # there are some dozens of results
_TRUE: Final = re.compile("true", re.IGNORECASE)
_ANYTHING: Final = re.compile(".*", re.DOTALL)

_EVERY: Final = frozenset(CompareType)
_EXACT: Final = frozenset({CompareType.EQUAL_TO})
_KEYLESS: Final = frozenset({RuleType.HOST_NAME, RuleType.PATH, RuleType.FILE_TYPE})

# Type: how it may compare; what its key must be, None where it must have none; what its value must be.
_TYPES: Final[Mapping[RuleType, tuple[frozenset[CompareType], re.Pattern[str] | None, re.Pattern[str]]]] = {
    RuleType.HOST_NAME: (_EVERY, None, _HEADER_VALUE),
    RuleType.PATH: (_EVERY, None, _HEADER_VALUE),
    RuleType.FILE_TYPE: (_EXACT | {CompareType.REGEX}, None, _HEADER_VALUE),
    RuleType.HEADER: (_EVERY, _HEADER_NAME, _HEADER_VALUE),
    RuleType.COOKIE: (_EVERY, _HEADER_NAME, _COOKIE_VALUE),
    RuleType.SSL_CONN_HAS_CERT: (_EXACT, None, _TRUE),
    RuleType.SSL_VERIFY_RESULT: (_EXACT, None, _NUMBER),
    RuleType.SSL_DN_FIELD: (_EVERY, _DN_FIELD, _ANYTHING),
}


def check_rule(values: Values) -> None:
    """:raises Invalid: type, compare_type, key and value do not go together."""
    type_, compare, key = values["type"], values["compare_type"], values["key"]
    compares, key_pattern, value_pattern = _TYPES[type_]
    if compare not in compares:
        raise _unparsable(f"a rule of type {type_} compares by {', '.join(sorted(compares))}, not {compare}")
    if key_pattern is None:
        if key is not None and type_ not in _KEYLESS:
            raise _unparsable(f"a rule of type {type_} has no key")
    elif not key:
        raise _unparsable(f"a rule of type {type_} needs a key")
    elif not key_pattern.fullmatch(key):
        raise _unparsable(f"the key of a rule of type {type_} has characters that it cannot have")
    if compare is CompareType.REGEX:
        _check_expression(values["value"])
    elif not value_pattern.fullmatch(values["value"]):
        raise _unparsable(f"the value of a rule of type {type_} has characters that it cannot have")


def _check_expression(text: str) -> None:
    try:
        re.compile(text)
    except FutureWarning:
        pass  # where warnings are errors: a class like [[:alpha:]], which the proxy's library knows
    except (re.error, OverflowError, RecursionError) as error:
        raise _unparsable(f"the value is no regular expression: {error}") from None


def _unparsable(reason: str) -> Invalid:
    return Invalid(f"Error parsing L7Rule: {reason}.")
