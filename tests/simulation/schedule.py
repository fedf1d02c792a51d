# SPDX-License-Identifier: Apache-2.0
"""Virtual time and the tasks that live in it: greenlets, one running at a time.

A task runs until it sleeps; whoever is due next runs next. Each task draws its delays from a
generator of its own, so that leaving one event out of a history disturbs the others little. What
happens at a delay (faults, crashes) is not here: see :mod:`tests.simulation.faults`.
"""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]  # the library is untyped

START: Final = datetime(2026, 1, 1)


class Died(BaseException):
    """The process of the running task was killed; nothing it does from now on has an effect."""


class VirtualClock:
    """Moves from one task's time to the next one's."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        """Naive UTC."""
        return self.time

    def monotonic(self) -> float:
        """Seconds since the history began."""
        return (self.time - START).total_seconds()


@dataclass(eq=False)
class Process:
    """What dies together."""

    name: str
    alive: bool = True
    tasks: list["Task"] = field(default_factory=list)


@dataclass(eq=False)
class Task:
    """One thread of a process.

    :ivar fence: of the lease that it works under, if it does.
    """

    process: Process
    name: str
    rng: random.Random
    thread: Any = None
    ticket: int = 0
    fence: int | None = None
    load_balancer_id: str | None = None


class Schedule:
    """Who runs when."""

    def __init__(self, clock: VirtualClock, seed: object) -> None:
        self.clock = clock
        self.current: Task | None = None
        self.failure: tuple[Task, BaseException] | None = None
        self._seed = seed
        self._hub = getcurrent()
        self._queue: list[tuple[datetime, int, int, Task]] = []
        self._numbers = count()
        self._names: dict[str, int] = {}

    def spawn(self, process: Process, name: str, run: Callable[[], object], after_s: float = 0.0) -> Task:
        """A new task that begins ``after_s`` seconds from now."""
        full = f"{process.name}/{name}"
        number = self._names[full] = self._names.get(full, 0) + 1
        rng = random.Random(f"{self._seed}/{full}/{number}")
        task = Task(process, full, rng)
        task.thread = greenlet(lambda: self._body(task, run), parent=self._hub)
        process.tasks = [one for one in process.tasks if not one.thread.dead]
        process.tasks.append(task)
        self._put(task, after_s)
        return task

    def sleep(self, seconds: float) -> None:
        """Let others run; the caller goes on after ``seconds``, or when it is woken.

        :raises Died: its process was killed meanwhile.
        """
        task = self.current
        assert task is not None, "only tasks sleep"
        self.check_alive()
        self._put(task, seconds)
        self._hub.switch()
        self.check_alive()

    def check_alive(self) -> None:
        """:raises Died: the running task's process was killed."""
        if self.current is not None and not self.current.process.alive:
            raise Died

    def wake(self, task: Task) -> None:
        """Let a sleeper go on now."""
        if not task.thread.dead and task is not self.current:
            self._put(task, 0.0)

    def kill(self, process: Process) -> None:
        """None of its tasks has any further effect; the running one must call :meth:`check_alive`."""
        process.alive = False
        for task in process.tasks:
            self.wake(task)

    def run(self, until: datetime, stop: Callable[[], bool] = lambda: False) -> None:
        """Let tasks run until that time, or until ``stop`` says so."""
        while self._queue and self._queue[0][0] <= until and not stop() and self.failure is None:
            at, _, ticket, task = heapq.heappop(self._queue)
            if ticket != task.ticket or task.thread.dead:
                continue
            self.clock.time = max(self.clock.time, at)
            self.current = task
            try:
                task.thread.switch()
            finally:
                self.current = None
        if not stop() and self.failure is None:
            self.clock.time = max(self.clock.time, until)

    def end(self, processes: list[Process]) -> None:
        """Unwind every task, so that none is left to the garbage collector."""
        for process in processes:
            process.alive = False
            for task in process.tasks:
                if task.thread:  # begun and not ended
                    self.current = task
                    task.thread.throw(Died)
                    self.current = None
        self._queue.clear()

    def _put(self, task: Task, seconds: float) -> None:
        task.ticket += 1
        # Rounded up: who sleeps until a moment must not wake before it.
        at = self.clock.now() + timedelta(microseconds=math.ceil(seconds * 1e6))
        heapq.heappush(self._queue, (at, next(self._numbers), task.ticket, task))

    def _body(self, task: Task, run: Callable[[], object]) -> None:
        try:
            run()
        except Died:
            pass
        except BaseException as error:
            self.failure = self.failure or (task, error)
