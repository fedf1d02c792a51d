# SPDX-License-Identifier: Apache-2.0
"""The shape of amphorae (contract: api.md section 19). They are shown, never taken."""

from typing import Final

from octavia.api.schemas.common import timestamp
from octavia.api.schemas.fields import Schema, shown

AMPHORA: Final = Schema(
    "amphora",
    shown("id"),
    shown("loadbalancer_id"),
    shown("compute_id"),
    shown("lb_network_ip"),
    shown("vrrp_ip"),
    shown("ha_ip"),
    shown("vrrp_port_id"),
    shown("ha_port_id"),
    shown("cert_expiration", timestamp),
    shown("cert_busy"),
    shown("role"),
    shown("status"),
    shown("vrrp_interface"),
    shown("vrrp_id"),
    shown("vrrp_priority"),
    shown("cached_zone"),
    shown("created_at", timestamp),
    shown("updated_at", timestamp),
    shown("image_id"),
    shown("compute_flavor"),
)
