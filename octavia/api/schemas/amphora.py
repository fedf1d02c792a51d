# SPDX-License-Identifier: Apache-2.0
"""The shape of amphorae (contract: api.md section 19). They are shown, never taken."""

from typing import Final

from octavia.api.schemas.common import (
    ADDRESS,
    ID,
    INTEGER,
    STRING,
    UPDATED_AT,
    UUID,
    nullable,
    timestamp,
)
from octavia.api.schemas.fields import Schema, shown
from octavia.api.schemas.types import schema_of
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Role

# Two that only rows of another implementation's database have.
_STATUSES: Final = sorted({*AmphoraStatus, "READY", "FAILOVER_STOPPED"} - {AmphoraStatus.DELETED})

AMPHORA: Final = Schema(
    "amphora",
    ID,
    shown("loadbalancer_id", answer=nullable(UUID), about="Null while it works for none."),
    shown("compute_id", answer=nullable(STRING), about="The server's id in the compute service."),
    shown("lb_network_ip", answer=nullable(ADDRESS), about="Address on the management network."),
    shown("vrrp_ip", answer=nullable(ADDRESS), about="Its own address on the VIP's subnet."),
    shown("ha_ip", answer=nullable(ADDRESS), about="The VIP."),
    shown("vrrp_port_id", answer=nullable(STRING)),
    shown("ha_port_id", answer=nullable(STRING)),
    shown(
        "cert_expiration",
        timestamp,
        answer=nullable(schema_of(timestamp)),
        about="When the certificate of its agent ends.",
    ),
    shown("cert_busy", answer={"type": "boolean"}),
    shown("role", answer=nullable({"type": "string", "enum": list(Role)})),
    shown("status", answer={"type": "string", "enum": _STATUSES}),
    shown("vrrp_interface", answer=nullable(STRING)),
    shown("vrrp_id", answer=nullable(INTEGER)),
    shown("vrrp_priority", answer=nullable(INTEGER)),
    shown("cached_zone", answer=nullable(STRING)),
    shown("created_at", timestamp, answer=nullable(schema_of(timestamp))),
    UPDATED_AT,
    shown("image_id", answer=nullable(STRING)),
    shown("compute_flavor", answer=nullable(STRING)),
)
