# SPDX-License-Identifier: Apache-2.0
"""Load balancers, read whole as trees and saved by their differences.

The database's names for attributes are older than the API's; ``COLUMNS`` is the one table that
translates them.
"""

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from octavia.db import forms
from octavia.db import tables as t
from octavia.domain.errors import NotFound
from octavia.domain.statuses import OperatingStatus, ProvisioningStatus
from octavia.domain.tls import TLS_LISTENERS
from octavia.domain.tree import (
    NO_HEADERS,
    AdditionalVip,
    Algorithm,
    ClientAuthentication,
    CompareType,
    HealthMonitor,
    L7Action,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    Resource,
    RuleType,
    SessionPersistence,
    Topology,
    Vip,
    VrrpGroup,
)

_R = TypeVar("_R", bound=Resource)
Values = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """How one kind of resource is kept.

    :param columns: attribute to column; attributes that are not here live in other tables.
    :param parse: what to do with a column's value to make it the attribute's.
    """

    type: type[Resource]
    table: sa.Table
    columns: Mapping[str, str]
    parse: Mapping[str, Callable[[Any], Any]]

    @cached_property
    def pick(self) -> Callable[[sa.RowMapping], tuple[Any, ...]]:
        """The values of its columns in a row, in the order of ``columns``."""
        return operator.itemgetter(*self.columns.values())

    # Built once: building a statement costs more than running it.
    @cached_property
    def insert(self) -> sa.Insert:
        """A new row."""
        return sa.insert(self.table)

    @cached_property
    def update(self) -> sa.Update:
        """Some columns of the rows of ``:row_ids``."""
        return sa.update(self.table).where(self.table.c.id.in_(sa.bindparam("row_ids", expanding=True)))

    @cached_property
    def parent(self) -> sa.Select[Any]:
        """The load balancer of ``:object_id``."""
        wanted = self.table.c.id == sa.bindparam("object_id")
        if self.table in (t.listener, t.pool):
            return sa.select(self.table.c.load_balancer_id).where(wanted)
        if self.table in (t.l7policy, t.l7rule):
            below = t.listener.join(t.l7policy, t.l7policy.c.listener_id == t.listener.c.id)
            if self.table is t.l7rule:
                below = below.join(t.l7rule, t.l7rule.c.l7policy_id == t.l7policy.c.id)
            return sa.select(t.listener.c.load_balancer_id).select_from(below).where(wanted)
        of_pool = t.pool.c.id == self.table.c.pool_id
        return sa.select(t.pool.c.load_balancer_id).join(self.table, of_pool).where(wanted)


# Looked up: with a thousand members, calling an enumeration is felt.
_STATUS_PARSERS: Final = {
    "provisioning_status": {one.value: one for one in ProvisioningStatus}.__getitem__,
    "operating_status": {one.value: one for one in OperatingStatus}.__getitem__,
}
_ELSEWHERE: Final = {
    "tags",
    "vip",
    "additional_vips",
    "vrrp_group",
    "listeners",
    "pools",
    "members",
    "health_monitor",
    "session_persistence",
    "allowed_cidrs",
    "sni_container_refs",
    "l7_policies",
    "rules",
}

# Attribute → column, where they differ (contract: control-plane.md section 9.2).
COLUMNS: Final[Mapping[str, str]] = {
    "admin_state_up": "enabled",
    "address": "ip_address",
    "max_retries": "rise_threshold",
    "max_retries_down": "fall_threshold",
    "default_tls_container_ref": "tls_certificate_id",
    "client_ca_tls_container_ref": "client_ca_tls_certificate_id",
    "client_crl_container_ref": "client_crl_container_id",
    "tls_container_ref": "tls_certificate_id",
    "ca_tls_container_ref": "ca_tls_certificate_id",
    "crl_container_ref": "crl_container_id",
}


def _kind(
    type_: type[Resource], table: sa.Table, *, without: str = "", **parse: Callable[[Any], Any]
) -> Kind:
    names = [one.name for one in fields(type_) if one.name not in _ELSEWHERE | {without}]
    columns = {name: COLUMNS.get(name, name) for name in names}
    missing = sorted(set(columns.values()) - set(table.c.keys()))
    assert not missing, f"{table.name} lacks {missing}"
    return Kind(type_, table, columns, _STATUS_PARSERS | parse)


def _text(value: str | None) -> str:
    return value or ""


def _headers(value: Mapping[str, str] | None) -> Mapping[str, str]:
    return MappingProxyType(dict(value)) if value else NO_HEADERS


LOAD_BALANCER: Final = _kind(
    LoadBalancer,
    t.load_balancer,
    name=_text,
    description=_text,
    topology=Topology,
    provider=lambda value: value or "amphora",
)
LISTENER: Final = _kind(
    Listener,
    t.listener,
    name=_text,
    description=_text,
    protocol=Protocol,
    insert_headers=_headers,
    client_authentication=ClientAuthentication,
)
POOL: Final = _kind(Pool, t.pool, name=_text, description=_text, protocol=Protocol, lb_algorithm=Algorithm)
HEALTH_MONITOR: Final = _kind(HealthMonitor, t.health_monitor, name=_text, type=MonitorType)
MEMBER: Final = _kind(Member, t.member, name=_text)
L7_POLICY: Final = _kind(L7Policy, t.l7policy, name=_text, description=_text, action=L7Action)
L7_RULE: Final = _kind(L7Rule, t.l7rule, without="name", type=RuleType, compare_type=CompareType)


# Reading


def load(tx: sa.Connection, load_balancer_id: str) -> LoadBalancer | None:
    """The whole tree, or None when there is no such load balancer or it is DELETED."""
    while True:
        lb = _load_once(tx, load_balancer_id)
        if lb is None:
            return None
        # Without a lock a write may be committed between our queries; every write bumps the
        # generation, so the same generation before and after is one consistent tree.
        again = tx.execute(_GENERATION, {"lb_id": load_balancer_id}).scalar()
        if again == lb.generation:
            return lb


def load_again(tx: sa.Connection, known: LoadBalancer) -> LoadBalancer | None:
    """A tree that was read before, as the load balancer itself is now; None when it is gone.

    Every write of a tenant bumps the generation: with the same one, only statuses can differ, and those
    below the load balancer stay the known ones. With another one, what is below it is not as it is now.
    """
    found = tx.execute(_GENERATION, {"lb_id": known.id}).mappings().one_or_none()
    if found is None or found["provisioning_status"] == ProvisioningStatus.DELETED:
        return None
    now = {**found, "provisioning_status": ProvisioningStatus(found["provisioning_status"])}
    return (
        known if all(getattr(known, name) == value for name, value in now.items()) else replace(known, **now)
    )


def lock(tx: sa.Connection, load_balancer_id: str) -> LoadBalancer:
    """The whole tree, no other transaction changing it until this one ends.

    :raises NotFound: there is no such load balancer.
    """
    tx.execute(_LOCK, {"lb_id": load_balancer_id})
    lb = _load_once(tx, load_balancer_id)
    if lb is None:
        raise NotFound("Load Balancer", load_balancer_id)
    return lb


def load_balancer_id_of(tx: sa.Connection, kind: Kind, object_id: str) -> str | None:
    """The load balancer that an object belongs to; None if there is no such object."""
    found: str | None = tx.execute(kind.parent, {"object_id": object_id}).scalar()
    return found


_GENERATION = sa.select(
    t.load_balancer.c.generation,
    t.load_balancer.c.provisioning_status,
    t.load_balancer.c.delete_requested,
).where(t.load_balancer.c.id == sa.bindparam("lb_id"))
_LOCK = sa.select(t.load_balancer.c.id).where(t.load_balancer.c.id == sa.bindparam("lb_id")).with_for_update()
_OF_LB: Final[sa.BindParameter[str]] = sa.bindparam("lb_id", type_=sa.String)
_POOLS_OF_LB = sa.select(t.pool.c.id).where(t.pool.c.load_balancer_id == _OF_LB)
_ROOT = (
    sa.select(
        t.load_balancer,
        *(c.label(f"vip_{c.name}") for c in t.vip.c),
        # Nearly nobody has any: then there is nothing to ask for.
        sa.exists()
        .where(t.vip_security_group.c.load_balancer_id == t.load_balancer.c.id)
        .label("vip_has_groups"),
        *(c.label(f"vrrp_{c.name}") for c in t.vrrp_group.c),
    )
    .outerjoin(t.vip, t.vip.c.load_balancer_id == t.load_balancer.c.id)
    .outerjoin(t.vrrp_group, t.vrrp_group.c.load_balancer_id == t.load_balancer.c.id)
    .where(t.load_balancer.c.id == _OF_LB)
    .where(t.load_balancer.c.provisioning_status != ProvisioningStatus.DELETED)
)
_SECURITY_GROUPS = (
    sa.select(t.vip_security_group.c.sg_id)
    .where(t.vip_security_group.c.load_balancer_id == _OF_LB)
    .order_by(t.vip_security_group.c.sg_id)
)
_ADDITIONAL_VIPS = sa.select(t.additional_vip).where(t.additional_vip.c.load_balancer_id == _OF_LB)
_LISTENERS = (
    sa.select(t.listener)
    .where(t.listener.c.load_balancer_id == _OF_LB)
    .order_by(t.listener.c.created_at, t.listener.c.id)
)
_CIDRS = (
    sa.select(t.listener_cidr)
    .join(t.listener, t.listener.c.id == t.listener_cidr.c.listener_id)
    .where(t.listener.c.load_balancer_id == _OF_LB)
    .order_by(t.listener_cidr.c.cidr)
)
_SNI = (
    sa.select(t.sni)
    .join(t.listener, t.listener.c.id == t.sni.c.listener_id)
    .where(t.listener.c.load_balancer_id == _OF_LB)
    .order_by(t.sni.c.position)
)
_POLICIES_OF_LB = (
    sa.select(t.l7policy.c.id)
    .join(t.listener, t.listener.c.id == t.l7policy.c.listener_id)
    .where(t.listener.c.load_balancer_id == _OF_LB)
)
_POLICIES = (
    sa.select(t.l7policy)
    .join(t.listener, t.listener.c.id == t.l7policy.c.listener_id)
    .where(t.listener.c.load_balancer_id == _OF_LB)
    .order_by(t.l7policy.c.position, t.l7policy.c.id)
)
_RULES = (
    sa.select(t.l7rule)
    .where(t.l7rule.c.l7policy_id.in_(_POLICIES_OF_LB))
    .order_by(t.l7rule.c.created_at, t.l7rule.c.id)
)
_POOLS = (
    sa.select(t.pool, *(c.label(f"sp_{c.name}") for c in t.session_persistence.c))
    .outerjoin(t.session_persistence, t.session_persistence.c.pool_id == t.pool.c.id)
    .where(t.pool.c.load_balancer_id == _OF_LB)
    .order_by(t.pool.c.created_at, t.pool.c.id)
)
_MONITORS = (
    sa.select(t.health_monitor)
    .where(t.health_monitor.c.pool_id.in_(_POOLS_OF_LB))
    .order_by(
        t.health_monitor.c.delete_requested.desc(), t.health_monitor.c.created_at, t.health_monitor.c.id
    )
)
_MEMBERS = (
    sa.select(t.member)
    .where(t.member.c.pool_id.in_(_POOLS_OF_LB))
    .order_by(t.member.c.created_at, t.member.c.id)
)
_TAGS = (
    sa.select(t.tags)
    .where(
        t.tags.c.resource_id.in_(
            sa.union_all(
                sa.select(_OF_LB),
                sa.select(t.listener.c.id).where(t.listener.c.load_balancer_id == _OF_LB),
                _POOLS_OF_LB,
                sa.select(t.member.c.id).where(t.member.c.pool_id.in_(_POOLS_OF_LB)),
                sa.select(t.health_monitor.c.id).where(t.health_monitor.c.pool_id.in_(_POOLS_OF_LB)),
                _POLICIES_OF_LB,
                sa.select(t.l7rule.c.id).where(t.l7rule.c.l7policy_id.in_(_POLICIES_OF_LB)),
            )
        )
    )
    .order_by(t.tags.c.tag)
)


def _load_once(tx: sa.Connection, load_balancer_id: str) -> LoadBalancer | None:
    of_lb = {"lb_id": load_balancer_id}

    def rows(query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        return tx.execute(query, of_lb).mappings().all()

    root = tx.execute(_ROOT, of_lb).mappings().one_or_none()
    if root is None:
        return None
    tags: dict[str, list[str]] = defaultdict(list)
    for row in rows(_TAGS):
        tags[row["resource_id"]].append(row["tag"])
    cidrs: dict[str, list[str]] = defaultdict(list)
    pool_rows = rows(_POOLS)
    members: dict[str, list[Member]] = defaultdict(list)
    monitors: dict[str, HealthMonitor] = {}
    if pool_rows:
        for one in tx.execute(_MEMBERS, of_lb).all():
            members[one.pool_id].append(_member(one, tuple(tags.get(one.id, ()))))
        for row in rows(_MONITORS):
            # Of two, one is on its way out, and comes first: the other replaces it.
            monitors[row["pool_id"]] = _resource(HEALTH_MONITOR, HealthMonitor, row, tags)
    listener_rows = rows(_LISTENERS)
    sni: dict[str, list[str]] = defaultdict(list)
    policies: dict[str, list[L7Policy]] = defaultdict(list)
    rules: dict[str, list[L7Rule]] = defaultdict(list)
    if listener_rows:
        for row in rows(_CIDRS):
            cidrs[row["listener_id"]].append(row["cidr"])
        # Elsewhere it would be one more query that finds nothing.
        if any(row["protocol"] in TLS_LISTENERS for row in listener_rows):
            for row in rows(_SNI):
                sni[row["listener_id"]].append(row["tls_container_id"])
        policy_rows = rows(_POLICIES)
        for row in rows(_RULES) if policy_rows else ():
            rules[row["l7policy_id"]].append(_resource(L7_RULE, L7Rule, row, tags))
        for row in policy_rows:
            policy = _resource(L7_POLICY, L7Policy, row, tags, rules=tuple(rules[row["id"]]))
            policies[row["listener_id"]].append(policy)
    return _resource(
        LOAD_BALANCER,
        LoadBalancer,
        root,
        tags,
        vip=_vip(root, [row["sg_id"] for row in rows(_SECURITY_GROUPS)] if root["vip_has_groups"] else ()),
        additional_vips=tuple(_additional_vip(row) for row in rows(_ADDITIONAL_VIPS)),
        vrrp_group=_vrrp_group(root),
        listeners=tuple(
            _resource(
                LISTENER,
                Listener,
                row,
                tags,
                allowed_cidrs=tuple(cidrs[row["id"]]),
                sni_container_refs=tuple(sni[row["id"]]),
                l7_policies=tuple(policies[row["id"]]),
            )
            for row in listener_rows
        ),
        pools=tuple(
            _resource(
                POOL,
                Pool,
                row,
                tags,
                session_persistence=_persistence(row),
                members=tuple(members[row["id"]]),
                health_monitor=monitors.get(row["id"]),
            )
            for row in pool_rows
        ),
    )


@lru_cache(maxsize=4096)  # of a thousand that are read again and again, few are others than before
def _member(row: sa.Row[Any], tags: tuple[str, ...]) -> Member:
    return _resource(MEMBER, Member, row._mapping, {row.id: tags})


def _resource(
    kind: Kind, type_: type[_R], row: sa.RowMapping, tags: Mapping[str, Sequence[str]], **more: Any
) -> _R:
    values = dict(zip(kind.columns, kind.pick(row), strict=True))
    for name, parse in kind.parse.items():
        values[name] = parse(values[name])
    return type_(**values, tags=tuple(tags.get(row["id"], ())), **more)


def _vip(row: sa.RowMapping, sg_ids: Sequence[str]) -> Vip:
    return Vip(
        ip_address=row["vip_ip_address"],
        port_id=row["vip_port_id"],
        subnet_id=row["vip_subnet_id"],
        network_id=row["vip_network_id"],
        qos_policy_id=row["vip_qos_policy_id"],
        octavia_owned=bool(row["vip_octavia_owned"]),
        vnic_type=row["vip_vnic_type"] or "normal",
        sg_ids=tuple(sg_ids),
    )


def _additional_vip(row: sa.RowMapping) -> AdditionalVip:
    return AdditionalVip(
        ip_address=row["ip_address"],
        port_id=row["port_id"],
        subnet_id=row["subnet_id"],
        network_id=row["network_id"],
    )


def _vrrp_group(row: sa.RowMapping) -> VrrpGroup | None:
    if row["vrrp_load_balancer_id"] is None:
        return None
    return VrrpGroup(
        name=row["vrrp_vrrp_group_name"],
        version=row["vrrp_vrrp_version"],
        advert_int=row["vrrp_advert_int"],
        auth_pass=row["vrrp_vrrp_auth_pass"] or "",
    )


def _persistence(row: sa.RowMapping) -> SessionPersistence | None:
    if row["sp_pool_id"] is None:
        return None
    return SessionPersistence(
        type=PersistenceType(row["sp_type"]),
        cookie_name=row["sp_cookie_name"],
        persistence_timeout=row["sp_persistence_timeout"],
        persistence_granularity=row["sp_persistence_granularity"],
    )


# Writing


def insert(tx: sa.Connection, lb: LoadBalancer) -> None:
    """Store a new load balancer with everything below it."""
    tx.execute(LOAD_BALANCER.insert, _values(LOAD_BALANCER, lb))
    tx.execute(_INSERT_VIP, _vip_values(lb))
    _insert_security_groups(tx, lb)
    _insert_additional_vips(tx, lb)
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
        table = t.vip_security_group
        tx.execute(sa.delete(table).where(table.c.load_balancer_id == after.id))
        _insert_security_groups(tx, after)
    if before.additional_vips != after.additional_vips:
        tx.execute(sa.delete(t.additional_vip).where(t.additional_vip.c.load_balancer_id == after.id))
        _insert_additional_vips(tx, after)
    _save_tags(tx, before.walk(), after.walk())
    _save_children(tx, before, after)


def _values(kind: Kind, resource: Resource) -> Values:
    values = {column: getattr(resource, name) for name, column in kind.columns.items()}
    if "insert_headers" in values:
        values["insert_headers"] = dict(values["insert_headers"])
    return values


def _changes(kind: Kind, before: Resource, after: Resource) -> Values:
    if before is after:
        return {}
    old, new = _values(kind, before), _values(kind, after)
    return {column: value for column, value in new.items() if value != old[column]}


def _vip_values(lb: LoadBalancer) -> Values:
    vip = lb.vip
    names = (one.name for one in fields(vip) if one.name != "sg_ids")
    return {"load_balancer_id": lb.id} | {name: getattr(vip, name) for name in names}


_INSERT_VIP: Final = sa.insert(t.vip)
_INSERT_VRRP_GROUP: Final = sa.insert(t.vrrp_group)


def _insert_security_groups(tx: sa.Connection, lb: LoadBalancer) -> None:
    rows = [{"load_balancer_id": lb.id, "sg_id": one} for one in lb.vip.sg_ids]
    if rows:
        tx.execute(sa.insert(t.vip_security_group), rows)


def _insert_additional_vips(tx: sa.Connection, lb: LoadBalancer) -> None:
    rows = [
        {"load_balancer_id": lb.id} | {one.name: getattr(vip, one.name) for one in fields(vip)}
        for vip in lb.additional_vips
    ]
    if rows:
        tx.execute(sa.insert(t.additional_vip), rows)


def _save_tags(tx: sa.Connection, before: Iterable[Resource], after: Iterable[Resource]) -> None:
    old = {one.id: one.tags for one in before}
    changed = [one for one in after if old.get(one.id, ()) != one.tags]
    for one in changed:
        if old.get(one.id):
            tx.execute(sa.delete(t.tags).where(t.tags.c.resource_id == one.id))
        if one.tags:
            tx.execute(
                sa.insert(t.tags),
                [{"resource_id": one.id, "tag": tag} for tag in _distinct(one.tags)],
            )


def _distinct(tags: Sequence[str]) -> Iterable[str]:
    """The first of those that a key of MySQL takes for the same, as it does "a" and "a " alike."""
    return {tag.rstrip(" "): tag for tag in reversed(tags)}.values()


def _save_children(tx: sa.Connection, before: LoadBalancer | None, after: LoadBalancer) -> None:
    # Pools first: listeners point at them, members and monitors belong to them.
    of_lb = {"load_balancer_id": after.id}
    old_pools = before.pools if before else ()
    _save_all(tx, POOL, old_pools, after.pools, lambda _: of_lb)
    _save_persistence(tx, old_pools, after.pools)
    _save_all(tx, LISTENER, before.listeners if before else (), after.listeners, lambda _: of_lb)
    _save_cidrs(tx, before.listeners if before else (), after.listeners)
    _save_sni(tx, before.listeners if before else (), after.listeners)
    parents = {one.id: pool.id for pool in after.pools for one in pool.members}
    parents |= {pool.health_monitor.id: pool.id for pool in after.pools if pool.health_monitor}

    def of_pool(one: Resource) -> Values:
        return {"pool_id": parents[one.id]}

    _save_all(tx, HEALTH_MONITOR, _monitors(old_pools), _monitors(after.pools), of_pool)
    _save_all(tx, MEMBER, _members(old_pools), _members(after.pools), of_pool)
    _save_policies(tx, before.listeners if before else (), after.listeners)


def _save_policies(tx: sa.Connection, before: Sequence[Listener], after: Sequence[Listener]) -> None:
    parents = {one.id: listener.id for listener in after for one in listener.l7_policies}

    def of_listener(one: Resource) -> Values:
        return {"listener_id": parents[one.id]}

    def of_policy(one: Resource) -> Values:
        return {"l7policy_id": parents[one.id]}

    old, new = _policies(before), _policies(after)
    _save_all(tx, L7_POLICY, old, new, of_listener)
    parents |= {one.id: policy.id for policy in new for one in policy.rules}
    _save_all(tx, L7_RULE, _rules(old), _rules(new), of_policy)


def _policies(listeners: Iterable[Listener]) -> list[L7Policy]:
    return [policy for listener in listeners for policy in listener.l7_policies]


def _rules(policies: Iterable[L7Policy]) -> list[L7Rule]:
    return [rule for policy in policies for rule in policy.rules]


def _monitors(pools: Iterable[Pool]) -> list[HealthMonitor]:
    return [pool.health_monitor for pool in pools if pool.health_monitor]


def _members(pools: Iterable[Pool]) -> list[Member]:
    return [member for pool in pools for member in pool.members]


def _save_all(
    tx: sa.Connection,
    kind: Kind,
    before: Sequence[Resource],
    after: Sequence[Resource],
    parent: Callable[[Resource], Values],
) -> None:
    old = {one.id: one for one in before}
    new_rows = [_values(kind, one) | parent(one) for one in after if one.id not in old]
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


def _save_persistence(tx: sa.Connection, before: Sequence[Pool], after: Sequence[Pool]) -> None:
    old = {pool.id: pool.session_persistence for pool in before}
    for pool in after:
        if old.get(pool.id) == pool.session_persistence:
            continue
        table = t.session_persistence
        if old.get(pool.id):
            tx.execute(sa.delete(table).where(table.c.pool_id == pool.id))
        if pool.session_persistence:
            values = {
                one.name: getattr(pool.session_persistence, one.name)
                for one in fields(pool.session_persistence)
            }
            tx.execute(sa.insert(table).values(pool_id=pool.id, **values))


def _save_cidrs(tx: sa.Connection, before: Sequence[Listener], after: Sequence[Listener]) -> None:
    old = {listener.id: listener.allowed_cidrs for listener in before}
    for listener in after:
        if old.get(listener.id, ()) == listener.allowed_cidrs:
            continue
        table = t.listener_cidr
        tx.execute(sa.delete(table).where(table.c.listener_id == listener.id))
        if listener.allowed_cidrs:
            tx.execute(
                sa.insert(table),
                [
                    {"listener_id": listener.id, "cidr": cidr}
                    for cidr in dict.fromkeys(listener.allowed_cidrs)
                ],
            )


def _save_sni(tx: sa.Connection, before: Sequence[Listener], after: Sequence[Listener]) -> None:
    old = {listener.id: listener.sni_container_refs for listener in before}
    for listener in after:
        if old.get(listener.id, ()) == listener.sni_container_refs:
            continue
        tx.execute(sa.delete(t.sni).where(t.sni.c.listener_id == listener.id))
        if listener.sni_container_refs:
            tx.execute(
                sa.insert(t.sni),
                [
                    {"listener_id": listener.id, "position": position, "tls_container_id": ref}
                    for position, ref in enumerate(listener.sni_container_refs)
                ],
            )
