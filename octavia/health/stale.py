# SPDX-License-Identifier: Apache-2.0
"""The judge of silence: which amphorae that are not heard of should be replaced.

The healer must not be the outage. So the judge proves its own health first, asks a second witness
before it calls anybody dead, never fails both amphorae of a pair at once and stays below a velocity
limit. Then it only asks: it marks an amphora failed and queues its load balancer.

The theory, from the outside in:

- :class:`Judge` knows time: when it may judge at all (:meth:`Judge.once`).
- :func:`judge` is pure: a fleet and what witnesses said in, verdicts out.

Replacing is not here: the worker does it. Hearing is not here: see :mod:`octavia.health.receive`.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, TypeAlias

from octavia.db import duty, silence
from octavia.db.engine import Connection, Database
from octavia.db.silence import Fleet, Silent
from octavia.domain.clock import Clock
from octavia.domain.errors import Transient
from octavia.domain.tree import Amphora
from octavia.drivers.bus.contract import Bell
from octavia.health.receive import Vitals
from octavia.health.witness import Testimony

LOG: Final = logging.getLogger(__name__)

AskWitness: TypeAlias = Callable[[Amphora], Testimony]

_ASKED_A_PASS: Final = 20
_EAR_STUCK_S: Final = 15.0  # the receiver's loop turns at least once a second
_LOGGED_AGAIN: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How careful to be.

    :param timeout: ``heartbeat_timeout``: silence shorter than this says nothing.
    :param threshold: ``failover_threshold``: with as many silent amphorae, none is replaced.
    :param shares_from: amphorae from which on shares are meaningful.
    :param quorum: share of the fleet that must be heard; below it, the judge must be deaf.
    :param share: of the fleet, how many load balancers may be failed within ``window``.
    :param floor: load balancers that may be failed at a time, however small the fleet.
    """

    timeout: timedelta = timedelta(seconds=60)
    threshold: int | None = None
    shares_from: int = 10
    quorum: float = 0.5
    share: float = 0.05
    floor: int = 2

    @property
    def window(self) -> timedelta:
        """Long enough for a replacement to report."""
        return 5 * self.timeout


class Ruling(Enum):
    """What follows for one amphora."""

    REPLACE = "mark it failed"
    HOLD_BACK = "FAILOVER_STOPPED: it would be replaced, but not now"
    RESUME = "ALLOCATED: it is heard again"
    REPAIR = "alive but unheard: send its configuration again"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A ruling with its sentence.

    :param silent: None where the amphora is not silent any more.
    :param limited: it counts towards the velocity limit.
    """

    ruling: Ruling
    amphora_id: str
    load_balancer_id: str
    why: str
    silent: Silent | None = None
    limited: bool = True


def deafness(fleet: Fleet, limits: Limits) -> str | None:
    """Why the judge believes that the fault is its own; None if it does not."""
    if fleet.total < limits.shares_from:
        return None
    heard = fleet.total - len(fleet.silent)
    if heard > fleet.total * limits.quorum:
        return None
    return f"only {heard} of {fleet.total} amphorae are heard, so heartbeats do not arrive here"


def judge(fleet: Fleet, testimonies: Mapping[str, Testimony], limits: Limits, now: datetime) -> list[Verdict]:
    """What should become of those who are silent, and of those who no longer are.

    :param testimonies: amphora to what the second witness said, of those whom it was asked about.
    """
    verdicts = [
        Verdict(Ruling.RESUME, amphora_id, lb_id, f"Amphora {amphora_id} is heard again")
        for amphora_id, lb_id in fleet.resumed
    ]
    if limits.threshold is not None and len(fleet.silent) >= limits.threshold:
        why = f"{len(fleet.silent)} amphorae are silent at once, failover_threshold is {limits.threshold}"
        return verdicts + [_hold_back(one, why, now) for one in fleet.silent if not one.stopped]
    absent = [one for one in fleet.silent if testimonies.get(one.amphora_id) is Testimony.ABSENT]
    # Replacing what is not there destroys nothing: no limit, no quorum, no waiting for a peer.
    verdicts += [_replace(one, Testimony.ABSENT, now, limited=False) for one in absent]
    # Never both of a pair at once: a peer that cannot be asked may be the one that serves.
    taken = set(fleet.unfinished) | {one.load_balancer_id for one in absent}
    deaf = deafness(fleet, limits) is not None
    left = slots(fleet, limits)
    for silent in fleet.silent:
        said = testimonies.get(silent.amphora_id, Testimony.UNKNOWN)
        if said is Testimony.CRIPPLED and now - silent.since >= 2 * limits.timeout:
            said = Testimony.UNREACHABLE  # it was repaired, and that did not help
        if said in (Testimony.ALIVE, Testimony.CRIPPLED):
            verdicts.append(_repair(silent, said, now))
        elif said is Testimony.UNREACHABLE and not deaf and silent.load_balancer_id not in taken:
            if left > 0:
                left -= 1
                taken.add(silent.load_balancer_id)
                verdicts.append(_replace(silent, said, now, limited=True))
            elif not silent.stopped:
                why = "as many load balancers as the velocity limit allows are being repaired"
                verdicts.append(_hold_back(silent, why, now))
    return verdicts


def slots(fleet: Fleet, limits: Limits) -> int:
    """How many more load balancers may be failed now."""
    if fleet.total < limits.shares_from:
        return limits.floor - len(fleet.failed & fleet.unfinished)
    return max(limits.floor, int(fleet.total * limits.share)) - len(fleet.failed)


def _replace(silent: Silent, said: Testimony, now: datetime, *, limited: bool) -> Verdict:
    why = f"Amphora {silent.amphora_id} {_silence(silent, now)} and {said.value}: it is replaced"
    return Verdict(Ruling.REPLACE, silent.amphora_id, silent.load_balancer_id, why, silent, limited)


def _hold_back(silent: Silent, because: str, now: datetime) -> Verdict:
    why = f"Amphora {silent.amphora_id} {_silence(silent, now)}; it is not replaced for now: {because}"
    return Verdict(Ruling.HOLD_BACK, silent.amphora_id, silent.load_balancer_id, why, silent)


def _repair(silent: Silent, said: Testimony, now: datetime) -> Verdict:
    why = (
        f"Amphora {silent.amphora_id} {_silence(silent, now)}, but {said.value}:"
        " its configuration is sent again"
    )
    return Verdict(Ruling.REPAIR, silent.amphora_id, silent.load_balancer_id, why, silent)


def _silence(silent: Silent, now: datetime) -> str:
    seconds = (now - silent.since).total_seconds()
    said = "was last heard" if silent.heard_before else "was never heard, and was made"
    return f"{said} {seconds:.0f} s ago"


class Judge:
    """One a health manager; of several, one at a time judges."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        doorbell: Bell,
        witness: AskWitness,
        limits: Limits,
        *,
        owner: str,
        ear: Callable[[], Vitals] | None = None,
        interval: timedelta = timedelta(seconds=3),
        executor: Executor | None = None,
    ) -> None:
        """Judges nobody for one whole timeout from now on.

        :param owner: names this process among all health managers.
        :param ear: of the receiver in this process; None where there is none.
        :param interval: ``health_check_interval``.
        :param executor: to ask several witnesses at once.
        """
        self._database = database
        self._clock = clock
        self._doorbell = doorbell
        self._witness = witness
        self._limits = limits
        self._owner = owner
        self._ear = ear
        self._interval = interval
        self._executor = executor
        self._not_before = clock.now() + limits.timeout
        self._last_pass = clock.now()
        self._ear_before: Vitals | None = None
        # Amphora to when it was asked about, and to when it was repaired; silent ones only.
        self._asked: dict[str, datetime] = {}
        self._repaired: dict[str, datetime] = {}
        self._said: dict[str, datetime] = {}

    def run(self, stop: threading.Event) -> None:
        """Judge every interval, counted from the end of a pass, until told to stop."""
        while not stop.wait(self._interval.total_seconds()):
            try:
                self.once(self._clock.now())
            except Exception:
                LOG.exception("Judging silence failed")
                self._wait_for_reports(self._clock.now())
        try:
            self._database.write(lambda tx: duty.give_up(tx, duty.JUDGING_SILENCE, self._owner))
        except Transient:
            LOG.debug("The duty of judging silence ends by time")

    def once(self, now: datetime) -> list[Verdict]:
        """One pass; what was ruled and done.

        :param now: naive UTC.
        """
        self._notice_gap(now)
        try:
            why = self._unfit(now)
            if why is not None:
                self._log("unfit", now, "Silence is not judged: %s", why)
                return []
            fleet = self._database.write(lambda tx: self._look(tx, now))
            if fleet is None or now < self._not_before:
                return []
            verdicts = self._rule(fleet, now)
            return [one for one in verdicts if self._carry_out(one, now)]
        except Transient as error:
            self._log("database", now, "Silence is not judged: %s", error)
            self._wait_for_reports(now)
            return []
        finally:
            self._last_pass = self._clock.now()

    # --- may it judge at all? -----------------------------------------------------------------

    def _wait_for_reports(self, now: datetime) -> None:
        # After an outage every heartbeat looks stale. Give the fleet one whole timeout to report
        # again before calling amphorae dead that are perfectly well.
        self._not_before = max(self._not_before, now + self._limits.timeout)

    def _notice_gap(self, now: datetime) -> None:
        """A suspended machine, or a clock that was set: everybody seems to have been silent."""
        if not timedelta(0) <= now - self._last_pass <= max(self._limits.timeout / 2, 3 * self._interval):
            self._not_before = now + self._limits.timeout

    def _unfit(self, now: datetime) -> str | None:
        if self._ear is None:
            return None
        vitals, before = self._ear(), self._ear_before
        self._ear_before = vitals
        why = None
        if self._clock.monotonic() - vitals.turned_at > _EAR_STUCK_S:
            why = "the receiver of heartbeats in this process is stuck"
        elif before and vitals.dropped != before.dropped:
            why = "heartbeats were dropped for want of buffer: raise net.core.rmem_max and sock_rlimit"
        elif before and vitals.outages != before.outages:
            why = "heartbeats could not be written down"
        if why is not None:
            self._wait_for_reports(now)
        return why

    # --- one pass -----------------------------------------------------------------------------

    def _look(self, tx: Connection, now: datetime) -> Fleet | None:
        """The fleet, or None if somebody else judges. Also the proof that the database can be written."""
        if not self._hold(tx, now):
            return None
        return silence.fleet(tx, now - self._limits.timeout, now - self._limits.window)

    def _hold(self, tx: Connection, now: datetime) -> bool:
        return duty.hold(
            tx, duty.JUDGING_SILENCE, self._owner, now, max(timedelta(seconds=30), 5 * self._interval)
        )

    def _rule(self, fleet: Fleet, now: datetime) -> list[Verdict]:
        present = {one.amphora_id for one in fleet.silent}
        self._asked = {one: at for one, at in self._asked.items() if one in present}
        self._repaired = {one: at for one, at in self._repaired.items() if one in present}
        deaf = deafness(fleet, self._limits)
        if deaf:
            self._log("deaf", now, "Only what compute says is gone is replaced: %s", deaf)
        threshold = self._limits.threshold
        stopped = threshold is not None and len(fleet.silent) >= threshold
        testimonies = {} if stopped else self._ask(fleet.silent, now)
        return judge(fleet, testimonies, self._limits, now)

    def _ask(self, silent: Sequence[Silent], now: datetime) -> dict[str, Testimony]:
        """A few a pass, those longest not asked about first; who answered is left alone for a while."""
        rested = now - self._limits.timeout / 2
        asking = [one for one in silent if self._repaired.get(one.amphora_id, rested) <= rested]
        asking.sort(key=lambda one: (self._asked.get(one.amphora_id, datetime.min), one.since))
        ids = [one.amphora_id for one in asking[:_ASKED_A_PASS]]
        if not ids:
            return {}
        with self._database.read() as tx:
            amphorae = silence.rows(tx, ids)
        self._asked |= dict.fromkeys(ids, now)
        answers: Iterable[Testimony]
        if self._executor is None:
            answers = map(self._witness, amphorae.values())
        else:
            answers = self._executor.map(self._witness, amphorae.values())
        return dict(zip(amphorae, answers, strict=True))

    def _carry_out(self, verdict: Verdict, now: datetime) -> bool:
        """Each verdict in a transaction of its own; False if it was overtaken."""
        # A repair that did not help is tried again, but said once.
        again = verdict.ruling is Ruling.REPAIR and verdict.amphora_id in self._repaired
        done = self._database.write(lambda tx: self._write(tx, verdict, now, say=not again))
        if verdict.ruling is Ruling.REPAIR:
            self._repaired[verdict.amphora_id] = now
        if done:
            LOG.log(logging.DEBUG if again else logging.WARNING, "%s", verdict.why)
            self._doorbell.ring()
        return done

    def _write(self, tx: Connection, verdict: Verdict, now: datetime, *, say: bool) -> bool:
        if not self._hold(tx, now):
            return False
        cutoff = now - self._limits.timeout
        match verdict:
            case Verdict(Ruling.RESUME, amphora_id, lb_id, why):
                silence.resume(tx, amphora_id, lb_id, why, now)
            case Verdict(Ruling.REPLACE, silent=Silent() as silent, limited=limited):
                return silence.fail(tx, silent, cutoff, verdict.why, now, limited=limited)
            case Verdict(Ruling.HOLD_BACK, silent=Silent() as silent):
                silence.hold_back(tx, silent, verdict.why, now)
            case Verdict(Ruling.REPAIR, silent=Silent() as silent):
                silence.repair(tx, silent, verdict.why if say else None, now)
        return True

    def _log(self, what: str, now: datetime, sentence: str, *arguments: object) -> None:
        """The same trouble once in a while, not every interval."""
        said = self._said.get(what)
        if said is None or now - said >= _LOGGED_AGAIN:
            self._said[what] = now
            LOG.warning(sentence, *arguments)
