# SPDX-License-Identifier: Apache-2.0
"""Which attribute of the tree's objects is which column.

The database's names for attributes are older than the API's; ``COLUMNS`` is the one table that
translates them.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.domain.statuses import OperatingStatus, ProvisioningStatus
from octavia.domain.tree import (
    NO_HEADERS,
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
    Pool,
    Protocol,
    Resource,
    RuleType,
    Topology,
)

_R = TypeVar("_R", bound=Resource)


@dataclass(frozen=True)
class Kind(Generic[_R]):
    """How one kind of resource is kept.

    :param name: what other parts of the controller call the kind.
    :param columns: attribute to column; attributes that are not here live in other tables.
    :param parse: what to do with a column's value to make it the attribute's.
    """

    name: str
    type: type[_R]
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
    name: str, type_: type[_R], table: sa.Table, /, *, without: str = "", **parse: Callable[[Any], Any]
) -> Kind[_R]:
    names = [one.name for one in fields(type_) if one.name not in _ELSEWHERE | {without}]
    columns = {one: COLUMNS.get(one, one) for one in names}
    missing = sorted(set(columns.values()) - set(table.c.keys()))
    assert not missing, f"{table.name} lacks {missing}"
    return Kind(name, type_, table, columns, _STATUS_PARSERS | parse)


def _text(value: str | None) -> str:
    return value or ""


def _headers(value: Mapping[str, str] | None) -> Mapping[str, str]:
    return MappingProxyType(dict(value)) if value else NO_HEADERS


LOAD_BALANCER: Final = _kind(
    "loadbalancer",
    LoadBalancer,
    t.load_balancer,
    name=_text,
    description=_text,
    topology=Topology,
    provider=lambda value: value or "amphora",
)
LISTENER: Final = _kind(
    "listener",
    Listener,
    t.listener,
    name=_text,
    description=_text,
    protocol=Protocol,
    insert_headers=_headers,
    client_authentication=ClientAuthentication,
)
POOL: Final = _kind(
    "pool", Pool, t.pool, name=_text, description=_text, protocol=Protocol, lb_algorithm=Algorithm
)
HEALTH_MONITOR: Final = _kind("healthmonitor", HealthMonitor, t.health_monitor, name=_text, type=MonitorType)
MEMBER: Final = _kind("member", Member, t.member, name=_text)
L7_POLICY: Final = _kind("l7policy", L7Policy, t.l7policy, name=_text, description=_text, action=L7Action)
L7_RULE: Final = _kind("l7rule", L7Rule, t.l7rule, without="name", type=RuleType, compare_type=CompareType)

KINDS: Final[tuple[Kind[Any], ...]] = (
    LOAD_BALANCER,
    LISTENER,
    POOL,
    MEMBER,
    HEALTH_MONITOR,
    L7_POLICY,
    L7_RULE,
)
_BY_TYPE: Final = {kind.type: kind for kind in KINDS}


def kind_of(resource: Resource) -> Kind[Any]:
    """How this one is kept."""
    return _BY_TYPE[type(resource)]
