# SPDX-License-Identifier: Apache-2.0
"""The parts of a load balancer tree, as the API shows them."""

from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.views.shape import Column, Record, Relation, View, WideRelation, columns, ids_of
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import PersistenceType, SessionPersistence


def _last(values: list[Any]) -> Any:
    return values[-1]


def _sorted(values: list[Any]) -> tuple[Any, ...]:
    # By code points, whatever the database's collation is.
    return tuple(sorted(values))


_TAGS: Final = Relation("tags", t.tags.c.resource_id, t.tags.c.tag, gather=_sorted)

_COMMON: Final = (
    "id",
    "name",
    "provisioning_status",
    "operating_status",
    "admin_state_up",
    "project_id",
    "created_at",
    "updated_at",
)


def _children(attribute: str, table: sa.Table, parent: sa.Column[Any]) -> Relation:
    return Relation(attribute, parent, table.c.id, table.c.created_at)


_ADDITIONAL_VIP: Final = ("subnet_id", "ip_address", "port_id")
_ADDITIONAL_VIPS: Final = WideRelation(
    "additional_vips",
    sa.select(
        t.additional_vip.c.load_balancer_id.label("parent"),
        *(t.additional_vip.c[name] for name in _ADDITIONAL_VIP),
    )
    .where(ids_of(t.additional_vip.c.load_balancer_id))
    .order_by(t.additional_vip.c.subnet_id),
    lambda rows: [dict(zip(_ADDITIONAL_VIP, row[1:], strict=True)) for row in rows],
)


LOAD_BALANCER: Final = View(
    noun="Load Balancer",
    source=t.load_balancer.outerjoin(t.vip, t.vip.c.load_balancer_id == t.load_balancer.c.id),
    id=t.load_balancer.c.id,
    project=t.load_balancer.c.project_id,
    columns=columns(
        t.load_balancer,
        *_COMMON,
        "description",
        "flavor_id",
        "availability_zone",
        provider=sa.func.coalesce(t.load_balancer.c.provider, "octavia"),
        vip_address=t.vip.c.ip_address,
        vip_port_id=t.vip.c.port_id,
        vip_subnet_id=t.vip.c.subnet_id,
        vip_network_id=t.vip.c.network_id,
        vip_qos_policy_id=t.vip.c.qos_policy_id,
        vip_vnic_type=t.vip.c.vnic_type,
    ),
    hidden={"enabled": t.load_balancer.c.enabled, "topology": t.load_balancer.c.topology},
    order=(t.load_balancer.c.created_at, t.load_balancer.c.id),
    alive=t.load_balancer.c.provisioning_status != ProvisioningStatus.DELETED,
    relations=(
        _children("listeners", t.listener, t.listener.c.load_balancer_id),
        _children("pools", t.pool, t.pool.c.load_balancer_id),
        Relation("vip_sg_ids", t.vip_security_group.c.load_balancer_id, t.vip_security_group.c.sg_id),
        _TAGS,
    ),
    wide_relations=(_ADDITIONAL_VIPS,),
)


def _complete_listener(record: Record) -> None:
    record["insert_headers"] = record["insert_headers"] or {}
    record["loadbalancers"] = record["loadbalancer_id"]


_LISTENER_OF_LB: Final = t.listener.c.load_balancer_id

LISTENER: Final = View(
    noun="Listener",
    source=t.listener,
    id=t.listener.c.id,
    project=t.listener.c.project_id,
    columns=columns(
        t.listener,
        *_COMMON,
        "description",
        "protocol",
        "protocol_port",
        "connection_limit",
        "default_pool_id",
        "timeout_client_data",
        "timeout_member_connect",
        "timeout_member_data",
        "timeout_tcp_inspect",
        "insert_headers",
        "client_authentication",
        "tls_ciphers",
        "tls_versions",
        "alpn_protocols",
        "hsts_max_age",
        "hsts_include_subdomains",
        "hsts_preload",
        default_tls_container_ref=t.listener.c.tls_certificate_id,
        client_ca_tls_container_ref=t.listener.c.client_ca_tls_certificate_id,
        client_crl_container_ref=t.listener.c.client_crl_container_id,
        loadbalancer_id=_LISTENER_OF_LB,
    ),
    hidden={"enabled": t.listener.c.enabled, "load_balancer_id": _LISTENER_OF_LB},
    order=(t.listener.c.created_at, t.listener.c.id),
    relations=(
        Relation("allowed_cidrs", t.listener_cidr.c.listener_id, t.listener_cidr.c.cidr),
        _TAGS,
    ),
    wide_relations=(
        WideRelation(
            "l7policies",
            sa.select(t.l7policy.c.listener_id, t.l7policy.c.id)
            .where(ids_of(t.l7policy.c.listener_id))
            .order_by(t.l7policy.c.position, t.l7policy.c.id),
            lambda rows: tuple(row[1] for row in rows),
        ),
        WideRelation(
            "sni_container_refs",
            sa.select(t.sni.c.listener_id, t.sni.c.tls_container_id)
            .where(ids_of(t.sni.c.listener_id))
            .order_by(t.sni.c.position),
            lambda rows: tuple(row[1] for row in rows),
        ),
    ),
    complete=_complete_listener,
)

# A listener sends traffic to the redirect pool of a policy that can match.
CAN_MATCH: Final = sa.and_(
    t.l7policy.c.enabled.is_(sa.true()),
    t.l7policy.c.delete_requested.is_(sa.false()),
    sa.exists().where(t.l7rule.c.l7policy_id == t.l7policy.c.id, t.l7rule.c.delete_requested.is_(sa.false())),
)


def _complete_pool(record: Record) -> None:
    record["loadbalancers"] = record["loadbalancer_id"]
    type_ = record.pop("persistence_type")
    record["session_persistence"] = (
        SessionPersistence(
            type=PersistenceType(type_),
            **{name: record.pop(name) for name in PERSISTENCE},
        )
        if type_
        else None
    )


PERSISTENCE: Final = ("cookie_name", "persistence_timeout", "persistence_granularity")
_POOL_SCALARS: Final = columns(
    t.pool,
    *_COMMON,
    "description",
    "protocol",
    "lb_algorithm",
    "tls_enabled",
    "tls_ciphers",
    "tls_versions",
    "alpn_protocols",
    tls_container_ref=t.pool.c.tls_certificate_id,
    ca_tls_container_ref=t.pool.c.ca_tls_certificate_id,
    crl_container_ref=t.pool.c.crl_container_id,
    loadbalancer_id=t.pool.c.load_balancer_id,
)
_MONITOR_OF_POOL: Final = (
    sa.select(sa.func.max(t.health_monitor.c.id))
    .where(t.health_monitor.c.pool_id == t.pool.c.id, t.health_monitor.c.delete_requested.is_(sa.false()))
    .scalar_subquery()
)


def _used_by(listener_id: str) -> Column:
    """Is it a pool of that listener's? Some clients filter by it."""
    policies = sa.select(t.l7policy.c.redirect_pool_id).where(
        t.l7policy.c.listener_id == listener_id, CAN_MATCH
    )
    default = sa.select(t.listener.c.default_pool_id).where(t.listener.c.id == listener_id)
    return sa.or_(t.pool.c.id.in_(policies), t.pool.c.id.in_(default))


POOL: Final = View(
    noun="Pool",
    source=t.pool.outerjoin(t.session_persistence, t.session_persistence.c.pool_id == t.pool.c.id),
    id=t.pool.c.id,
    project=t.pool.c.project_id,
    columns=_POOL_SCALARS
    | {"persistence_type": t.session_persistence.c.type}
    | {name: t.session_persistence.c[name] for name in PERSISTENCE},
    hidden={
        "enabled": t.pool.c.enabled,
        "load_balancer_id": t.pool.c.load_balancer_id,
        "healthmonitor_id": _MONITOR_OF_POOL,
        "health_monitor_id": _MONITOR_OF_POOL,
    },
    conditions={"listener_id": _used_by},
    order=(t.pool.c.created_at, t.pool.c.id),
    relations=(
        replace(
            _children("listeners", t.listener, t.listener.c.default_pool_id),
            gather=lambda values: tuple(dict.fromkeys(values)),
            more=(
                Relation(
                    "listeners",
                    t.l7policy.c.redirect_pool_id,
                    t.l7policy.c.listener_id,
                    sa.select(t.listener.c.created_at)
                    .where(t.listener.c.id == t.l7policy.c.listener_id)
                    .scalar_subquery(),
                    only=CAN_MATCH,
                ),
            ),
        ),
        # Of two monitors one is on its way out and the younger replaces it.
        replace(
            _children("healthmonitor_id", t.health_monitor, t.health_monitor.c.pool_id),
            gather=_last,
            empty=None,
        ),
        _children("members", t.member, t.member.c.pool_id),
        _TAGS,
    ),
    complete=_complete_pool,
)

MEMBER: Final = View(
    noun="Member",
    source=t.member,
    id=t.member.c.id,
    project=t.member.c.project_id,
    columns=columns(
        t.member,
        *_COMMON,
        "protocol_port",
        "weight",
        "backup",
        "subnet_id",
        "monitor_address",
        "monitor_port",
        "vnic_type",
        "pool_id",
        address=t.member.c.ip_address,
    ),
    hidden={"enabled": t.member.c.enabled},
    order=(t.member.c.created_at, t.member.c.id),
    parent=t.member.c.pool_id,
    relations=(_TAGS,),
)


def _complete_health_monitor(record: Record) -> None:
    record["pools"] = record["pool_id"]


HEALTH_MONITOR: Final = View(
    noun="Health Monitor",
    source=t.health_monitor,
    id=t.health_monitor.c.id,
    project=t.health_monitor.c.project_id,
    columns=columns(
        t.health_monitor,
        *_COMMON,
        "type",
        "delay",
        "timeout",
        "http_method",
        "url_path",
        "expected_codes",
        "http_version",
        "domain_name",
        "pool_id",
        max_retries=t.health_monitor.c.rise_threshold,
        max_retries_down=t.health_monitor.c.fall_threshold,
    ),
    hidden={"enabled": t.health_monitor.c.enabled},
    order=(t.health_monitor.c.created_at, t.health_monitor.c.id),
    relations=(_TAGS,),
    complete=_complete_health_monitor,
)

L7_POLICY: Final = View(
    noun="L7 Policy",
    source=t.l7policy,
    id=t.l7policy.c.id,
    project=t.l7policy.c.project_id,
    columns=columns(
        t.l7policy,
        *_COMMON,
        "description",
        "action",
        "listener_id",
        "redirect_pool_id",
        "redirect_url",
        "redirect_prefix",
        "redirect_http_code",
        "position",
    ),
    hidden={"enabled": t.l7policy.c.enabled},
    order=(t.l7policy.c.created_at, t.l7policy.c.id),
    relations=(_children("rules", t.l7rule, t.l7rule.c.l7policy_id), _TAGS),
)

L7_RULE: Final = View(
    noun="L7 Rule",
    source=t.l7rule,
    id=t.l7rule.c.id,
    project=t.l7rule.c.project_id,
    columns=columns(
        t.l7rule,
        *(name for name in _COMMON if name != "name"),
        "type",
        "compare_type",
        "key",
        "value",
        "invert",
        "l7policy_id",
    ),
    hidden={"enabled": t.l7rule.c.enabled, "rule_value": t.l7rule.c.value},
    order=(t.l7rule.c.created_at, t.l7rule.c.id),
    parent=t.l7rule.c.l7policy_id,
    relations=(_TAGS,),
)
