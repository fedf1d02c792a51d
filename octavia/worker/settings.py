# SPDX-License-Identifier: Apache-2.0
"""What the worker reads from configuration, typed."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from oslo_config import cfg

from octavia.dataplane.cloud_init import rsyslog
from octavia.dataplane.cloud_init.agent_conf import AgentConf
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.keepalived.render import KeepalivedSettings
from octavia.domain.errors import Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Options of ``[controller_worker]`` and of what it renders.

    :param owner: who holds the leases: host and process.
    :param lease: how long a lease lasts; every external call takes less.
    :param deadline: how long a write may take until its object shows ERROR.
    :param threads: load balancers that are reconciled at the same time.
    :param sweep: how often the queue is looked into though nobody rang.
    :param unreachable: how long an amphora may be out of reach until it is given up.
    :param replacement_shown: how long a replacement shows PENDING_UPDATE at least, for pollers.
    :param replacement_hidden: when a replacement that takes long shows ACTIVE again.
    :param rsyslog_conf: what a new amphora's syslog does with logs.
    """

    owner: str
    lease: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(minutes=5)
    threads: int = 4
    sweep: timedelta = timedelta(seconds=2)
    unreachable: timedelta = timedelta(seconds=15)
    replacement_shown: timedelta = timedelta(seconds=5)
    replacement_hidden: timedelta = timedelta(minutes=5)
    agent: AgentConf
    haproxy: HaproxySettings = field(default_factory=HaproxySettings)
    keepalived: KeepalivedSettings = field(default_factory=KeepalivedSettings)
    rsyslog_conf: bytes = rsyslog.render(rsyslog.RsyslogSettings())


@dataclass(frozen=True, slots=True)
class _Paths:
    """Directories in the amphora, which both the agent and HAProxy are told."""

    base: str
    certs: str


def from_config(
    conf: cfg.ConfigOpts,
    *,
    owner: str,
    base_path: str | None = None,
    network_dir: str | None = None,
    supervisor: str = "systemd",
    syslog_conf: str | None = None,
) -> WorkerSettings:
    """The settings of a process, out of its octavia.conf.

    :param base_path: data directory in the amphora, where the compute driver wants another one.
    :param network_dir: directory of interface files in the amphora, likewise.
    :param supervisor: who runs HAProxy in the amphora: ``systemd`` or ``children``.
    :param syslog_conf: file in the amphora with which its agent runs a syslog; None: it has one.
    :raises Terminal: the operator's template of rsyslog's configuration is of no use.
    """
    worker, amphora = conf.controller_worker, conf.haproxy_amphora
    own = _Paths(amphora.base_path, amphora.base_cert_dir)
    paths = _Paths(base_path, f"{base_path}/certs") if base_path else own
    agent = replace(_agent(conf, paths, network_dir), supervisor=supervisor, syslog_conf=syslog_conf)
    return WorkerSettings(
        owner=owner,
        lease=timedelta(seconds=worker.lease_seconds),
        deadline=timedelta(seconds=worker.reconcile_deadline),
        threads=worker.worker_threads,
        sweep=timedelta(seconds=worker.sweep_seconds),
        agent=agent,
        haproxy=_haproxy(conf, paths),
        # An upstream agent keeps no such file, and keepalived starts without it all the same.
        keepalived=_keepalived(conf.keepalived_vrrp, paths, track_file=supervisor == "children"),
        rsyslog_conf=_rsyslog_conf(conf.amphora_agent),
    )


def _agent(conf: cfg.ConfigOpts, paths: _Paths, network_dir: str | None) -> AgentConf:
    amphora, agent, health = conf.haproxy_amphora, conf.amphora_agent, conf.health_manager
    return AgentConf(
        controllers=tuple(health.controller_ip_port_list),
        heartbeat_key=health.heartbeat_key,
        heartbeat_interval_s=health.heartbeat_interval,
        base_path=paths.base,
        base_cert_dir=paths.certs,
        bind_host=str(amphora.bind_host),
        bind_port=amphora.bind_port,
        haproxy_cmd=amphora.haproxy_cmd,
        user_log_facility=agent.user_log_facility,
        administrative_log_facility=agent.administrative_log_facility,
        agent_server_ca=agent.agent_server_ca,
        agent_server_cert=agent.agent_server_cert,
        agent_server_network_dir=network_dir or agent.agent_server_network_dir,
        agent_tls_protocol=agent.agent_tls_protocol,
        agent_request_read_timeout_s=agent.agent_request_read_timeout,
        haproxy_hard_stop_after_s=agent.haproxy_hard_stop_after,
        haproxy_drain_limit_s=agent.haproxy_drain_limit,
    )


def _haproxy(conf: cfg.ConfigOpts, paths: _Paths) -> HaproxySettings:
    amphora, agent, api = conf.haproxy_amphora, conf.amphora_agent, conf.api_settings
    return HaproxySettings(
        base_path=paths.base,
        base_cert_dir=paths.certs,
        default_connection_limit=amphora.default_connection_limit,
        timeout_client_data_ms=amphora.timeout_client_data,
        timeout_member_connect_ms=amphora.timeout_member_connect,
        timeout_member_data_ms=amphora.timeout_member_data,
        timeout_tcp_inspect_ms=amphora.timeout_tcp_inspect,
        stick_size=amphora.haproxy_stick_size,
        user_log_format=amphora.user_log_format,
        connection_logging=amphora.connection_logging,
        user_log_facility=agent.user_log_facility,
        administrative_log_facility=agent.administrative_log_facility,
        ping_command=f"{paths.base}/ping-wrapper.sh",
        default_listener_ciphers=api.default_listener_ciphers,
        default_pool_ciphers=api.default_pool_ciphers,
    )


def _keepalived(vrrp: cfg.ConfigOpts.GroupAttr, paths: _Paths, *, track_file: bool) -> KeepalivedSettings:
    return KeepalivedSettings(
        base_path=paths.base,
        check_interval_s=vrrp.vrrp_check_interval,
        fail_count=vrrp.vrrp_fail_count,
        success_count=vrrp.vrrp_success_count,
        garp_refresh_interval_s=vrrp.vrrp_garp_refresh_interval,
        garp_refresh_count=vrrp.vrrp_garp_refresh_count,
        track_file=track_file,
    )


def _rsyslog_conf(agent: cfg.ConfigOpts.GroupAttr) -> bytes:
    settings = rsyslog.RsyslogSettings(
        tenant_log_targets=tuple(rsyslog.Target(*one) for one in agent.tenant_log_targets or ()),
        admin_log_targets=tuple(rsyslog.Target(*one) for one in agent.admin_log_targets or ()),
        user_log_facility=agent.user_log_facility,
        administrative_log_facility=agent.administrative_log_facility,
        log_protocol=agent.log_protocol,
        log_retry_count=agent.log_retry_count,
        log_retry_interval=agent.log_retry_interval,
        log_queue_size=agent.log_queue_size,
        forward_all_logs=agent.forward_all_logs,
        disable_local_log_storage=agent.disable_local_log_storage,
    )
    path = agent.logging_template_override
    try:
        return rsyslog.render(settings, Path(path).read_text(encoding="utf-8") if path else None)
    except (OSError, UnicodeDecodeError, rsyslog.BadTemplate) as why:
        raise Terminal(f"[amphora_agent] logging_template_override = {path} cannot be used: {why}") from why
