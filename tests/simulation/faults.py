# SPDX-License-Identifier: Apache-2.0
"""The places where a task can be interrupted, and what may happen to it there.

Every call of a driver and every transaction passes two gates. At each the task sleeps for a little,
so that others overtake it; at some a fault that an event has armed strikes. Outages of whole services
are here too. Which faults there are in a history is not here: see :mod:`tests.simulation.events`.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from octavia.domain.errors import Terminal, Transient, Unreachable
from octavia.drivers.faults import Moment
from tests.simulation.schedule import Process, Schedule, Task

_PATIENCE: Final = timedelta(minutes=3)


class Blow(StrEnum):
    """What a fault does to whom it strikes."""

    ERROR = "error"  # before a call: nothing was done; after it: done, the answer lost
    TERMINAL = "terminal"  # the same, and said to be for good
    CRASH = "crash"  # the process dies
    PAUSE = "pause"  # the task stands still, and goes on as if nothing had been
    AGAIN = "again"  # of a transaction: it is rolled back and run a second time


class RunAgain(Exception):
    """Rolls a transaction back, for it to be run once more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes once, at the first gate that fits.

    :param call: beginning of the name of the call, ``compute.create`` or ``commit``.
    :param seconds: length of a pause.
    """

    call: str
    moment: Moment
    blow: Blow
    seconds: float = 0.0


class Gates:
    """What stands around every call to the outside.

    :ivar in_transaction: nobody may pass a gate meanwhile.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        say: Callable[[str, str], None],
        violate: Callable[[str, str], None],
        crash: Callable[[Process], None],
    ) -> None:
        self.in_transaction = False
        self._schedule = schedule
        self._say = say
        self._violate = violate
        self._crash = crash
        self._armed: list[tuple[datetime, Fault]] = []
        self._away: dict[str, datetime] = {}

    def arm(self, fault: Fault) -> None:
        """Let it strike within the next minutes."""
        self._armed.append((self._schedule.clock.now() + _PATIENCE, fault))

    def disarm(self) -> None:
        """Peace: no more faults, every service is back."""
        self._armed.clear()
        self._away.clear()

    def take_away(self, family: str, seconds: float) -> None:
        """A whole service does not answer for a while."""
        self._away[family] = self._schedule.clock.now() + timedelta(seconds=seconds)

    def is_away(self, family: str) -> bool:
        """Is that service out of reach just now?"""
        return self._schedule.clock.now() < self._away.get(family, datetime.min)

    def hook(self, family: str) -> Callable[[str, Moment], None]:
        """For the in-memory driver of that family."""

        def hook(call: str, moment: Moment) -> None:
            self.pass_(f"{family}.{call}", moment)

        return hook

    def pass_(self, call: str, moment: Moment) -> Fault | None:
        """One gate.

        :returns: a fault that the caller has to act out itself.
        """
        task = self._schedule.current
        if task is None:
            return None  # the world looks at itself
        self._schedule.check_alive()
        if self.in_transaction:
            self._violate("no cloud call in a transaction", f"{task.name} calls {call} inside one")
        self._schedule.sleep(_delay(task.rng))
        family = call.partition(".")[0].partition(" ")[0]
        if moment is Moment.BEFORE and self.is_away("database" if family == "commit" else family):
            raise _trouble(family, moment, f"{family} is away")
        fault = self._due(call, moment)
        if fault is None:
            return None
        self._say(task.name, f"{fault.blow} {moment.lower()} {call} {fault.seconds or ''}".rstrip())
        return self._strike(fault, task, family)

    def _strike(self, fault: Fault, task: Task, family: str) -> Fault | None:
        match fault.blow:
            case Blow.CRASH:
                self._crash(task.process)
                self._schedule.check_alive()
            case Blow.PAUSE:
                self._schedule.sleep(fault.seconds)
            case Blow.TERMINAL if family != "commit":
                raise Terminal(f"{fault.call} will never work, it says")
            case Blow.AGAIN:
                return fault
            case _:
                raise _trouble(family, fault.moment, f"{fault.call} failed")
        return None

    def _due(self, call: str, moment: Moment) -> Fault | None:
        now = self._schedule.clock.now()
        for position, (until, fault) in enumerate(self._armed):
            if fault.moment is moment and call.startswith(fault.call) and now <= until:
                del self._armed[position]
                return fault
        return None


def _trouble(family: str, moment: Moment, why: str) -> Exception:
    if family == "agent" and moment is Moment.BEFORE:
        return Unreachable(why)
    return Transient(why)


def _delay(rng: random.Random) -> float:
    """Seconds: mostly a few milliseconds, and now and then long enough to be overtaken twice."""
    if rng.random() < 0.03:
        return rng.uniform(0.1, 2.0)
    return rng.expovariate(200.0)
