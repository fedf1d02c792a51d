# SPDX-License-Identifier: Apache-2.0
"""Section ``[house_keeping]``: what time alone brings."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "house_keeping"

OPTIONS: Final = (
    cfg.IntOpt("cleanup_interval", default=30, help="Seconds between DB cleanup passes."),
    cfg.IntOpt("amphora_expiry_age", default=604800, help="Age of DELETED amphora rows before purging."),
    cfg.IntOpt("load_balancer_expiry_age", default=604800, help="Age of DELETED LB rows before purging."),
    cfg.IntOpt("cert_interval", default=3600, help="Seconds between expiry scans."),
    cfg.IntOpt("cert_expiry_buffer", default=1209600, help="Rotate when expiry is nearer than this."),
    cfg.IntOpt("cert_rotate_threads", default=10, help="Parallel rotations."),
)
