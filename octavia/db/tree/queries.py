# SPDX-License-Identifier: Apache-2.0
"""What a tree is read with: a query a table, each for the load balancer ``:lb_id``.

Built once: building a statement costs more than running it.
"""

from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.domain.statuses import ProvisioningStatus

GENERATION: Final = sa.select(
    t.load_balancer.c.generation,
    t.load_balancer.c.provisioning_status,
    t.load_balancer.c.delete_requested,
).where(t.load_balancer.c.id == sa.bindparam("lb_id"))
LOCK: Final = (
    sa.select(t.load_balancer.c.id).where(t.load_balancer.c.id == sa.bindparam("lb_id")).with_for_update()
)
_OF_LB: Final[sa.BindParameter[str]] = sa.bindparam("lb_id", type_=sa.String)
_POOLS_OF_LB: Final = sa.select(t.pool.c.id).where(t.pool.c.load_balancer_id == _OF_LB)
ROOT: Final = (
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
SECURITY_GROUPS: Final = (
    sa.select(t.vip_security_group.c.sg_id)
    .where(t.vip_security_group.c.load_balancer_id == _OF_LB)
    .order_by(t.vip_security_group.c.sg_id)
)
ADDITIONAL_VIPS: Final = (
    sa.select(t.additional_vip)
    .where(t.additional_vip.c.load_balancer_id == _OF_LB)
    .order_by(t.additional_vip.c.subnet_id)
)
LISTENERS: Final = (
    sa.select(t.listener)
    .where(t.listener.c.load_balancer_id == _OF_LB)
    .order_by(t.listener.c.created_at, t.listener.c.id)
)
CIDRS: Final = (
    sa.select(t.listener_cidr)
    .join(t.listener, t.listener.c.id == t.listener_cidr.c.listener_id)
    .where(t.listener.c.load_balancer_id == _OF_LB)
    .order_by(t.listener_cidr.c.cidr)
)
SNI: Final = (
    sa.select(t.sni)
    .join(t.listener, t.listener.c.id == t.sni.c.listener_id)
    .where(t.listener.c.load_balancer_id == _OF_LB)
    .order_by(t.sni.c.position)
)
_POLICIES_OF_LB: Final = (
    sa.select(t.l7policy.c.id)
    .join(t.listener, t.listener.c.id == t.l7policy.c.listener_id)
    .where(t.listener.c.load_balancer_id == _OF_LB)
)
POLICIES: Final = (
    sa.select(t.l7policy)
    .join(t.listener, t.listener.c.id == t.l7policy.c.listener_id)
    .where(t.listener.c.load_balancer_id == _OF_LB)
    .order_by(t.l7policy.c.position, t.l7policy.c.id)
)
RULES: Final = (
    sa.select(t.l7rule)
    .where(t.l7rule.c.l7policy_id.in_(_POLICIES_OF_LB))
    .order_by(t.l7rule.c.created_at, t.l7rule.c.id)
)
POOLS: Final = (
    sa.select(t.pool, *(c.label(f"sp_{c.name}") for c in t.session_persistence.c))
    .outerjoin(t.session_persistence, t.session_persistence.c.pool_id == t.pool.c.id)
    .where(t.pool.c.load_balancer_id == _OF_LB)
    .order_by(t.pool.c.created_at, t.pool.c.id)
)
MONITORS: Final = (
    sa.select(t.health_monitor)
    .where(t.health_monitor.c.pool_id.in_(_POOLS_OF_LB))
    .order_by(
        t.health_monitor.c.delete_requested.desc(), t.health_monitor.c.created_at, t.health_monitor.c.id
    )
)
MEMBERS: Final = (
    sa.select(t.member)
    .where(t.member.c.pool_id.in_(_POOLS_OF_LB))
    .order_by(t.member.c.created_at, t.member.c.id)
)
TAGS: Final = (
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
