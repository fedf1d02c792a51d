# SPDX-License-Identifier: Apache-2.0
"""Heartbeats of amphorae on their way to operating statuses, statistics and "last heard".

Verifies what arrived within some milliseconds, holds it against the database and writes the
differences, all in one transaction. Several health managers hear the same amphora in turn, so the
database is the truth; what is remembered here is of a version (:mod:`octavia.db.heartbeats`).
Noticing that a heartbeat is *missing* is not here: see :mod:`octavia.health.stale`.
"""

import logging
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import octavia.db.statistics as counters
from octavia.db import amphorae, heartbeats, statuses
from octavia.db.amphorae import Heard
from octavia.db.engine import Connection, Database
from octavia.db.heartbeats import Parts, SeenLoadBalancer, Sender, Version
from octavia.domain.clock import Clock
from octavia.domain.errors import Transient
from octavia.drivers.bus.contract import Bell
from octavia.health.derive import IN_SERVICE, Changes, believed, derive, differs_from_wanted, is_redundant
from octavia.health.inbox import Arrived, Inbox
from octavia.health.statistics import Tally
from octavia.wire.heartbeat import BadHeartbeat, Heartbeat, decode

LOG: Final = logging.getLogger(__name__)

_VRRP_STATES: Final = frozenset({"MASTER", "BACKUP", "FAULT"})
_BATCH: Final = 1000
_REMEMBERED: Final = 20_000  # load balancers; about 1 KiB each
_ZOMBIES: Final = 1000
_IDLE_S: Final = 1.0
_SILENT_LOG_S: Final = 10.0
_ZOMBIE_LOG: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """From section ``[health_manager]``.

    :param bind_port: UDP; 0 takes any free one.
    :param buffer_bytes: ``sock_rlimit``; 0 asks the kernel for a few MiB.
    :param key: ``heartbeat_key``.
    :param timeout: ``heartbeat_timeout``: who was heard before that is not fresh.
    :param interval: ``heartbeat_interval``: what was received longer ago says nothing any more.
    :param gather: how long a batch waits for company. Status changes are that much later, and at load
        it divides the price of a transaction among its heartbeats.
    :param repair_interval: an amphora is not repaired again within it.
    """

    key: str | None
    bind_ip: str = "127.0.0.1"
    bind_port: int = 5555
    buffer_bytes: int = 0
    timeout: timedelta = timedelta(seconds=60)
    interval: timedelta = timedelta(seconds=10)
    gather: timedelta = timedelta(milliseconds=100)
    repair_interval: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the judge of silence wants to know of the ear before it believes in silence.

    :param turned_at: monotonic seconds of the loop's last turn.
    :param dropped: datagrams lost so far for want of buffer.
    :param outages: batches lost so far for want of a database.
    """

    turned_at: float
    dropped: int
    outages: int


@dataclass(slots=True)
class Handled:
    """What one batch came to.

    :param changes: statuses written.
    :param repairs: amphorae whose configuration was ordered again.
    :param zombies: senders that should not exist.
    """

    heard: int = 0
    changes: Changes = field(default_factory=dict)
    repairs: list[str] = field(default_factory=list)
    zombies: list[str] = field(default_factory=list)


class Receiver:
    """One a health manager."""

    def __init__(self, database: Database, clock: Clock, doorbell: Bell, settings: ReceiverSettings) -> None:
        self._database = database
        self._clock = clock
        self._doorbell = doorbell
        self._settings = settings
        self._inbox: Inbox | None = None
        self._remembered: dict[str, tuple[Version, Parts]] = {}
        self._belongs_to: dict[str, str] = {}  # amphora to load balancer
        # Amphora to when its listeners were first seen to differ, and to when it was last repaired.
        self._differing: dict[str, datetime] = {}
        self._repaired: dict[str, datetime] = {}
        self.zombies: dict[str, datetime] = {}
        self._turned_at = clock.monotonic()
        self._dropped = 0
        self._outages = 0
        self._refused = 0
        self._refusal_logged_at = float("-inf")

    def vitals(self) -> Vitals:
        """For the judge, from any thread."""
        return Vitals(self._turned_at, self._dropped, self._outages)

    def open(self) -> Inbox:
        """Bind the socket, once.

        :raises Terminal: the address cannot be bound.
        """
        if self._inbox is None:
            settings = self._settings
            self._inbox = Inbox(settings.bind_ip, settings.bind_port, settings.buffer_bytes)
        return self._inbox

    def run(self, stop: threading.Event) -> None:
        """Receive until told to stop; returns about a second later.

        :raises Terminal: the address cannot be bound.
        """
        inbox = self.open()
        try:
            while not stop.is_set():
                if inbox.wait(_IDLE_S) and not stop.wait(self._settings.gather.total_seconds()):
                    self._receive(inbox.drain(_BATCH))
                    self._dropped = inbox.dropped
                self._turned_at = self._clock.monotonic()
        finally:
            inbox.close()
            self._inbox = None

    def _receive(self, arrived: Sequence[Arrived]) -> None:
        reports = list(self._verified(arrived))
        if not reports:
            return
        try:
            self.handle(reports, self._clock.now())
        except Transient as error:
            # The amphorae will report again; the judge gives them the time to.
            self._outages += 1
            LOG.warning("%d heartbeats were lost: %s", len(reports), error)
        except Exception:
            self._outages += 1
            LOG.exception("%d heartbeats were lost", len(reports))

    def _verified(self, arrived: Iterable[Arrived]) -> Iterable[Heartbeat]:
        latest_s = self._settings.interval.total_seconds()
        for one in arrived:
            if one.age_s >= latest_s:
                self._refuse(f"it waited {one.age_s:.1f} s to be read, longer than heartbeat_interval", one)
                continue
            try:
                yield decode(one.datagram, self._settings.key)
            except BadHeartbeat as error:
                self._refuse(str(error), one)

    def _refuse(self, why: str, one: Arrived) -> None:
        # Anybody can send datagrams: they must not be able to fill the log.
        self._refused += 1
        now = self._clock.monotonic()
        if now - self._refusal_logged_at >= _SILENT_LOG_S:
            LOG.warning("%d heartbeats refused, the last from %s: %s", self._refused, one.source, why)
            self._refused, self._refusal_logged_at = 0, now

    # --- one batch ----------------------------------------------------------------------------

    def handle(self, reports: Sequence[Heartbeat], now: datetime) -> Handled:
        """Take reports in, in the order of their arrival.

        :param now: naive UTC.
        :raises Transient: the database cannot be used; nothing was written.
        """
        newest = {one.amphora_id: one for one in reports}
        handled = self._database.write(lambda tx: self._apply(tx, reports, newest, now))
        if len(self._differing) > _REMEMBERED:
            self._differing.clear()
        recently = now - self._settings.repair_interval
        self._repaired = {one: at for one, at in self._repaired.items() if at > recently}
        for amphora_id in handled.repairs:
            self._repaired[amphora_id] = now
            LOG.warning("Amphora %s does not run the listeners it should: sending them again", amphora_id)
        for zombie in handled.zombies:
            self._note_zombie(zombie, now)
        if handled.repairs:
            self._doorbell.ring()
        return handled

    def _apply(
        self,
        tx: Connection,
        reports: Sequence[Heartbeat],
        newest: Mapping[str, Heartbeat],
        now: datetime,
    ) -> Handled:
        """One transaction; it may run more than once, so what it remembers must not depend on that."""
        by_lb = heartbeats.fleets(tx, self._load_balancers(tx, newest), now - self._settings.timeout)
        parts = self._parts(tx, [fleet[0].load_balancer for fleet in by_lb.values()])
        handled = Handled()
        repairs: dict[str, list[str]] = {}
        known: dict[str, Heard] = {}
        listeners: dict[str, set[str]] = {}
        for lb_id, fleet in by_lb.items():
            lb, below = fleet[0].load_balancer, parts[lb_id]
            report = believed(fleet, newest)
            if report is not None:
                redundant = is_redundant(fleet, newest)
                handled.changes.update(derive(lb, below, report, redundant=redundant))
            ids = {one.id for one in below.listeners}
            for sender in fleet:
                if sender.id not in newest:
                    continue
                listeners[sender.id] = ids
                if sender.known:
                    known[sender.id] = Heard(now, sender.vrrp_state, sender.generation)
                if self._needs_repair(sender, lb, below, newest[sender.id], now):
                    repairs.setdefault(lb_id, []).append(sender.id)
        strangers = [one for one in newest if one not in listeners]
        alone = heartbeats.load_balancers_of(tx, strangers) if strangers else {}
        handled.zombies = [one for one in strangers if one not in alone]
        tally = Tally()
        for one in reports:
            if one.amphora_id in listeners:
                tally.count(one, listeners[one.amphora_id])
        heard = {one: _heard(newest[one], now) for one in newest if one in listeners or one in alone}
        handled.heard = len(heard)
        if handled.changes:
            statuses.write_operating(tx, handled.changes)
        for lb_id, amphora_ids in sorted(repairs.items()):
            heartbeats.request_repair(tx, lb_id, amphora_ids, now)
            handled.repairs += amphora_ids
        amphorae.record_heard(tx, heard, known)
        counters.add(tx, tally.differences)
        counters.replace(tx, tally.sums)
        return handled

    def _load_balancers(self, tx: Connection, amphora_ids: Collection[str]) -> set[str]:
        unknown = [one for one in amphora_ids if one not in self._belongs_to]
        if unknown:
            for amphora_id, lb_id in heartbeats.load_balancers_of(tx, unknown).items():
                if lb_id is not None:
                    self._belongs_to[amphora_id] = lb_id
        found = {self._belongs_to[one] for one in amphora_ids if one in self._belongs_to}
        while len(self._belongs_to) > 2 * _REMEMBERED:
            self._belongs_to.pop(next(iter(self._belongs_to)))
        return found

    def _parts(self, tx: Connection, lbs: Sequence[SeenLoadBalancer]) -> dict[str, Parts]:
        found: dict[str, Parts] = {}
        unknown: dict[str, Version] = {}
        for lb in lbs:
            remembered = self._remembered.get(lb.id)
            if remembered is not None and remembered[0] == lb.version:
                found[lb.id] = remembered[1]
            else:
                unknown[lb.id] = lb.version
        if unknown:
            # Read after the versions: what is newer than its version is read again next time.
            for lb_id, parts in heartbeats.parts(tx, unknown).items():
                found[lb_id] = parts
                self._remembered.pop(lb_id, None)
                self._remembered[lb_id] = unknown[lb_id], parts
            while len(self._remembered) > _REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
        return found

    def _needs_repair(
        self, sender: Sender, lb: SeenLoadBalancer, parts: Parts, report: Heartbeat, now: datetime
    ) -> bool:
        """Twice in a row, since a report may have been on its way while the configuration changed."""
        if sender.status not in IN_SERVICE or not differs_from_wanted(lb, parts, report):
            self._differing.pop(sender.id, None)
            return False
        since = self._differing.setdefault(sender.id, now)
        repaired = self._repaired.get(sender.id)
        if sender.repairing or since == now:
            return False
        return repaired is None or now - repaired >= self._settings.repair_interval

    def _note_zombie(self, amphora_id: str, now: datetime) -> None:
        """The sweep of orphans deletes its server, if compute has one; here it is only noticed."""
        logged = self.zombies.get(amphora_id)
        if logged is not None and now - logged < _ZOMBIE_LOG:
            return
        if len(self.zombies) >= _ZOMBIES:
            self.zombies.pop(next(iter(self.zombies)))
        self.zombies[amphora_id] = now
        LOG.warning("Amphora %s sends heartbeats, but there is none of that id any more", amphora_id)


def _heard(report: Heartbeat, now: datetime) -> Heard:
    state = report.vrrp_state if report.vrrp_state in _VRRP_STATES else None
    return Heard(now, state, report.generation)
