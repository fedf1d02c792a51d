# SPDX-License-Identifier: Apache-2.0
"""Section ``[keepalived_vrrp]``: how two amphorae share a VIP."""

from typing import Final

from oslo_config import cfg

from octavia.config.values import Seconds

GROUP: Final = "keepalived_vrrp"

OPTIONS: Final = (
    cfg.Opt(
        "vrrp_advert_int",
        type=Seconds(min=0.01, max=255),
        default=1,
        help="Seconds between two advertisements, stored per load balancer at creation. A fraction"
        " needs vrrp_version = 3.",
    ),
    cfg.IntOpt("vrrp_check_interval", default=5, help="Check-script period, seconds."),
    cfg.IntOpt("vrrp_fail_count", default=2, help="Failures before the script is down."),
    cfg.IntOpt("vrrp_success_count", default=2, help="Successes before it is up."),
    cfg.IntOpt(
        "vrrp_garp_refresh_interval",
        default=5,
        help="Seconds between repeated gratuitous ARPs of the master.",
    ),
    cfg.IntOpt("vrrp_garp_refresh_count", default=2, help="Packets per repetition."),
    # Ours, in addition to the options that operators know.
    cfg.IntOpt(
        "vrrp_version",
        default=2,
        choices=[
            (2, "RFC 3768; whole seconds, what existing pairs speak"),
            (3, "RFC 5798; intervals down to 0.01 s"),
        ],
        help="VRRP version of new load balancers, stored per load balancer at creation.",
    ),
)
