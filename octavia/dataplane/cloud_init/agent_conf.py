# SPDX-License-Identifier: Apache-2.0
"""amphora-agent.conf, as it is injected into an amphora (contract: amphora-agent.md section 12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

AGENT_CONF: Final = "/etc/octavia/amphora-agent.conf"
SERVER_CERT: Final = "/etc/octavia/certs/server.pem"
CLIENT_CA: Final = "/etc/octavia/certs/client_ca.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConf:
    """What every amphora of a deployment is told.

    :param controllers: ``ip:port`` of the heartbeat receivers.
    :param heartbeat_interval_s: seconds between two heartbeats.
    :param heartbeat_key: the shared HMAC key.
    :param supervisor: who runs HAProxy and keepalived in the amphora: ``systemd`` or ``children``.
    :param haproxy_hard_stop_after_s: how long connections of before a reload may last.
    :param haproxy_drain_limit_s: how long sessions of a removed member may last.
    :param syslog_conf: file in the amphora with which the agent runs a syslog daemon; None: there is one.
    :param file_paths: keys of ``[amphora_agent]`` and ``[haproxy_amphora]`` that name directories,
        where they differ from the agent's defaults.
    """

    controllers: tuple[str, ...]
    heartbeat_key: str
    heartbeat_interval_s: float = 10
    base_path: str = "/var/lib/octavia"
    base_cert_dir: str = "/var/lib/octavia/certs"
    bind_host: str = "::"
    bind_port: int = 9443
    haproxy_cmd: str = "/usr/sbin/haproxy"
    user_log_facility: int = 0
    administrative_log_facility: int = 1
    agent_server_ca: str = CLIENT_CA
    agent_server_cert: str = SERVER_CERT
    agent_server_network_dir: str | None = None
    agent_tls_protocol: str = "TLSv1.2"
    agent_request_read_timeout_s: int = 180
    supervisor: str = "systemd"
    syslog_conf: str | None = None
    haproxy_hard_stop_after_s: int = 1800
    haproxy_drain_limit_s: int = 300
    debug: bool = False

    def __repr__(self) -> str:
        """Without the key: this may reach a log."""
        return f"AgentConf(controllers={self.controllers})"


def render(conf: AgentConf, *, amphora_id: str, topology: str) -> bytes:
    """The file for one amphora."""
    agent = {
        "agent_server_ca": conf.agent_server_ca,
        "agent_server_cert": conf.agent_server_cert,
        "agent_request_read_timeout": conf.agent_request_read_timeout_s,
        "amphora_id": amphora_id,
        "amphora_udp_driver": "keepalived_lvs",
        "agent_tls_protocol": conf.agent_tls_protocol,
        "supervisor": conf.supervisor,
        "haproxy_hard_stop_after": conf.haproxy_hard_stop_after_s,
        "haproxy_drain_limit": conf.haproxy_drain_limit_s,
    }
    if conf.agent_server_network_dir:
        agent["agent_server_network_dir"] = conf.agent_server_network_dir
    if conf.syslog_conf:
        agent["syslog_conf"] = conf.syslog_conf
    sections: dict[str, Mapping[str, object]] = {
        "DEFAULT": {
            "debug": conf.debug,
            "use_syslog": True,
            "syslog_log_facility": f"LOG_LOCAL{conf.administrative_log_facility}",
        },
        "haproxy_amphora": {
            "base_cert_dir": conf.base_cert_dir,
            "base_path": conf.base_path,
            "bind_host": conf.bind_host,
            "bind_port": conf.bind_port,
            "haproxy_cmd": conf.haproxy_cmd,
            "user_log_facility": conf.user_log_facility,
            "administrative_log_facility": conf.administrative_log_facility,
        },
        "health_manager": {
            "controller_ip_port_list": ", ".join(conf.controllers),
            "heartbeat_interval": conf.heartbeat_interval_s,
            "heartbeat_key": conf.heartbeat_key,
        },
        "amphora_agent": agent,
        "controller_worker": {"loadbalancer_topology": topology},
    }
    lines: list[str] = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in options.items()), ""]
    return "\n".join(lines).encode()
