# SPDX-License-Identifier: Apache-2.0
"""Several equal processes below one that keeps them running (``[controller_worker] workers``).

They are forked, so what was imported before is in memory once. What a process does is not here.
"""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

LOG = logging.getLogger(__name__)

_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_RESTART_PAUSE_S: Final = 1.0
CANNOT_START: Final = 1


def keep_running(count: int, run: Callable[[], int]) -> int:
    """Run so many processes until SIGTERM or SIGINT; to be called before there are threads.

    A process that dies is replaced. SIGHUP is handed on. When this process dies, they end by themselves.

    :param run: what each does; its exit code. ``CANNOT_START`` means that another try would fail as well.
    :returns: the exit code for this process, when all have ended.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    gc.collect()
    gc.freeze()  # the collectors of the processes must not write into what they share
    lifeline = os.pipe()
    children = {_fork(run, lifeline) for _ in range(count)}
    while True:
        number = signal.sigwait(_SIGNALS)
        if number == signal.SIGCHLD:
            for pid, code in _ended(children):
                children.discard(pid)
                if code == CANNOT_START:
                    return _end(children, CANNOT_START)
                LOG.error("Process %d ended with %d and is replaced", pid, code)
                time.sleep(_RESTART_PAUSE_S)
                children.add(_fork(run, lifeline))
        elif number == signal.SIGHUP:
            for pid in children:
                os.kill(pid, signal.SIGHUP)
        else:
            LOG.info("Ending on %s", signal.Signals(number).name)
            return _end(children, 0)


def _fork(run: Callable[[], int], lifeline: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 255
    try:
        os.close(lifeline[1])
        threading.Thread(target=_outlive_nobody, args=(lifeline[0],), name="lifeline", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        code = run()
    finally:
        logging.shutdown()
        os._exit(code)


def _outlive_nobody(lifeline: int) -> None:
    os.read(lifeline, 1)  # nobody writes: it returns when the process above is gone
    os.kill(os.getpid(), signal.SIGTERM)


def _ended(children: set[int]) -> list[tuple[int, int]]:
    """Those that are gone, with their exit codes; a signal's is negative."""
    found = [os.waitpid(pid, os.WNOHANG) for pid in children]
    return [(pid, os.waitstatus_to_exitcode(status)) for pid, status in found if pid]


def _end(children: set[int], code: int) -> int:
    """Ask all to end, and wait until they have; the worst exit code."""
    for pid in children:
        os.kill(pid, signal.SIGTERM)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    return code or next((1 for one in codes if one), 0)
