# SPDX-License-Identifier: Apache-2.0
"""Section ``[health_manager]``: receiving heartbeats and judging silence."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "health_manager"

OPTIONS: Final = (
    cfg.IPOpt("bind_ip", default="127.0.0.1", help="Address the heartbeat socket binds."),
    cfg.PortOpt("bind_port", default=5555, help="UDP port."),
    cfg.IntOpt("failover_threads", default=10, help="Parallel failovers."),
    cfg.IntOpt("health_update_threads", help="Processes applying health; unset = CPU count."),
    cfg.IntOpt("stats_update_threads", help="Processes applying statistics; unset = CPU count."),
    cfg.StrOpt("heartbeat_key", mutable=True, secret=True, help="HMAC key shared with amphorae."),
    cfg.IntOpt(
        "heartbeat_timeout",
        default=60,
        help="Age, in seconds, at which a silent amphora is stale; also the start-up grace.",
    ),
    cfg.IntOpt("health_check_interval", default=3, help="Seconds between stale scans."),
    cfg.IntOpt("sock_rlimit", default=0, help="SO_RCVBUF of the heartbeat socket when >0."),
    cfg.IntOpt("failover_threshold", help="Stop failing over once this many amphorae are stale at once."),
    cfg.ListOpt(
        "controller_ip_port_list",
        default=[],
        mutable=True,
        help="IP:port of every receiver, injected into amphorae.",
    ),
    cfg.IntOpt("heartbeat_interval", default=10, mutable=True, help="Seconds between heartbeats (amphora)."),
)
