# SPDX-License-Identifier: Apache-2.0
"""One history: a world, a controller and tenants, some minutes of turmoil, then peace.

A history is its seed and its events. :func:`play` plays one; :func:`minimise` leaves out of a failing
one whatever it fails without.
"""

import logging
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Final
from unittest import mock

from octavia.wire.heartbeat import encode
from octavia.worker import flow
from tests.simulation.controller import HEARTBEAT_S, KEY, Controller, Store, side_by_side
from tests.simulation.events import TURMOIL_S, Event, draw
from tests.simulation.faults import Gates
from tests.simulation.invariants import EveryCommit, EveryMoment, Peace
from tests.simulation.schedule import START, Process, Schedule, VirtualClock
from tests.simulation.tenants import LIMITS, Tenants
from tests.simulation.world import World

_WORKERS: Final = ("worker-1", "worker-2")
_EARS: Final = ("health-1", "health-2", "health-3")
_KEEPERS: Final = ("housekeeping-1", "housekeeping-2")
_LOOK_EVERY: Final = timedelta(seconds=30)
_PATIENCE: Final = timedelta(minutes=20)  # the longest back-off is a minute, a reservation lasts ten
_SNAPSHOT_S: Final = 20.0
_NARROW: Final = 0.5  # of the histories have tenants with a small quota


@dataclass(frozen=True)
class Violation:
    """A rule that was broken."""

    rule: str
    detail: str
    at: datetime


@dataclass
class History:
    """What happened.

    :ivar lines: time, who, what.
    """

    seed: int
    events: tuple[Event, ...]
    violation: Violation | None = None
    lines: list[tuple[datetime, str, str]] = field(default_factory=list)
    lasted: timedelta = timedelta(0)

    def __str__(self) -> str:
        """A timeline for people."""
        found = self.violation
        head = [f"Seed {self.seed}, {len(self.events)} events, {self.lasted.total_seconds():.0f} s"]
        if found:
            head.append(f"BROKEN at {(found.at - START).total_seconds():.3f}: {found.rule}: {found.detail}")
        body = [f"{(at - START).total_seconds():9.3f}  {who:<28} {what}" for at, who, what in self.lines]
        return "\n".join([*head, *body])


_store: list[Store] = []


def play(seed: int, events: Sequence[Event] | None = None) -> History:
    """Play a history to its end or to the first rule that it breaks."""
    if not _store:
        _store.append(Store())
    chosen = draw(seed) if events is None else tuple(events)
    with _same_every_time(seed):
        one = _Play(seed, chosen, _store[0])
        with _listening(one.violate):
            return one.run()


def minimise(history: History, limit: int = 200) -> History:
    """The same violation from fewer events; at most so many attempts."""
    assert history.violation is not None
    rule, attempts = history.violation.rule, 0
    size = max(1, len(history.events) // 2)
    while size and attempts < limit:
        position, smaller = 0, False
        while position < len(history.events) and attempts < limit:
            attempts += 1
            rest = history.events[:position] + history.events[position + size :]
            again = play(history.seed, rest)
            if again.violation and again.violation.rule == rule:
                history, smaller = again, True
            else:
                position += size
        size = size if smaller and size == 1 else size // 2
    return history


@contextmanager
def _same_every_time(seed: int) -> Iterator[None]:
    """Ids are random in production; here the same seed gives the same ones."""
    rng = random.Random(f"ids {seed}")
    # Of uuid alone: others draw from the system, too, and some of them only once a process.
    with (
        mock.patch.object(uuid, "os", SimpleNamespace(urandom=rng.randbytes)),
        mock.patch.object(flow, "_run_with_the_engine", side_by_side),
    ):
        yield


class _Complaints(logging.Handler):
    """Loops catch what they do not expect and log it: here that is a broken rule."""

    def __init__(self, violate: Callable[[str, str], None]) -> None:
        super().__init__(logging.ERROR)
        self._violate = violate

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._violate("nothing fails in a way nobody thought of", self.format(record))


@contextmanager
def _listening(violate: Callable[[str, str], None]) -> Iterator[None]:
    """Hear what the code under test logs, and keep it off the terminal."""
    logger, handler = logging.getLogger("octavia"), _Complaints(violate)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _Play:
    def __init__(self, seed: int, events: tuple[Event, ...], store: Store) -> None:
        store.restore()
        self.history = History(seed, events)
        self.store = store
        self.clock = VirtualClock()
        self.schedule = Schedule(self.clock, seed)
        self.gates = Gates(self.schedule, say=self.say, violate=self.violate, crash=self._crash)
        self.world = World(self.clock, self.gates)
        limits = LIMITS if random.Random(f"quota {seed}").random() < _NARROW else {}
        self.commits = EveryCommit(store, self.violate, limits, self.world.compute.exists)
        self.moments = EveryMoment(self.world, store, self.violate)
        self.world.compute.before_loss = self.moments.before_loss
        self.world.agents.before_loss = self.moments.before_loss
        self.world.compute.after_loss = self._forget
        self.controller = Controller(self.schedule, self.world, self.gates, store, self._committed, self.say)
        self.tenants = Tenants(self.controller, self.say, self.violate, limits)
        self.peace = Peace(self.controller, self.tenants.ledger, limits)
        self.nature = Process("nature")
        self.snapshots: list[tuple[datetime, bytes]] = []
        self.noisy_until = START

    # --- what is told --------------------------------------------------------------------------

    def say(self, who: str, what: str) -> None:
        self.history.lines.append((self.clock.now(), who, what))

    def violate(self, rule: str, detail: str) -> None:
        if self.history.violation is None:
            self.history.violation = Violation(rule, detail, self.clock.now())
            self.say("BROKEN", f"{rule}: {detail}")

    def _forget(self, amphora_id: str) -> None:
        self.world.agents.forget(amphora_id)
        self.moments.forget(amphora_id)

    def _crash(self, process: Process) -> None:
        self.controller.crash(process)

    def _committed(self, name: str, changes: int) -> None:
        task = self.schedule.current
        if changes and task is not None:
            fence = f" (fence {task.fence})" if task.fence else ""
            if not task.name.endswith(("receiver", "judge", "housekeeping")) or changes > 1:
                self.say(task.name, f"{name}{fence}")
        self.commits.check(task, name, changes)
        self.moments.check_agents()

    # --- the history ---------------------------------------------------------------------------

    def run(self) -> History:
        for name in _WORKERS:
            self.controller.add("worker", name)
        for name in _EARS:
            self.controller.add("health", name)
        for name in _KEEPERS:
            self.controller.add("housekeeping", name)
        self.schedule.spawn(self.nature, "heartbeats", self._beat)
        if any(one.kind == "restore" for one in self.history.events):
            self.schedule.spawn(self.nature, "backup", self._back_up)
        for event in self.history.events:
            self.schedule.spawn(self.nature, "event", lambda one=event: self._happen(one), event.at_s)  # type: ignore[misc]
        try:
            self._pass_time(START + timedelta(seconds=TURMOIL_S + 30))
            self._make_peace()
            self._wait_for_calm()
        finally:
            everybody = [self.nature, *self.controller.everybody, *self.tenants.processes]
            self.schedule.end(everybody)
        self.history.lasted = self.clock.now() - START
        return self.history

    def _pass_time(self, until: datetime) -> None:
        self.schedule.run(until, lambda: self.history.violation is not None)
        if self.schedule.failure is not None:
            task, error = self.schedule.failure
            self.violate("no part ends with an exception", f"{task.name}: {error!r}")

    def _make_peace(self) -> None:
        self.say("world", "peace")
        self.gates.disarm()
        self.world.peace()
        self.noisy_until = START

    def _wait_for_calm(self) -> None:
        """Everything holds, and still does a while later."""
        end, calm = self.clock.now() + _PATIENCE, 0
        while self.history.violation is None:
            self._pass_time(self.clock.now() + _LOOK_EVERY)
            trouble = next(self.peace.troubles(), None) if self.history.violation is None else None
            calm = calm + 1 if trouble is None else 0
            if calm >= 3:
                return
            if trouble is not None and self.clock.now() > end:
                self.violate(*trouble)

    # --- nature --------------------------------------------------------------------------------

    def _beat(self) -> None:
        task = self.schedule.current
        assert task is not None
        rng, turn = task.rng, 0
        late: list[bytes] = []
        while True:
            self.schedule.sleep(HEARTBEAT_S)
            self.moments.check_owners()
            noisy = self.clock.now() < self.noisy_until
            sent = [encode(one, KEY) for one in self.world.heartbeats()]
            if self.gates.is_away("management"):
                continue
            if noisy:
                fates = [(one, rng.random()) for one in sent]
                sent = late + [one for one, fate in fates if fate > 0.3]
                sent += [one for one, fate in fates if fate > 0.8]  # twice
                late = [one for one, fate in fates if fate < 0.2]  # a beat later, or as a ghost
                rng.shuffle(sent)
            turn += 1
            self.controller.deliver(
                [(_EARS[(turn + number) % len(_EARS)], one) for number, one in enumerate(sent)]
            )

    def _back_up(self) -> None:
        while True:
            self.snapshots.append((self.clock.now(), self.store.snapshot()))
            self.schedule.sleep(_SNAPSHOT_S)

    def _happen(self, event: Event) -> None:
        self.say("event", str(event))
        match event.kind:
            case "tenant":
                self.tenants.send(event.what, event.choice)
            case "fault" if event.fault:
                self.gates.arm(event.fault)
            case "away":
                self._take_away(event)
            case "crash":
                alive = [one for one in self.controller.processes.values() if one.alive]
                if alive:
                    self._crash(alive[event.choice % len(alive)])
            case "noise":
                self.noisy_until = self.clock.now() + timedelta(seconds=event.seconds)
            case "restore":
                self._restore(event.seconds)
            case "amphora":
                self._strike_amphora(event)

    def _take_away(self, event: Event) -> None:
        self.gates.take_away(event.what, event.seconds)
        if event.what == "management":
            self.gates.take_away("agent", event.seconds)
        if event.what in ("management", "agent"):
            self.moments.trouble(one.amphora_id for one in self.world.compute.servers())

    def _strike_amphora(self, event: Event) -> None:
        servers = self.world.compute.servers()
        if not servers:
            return
        server = servers[event.choice % len(servers)]
        one, until = server.amphora_id, self.clock.now() + timedelta(seconds=event.seconds)
        self.say("event", f"amphora {one} of {self.world.compute.load_balancer_of(one)} {event.what}")
        match event.what:
            case "burns":
                self.moments.wound(one)
                self.world.compute.crash(one)
            case "vanishes":
                self.moments.wound(one)
                self.world.compute.vanish(one)
            case "reboots":
                self.moments.wound(one)
                self.world.switch_off(one, event.seconds)
            case "forgets its configuration":
                self.moments.wound(one)
                self.world.forget_configuration(one)
            case "goes deaf":
                self.moments.trouble([one])
                self.world.deaf[one] = until
            case "goes silent":
                self.world.silent[one] = until
            case "does not hear its peer":
                self.world.split[self.world.compute.load_balancer_of(one)] = until
            case "is cut off":
                self.moments.trouble([one])
                self.world.deaf[one] = self.world.silent[one] = until

    def _restore(self, seconds: float) -> None:
        """The whole controller stops, the database is an older one, the controller starts again."""
        wanted = self.clock.now() - timedelta(seconds=seconds)
        taken, snapshot = next(
            (one for one in reversed(self.snapshots) if one[0] <= wanted), self.snapshots[0]
        )
        for process in [*self.controller.processes.values(), *self.tenants.processes]:
            if process.alive:
                self._crash(process)
        self.say("world", f"the database is that of {(taken - START).total_seconds():.0f} again")
        self.store.restore(snapshot)
        self.tenants.ledger.forget_since(taken)
        self.commits.start_anew()
        self.moments.start_anew()
