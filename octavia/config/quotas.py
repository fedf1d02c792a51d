# SPDX-License-Identifier: Apache-2.0
"""Section ``[quotas]``: limits of projects that have none of their own."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "quotas"

OPTIONS: Final = (
    cfg.IntOpt(
        "default_load_balancer_quota",
        default=-1,
        help="Load_balancer limit of projects without their own value; -1 unlimited.",
    ),
    cfg.IntOpt(
        "default_listener_quota",
        default=-1,
        help="Listener limit of projects without their own value; -1 unlimited.",
    ),
    cfg.IntOpt(
        "default_member_quota",
        default=-1,
        help="Member limit of projects without their own value; -1 unlimited.",
    ),
    cfg.IntOpt(
        "default_pool_quota", default=-1, help="Pool limit of projects without their own value; -1 unlimited."
    ),
    cfg.IntOpt(
        "default_health_monitor_quota",
        default=-1,
        help="Health_monitor limit of projects without their own value; -1 unlimited.",
    ),
    cfg.IntOpt(
        "default_l7policy_quota",
        default=-1,
        help="L7policy limit of projects without their own value; -1 unlimited.",
    ),
    cfg.IntOpt(
        "default_l7rule_quota",
        default=-1,
        help="L7rule limit of projects without their own value; -1 unlimited.",
    ),
)
