# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners without IPVS: what is wanted, what is down, and the kernel's table made so.

What is wanted is on the disk in ``l4.json`` (0600), and so comes back after a restart or a reboot. While the
table is made so, it is there as ``l4.json.new``: an agent that starts beside that may have a table of it.
Members that are down leave the table at once, and conntrack forgets their flows: the next packet of a client
goes to somebody else. What the rules look like is in :mod:`octavia.dataplane.l4.nftables`.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from octavia.amphora_agent import durable, l4_table, netns
from octavia.amphora_agent.l4_checks import PROBED, Checker, Target
from octavia.amphora_agent.l4_table import Table, TableRefused
from octavia.amphora_agent.processes import Processes
from octavia.dataplane.l4 import nftables
from octavia.dataplane.l4.model import BadModel, L4Config, Listener, Pool
from octavia.dataplane.l4.nftables import Flow
from octavia.wire.heartbeat import ListenerReport, PoolReport

LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

_UNTRACKED: Final = "The kernel of this amphora does not track SCTP."
SERVICE: Final = "l4"  # its name among what serves or does not


class L4Refused(Exception):
    """These listeners cannot be served here; what was served before still is."""


class L4:
    """The listeners of this amphora that HAProxy does not serve.

    :param changed: called when a member has gone down or come up; from another thread.
    """

    def __init__(self, base_path: Path, processes: Processes, changed: Callable[[], None]) -> None:
        self._file = base_path / "l4.json"
        self._new = base_path / "l4.json.new"
        self._table = Table(processes)
        self._changed = changed
        # Not the agent's: a member that dies must not wait for HAProxy's reload.
        self._lock = threading.RLock()
        self._config: L4Config | None = None
        self._down: frozenset[str] = frozenset()
        self._saved = True  # is what is live what the file says?
        self._checker = Checker(self._found, netns.run_inside)

    @property
    def can_serve(self) -> bool:
        """Are the programs here that it takes?"""
        return not l4_table.missing_programs()

    @property
    def can_serve_sctp(self) -> bool:
        """Does the kernel know it as well?"""
        return self.can_serve and l4_table.tracks_sctp()

    @property
    def is_wanted(self) -> bool:
        """Has it been told to serve something?"""
        return self._file.exists()

    @property
    def load_balancer_id(self) -> str | None:
        """Whose listeners they are; None while there are none."""
        return self._config.load_balancer_id if self._config else None

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those that are open."""
        return self._config.enabled_listeners if self._config else ()

    # --- changing -------------------------------------------------------------------------------

    def apply(self, wanted: Mapping[str, Any] | None) -> bool:
        """Make this live, without harm to flows that may go on; None serves nothing.

        :param wanted: :meth:`L4Config.to_json`.
        :returns: has anything changed?
        :raises L4Refused: it makes no sense, or the kernel does not take it.
        :raises OSError: it is live, but would not survive a restart; apply it again.
        """
        with self._lock:
            if wanted is None:
                return self._remove()
            config = self._served(wanted)
            if config == self._config and self._saved:
                return False
            self._saved = False
            down = self._checker.watch(_watched(config))
            durable.draft(self._new, json.dumps(config.to_json()))
            try:
                self._install(config, down)
            except L4Refused:
                self._checker.watch(_watched(self._config) if self._config else {})
                self._new.unlink()
                raise
            durable.rename(self._new, self._file)
            self._saved = True
            return True

    def restore(self) -> None:
        """After a start of the agent or of the machine. :raises L4Refused:"""
        with self._lock:
            try:
                wanted = json.loads(self._file.read_text(encoding="utf-8"))
            except FileNotFoundError:
                if self._new.exists():  # an earlier life ended before these were there for good
                    self._refusing(self._table.remove)
                    self._new.unlink()
                return
            self._new.unlink(missing_ok=True)
            # Another kernel may have been booted: what it can serve comes back at least.
            config = self._served(wanted, without_sctp=not l4_table.tracks_sctp())
            self._install(config, self._checker.watch(_watched(config)))
            self._saved = config == L4Config.from_json(wanted)
            # Of an earlier life, that ended between changing the table and ending flows.
            self._table.end_flows_but_to(nftables.targets(config))

    def _served(self, wanted: object, *, without_sctp: bool = False) -> L4Config:
        try:
            config = L4Config.from_json(wanted)
        except BadModel as error:
            raise L4Refused(str(error)) from None
        if missing := l4_table.missing_programs():
            raise L4Refused(f"This amphora lacks {', '.join(missing)}, so it serves neither UDP nor SCTP.")
        others = tuple(one for one in config.listeners if one.protocol != "SCTP")
        if without_sctp and others != config.listeners:
            LOG.error("SCTP listeners do not come back: %s", _UNTRACKED)
            return replace(config, listeners=others)
        if others != config.listeners and not l4_table.tracks_sctp():
            raise L4Refused(_UNTRACKED)
        return config

    def _remove(self) -> bool:
        existed = self._config is not None or self.is_wanted
        if existed:
            before, self._config = self._config, None
            self._checker.watch({})
            self._refusing(self._table.remove)
            if before is not None:
                self._table.end_flows_through(nftables.flows(before))
            self._file.unlink(missing_ok=True)
        return existed

    def _install(self, config: L4Config, down: frozenset[str]) -> None:
        """The kernel's table as wanted; then the flows end that have no place in it."""
        before, before_down = self._config, self._down
        wanted = nftables.render(config, down=down, before=self._table.live)
        self._refusing(lambda: self._table.become(wanted))
        self._config, self._down = config, down
        ways = nftables.flows(config)
        targets = nftables.targets(config, down=down)
        old_ways = nftables.flows(before) if before else frozenset[Flow]()
        old_targets = nftables.targets(before, down=before_down) if before else frozenset[nftables.Target]()
        # New ways too: what came while nobody listened is remembered as a flow to ourselves.
        self._table.end_flows_through(ways ^ old_ways if before else ())
        self._table.end_flows_to(old_targets - targets)

    def _found(self) -> bool:
        """From the checker's thread: members have changed. :returns: has it been acted upon?"""
        with self._lock:
            if self._config is None:
                return True
            try:
                self._install(self._config, self._checker.down)
            except L4Refused as error:
                LOG.warning("Members that changed stay as they were: %s", error)
                return False
        self._changed()
        return True

    @staticmethod
    def _refusing(action: Callable[[], _T]) -> _T:
        try:
            return action()
        except TableRefused as error:
            raise L4Refused(f"nftables: {error}") from error

    # --- reporting (contract: heartbeat.md section 3) -----------------------------------------------

    def reports(self) -> tuple[dict[str, ListenerReport], list[PoolReport]]:
        """Listeners (counters absolute) and pools, as they are now.

        :raises L4Refused: the kernel does not tell.
        """
        with self._lock:
            config, down = self._config, self._down
        if config is None or not config.enabled_listeners:
            return {}, []
        counters = self._refusing(self._table.counters)
        flows = self._table.open_flows(config.vips)
        listeners = {}
        for one in config.enabled_listeners:

            def counted(kind: str, listener: Listener = one) -> tuple[int, int]:
                return counters.get(nftables.counter(kind, listener.id), (0, 0))

            listeners[one.id] = ListenerReport(
                status="OPEN",
                rx=counted("rx")[1],
                tx=counted("tx")[1],
                totconns=counted("new")[0],
                conns=sum(flows[one.protocol, vip, one.port] for vip in config.vips),
            )
        return listeners, [pool_report(pool, down) for pool in config.served_pools]


def pool_report(pool: Pool, down: frozenset[str]) -> PoolReport:
    """Pools of this kind have no listener in their key."""
    members = {}
    for one in pool.members:
        if not one.enabled:
            members[one.id] = "MAINT"
        elif one.id in down:
            members[one.id] = "DOWN"
        elif one.weight == 0:
            members[one.id] = "DRAIN"
        else:
            members[one.id] = "UP" if _probed(pool) else "no check"
    lost = bool(members) and _probed(pool) and not any(said in ("UP", "DRAIN") for said in members.values())
    return PoolReport(pool_id=pool.id, listener_id=None, status="DOWN" if lost else "UP", members=members)


def _probed(pool: Pool) -> bool:
    return pool.check is not None and pool.check.type in PROBED


def _watched(config: L4Config) -> dict[str, Target]:
    return {
        one.id: Target(one.monitor_address or one.address, one.monitor_port or one.port, pool.check)
        for pool in config.served_pools
        if pool.check is not None and _probed(pool)
        for one in pool.members
        if one.enabled
    }
