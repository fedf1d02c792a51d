# SPDX-License-Identifier: Apache-2.0
"""Section ``[haproxy_amphora]``: HAProxy in the amphora and the way to its agent."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "haproxy_amphora"

OPTIONS: Final = (
    cfg.StrOpt("base_path", default="/var/lib/octavia", help="Data directory in the amphora."),
    cfg.StrOpt(
        "base_cert_dir",
        default="/var/lib/octavia/certs",
        help="Certificate directory in the amphora (RAM disk).",
    ),
    cfg.StrOpt("haproxy_template", help="Replacement HAProxy Jinja template on the controller."),
    cfg.BoolOpt("connection_logging", default=True, help="False renders no per-connection logging."),
    cfg.IntOpt("connection_max_retries", default=120, help="Attempts to reach a freshly booted amphora."),
    cfg.IntOpt("connection_retry_interval", default=5, help="Seconds between them."),
    cfg.IntOpt("active_connection_max_retries", default=15, help="Attempts to reach an amphora believed up."),
    cfg.IntOpt(
        "active_connection_retry_interval",
        default=2,
        deprecated_name="active_connection_rety_interval",
        help="Seconds between them.",
    ),
    cfg.IntOpt(
        "failover_connection_max_retries", default=2, help="Attempts to reach an amphora during a failover."
    ),
    cfg.IntOpt("failover_connection_retry_interval", default=5, help="Seconds between them."),
    cfg.IntOpt("build_rate_limit", default=-1, help="Concurrent amphora builds; -1 = unlimited."),
    cfg.IntOpt("build_active_retries", default=120, help="Waits for a build slot."),
    cfg.IntOpt("build_retry_interval", default=5, help="Seconds between those waits."),
    cfg.StrOpt("haproxy_stick_size", default="10k", help="Stick-table entries, with k/m/g suffix."),
    cfg.StrOpt(
        "user_log_format",
        default="{{ project_id }} {{ lb_id }} %f %ci %cp %t %{+Q}r %ST %B %U %[ssl_c_verify]"
        " %{+Q}[ssl_c_s_dn] %b %s %Tt %tsc",
        help="HAProxy log format for flow logs; {{ project_id }} and {{ lb_id }} are the two substitutions.",
    ),
    cfg.IPOpt("bind_host", default="::", help="Agent listen address, copied into the injected file."),
    cfg.PortOpt("bind_port", default=9443, help="Agent port, both sides."),
    cfg.StrOpt(
        "lb_network_interface",
        default="o-hm0",
        help="Scope id appended when the amphora address is IPv6 link-local.",
    ),
    cfg.StrOpt("haproxy_cmd", default="/usr/sbin/haproxy", help="HAProxy binary in the amphora."),
    cfg.IntOpt(
        "respawn_count",
        default=2,
        deprecated_for_removal=True,
        deprecated_reason="it has no effect",
        help="No effect.",
    ),
    cfg.IntOpt(
        "respawn_interval",
        default=2,
        deprecated_for_removal=True,
        deprecated_reason="it has no effect",
        help="No effect.",
    ),
    cfg.FloatOpt("rest_request_conn_timeout", default=10, help="Connect timeout to the agent, seconds."),
    cfg.FloatOpt("rest_request_read_timeout", default=60, help="Read timeout, seconds."),
    cfg.IntOpt("timeout_client_data", default=50000, help="Default of the listener attribute, ms."),
    cfg.IntOpt("timeout_member_connect", default=5000, help="Default of the listener attribute, ms."),
    cfg.IntOpt("timeout_member_data", default=50000, help="Default of the listener attribute, ms."),
    cfg.IntOpt("timeout_tcp_inspect", default=0, help="Default of the listener attribute, ms."),
    cfg.StrOpt(
        "client_cert",
        default="/etc/octavia/certs/client.pem",
        help="Controller certificate + key PEM presented to agents.",
    ),
    cfg.StrOpt(
        "server_ca",
        default="/etc/octavia/certs/server_ca.pem",
        help="CA that signs agent certificates, trusted by the controller.",
    ),
    cfg.IntOpt(
        "api_db_commit_retry_attempts",
        default=15,
        help="Worker retries while the API transaction is not yet visible.",
    ),
    cfg.IntOpt("api_db_commit_retry_initial_delay", default=1, help="First wait, seconds."),
    cfg.IntOpt("api_db_commit_retry_backoff", default=1, help="Added per retry."),
    cfg.IntOpt("api_db_commit_retry_max", default=5, help="Longest wait."),
    cfg.IntOpt("default_connection_limit", default=50000, help="Maxconn used where a listener has -1/unset."),
)
