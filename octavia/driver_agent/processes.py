# SPDX-License-Identifier: Apache-2.0
"""Processes that the driver agent keeps running: one for its sockets, one a provider agent.

They are forked from a process that has no threads and opens nothing itself. Provider agents are other
people's code: they end by their exit event, and when they do not, by SIGKILL (contract: provider-drivers.md
section 1).
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

LOG: Final = logging.getLogger(__name__)

_FORK: Final = multiprocessing.get_context("fork")
_RESTART_PAUSE_S: Final = 1.0
CANNOT_START: Final = 78  # EX_CONFIG

Run = Callable[[Any], object]
"""What a process does until its exit event (``multiprocessing.Event``) is set."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process.

    :param reloads: it is told of SIGHUP.
    """

    name: str
    run: Run
    shutdown_timeout_s: float
    reloads: bool = False


class Running:
    """A part, and the process that is it now."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.exit_event = _FORK.Event()
        self.process = self._start()

    def _start(self) -> BaseProcess:
        process = _FORK.Process(target=_be, args=(self.part, self.exit_event), name=self.part.name)
        process.start()
        LOG.info("%s runs as process %s", self.part.name, process.pid)
        return process

    def restart_if_dead(self) -> None:
        """A part that ended before it was asked to is started again after a second."""
        if self.process.is_alive():
            return
        LOG.error("%s ended with %s and is started again", self.part.name, self.process.exitcode)
        time.sleep(_RESTART_PAUSE_S)
        # Whatever died may have held the event's lock.
        self.exit_event = _FORK.Event()
        self.process = self._start()

    def reload(self) -> None:
        """Hand on a SIGHUP."""
        if self.part.reloads and self.process.pid:
            os.kill(self.process.pid, signal.SIGHUP)

    def end(self, deadline_s: float) -> None:
        """Wait for a part that was told to end, and kill it at its deadline (monotonic seconds)."""
        self.process.join(max(0.0, deadline_s - time.monotonic()))
        if self.process.is_alive():
            LOG.error("%s did not end in time and is killed", self.part.name)
            self.process.kill()
            self.process.join()


def keep_running(signals: "Signals", first: Part, agents: Sequence[Part]) -> int:
    """Until SIGTERM or SIGINT; to be called from a process without threads.

    :param first: ends last, since agents may want to report until their end.
    :returns: 0, or 1 if a part has said with ``CANNOT_START`` why another try would fail as well.
    """
    running: list[Running] = []
    try:
        running.extend(map(Running, (first, *agents)))
        while not signals.ending:
            wait([signals.arrived, *(one.process.sentinel for one in running)])
            signals.drain()
            if signals.reload:
                signals.reload = False
                for one in running:
                    one.reload()
            for one in running:
                if one.process.exitcode == CANNOT_START:
                    return 1
                if not signals.ending:
                    one.restart_if_dead()
    finally:
        _end(running[1:])
        _end(running[:1])
    return 0


def _end(running: Sequence[Running]) -> None:
    begun = time.monotonic()
    for one in running:
        # Who sets an event waits for everybody who waits for it, one who was killed meanwhile too: for ever.
        threading.Thread(target=one.exit_event.set, name=f"end of {one.part.name}", daemon=True).start()
    for one in running:
        one.end(begun + one.part.shutdown_timeout_s)


class Signals:
    """Signals as something that can be waited for; from when it is made, none of them is lost."""

    def __init__(self) -> None:
        self.ending = False
        self.reload = False
        self.arrived, self._wake = os.pipe()
        os.set_blocking(self.arrived, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            LOG.info("Ending on %s", signal.Signals(number).name)
            self.ending = True

    def drain(self) -> None:
        """Forget what has woken us."""
        try:
            os.read(self.arrived, 4096)
        except BlockingIOError:
            return


def _be(part: Part, exit_event: Any) -> None:
    """In the new process. Whoever ends the whole group by a signal ends the driver agent, and it ends us."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_outlive_nobody, args=(part, exit_event), name="lifeline", daemon=True).start()
    try:
        part.run(exit_event)
    except Exception:  # the top of a process, and not our code
        LOG.exception("%s broke down", part.name)
        logging.shutdown()
        os._exit(1)


def _outlive_nobody(part: Part, exit_event: Any) -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    exit_event.set()
    time.sleep(part.shutdown_timeout_s)
    os._exit(1)
