# SPDX-License-Identifier: Apache-2.0
"""Load balancers, stored as new ones and saved by the differences between two trees."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from octavia.db import forms
from octavia.db import tables as t
from octavia.db.tree.mapping import (
    HEALTH_MONITOR,
    L7_POLICY,
    L7_RULE,
    LISTENER,
    LOAD_BALANCER,
    MEMBER,
    POOL,
    Kind,
)
from octavia.domain.tree import (
    HealthMonitor,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    Pool,
    Resource,
)

_R = TypeVar("_R", bound=Resource)
Values = dict[str, Any]


def insert(tx: sa.Connection, lb: LoadBalancer) -> None:
    """Store a new load balancer with everything below it."""
    tx.execute(LOAD_BALANCER.insert, _values(LOAD_BALANCER, lb))
    tx.execute(_INSERT_VIP, _vip_values(lb))
    _insert_rows(tx, t.vip_security_group, _security_groups(lb))
    _insert_rows(tx, t.additional_vip, _additional_vips(lb))
    if lb.vrrp_group:
        group = lb.vrrp_group
        tx.execute(
            _INSERT_VRRP_GROUP,
            {
                "load_balancer_id": lb.id,
                "vrrp_group_name": group.name,
                "vrrp_auth_type": "PASS",
                "vrrp_auth_pass": group.auth_pass,
                "advert_int": group.advert_int,
                "vrrp_version": group.version,
            },
        )
    _save_tags(tx, (), lb.walk())
    _save_children(tx, None, lb)


def save(tx: sa.Connection, before: LoadBalancer, after: LoadBalancer) -> None:
    """Write what differs between two trees of the same load balancer.

    Objects never vanish from a tree here: a delete is a status, and :mod:`octavia.db.statuses`
    removes the row when it is live.
    """
    assert before.id == after.id
    forms.remember(tx, before, after)
    changed = _changes(LOAD_BALANCER, before, after)
    if changed:
        tx.execute(LOAD_BALANCER.update, changed | {"row_ids": [after.id]})
    if before.vip != after.vip:
        tx.execute(sa.update(t.vip).where(t.vip.c.load_balancer_id == after.id).values(_vip_values(after)))
    if before.vip.sg_ids != after.vip.sg_ids:
        _replace_rows(tx, t.vip_security_group.c.load_balancer_id, after.id, _security_groups(after))
    if before.additional_vips != after.additional_vips:
        _replace_rows(tx, t.additional_vip.c.load_balancer_id, after.id, _additional_vips(after))
    _save_tags(tx, before.walk(), after.walk())
    _save_children(tx, before, after)


_INSERT_VIP: Final = sa.insert(t.vip)
_INSERT_VRRP_GROUP: Final = sa.insert(t.vrrp_group)


def _values(kind: Kind[Any], resource: Resource) -> Values:
    values = {column: getattr(resource, name) for name, column in kind.columns.items()}
    if "insert_headers" in values:
        values["insert_headers"] = dict(values["insert_headers"])
    return values


def _changes(kind: Kind[Any], before: Resource, after: Resource) -> Values:
    if before is after:
        return {}
    old, new = _values(kind, before), _values(kind, after)
    return {column: value for column, value in new.items() if value != old[column]}


def _fields(value: Any) -> Values:
    return {one.name: getattr(value, one.name) for one in fields(value)}


# The load balancer's own


def _vip_values(lb: LoadBalancer) -> Values:
    values = {"load_balancer_id": lb.id} | _fields(lb.vip)
    del values["sg_ids"]
    return values


def _security_groups(lb: LoadBalancer) -> list[Values]:
    return [{"load_balancer_id": lb.id, "sg_id": one} for one in lb.vip.sg_ids]


def _additional_vips(lb: LoadBalancer) -> list[Values]:
    return [{"load_balancer_id": lb.id} | _fields(vip) for vip in lb.additional_vips]


def _save_tags(tx: sa.Connection, before: Iterable[Resource], after: Iterable[Resource]) -> None:
    old = {one.id: one.tags for one in before}
    changed = [one for one in after if old.get(one.id, ()) != one.tags]
    for one in changed:
        if old.get(one.id):
            tx.execute(sa.delete(t.tags).where(t.tags.c.resource_id == one.id))
        _insert_rows(tx, t.tags, [{"resource_id": one.id, "tag": tag} for tag in _distinct(one.tags)])


def _distinct(tags: Sequence[str]) -> Iterable[str]:
    """The first of those that a key of MySQL takes for the same, as it does "a" and "a " alike."""
    return {tag.rstrip(" "): tag for tag in reversed(tags)}.values()


# What is below it


def _save_children(tx: sa.Connection, before: LoadBalancer | None, after: LoadBalancer) -> None:
    old_pools = before.pools if before else ()
    old_listeners = before.listeners if before else ()
    # Pools first: listeners point at them, members and monitors belong to them.
    owner = dict.fromkeys((one.id for one in (*after.pools, *after.listeners)), after.id)
    _save_all(tx, POOL, old_pools, after.pools, "load_balancer_id", owner)
    _save_persistence(tx, old_pools, after.pools)
    _save_all(tx, LISTENER, old_listeners, after.listeners, "load_balancer_id", owner)
    _save_cidrs(tx, old_listeners, after.listeners)
    _save_sni(tx, old_listeners, after.listeners)
    _save_monitors(tx, old_pools, after.pools)
    _save_members(tx, old_pools, after.pools)
    _save_policies(tx, old_listeners, after.listeners)


def _save_all(
    tx: sa.Connection,
    kind: Kind[_R],
    before: Sequence[_R],
    after: Sequence[_R],
    parent: str,
    parents: Mapping[str, str],
) -> None:
    """Store the new ones, and what has changed of the others.

    :param parent: the column that names what an object belongs to.
    :param parents: id of an object to its value there.
    """
    old = {one.id: one for one in before}
    new_rows = [_values(kind, one) | {parent: parents[one.id]} for one in after if one.id not in old]
    if new_rows:
        tx.execute(kind.insert, new_rows)
    # A batch changes a hundred members in the same way: that is one statement.
    alike: dict[str, tuple[Values, list[str]]] = {}
    for one in after:
        changed = _changes(kind, old[one.id], one) if one.id in old else {}
        if changed:
            alike.setdefault(repr(changed), (changed, []))[1].append(one.id)
    for changed, ids in alike.values():
        tx.execute(kind.update, changed | {"row_ids": ids})


def _save_monitors(tx: sa.Connection, before: Sequence[Pool], after: Sequence[Pool]) -> None:
    parents = {pool.health_monitor.id: pool.id for pool in after if pool.health_monitor}
    _save_all(tx, HEALTH_MONITOR, _monitors(before), _monitors(after), "pool_id", parents)


def _save_members(tx: sa.Connection, before: Sequence[Pool], after: Sequence[Pool]) -> None:
    parents = {one.id: pool.id for pool in after for one in pool.members}
    _save_all(tx, MEMBER, _members(before), _members(after), "pool_id", parents)


def _save_policies(tx: sa.Connection, before: Sequence[Listener], after: Sequence[Listener]) -> None:
    old, new = _policies(before), _policies(after)
    parents = {one.id: listener.id for listener in after for one in listener.l7_policies}
    _save_all(tx, L7_POLICY, old, new, "listener_id", parents)
    parents = {one.id: policy.id for policy in new for one in policy.rules}
    _save_all(tx, L7_RULE, _rules(old), _rules(new), "l7policy_id", parents)


def _monitors(pools: Iterable[Pool]) -> list[HealthMonitor]:
    return [pool.health_monitor for pool in pools if pool.health_monitor]


def _members(pools: Iterable[Pool]) -> list[Member]:
    return [member for pool in pools for member in pool.members]


def _policies(listeners: Iterable[Listener]) -> list[L7Policy]:
    return [policy for listener in listeners for policy in listener.l7_policies]


def _rules(policies: Iterable[L7Policy]) -> list[L7Rule]:
    return [rule for policy in policies for rule in policy.rules]


# What they have in tables of their own


def _save_persistence(tx: sa.Connection, before: Sequence[Pool], after: Sequence[Pool]) -> None:
    table = t.session_persistence
    for pool, old in _differing(before, after, "session_persistence"):
        if old:
            tx.execute(sa.delete(table).where(table.c.pool_id == pool.id))
        if pool.session_persistence:
            tx.execute(sa.insert(table).values(pool_id=pool.id, **_fields(pool.session_persistence)))


def _save_cidrs(tx: sa.Connection, before: Sequence[Listener], after: Sequence[Listener]) -> None:
    for listener, _ in _differing(before, after, "allowed_cidrs"):
        cidrs = dict.fromkeys(listener.allowed_cidrs)
        rows = [{"listener_id": listener.id, "cidr": one} for one in cidrs]
        _replace_rows(tx, t.listener_cidr.c.listener_id, listener.id, rows)


def _save_sni(tx: sa.Connection, before: Sequence[Listener], after: Sequence[Listener]) -> None:
    for listener, _ in _differing(before, after, "sni_container_refs"):
        rows = [
            {"listener_id": listener.id, "position": position, "tls_container_id": ref}
            for position, ref in enumerate(listener.sni_container_refs)
        ]
        _replace_rows(tx, t.sni.c.listener_id, listener.id, rows)


def _differing(before: Iterable[_R], after: Iterable[_R], attribute: str) -> Iterator[tuple[_R, Any]]:
    """Objects of after with another value of an attribute, and the one before; what is new had nothing."""
    old = {one.id: getattr(one, attribute) for one in before}
    for one in after:
        was = old.get(one.id)
        if (was or None) != (getattr(one, attribute) or None):
            yield one, was


def _insert_rows(tx: sa.Connection, table: sa.Table, rows: Sequence[Values]) -> None:
    if rows:
        tx.execute(sa.insert(table), rows)


def _replace_rows(tx: sa.Connection, owner: sa.Column[Any], owner_id: str, rows: Sequence[Values]) -> None:
    """These are all the rows of one owner."""
    tx.execute(sa.delete(owner.table).where(owner == owner_id))
    _insert_rows(tx, owner.table, rows)
