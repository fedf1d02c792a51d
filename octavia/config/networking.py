# SPDX-License-Identifier: Apache-2.0
"""Section ``[networking]``: retries of calls to the network, and what tenants may ask of it."""

from typing import Final

from oslo_config import cfg, types

GROUP: Final = "networking"

OPTIONS: Final = (
    cfg.IntOpt("max_retries", default=15, help="Attempts for Neutron operations."),
    cfg.IntOpt("retry_interval", default=1, help="First wait, seconds."),
    cfg.IntOpt("retry_backoff", default=1, help="Multiplier of the exponential wait."),
    cfg.IntOpt("retry_max", default=10, help="Longest wait, seconds."),
    cfg.IntOpt("port_detach_timeout", default=300, help="Seconds allowed for a port to leave an instance."),
    cfg.BoolOpt("allow_vip_network_id", default=True, help="API callers may give vip_network_id."),
    cfg.BoolOpt("allow_vip_subnet_id", default=True, help="API callers may give vip_subnet_id."),
    cfg.BoolOpt("allow_vip_port_id", default=True, help="API callers may give vip_port_id."),
    cfg.ListOpt(
        "valid_vip_networks",
        help="Network ids a VIP may use; empty = any; an AZ with its own list overrides it.",
    ),
    cfg.ListOpt("denylist_vip_networks", default=[], help="Network ids a VIP may never use."),
    cfg.ListOpt(
        "reserved_ips",
        default=["169.254.169.254"],
        item_type=types.IPAddress(),
        help="Member addresses that are refused (metadata address by default); string comparison, so"
        " IPv6 in upper-case full form.",
    ),
    cfg.BoolOpt(
        "allow_invisible_resource_usage",
        default=False,
        help="Skip the check, made with the caller's own token, that the VIP/member subnet, network or"
        " port is visible to them.",
    ),
)
