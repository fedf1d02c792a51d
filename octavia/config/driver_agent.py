# SPDX-License-Identifier: Apache-2.0
"""Section ``[driver_agent]``: where third-party providers report, and whose agents run."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "driver_agent"

OPTIONS: Final = (
    cfg.StrOpt(
        "status_socket_path", default="/var/run/octavia/status.sock", help="Unix socket for status updates."
    ),
    cfg.StrOpt(
        "stats_socket_path", default="/var/run/octavia/stats.sock", help="Unix socket for statistics."
    ),
    cfg.StrOpt("get_socket_path", default="/var/run/octavia/get.sock", help="Unix socket for look-ups."),
    cfg.IntOpt("status_request_timeout", default=5, help="Seconds a status update may take to arrive."),
    cfg.IntOpt("status_max_processes", default=50, help="Status updates handled at the same time."),
    cfg.IntOpt("stats_request_timeout", default=5, help="Seconds statistics may take to arrive."),
    cfg.IntOpt("stats_max_processes", default=50, help="Statistics handled at the same time."),
    cfg.IntOpt("get_request_timeout", default=5, help="Seconds a look-up may take to arrive."),
    cfg.IntOpt("get_max_processes", default=50, help="Look-ups handled at the same time."),
    cfg.FloatOpt(
        "max_process_warning_percent", default=0.75, min=0.01, max=0.99, help="Accepted, without effect."
    ),
    cfg.IntOpt(
        "provider_agent_shutdown_timeout",
        default=60,
        help="Seconds provider agents get after the exit event before they are killed.",
    ),
    cfg.ListOpt(
        "enabled_provider_agents",
        default=[],
        help="Names in entry-point group octavia.driver_agent.provider_agents to start.",
    ),
)
