# SPDX-License-Identifier: Apache-2.0
"""Amphorae as the API shows them, and whom they work for."""

from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.views.shape import View, columns
from octavia.domain.errors import NotFound
from octavia.domain.statuses import AmphoraStatus

AMPHORA: Final = View(
    noun="Amphora",
    source=t.amphora.outerjoin(t.load_balancer, t.load_balancer.c.id == t.amphora.c.load_balancer_id),
    id=t.amphora.c.id,
    project=t.load_balancer.c.project_id,
    columns=columns(
        t.amphora,
        "id",
        "compute_id",
        "lb_network_ip",
        "vrrp_ip",
        "ha_ip",
        "vrrp_port_id",
        "ha_port_id",
        "cert_expiration",
        "cert_busy",
        "role",
        "status",
        "vrrp_interface",
        "vrrp_id",
        "vrrp_priority",
        "cached_zone",
        "created_at",
        "updated_at",
        "image_id",
        "compute_flavor",
        loadbalancer_id=t.amphora.c.load_balancer_id,
    ),
    hidden={"project_id": t.load_balancer.c.project_id, "load_balancer_id": t.amphora.c.load_balancer_id},
    order=(t.amphora.c.created_at, t.amphora.c.id),
    alive=t.amphora.c.status != AmphoraStatus.DELETED,
    tagged=False,
)

_LB_OF_AMPHORA: Final = sa.select(t.amphora.c.load_balancer_id).where(
    t.amphora.c.id == sa.bindparam("id", type_=sa.String), t.amphora.c.status != AmphoraStatus.DELETED
)


def load_balancer_of_amphora(tx: sa.Connection, amphora_id: str) -> str:
    """The load balancer that an amphora works for.

    :raises NotFound: there is no such amphora, or it works for none.
    """
    found: str | None = tx.execute(_LB_OF_AMPHORA, {"id": amphora_id}).scalar()
    if found is None:
        raise NotFound("Amphora", amphora_id)
    return found
