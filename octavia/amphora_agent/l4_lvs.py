# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners as controllers of REST 1.0 send them: a keepalived each, over the kernel's IPVS.

Contract: amphora-agent.md sections 3 and 8, heartbeat.md section 3. Only where the kernel has IPVS; elsewhere
a listener is refused. Controllers that know the extension ``l4`` use :mod:`octavia.amphora_agent.l4` anyway.
"""

import logging
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Final

from octavia.amphora_agent import durable
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import NETNS, Service, ServiceFailed, Supervisor
from octavia.wire.heartbeat import ListenerReport, PoolReport

LOG = logging.getLogger(__name__)

IP_VS: Final = Path("/proc/net/ip_vs")
_PREFIX: Final = "octavia-keepalivedlvs-"
_UDP_CHECK: Final = '#!/bin/bash\nexec nc -uz -w 1 "$1" "$2" > /dev/null 2>&1\n'
_COMMENT = re.compile(r"^\s*# (?:Configuration for )?(\w+) ([0-9a-f-]{36})( is disabled)?\s*$")
_GROUP_LINE = re.compile(r"^\s*([0-9A-Fa-f.:]+) (\d+)\s*$")
_REAL_SERVER = re.compile(r"^\s*real_server ([0-9A-Fa-f.:]+) (\d+)\b")
_CHECKERS: Final = ("MISC_CHECK", "HTTP_GET", "TCP_CHECK")

Place = tuple[str, int]
"""An address in its one spelling and a port."""


class NoIpvs(Exception):
    """The kernel of this amphora has no IPVS."""


class Lvs:
    """The LVS listeners of this amphora. Callers hold the agent's lock for everything that changes."""

    def __init__(self, config: AgentConfig, supervisor: Supervisor, processes: Processes) -> None:
        self._config = config
        self._directory = config.base_path / "lvs"
        self._supervisor = supervisor
        self._processes = processes

    def listeners(self) -> list[str]:
        """Ids of those that have a configuration."""
        names = (path.name for path in self._directory.glob(f"{_PREFIX}*.conf"))
        return sorted(name.removeprefix(_PREFIX).removesuffix(".conf") for name in names)

    def running(self) -> list[str]:
        """Ids of those whose keepalived runs."""
        return [one for one in self.listeners() if self._supervisor.main_pid(self._service(one)) is not None]

    def text(self, listener_id: str) -> str:
        """Its configuration. :raises FileNotFoundError: there is none."""
        return self._file(listener_id, "conf").read_text(encoding="utf-8")

    # --- changing -------------------------------------------------------------------------------

    def upload(self, listener_id: str, text: str) -> None:
        """Store a configuration for a later start or reload. :raises NoIpvs:"""
        if not IP_VS.exists():
            raise NoIpvs("The kernel of this amphora has no IPVS, so it serves no listener through LVS.")
        durable.write(self._directory / "check" / "udp_check.sh", _UDP_CHECK, mode=0o755)
        durable.write(self._file(listener_id, "conf"), text, mode=0o644)

    def act(self, listener_id: str, action: str) -> None:
        """``start``, ``stop`` or ``reload``, which is a restart: a reload would forget the members.

        :raises ServiceFailed: its keepalived does not come up.
        """
        service = self._service(listener_id)
        if action != "start":
            self._supervisor.stop(service)
        if action != "stop":
            self._supervisor.start(service)

    def delete(self, listener_id: str) -> None:
        """Stop it and forget it; absent is a success."""
        self._supervisor.stop(self._service(listener_id))
        for suffix in ("conf", "pid", "vrrp.pid", "check.pid"):
            self._file(listener_id, suffix).unlink(missing_ok=True)

    def restore(self) -> None:
        """After a start of the agent or of the machine. :raises ServiceFailed:"""
        for one in self.listeners():
            if not self._supervisor.adopt(self._service(one)):
                self._supervisor.start(self._service(one))

    def stop(self) -> None:
        """End them all; they are our own children."""
        for one in self.listeners():
            self._supervisor.stop(self._service(one))

    def _file(self, listener_id: str, suffix: str) -> Path:
        return self._directory / f"{_PREFIX}{listener_id}.{suffix}"

    def _service(self, listener_id: str) -> Service:
        return Service(
            name=f"{_PREFIX}{listener_id}",
            argv=(
                *(self._config.keepalived_cmd, "--dont-fork", "--check", "--log-console"),
                *("--use-file", str(self._file(listener_id, "conf"))),
                *("--pid", str(self._file(listener_id, "pid"))),
                *("--vrrp_pid", str(self._file(listener_id, "vrrp.pid"))),
                *("--checkers_pid", str(self._file(listener_id, "check.pid"))),
            ),
            pid_file=self._file(listener_id, "pid"),
            reload_signal=signal.SIGHUP,
            notify_socket=self._file(listener_id, "ntf"),
            notifies=False,
            unit_options=("KillMode=process",),
            more_pid_files=(self._file(listener_id, "vrrp.pid"), self._file(listener_id, "check.pid")),
        )

    # --- reporting (contract: heartbeat.md section 3) -----------------------------------------------

    def reports(self) -> tuple[dict[str, ListenerReport], list[PoolReport]]:
        """Listeners (counters absolute) and pools of those that run and are enabled."""
        running = self.running()
        if not running:
            return {}, []
        table = kernel_table(self._inside("cat", str(IP_VS)))
        counted = kernel_counters(self._inside("ipvsadm", "-Ln", "--stats", "--exact"))
        listeners: dict[str, ListenerReport] = {}
        pools: list[PoolReport] = []
        for listener_id in running:
            conf = parse(self.text(listener_id))
            if conf.disabled:
                continue
            listeners[listener_id] = listener_report(conf, table, counted)
            if conf.pool_id is not None:
                pools.append(pool_report(conf, table, restarting=self._is_restarting(listener_id)))
        return listeners, pools

    def _is_restarting(self, listener_id: str) -> bool:
        try:
            checker = self._file(listener_id, "check.pid").stat().st_mtime
        except FileNotFoundError:
            return True
        return self._file(listener_id, "conf").stat().st_mtime > checker

    def _inside(self, *argv: str) -> str:
        result = self._processes.run(("ip", "netns", "exec", NETNS, *argv))
        if result.returncode:
            raise ServiceFailed(f"{argv[0]}: {result.output.strip()}")
        return result.output


@dataclass(slots=True)
class Conf:
    """What the comments and the lines of a listener's file say.

    :param members: id to place; None for one that is disabled.
    """

    disabled: bool = False
    vips: list[Place] = field(default_factory=list)
    pool_id: str | None = None
    monitored: bool = False
    members: dict[str, Place | None] = field(default_factory=dict)


def parse(text: str) -> Conf:
    """The file of a listener (contract: amphora-agent.md section 7)."""
    conf = Conf(monitored=any(word in text for word in _CHECKERS))
    in_group = False
    member: str | None = None
    for line in text.splitlines():
        if line.startswith("virtual_server_group "):
            in_group = True
        elif line.startswith("}"):
            in_group = False
        elif in_group and (place := _GROUP_LINE.match(line)):
            conf.vips.append((str(ip_address(place[1])), int(place[2])))
        elif comment := _COMMENT.match(line):
            kind, one, disabled = comment[1], comment[2], bool(comment[3])
            conf.disabled |= kind == "Listener" and disabled
            conf.pool_id = one if kind == "Pool" else conf.pool_id
            if kind == "Member":
                member = None if disabled else one
                conf.members[one] = None
        elif member is not None and (server := _REAL_SERVER.match(line)):
            conf.members[member] = (str(ip_address(server[1])), int(server[2]))
            member = None
    return conf


@dataclass(frozen=True, slots=True)
class Real:
    """A member in the kernel's table."""

    weight: int
    active: int


Table = Mapping[Place, Mapping[Place, Real]]


def kernel_table(text: str) -> Table:
    """``/proc/net/ip_vs``: VIP to its members."""
    found: dict[Place, dict[Place, Real]] = {}
    reals: dict[Place, Real] | None = None
    for words in (line.split() for line in text.splitlines()):
        if words[:1] and words[0] in ("UDP", "SCTP"):
            reals = found.setdefault(_hex_place(words[1]), {})
        elif words[:1] == ["TCP"] or words[:1] == ["FWM"]:
            reals = None
        elif words[:1] == ["->"] and reals is not None and len(words) >= 6 and words[3].isdigit():
            reals[_hex_place(words[1])] = Real(weight=int(words[3]), active=int(words[4]))
    return found


def _hex_place(word: str) -> Place:
    address, _, port = word.rpartition(":")
    if address.startswith("["):
        return str(ip_address(address.strip("[]"))), int(port, 16)
    return str(IPv4Address(int(address, 16))), int(port, 16)


def kernel_counters(text: str) -> dict[Place, tuple[int, int, int]]:
    """``ipvsadm -Ln --stats --exact``: VIP to connections, bytes in, bytes out."""
    return dict(_counters(text))


def _counters(text: str) -> Iterator[tuple[Place, tuple[int, int, int]]]:
    for words in (line.split() for line in text.splitlines()):
        if len(words) >= 7 and words[0] in ("UDP", "SCTP"):
            address, _, port = words[1].rpartition(":")
            place = (str(ip_address(address.strip("[]"))), int(port))
            yield place, (int(words[2]), int(words[5]), int(words[6]))


def listener_report(
    conf: Conf, table: Table, counted: Mapping[Place, tuple[int, int, int]]
) -> ListenerReport:
    """Sums over all of its VIPs."""
    every = [counted.get(vip, (0, 0, 0)) for vip in conf.vips]
    active = sum(real.active for vip in conf.vips for real in table.get(vip, {}).values())
    return ListenerReport(
        status="OPEN",
        conns=active,
        totconns=sum(one[0] for one in every),
        rx=sum(one[1] for one in every),
        tx=sum(one[2] for one in every),
    )


def pool_report(conf: Conf, table: Table, *, restarting: bool) -> PoolReport:
    """What keepalived has left in the kernel's table is up."""
    there = {place: real for vip in conf.vips for place, real in table.get(vip, {}).items()}
    missing = "RESTARTING" if restarting else "DOWN"
    well = "UP" if conf.monitored else "no check"
    members = {}
    for member_id, place in conf.members.items():
        if place is None:
            members[member_id] = "MAINT"
        elif place not in there:
            members[member_id] = missing if there or conf.monitored else "no check"
        else:
            members[member_id] = "DRAIN" if there[place].weight == 0 else well
    lost = bool(conf.members) and not there and conf.monitored
    assert conf.pool_id is not None
    return PoolReport(
        pool_id=conf.pool_id, listener_id=None, status="DOWN" if lost else "UP", members=members
    )
