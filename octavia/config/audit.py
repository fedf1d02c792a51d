# SPDX-License-Identifier: Apache-2.0
"""Section ``[audit]``: who asked for what, as CADF events (contract: config.md section 19)."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "audit"

OPTIONS: Final = (
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Send an audit event for every request of somebody known; where to is said in"
        " [audit_middleware_notifications].",
    ),
    cfg.StrOpt(
        "audit_map_file",
        default="/etc/octavia/octavia_api_audit_map.conf",
        help="What paths are about. Read when audit is enabled; the API does not start without it.",
    ),
    cfg.StrOpt(
        "ignore_req_list", default="", help="HTTP methods that are not audited, with commas between them."
    ),
)
