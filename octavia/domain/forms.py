# SPDX-License-Identifier: Apache-2.0
"""The form of an object: what of it decides how it is served, so that a former form can stand in for it.

An object that was changed into something that cannot be served goes on in its *last good form*, the one that
settled last, while everything around it is as wanted now (``docs/decisions/0017-last-good-form.md``). A form
is plain values, as JSON has them. Children are no part of it, but for the rules of a policy: without one of
its rules a policy would match more than it is meant to. Keeping forms is not here: see
:mod:`octavia.db.forms`.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_type_hints

from octavia.domain.tree import (
    HealthMonitor,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    PersistenceType,
    Pool,
    Resource,
    SessionPersistence,
)

Form = Mapping[str, Any]
"""Attribute to plain value."""

_R = TypeVar("_R", bound=Resource)

# Who it is, how it is doing, what is only shown, its place among others, and what has a form of its own.
_NO_FORM: Final = {one.name for one in fields(Resource) if one.name != "admin_state_up"} | {
    "description",
    "position",
    "peer_port",
    "l7_policies",
    "members",
    "health_monitor",
    "rules",
}
_KINDS: Final = (Listener, L7Policy, L7Rule, Pool, Member, HealthMonitor)
_NAMES: Final = {kind: [one.name for one in fields(kind) if one.name not in _NO_FORM] for kind in _KINDS}
_ENUMS: Final[Mapping[type, Mapping[str, type[Enum]]]] = {
    kind: {
        name: hint
        for name, hint in get_type_hints(kind).items()
        if isinstance(hint, type) and issubclass(hint, Enum)
    }
    for kind in _KINDS
}
_RULES: Final = "rules"


def form_of(one: Resource) -> Form:
    """Its form as it is now. :raises KeyError: it is a load balancer, which has none."""
    form = {name: _plain(getattr(one, name)) for name in _NAMES[type(one)]}  # type: ignore[index]
    if isinstance(one, L7Policy):
        form[_RULES] = sorted(rule.id for rule in one.rules if not rule.leaving)
    return form


def can_stand(lb: LoadBalancer, one: Resource, form: Form) -> bool:
    """Is everything still there that the form of an object refers to?"""
    pool_id = form.get("default_pool_id") or form.get("redirect_pool_id")
    if pool_id:
        pool = lb.pool(pool_id)
        if pool is None or pool.leaving:
            return False
    if isinstance(one, L7Policy):
        return {rule.id for rule in one.rules if not rule.leaving} >= set(form.get(_RULES, ()))
    return True


def with_forms(lb: LoadBalancer, forms: Mapping[str, Form]) -> LoadBalancer:
    """The tree with some objects in other forms.

    :param forms: of ids; of ids that are not in the tree nothing comes.
    """
    if not forms:
        return lb
    return replace(
        lb,
        listeners=tuple(_listener(one, forms) for one in lb.listeners),
        pools=tuple(_pool(one, forms) for one in lb.pools),
    )


def _listener(one: Listener, forms: Mapping[str, Form]) -> Listener:
    policies = tuple(_policy(policy, forms) for policy in one.l7_policies)
    return _in_form(replace(one, l7_policies=policies), forms)


def _policy(one: L7Policy, forms: Mapping[str, Form]) -> L7Policy:
    rules = one.rules
    if one.id in forms:
        rules = tuple(rule for rule in rules if rule.id in forms[one.id].get(_RULES, ()))
    return _in_form(replace(one, rules=tuple(_in_form(rule, forms) for rule in rules)), forms)


def _pool(one: Pool, forms: Mapping[str, Form]) -> Pool:
    monitor = one.health_monitor
    members = tuple(_in_form(member, forms) for member in one.members)
    watched = replace(one, members=members, health_monitor=monitor and _in_form(monitor, forms))
    return _in_form(watched, forms)


def _in_form(one: _R, forms: Mapping[str, Form]) -> _R:
    """Attributes that the form does not know, since it is of an older release, stay."""
    form = forms.get(one.id)
    if form is None:
        return one
    kind = type(one)
    return replace(one, **{name: _typed(kind, name, form[name]) for name in _NAMES[kind] if name in form})  # type: ignore[index]


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(one) for name, one in asdict(value).items()}
    return value


def _typed(kind: type[Resource], name: str, value: Any) -> Any:
    if name in _ENUMS[kind]:
        return _ENUMS[kind][name](value)
    if name == "session_persistence" and value is not None:
        return SessionPersistence(**value | {"type": PersistenceType(value["type"])})
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return MappingProxyType(value)
    return value
