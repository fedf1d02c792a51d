# SPDX-License-Identifier: Apache-2.0
"""The tables.

Names of tables and columns follow contract/control-plane.md section 9 where a thing exists there,
so that operators' SQL habits carry over. Ours in addition: ``generation`` columns, ``work``,
``status_reason``, ``settled_form``, ``event``, ``reservation``. What upstream keeps in lookup tables of
enumerated names are plain strings here: their values come from :mod:`octavia.domain`, which checks them.

They are all gathered here since ``metadata`` is whole, and each foreign key known, only when every table is.
"""

from octavia.db.tables.amphorae import amphora, amphora_health, amphora_member_port, listener_statistics
from octavia.db.tables.columns import Moment, metadata
from octavia.db.tables.load_balancers import (
    CHILDREN,
    additional_vip,
    health_monitor,
    l7policy,
    l7rule,
    listener,
    listener_cidr,
    load_balancer,
    member,
    pool,
    session_persistence,
    sni,
    tags,
    vip,
    vip_security_group,
    vrrp_group,
)
from octavia.db.tables.offers import (
    PLACEHOLDER,
    availability_zone,
    availability_zone_profile,
    flavor,
    flavor_profile,
)
from octavia.db.tables.progress import duty, event, provider_call, settled_form, status_reason, work
from octavia.db.tables.projects import quotas, reservation

__all__ = [
    "CHILDREN",
    "PLACEHOLDER",
    "Moment",
    "additional_vip",
    "amphora",
    "amphora_health",
    "amphora_member_port",
    "availability_zone",
    "availability_zone_profile",
    "duty",
    "event",
    "flavor",
    "flavor_profile",
    "health_monitor",
    "l7policy",
    "l7rule",
    "listener",
    "listener_cidr",
    "listener_statistics",
    "load_balancer",
    "member",
    "metadata",
    "pool",
    "provider_call",
    "quotas",
    "reservation",
    "session_persistence",
    "settled_form",
    "sni",
    "status_reason",
    "tags",
    "vip",
    "vip_security_group",
    "vrrp_group",
    "work",
]
