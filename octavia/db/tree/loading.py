# SPDX-License-Identifier: Apache-2.0
"""Load balancers, read whole as trees of values."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa

from octavia.db.tree import queries
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
from octavia.domain.errors import NotFound
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tls import TLS_LISTENERS
from octavia.domain.tree import (
    AdditionalVip,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    PersistenceType,
    Pool,
    Resource,
    SessionPersistence,
    Vip,
    VrrpGroup,
)

_R = TypeVar("_R", bound=Resource)
_Ask = Callable[[sa.Select[Any]], sa.CursorResult[Any]]
_Tags = Mapping[str, Sequence[str]]


def load(tx: sa.Connection, load_balancer_id: str) -> LoadBalancer | None:
    """The whole tree, or None when there is no such load balancer or it is DELETED."""
    while True:
        lb = _load_once(tx, load_balancer_id)
        if lb is None:
            return None
        # Without a lock a write may be committed between our queries; every write bumps the
        # generation, so the same generation before and after is one consistent tree.
        again = tx.execute(queries.GENERATION, {"lb_id": load_balancer_id}).scalar()
        if again == lb.generation:
            return lb


def load_again(tx: sa.Connection, known: LoadBalancer) -> LoadBalancer | None:
    """A tree that was read before, as the load balancer itself is now; None when it is gone.

    Every write of a tenant bumps the generation: with the same one, only statuses can differ, and those
    below the load balancer stay the known ones. With another one, what is below it is not as it is now.
    """
    found = tx.execute(queries.GENERATION, {"lb_id": known.id}).mappings().one_or_none()
    if found is None or found["provisioning_status"] == ProvisioningStatus.DELETED:
        return None
    now = {**found, "provisioning_status": ProvisioningStatus(found["provisioning_status"])}
    same = all(getattr(known, name) == value for name, value in now.items())
    return known if same else replace(known, **now)


def lock(tx: sa.Connection, load_balancer_id: str) -> LoadBalancer:
    """The whole tree, no other transaction changing it until this one ends.

    :raises NotFound: there is no such load balancer.
    """
    tx.execute(queries.LOCK, {"lb_id": load_balancer_id})
    lb = _load_once(tx, load_balancer_id)
    if lb is None:
        raise NotFound("Load Balancer", load_balancer_id)
    return lb


def load_balancer_id_of(tx: sa.Connection, kind: Kind[Any], object_id: str) -> str | None:
    """The load balancer that an object belongs to; None if there is no such object."""
    found: str | None = tx.execute(kind.parent, {"object_id": object_id}).scalar()
    return found


def _load_once(tx: sa.Connection, load_balancer_id: str) -> LoadBalancer | None:
    def ask(query: sa.Select[Any]) -> sa.CursorResult[Any]:
        return tx.execute(query, {"lb_id": load_balancer_id})

    root = ask(queries.ROOT).mappings().one_or_none()
    if root is None:
        return None
    tags = _grouped(ask(queries.TAGS), "resource_id", "tag")
    pools = _pools(ask, tags)
    listeners = _listeners(ask, tags)
    return _resource(
        LOAD_BALANCER,
        root,
        tags,
        vip=_vip(root, ask(queries.SECURITY_GROUPS).scalars().all() if root["vip_has_groups"] else ()),
        additional_vips=tuple(_additional_vip(row) for row in ask(queries.ADDITIONAL_VIPS).mappings()),
        vrrp_group=_vrrp_group(root),
        listeners=listeners,
        pools=pools,
    )


def _pools(ask: _Ask, tags: _Tags) -> tuple[Pool, ...]:
    found = ask(queries.POOLS).mappings().all()
    if not found:
        return ()
    members: dict[str, list[Member]] = defaultdict(list)
    for one in ask(queries.MEMBERS).all():
        members[one.pool_id].append(_member(one, tuple(tags.get(one.id, ()))))
    # Of two, one is on its way out, and comes first: the other replaces it.
    monitors = {
        row["pool_id"]: _resource(HEALTH_MONITOR, row, tags) for row in ask(queries.MONITORS).mappings()
    }
    return tuple(
        _resource(
            POOL,
            row,
            tags,
            session_persistence=_persistence(row),
            members=tuple(members[row["id"]]),
            health_monitor=monitors.get(row["id"]),
        )
        for row in found
    )


def _listeners(ask: _Ask, tags: _Tags) -> tuple[Listener, ...]:
    found = ask(queries.LISTENERS).mappings().all()
    if not found:
        return ()
    cidrs = _grouped(ask(queries.CIDRS), "listener_id", "cidr")
    sni: _Tags = {}
    # Elsewhere it would be one more query that finds nothing.
    if any(row["protocol"] in TLS_LISTENERS for row in found):
        sni = _grouped(ask(queries.SNI), "listener_id", "tls_container_id")
    policies = _policies(ask, tags)
    return tuple(
        _resource(
            LISTENER,
            row,
            tags,
            allowed_cidrs=tuple(cidrs.get(row["id"], ())),
            sni_container_refs=tuple(sni.get(row["id"], ())),
            l7_policies=tuple(policies.get(row["id"], ())),
        )
        for row in found
    )


def _policies(ask: _Ask, tags: _Tags) -> Mapping[str, Sequence[L7Policy]]:
    """Id of a listener to its policies."""
    found = ask(queries.POLICIES).mappings().all()
    rules: dict[str, list[L7Rule]] = defaultdict(list)
    for row in ask(queries.RULES).mappings() if found else ():
        rules[row["l7policy_id"]].append(_resource(L7_RULE, row, tags))
    policies: dict[str, list[L7Policy]] = defaultdict(list)
    for row in found:
        policy = _resource(L7_POLICY, row, tags, rules=tuple(rules[row["id"]]))
        policies[row["listener_id"]].append(policy)
    return policies


def _grouped(found: sa.CursorResult[Any], owner: str, value: str) -> Mapping[str, Sequence[str]]:
    """The values of each owner, in the order of the rows."""
    values: dict[str, list[str]] = defaultdict(list)
    for row in found.mappings().all():
        values[row[owner]].append(row[value])
    return values


@lru_cache(maxsize=4096)  # of a thousand that are read again and again, few are others than before
def _member(row: sa.Row[Any], tags: tuple[str, ...]) -> Member:
    return _resource(MEMBER, row._mapping, {row.id: tags})


def _resource(kind: Kind[_R], row: sa.RowMapping, tags: _Tags, **more: Any) -> _R:
    values = dict(zip(kind.columns, kind.pick(row), strict=True))
    for name, parse in kind.parse.items():
        values[name] = parse(values[name])
    return kind.type(**values, tags=tuple(tags.get(row["id"], ())), **more)


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
