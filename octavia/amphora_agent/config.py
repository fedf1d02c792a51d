# SPDX-License-Identifier: Apache-2.0
"""``amphora-agent.conf``: oslo.config's INI syntax, sections, keys and defaults, read by configparser.

oslo.config itself is not used: it would cost a tenth of the agent's memory for two dozen keys
(contract: amphora-agent.md section 12, config.md sections 3, 5 and 6).
"""

import configparser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

_T = TypeVar("_T")

SUPERVISORS: Final = ("systemd", "children")
TOPOLOGIES: Final = ("SINGLE", "ACTIVE_STANDBY")


class BadConfiguration(Exception):
    """A file or a value that the agent cannot work with; the text names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Everything that the agent is told; field names are the options' names.

    :param haproxy_hard_stop_after: seconds that connections of before a reload may last.
    :param haproxy_drain_limit: seconds that sessions of a removed member may last.
    :param heartbeat_interval: seconds between two heartbeats.
    :param agent_request_read_timeout: seconds until an idle or stuck connection is closed.
    :param supervisor: ``systemd`` in a virtual machine, ``children`` in a namespace or a container.
    :param syslog_conf: run rsyslogd with this file; None where the amphora has a syslog of its own.
    """

    amphora_id: str
    debug: bool = False
    use_syslog: bool = False
    base_path: Path = Path("/var/lib/octavia")
    base_cert_dir: Path = Path("/var/lib/octavia/certs")
    bind_host: str = "::"
    bind_port: int = 9443
    haproxy_cmd: str = "/usr/sbin/haproxy"
    keepalived_cmd: str = "/usr/sbin/keepalived"
    haproxy_hard_stop_after: int = 1800
    haproxy_drain_limit: int = 300
    administrative_log_facility: int = 1
    controller_ip_port_list: tuple[tuple[str, int], ...] = ()
    heartbeat_interval: float = 10
    heartbeat_key: str | None = None
    agent_server_ca: Path = Path("/etc/octavia/certs/client_ca.pem")
    agent_server_cert: Path = Path("/etc/octavia/certs/server.pem")
    agent_server_network_dir: Path = Path("/etc/octavia/interfaces")
    agent_request_read_timeout: int = 180
    supervisor: str = "systemd"
    rsyslogd_cmd: str = "/usr/sbin/rsyslogd"
    syslog_conf: Path | None = None
    loadbalancer_topology: str = "SINGLE"

    def __repr__(self) -> str:
        """Without the heartbeat key: this may reach a log."""
        return f"AgentConfig(amphora_id={self.amphora_id!r})"

    @property
    def agent_server_cert_trial(self) -> Path:
        """A new server certificate until it is known to be one."""
        return self.agent_server_cert.with_name(".server.pem.trial")

    @property
    def is_single(self) -> bool:
        """Does the agent own the VIP's address, rather than keepalived?"""
        return self.loadbalancer_topology != "ACTIVE_STANDBY"


def load(path: Path) -> AgentConfig:
    """Read a configuration file.

    :raises BadConfiguration: it cannot be read, or a value makes no sense.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{path} cannot be read: {error}") from error


def parse(text: str) -> AgentConfig:
    """The configuration that a file's text describes; unknown sections and keys are ignored.

    :raises BadConfiguration: a value makes no sense.
    """
    section = _sections(text)
    default, amphora, health = section("DEFAULT"), section("haproxy_amphora"), section("health_manager")
    agent, worker = section("amphora_agent"), section("controller_worker")
    usual = AgentConfig(amphora_id=_amphora_id(agent))
    supervisor = agent.get("supervisor", _one_of(SUPERVISORS), usual.supervisor)
    return AgentConfig(
        amphora_id=usual.amphora_id,
        debug=default.get("debug", _boolean, usual.debug),
        use_syslog=default.get("use_syslog", _boolean, usual.use_syslog),
        base_path=amphora.get("base_path", Path, usual.base_path),
        base_cert_dir=amphora.get("base_cert_dir", Path, usual.base_cert_dir),
        bind_host=amphora.get("bind_host", str, usual.bind_host),
        bind_port=amphora.get("bind_port", _port, usual.bind_port),
        haproxy_cmd=amphora.get("haproxy_cmd", str, usual.haproxy_cmd),
        haproxy_hard_stop_after=agent.get("haproxy_hard_stop_after", _whole_seconds, 1800),
        haproxy_drain_limit=agent.get("haproxy_drain_limit", _whole_seconds, 300),
        administrative_log_facility=_log_facility(agent, default, usual.administrative_log_facility),
        controller_ip_port_list=health.get("controller_ip_port_list", _endpoints, ()),
        heartbeat_interval=health.get("heartbeat_interval", _seconds, usual.heartbeat_interval),
        heartbeat_key=health.get("heartbeat_key", str, None),
        agent_server_ca=agent.get("agent_server_ca", Path, usual.agent_server_ca),
        agent_server_cert=agent.get("agent_server_cert", Path, usual.agent_server_cert),
        agent_server_network_dir=agent.get("agent_server_network_dir", Path, usual.agent_server_network_dir),
        agent_request_read_timeout=int(agent.get("agent_request_read_timeout", _seconds, 180.0)),
        supervisor=supervisor,
        syslog_conf=_syslog_conf(agent, supervisor),
        loadbalancer_topology=worker.get("loadbalancer_topology", _one_of(TOPOLOGIES), "SINGLE"),
    )


def _sections(text: str) -> Callable[[str], "_Section"]:
    """Sections by their names; one that is not there is empty."""
    # oslo.config keeps DEFAULT apart; configparser would let it leak into every section.
    parser = configparser.RawConfigParser(
        default_section="\0",
        strict=False,
        allow_no_value=True,
        delimiters=("=", ":"),
        comment_prefixes=("#", ";"),
    )
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise BadConfiguration(str(error)) from error
    return lambda name: _Section(name, parser[name] if parser.has_section(name) else {})


def _amphora_id(agent: "_Section") -> str:
    amphora_id = agent.get("amphora_id", str, "")
    if not amphora_id:
        raise BadConfiguration("[amphora_agent] amphora_id is missing: whose amphora is this?")
    return amphora_id


def _syslog_conf(agent: "_Section", supervisor: str) -> Path | None:
    syslog_conf = agent.get("syslog_conf", str, "")
    if syslog_conf and supervisor != "children":
        raise BadConfiguration(
            "[amphora_agent] syslog_conf needs supervisor = children: systemd runs syslog."
        )
    return Path(syslog_conf) if syslog_conf else None


def _log_facility(agent: "_Section", default: "_Section", usual: int) -> int:
    """As agents are told it, or as controllers tell it (contract: amphora-agent.md section 12)."""
    told = default.get("syslog_log_facility", _local_facility, usual)
    return agent.get("administrative_log_facility", _facility, told)


class _Section:
    """One section; values as oslo.config would see them."""

    def __init__(self, name: str, values: Mapping[str, str | None]) -> None:
        self._name = name
        self._values = values

    def get(self, key: str, convert: Callable[[str], _T], default: _T) -> _T:
        raw = self._values.get(key)
        if raw is None or raw == "":
            return default
        if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'":
            raw = raw[1:-1]
        try:
            return convert(raw)
        except ValueError as error:
            # The value stays out of the text: it may be the heartbeat key's neighbour, quoted badly.
            raise BadConfiguration(f"[{self._name}] {key}: {error}") from None


def _boolean(raw: str) -> bool:
    table = {
        "true": True,
        "1": True,
        "on": True,
        "yes": True,
        "false": False,
        "0": False,
        "off": False,
        "no": False,
    }
    try:
        return table[raw.lower()]
    except KeyError:
        raise ValueError("should be true or false") from None


def _port(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or not 0 <= int(raw) <= 65535:
        raise ValueError("should be a port from 0 to 65535")
    return int(raw)


def _facility(raw: str) -> int:
    if raw not in tuple("01234567"):
        raise ValueError("should be a number from 0 to 7")
    return int(raw)


def _local_facility(raw: str) -> int:
    """oslo.log's way to say it, and the one by which controllers tell it (contract: section 12)."""
    prefix, digit = raw[:-1].upper().removeprefix("LOG_"), raw[-1:]
    if prefix != "LOCAL":
        raise ValueError("should be one of LOG_LOCAL0 to LOG_LOCAL7")
    return _facility(digit)


def _seconds(raw: str) -> float:
    try:
        seconds = float(raw)
    except ValueError:
        raise ValueError("should be a number of seconds") from None
    if not 0 < seconds < 10**6:
        raise ValueError("should be a number of seconds greater than 0")
    return seconds


def _whole_seconds(raw: str) -> int:
    if not raw.isascii() or not raw.isdigit() or not 0 < int(raw) < 10**6:
        raise ValueError("should be a whole number of seconds greater than 0")
    return int(raw)


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def convert(raw: str) -> str:
        if raw not in choices:
            raise ValueError(f"should be one of {', '.join(choices)}")
        return raw

    return convert


def _endpoints(raw: str) -> tuple[tuple[str, int], ...]:
    """``host:port, [v6]:port``; an entry that makes no sense ends the list, as upstream has it."""
    found = []
    for entry in raw.split(","):
        host, colon, port = entry.strip().rpartition(":")
        if not colon or not host:
            break
        try:
            found.append((host.removeprefix("[").removesuffix("]"), _port(port)))
        except ValueError:
            break
    return tuple(found)
