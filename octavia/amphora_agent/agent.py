# SPDX-License-Identifier: Apache-2.0
"""The agent put together: what it owns, the lock that orders changes, how it starts and ends.

What each request does is in :mod:`octavia.amphora_agent.handlers`.
"""

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from octavia.amphora_agent import config as configuration
from octavia.amphora_agent import details, durable, heartbeat, l4, stats_socket
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.haproxy import Change, Haproxy, Invalid
from octavia.amphora_agent.interfaces import Interfaces
from octavia.amphora_agent.keepalived import Keepalived
from octavia.amphora_agent.l4 import L4, L4Refused
from octavia.amphora_agent.l4_lvs import Lvs
from octavia.amphora_agent.metrics import MetricsProxy
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.state import AgentState
from octavia.amphora_agent.supervisor import OnChange, Service, ServiceFailed, Supervisor
from octavia.amphora_agent.syslog import SYSLOG, Syslog
from octavia.dataplane.haproxy import runtime
from octavia.wire.agent import EXTENSION_L4, EXTENSION_SCTP, EXTENSIONS, Apply, CertificateFile
from octavia.wire.heartbeat import Heartbeat

LOG = logging.getLogger(__name__)

UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
DRAIN_LOOK_SECONDS: Final = 0.5  # how often sessions of removed members are looked at, while there are some
# HAProxy runs it with an empty PATH.
_PING_WRAPPER: Final = """\
#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec ping -q -n -w1 -c1 "$HAPROXY_SERVER_ADDR" > /dev/null 2>&1
"""

MakeSupervisor = Callable[[Processes, OnChange], Supervisor]


class Agent:
    """Everything in one amphora."""

    def __init__(
        self, config: AgentConfig, config_file: Path, processes: Processes, make: MakeSupervisor
    ) -> None:
        self.config = config
        self._config_file = config_file
        self.processes = processes
        self._lock = threading.RLock()
        self.supervisor = make(processes, self._heard_of)
        self.state = AgentState(config.base_path / "agent-state.json")
        self.keepalived = Keepalived(config, self.supervisor)
        self.interfaces = Interfaces(lambda: self.config, processes)
        self.versions = details.Versions(processes, config.haproxy_cmd, config.keepalived_cmd)
        self.reloads: Counter[str] = Counter()
        self._haproxies: dict[str, Haproxy] = {}
        self._not_serving: set[str] = set()
        self._counters = heartbeat.Counters(config.base_path / "stats_counters.json")
        self.heartbeat = heartbeat.Sender(lambda: self.config, self._report)
        self._removed_members = threading.Event()
        self._metrics = MetricsProxy(self.reloads)
        self.l4 = L4(config.base_path, processes, self.heartbeat.report_soon)
        self.lvs = Lvs(config, self.supervisor, processes)
        self._syslog = Syslog(config, self.supervisor)

    # --- what is here -------------------------------------------------------------------------

    def haproxy(self, load_balancer_id: str) -> Haproxy:
        """The HAProxy of a load balancer, whether it exists already or not."""
        if load_balancer_id not in self._haproxies:
            self._haproxies[load_balancer_id] = Haproxy(
                load_balancer_id, self.config, self.supervisor, self.processes, self.versions, self.reloads
            )
        return self._haproxies[load_balancer_id]

    def haproxies(self) -> list[Haproxy]:
        """Those that have a configuration, running or not."""
        base = self.config.base_path
        names = [path.name for path in base.iterdir()] if base.exists() else []
        return [one for name in sorted(names) if UUID.fullmatch(name) and (one := self.haproxy(name)).exists]

    def info(self) -> dict[str, Any]:
        """The body of ``GET /info``."""
        return {
            **details.info(self.versions),
            "extensions": [
                *EXTENSIONS,
                *([EXTENSION_L4] if self.l4.can_serve else []),
                *([EXTENSION_SCTP] if self.l4.can_serve_sctp else []),
            ],
            "fence": self.state.fence,
            "generation": self.state.generation,
            "vrrp_state": self.vrrp_state(),
        }

    def vrrp_state(self) -> str | None:
        """What keepalived is, as the kernel sees it."""
        return self.keepalived.state(self.interfaces.vip_addresses())

    # --- changing -----------------------------------------------------------------------------

    @contextmanager
    def admitted(self, fence: int | None) -> Iterator[None]:
        """The check of the fencing number and the action that it guards, under one lock.

        :raises FencedOff: a higher number has been seen.
        """
        with self._lock:
            self.state.admit(fence)
            yield

    def apply(self, load_balancer_id: str, wanted: Apply, fence: int | None) -> Change:
        """Make HAProxy's and keepalived's configuration live, then remember the generation.

        :raises Missing: certificates are to be sent along.
        :raises Overtaken: a newer request of the same lease was faster.
        :raises Invalid: HAProxy refuses; what ran before still runs.
        :raises L4Refused: UDP or SCTP listeners cannot be served; those of before still are.
        :raises ServiceFailed: keepalived does not come up, or HAProxy was killed meanwhile.
        """
        self.state.check_order(load_balancer_id, wanted.generation, fence)
        change = self.run_haproxy(load_balancer_id, wanted.haproxy, wanted.certificates)
        self.serve_l4(wanted.l4)
        # After HAProxy: whoever gets the VIP by this must be able to serve.
        self.keepalived.apply(wanted.keepalived)
        self.state.change(load_balancer_id, generation=wanted.generation, generation_fence=fence)
        return change

    def run_haproxy(
        self, load_balancer_id: str, text: str | None, files: Mapping[str, CertificateFile] | None = None
    ) -> Change:
        """Make one configuration live; None removes it.

        :raises Missing: not all files that it names are here.
        :raises Invalid: HAProxy refuses it.
        """
        haproxy = self.haproxy(load_balancer_id)
        if text is None:
            change = haproxy.remove()
            self._not_serving.discard(haproxy.service.name)
        else:
            stale = self.state.load_balancer(load_balancer_id).certificates_changed
            change = haproxy.apply(text, certificates_changed=stale, wanted_files=files)
        self.haproxy_changed(load_balancer_id, change)
        return change

    def serve_l4(self, wanted: Mapping[str, Any] | None) -> None:
        """Make the UDP and SCTP listeners live; None serves none. :raises L4Refused:"""
        was_open = bool(self.l4.listeners)
        if not self.l4.apply(wanted):
            return
        if l4.SERVICE in self._not_serving:
            self._not_serving.discard(l4.SERVICE)
            self.refresh_checks()
        if self.l4.listeners and not was_open and self.config.is_single:
            self.interfaces.announce()
        self.heartbeat.report_soon()

    def haproxy_changed(self, load_balancer_id: str, change: Change) -> None:
        """What follows a change: checks, announcements, a heartbeat, the look for removed members."""
        if change.action in ("started", "reloaded"):
            self.state.change(load_balancer_id, certificates_changed=False)
            if self.config.is_single:
                self.interfaces.announce()
        if change.action in ("started", "stopped"):
            self.refresh_checks()
        if change.action == "changed":
            self._removed_members.set()
        if change.action != "unchanged":
            self.heartbeat.report_soon()

    def refresh_checks(self) -> None:
        """Tell keepalived which HAProxies should run, and whether they do."""
        if not self.config.is_single:
            running = [one for one in self.haproxies() if one.is_running]
            self.keepalived.write_check_scripts([one.stats_socket for one in running])
        self.keepalived.tell_haproxy_is_down(bool(self._not_serving))

    def update_config(self, text: str) -> None:
        """Replace the configuration file; what can change at runtime does.

        :raises BadConfiguration: it makes no sense; the old one stays.
        :raises OSError: it cannot be written.
        """
        new = configuration.parse(text)
        durable.write(self._config_file, text)
        self.config = new
        logging.getLogger().setLevel(logging.DEBUG if new.debug else logging.INFO)
        self.heartbeat.report_soon()

    # --- life ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Bring back what ran before: interfaces, HAProxy, keepalived; then heartbeats."""
        with self._lock:
            base = self.config.base_path
            base.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            durable.write(base / "ping-wrapper.sh", _PING_WRAPPER, mode=0o755)
            self._syslog.start()
            self.interfaces.restore()
            present = self.haproxies()
            self._not_serving = {one.service.name for one in present if one.live.exists()}
            self._not_serving |= {l4.SERVICE} if self.l4.is_wanted else set()
            self.refresh_checks()
            for haproxy in present:
                try:
                    haproxy.restore()
                    self._not_serving.discard(haproxy.service.name)
                except (Invalid, ServiceFailed):
                    LOG.exception("%s does not come back", haproxy.service.name)
            try:
                self.l4.restore()
                self._not_serving.discard(l4.SERVICE)
            except (L4Refused, OSError, ValueError):
                LOG.exception("UDP and SCTP listeners do not come back")
            try:
                self.lvs.restore()
            except (ServiceFailed, OSError):
                LOG.exception("Listeners of LVS do not come back")
            self.refresh_checks()
            try:
                self.keepalived.restore()
            except (ServiceFailed, OSError):
                LOG.exception("keepalived does not come back")
        self.heartbeat.start()
        self._metrics.start()
        self._removed_members.set()  # of an earlier life
        threading.Thread(target=self._delete_removed_members, name="removed-members", daemon=True).start()

    def _remove_leftovers(self) -> None:
        """What an earlier life was writing or trying out when it was killed; there may be keys in it."""
        config = self.config
        for directory in (config.base_path, config.base_cert_dir, config.agent_server_network_dir):
            durable.remove_leftovers(directory)
        trial = config.agent_server_cert_trial
        trial.unlink(missing_ok=True)
        for file in (self._config_file, config.agent_server_cert, trial):
            durable.remove_leftover(file)
        for directory in config.base_path.iterdir():
            if UUID.fullmatch(directory.name):
                self.haproxy(directory.name).remove_leftovers()

    def end(self) -> None:
        """Stop what are our own children; keepalived first, so that the peer takes the VIP at once."""
        if not self.supervisor.ends_with_agent:
            return
        # Without the lock: a request that hangs must not keep the VIP here.
        self.keepalived.stop()
        for haproxy in list(self._haproxies.values()):
            haproxy.stop()
        self.lvs.stop()
        self._syslog.stop()

    def _heard_of(self, service: Service, serves: bool) -> None:
        """From the supervisor's threads: a program died, or serves again."""
        if service.name == SYSLOG:
            return  # traffic flows without logs too
        if service.name == self.keepalived.service.name:
            if not serves:
                LOG.error("keepalived died; this amphora is silent until it is back")
            return
        if serves:
            self._not_serving.discard(service.name)
        else:
            self._not_serving.add(service.name)
        self.keepalived.tell_haproxy_is_down(bool(self._not_serving))
        self.heartbeat.report_soon()

    def _delete_removed_members(self) -> None:
        while True:
            self._removed_members.wait()
            self._removed_members.clear()
            try:
                while self._some_still_drain():
                    self._removed_members.wait(DRAIN_LOOK_SECONDS)
                    self._removed_members.clear()
            except Exception:
                LOG.exception("Removed members stay in HAProxy until the next change")

    def _some_still_drain(self) -> bool:
        with self._lock:
            looks = [one.delete_drained() for one in self.haproxies()]
        return any(looks)

    def _report(self, seq: int) -> Heartbeat | None:
        """The content of a heartbeat; None when silence is the message."""
        if self.keepalived.is_wanted and not self.keepalived.is_running:
            return None
        rows = []
        for haproxy in self.haproxies():
            if not haproxy.is_running:
                continue
            try:
                rows += runtime.parse_stat(haproxy.ask(runtime.SHOW_ALL))
            except (stats_socket.NoAnswer, ValueError) as error:
                LOG.warning("%s tells nothing: %s", haproxy.service.name, error)
        listeners, pools = heartbeat.reports(rows)
        for others in (self.l4.reports, self.lvs.reports):
            try:
                datagrams, their_pools = others()
                listeners, pools = {**listeners, **datagrams}, [*pools, *their_pools]
            except (L4Refused, ServiceFailed, OSError, ValueError) as error:
                LOG.warning("UDP and SCTP listeners tell nothing: %s", error)
        return Heartbeat(
            amphora_id=self.config.amphora_id,
            seq=seq,
            listeners=self._counters.differences(listeners),
            pools=tuple(pools),
            generation=self.state.generation,
            vrrp_state=self.vrrp_state(),
        )
