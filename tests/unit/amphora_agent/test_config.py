# SPDX-License-Identifier: Apache-2.0
"""amphora-agent.conf as oslo.config would read it."""

from pathlib import Path

import pytest
from oslo_config import cfg

from octavia.amphora_agent.config import BadConfiguration, load, parse
from octavia.dataplane.cloud_init.agent_conf import AgentConf, render

INJECTED = """\
[DEFAULT]
debug = False
use_syslog = True
syslog_log_facility = LOG_LOCAL1

[haproxy_amphora]
base_cert_dir = /var/lib/octavia/certs
base_path = /var/lib/octavia
bind_host = ::
bind_port = 9443
haproxy_cmd = /usr/sbin/haproxy
user_log_facility = 0
administrative_log_facility = 1

[health_manager]
controller_ip_port_list = 192.0.2.10:5555, [2001:db8::1]:5556
heartbeat_interval = 10
heartbeat_key = some = key, with # odd; signs

[amphora_agent]
agent_server_ca = /etc/octavia/certs/client_ca.pem
agent_server_cert = /etc/octavia/certs/server.pem
agent_request_read_timeout = 180
amphora_id = 5f1b2a3c-0000-4000-8000-000000000001
amphora_udp_driver = keepalived_lvs
agent_tls_protocol = TLSv1.2

[controller_worker]
loadbalancer_topology = ACTIVE_STANDBY
"""


def test_the_injected_file_is_understood() -> None:
    config = parse(INJECTED)
    assert config.amphora_id == "5f1b2a3c-0000-4000-8000-000000000001"
    assert config.controller_ip_port_list == (("192.0.2.10", 5555), ("2001:db8::1", 5556))
    assert config.heartbeat_interval == 10
    assert config.base_cert_dir == Path("/var/lib/octavia/certs")
    assert config.supervisor == "systemd"
    assert not config.is_single
    assert config.use_syslog


def test_it_reads_what_oslo_config_reads(tmp_path: Path) -> None:
    """The odd cases: signs in values, quotes, spaces, comments, continued lines."""
    text = (
        "[health_manager]\nheartbeat_key = 'a \"key\"  '\n# heartbeat_interval = 1\n"
        "heartbeat_interval: 3\ncontroller_ip_port_list = 10.0.0.1:1,\n   10.0.0.2:2\n"
        '[amphora_agent]\namphora_id="x y"\n'
    )
    (tmp_path / "a.conf").write_text(text)
    oslo = cfg.ConfigOpts()
    oslo.register_opts(
        [
            cfg.StrOpt("heartbeat_key"),
            cfg.IntOpt("heartbeat_interval"),
            cfg.ListOpt("controller_ip_port_list"),
        ],
        "health_manager",
    )
    oslo.register_opts([cfg.StrOpt("amphora_id")], "amphora_agent")
    oslo(["--config-file", str(tmp_path / "a.conf")], project="x")
    ours = load(tmp_path / "a.conf")
    assert ours.heartbeat_key == oslo.health_manager.heartbeat_key
    assert ours.heartbeat_interval == oslo.health_manager.heartbeat_interval
    assert ours.amphora_id == oslo.amphora_agent.amphora_id
    listed = [f"{host}:{port}" for host, port in ours.controller_ip_port_list]
    assert listed == oslo.health_manager.controller_ip_port_list


def test_the_defaults_are_the_contracts() -> None:
    config = parse("[amphora_agent]\namphora_id = a\n")
    assert (config.bind_host, config.bind_port) == ("::", 9443)
    assert config.agent_server_cert == Path("/etc/octavia/certs/server.pem")
    assert config.agent_server_network_dir == Path("/etc/octavia/interfaces")
    assert config.is_single
    assert config.controller_ip_port_list == ()


def test_the_facility_of_the_agents_logs_is_what_the_controller_chose() -> None:
    conf = AgentConf(controllers=(), heartbeat_key="k", administrative_log_facility=6)
    assert parse(render(conf, amphora_id="a", topology="SINGLE").decode()).administrative_log_facility == 6
    assert parse("[amphora_agent]\namphora_id = a\n").administrative_log_facility == 1


def test_how_long_old_connections_last_is_what_the_controller_chose() -> None:
    conf = AgentConf(controllers=(), heartbeat_key="k", haproxy_hard_stop_after_s=60, haproxy_drain_limit_s=7)
    told = parse(render(conf, amphora_id="a", topology="SINGLE").decode())
    assert (told.haproxy_hard_stop_after, told.haproxy_drain_limit) == (60, 7)


def test_an_amphora_without_an_image_is_told_its_syslog() -> None:
    conf = AgentConf(controllers=(), heartbeat_key="k", supervisor="children", syslog_conf="/etc/a.conf")
    assert parse(render(conf, amphora_id="a", topology="SINGLE").decode()).syslog_conf == Path("/etc/a.conf")


def test_an_entry_that_makes_no_sense_ends_the_list_of_controllers() -> None:
    text = "[amphora_agent]\namphora_id=a\n[health_manager]\ncontroller_ip_port_list = a:1, b, c:3\n"
    assert parse(text).controller_ip_port_list == (("a", 1),)


def test_default_does_not_leak_into_other_sections() -> None:
    assert (
        parse("[DEFAULT]\nbind_port = 1\n[haproxy_amphora]\n[amphora_agent]\namphora_id=a\n").bind_port
        == 9443
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "amphora_id = a\n",
        "[amphora_agent]\namphora_id = a\nsupervisor = upstart\n",
        "[amphora_agent]\namphora_id = a\n[haproxy_amphora]\nbind_port = 65536\n",
        "[amphora_agent]\namphora_id = a\n[health_manager]\nheartbeat_interval = 0\n",
        "[amphora_agent]\namphora_id = a\n[controller_worker]\nloadbalancer_topology = RING\n",
        "[DEFAULT]\ndebug = perhaps\n[amphora_agent]\namphora_id = a\n",
        "[DEFAULT]\nsyslog_log_facility = LOG_LOCAL8\n[amphora_agent]\namphora_id = a\n",
        "[DEFAULT]\nsyslog_log_facility = 1\n[amphora_agent]\namphora_id = a\n",
        "[amphora_agent]\namphora_id = a\nsupervisor = systemd\nsyslog_conf = /etc/rsyslog.conf\n",
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(BadConfiguration):
        parse(text)


def test_the_heartbeat_key_is_in_no_text_of_the_configuration() -> None:
    config = parse(INJECTED)
    assert config.heartbeat_key == "some = key, with # odd; signs"
    assert "odd" not in repr(config)


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="cannot be read"):
        load(tmp_path / "none")


@pytest.mark.parametrize(("key", "usual"), [("haproxy_hard_stop_after", 1800), ("haproxy_drain_limit", 300)])
def test_old_connections_have_whole_seconds_to_end(key: str, usual: int) -> None:
    start = "[amphora_agent]\namphora_id = a\n"
    assert getattr(parse(start), key) == usual
    assert getattr(parse(f"{start}{key} = 60\n"), key) == 60
    for nonsense in ("never", "0.5", "-1"):
        with pytest.raises(BadConfiguration, match=key):
            parse(f"{start}{key} = {nonsense}\n")
