# SPDX-License-Identifier: Apache-2.0
"""Section ``[amphora_agent]``: the agent in the amphora, and where amphorae send their logs."""

from typing import Final

from oslo_config import cfg

from octavia.config.values import TLS_VERSIONS, HostPortType

GROUP: Final = "amphora_agent"

OPTIONS: Final = (
    cfg.StrOpt(
        "agent_server_ca",
        default="/etc/octavia/certs/client_ca.pem",
        help="Path in the amphora: CA that must have signed the controller client certificate.",
    ),
    cfg.StrOpt(
        "agent_server_cert",
        default="/etc/octavia/certs/server.pem",
        help="Path in the amphora: agent certificate + key PEM.",
    ),
    cfg.StrOpt(
        "agent_server_network_dir",
        help="Where interface description files are written; unset means /etc/octavia/interfaces;"
        " rendered into the injected conf when set.",
    ),
    cfg.IntOpt("agent_request_read_timeout", default=180, help="Agent (gunicorn) worker timeout, seconds."),
    cfg.StrOpt(
        "agent_tls_protocol",
        default="TLSv1.2",
        choices=TLS_VERSIONS,
        help="TLS version between agent and controller; also sent to amphorae in their configuration.",
    ),
    cfg.ListOpt(
        "admin_log_targets",
        item_type=HostPortType(),
        help="IP:port list for administrative logs; first is primary, rest failover; unset = no remote.",
    ),
    cfg.ListOpt("tenant_log_targets", item_type=HostPortType(), help="The same for tenant flow logs."),
    cfg.IntOpt("user_log_facility", default=0, min=0, max=7, help="LOCALn number used by HAProxy flow logs."),
    cfg.IntOpt(
        "administrative_log_facility", default=1, min=0, max=7, help="LOCALn number used by amphora daemons."
    ),
    cfg.StrOpt("log_protocol", default="UDP", choices=["TCP", "UDP"], help="Transport used for forwarding."),
    cfg.IntOpt(
        "log_retry_count",
        default=5,
        min=-1,
        help="Reconnect attempts to a log host; -1: for ever, without failover.",
    ),
    cfg.IntOpt("log_retry_interval", default=2, min=1, help="Seconds between them."),
    cfg.IntOpt("log_queue_size", default=10000, min=1, help="Rsyslog queue length in messages."),
    cfg.StrOpt("logging_template_override", help="Controller path of a replacement rsyslog Jinja template."),
    cfg.BoolOpt(
        "forward_all_logs",
        default=False,
        help="Forward every system log (not tenant flows) to the admin targets.",
    ),
    cfg.BoolOpt("disable_local_log_storage", default=False, help="Write no log files in the amphora."),
    cfg.IntOpt(
        "haproxy_hard_stop_after",
        default=1800,
        min=1,
        max=999999,
        help="Seconds that connections of before a reload of HAProxy may last.",
    ),
    cfg.IntOpt(
        "haproxy_drain_limit",
        default=300,
        min=1,
        max=999999,
        help="Seconds that sessions of a removed member may last.",
    ),
    cfg.StrOpt("amphora_id", help="Set only in the file injected into the amphora, never by operators."),
    cfg.StrOpt(
        "amphora_udp_driver",
        default="keepalived_lvs",
        deprecated_for_removal=True,
        deprecated_reason="there is only one",
        help="Backend for UDP/SCTP listeners in the agent (group octavia.amphora.udp_api_server).",
    ),
)
