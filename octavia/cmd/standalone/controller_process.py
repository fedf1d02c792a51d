# SPDX-License-Identifier: Apache-2.0
"""The controller's process: is it running, start it detached, stop it.

Whether it runs is asked of a lock, which cannot outlive it, never of a process number alone. What it does is
not here: see :mod:`octavia.cmd.controller`.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from octavia.cmd.standalone import rest
from octavia.cmd.standalone.errors import Refusal
from octavia.cmd.standalone.state import State

_STOP_SECONDS: Final = 20.0
_LOCK_SECONDS: Final = 2.0


@contextmanager
def running_lock(state: State) -> Iterator[None]:
    """Hold this while being the controller.

    :raises Refusal: another process is.
    """
    # Kept open, never inherited: the amphorae that are started from here outlive us.
    with state.pid_file.open("a+") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _try(file.fileno(), fcntl.LOCK_EX):
            # Somebody who only asks holds it for a moment, so one refusal is no answer.
            if time.monotonic() > deadline:
                raise Refusal(f"a controller with state in {state.path} is already running.")
            time.sleep(0.02)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def running_pid(state: State) -> int | None:
    """The controller's process number; None if it does not run."""
    try:
        with state.pid_file.open() as file:
            if _try(file.fileno(), fcntl.LOCK_SH):
                return None
            return int(file.read().strip() or 0) or None
    except FileNotFoundError:
        return None


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def start(state: State, api_url: str, *, timeout_seconds: float = 30.0) -> int:
    """Start the controller detached from this terminal and wait until its API answers.

    :returns: its process number.
    :raises Refusal: it ended, or does not answer in time; with its last words.
    """
    with state.output.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "octavia.cmd.standalone", "--state-dir", str(state.path), "run"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )
    wait_until_it_answers(state, api_url, lambda: process.poll() is None, timeout_seconds=timeout_seconds)
    return process.pid


def wait_until_it_answers(
    state: State, api_url: str, is_alive: Callable[[], bool], *, timeout_seconds: float = 30.0
) -> None:
    """:raises Refusal: the controller ended, or does not answer in time; with its last words."""
    deadline = time.monotonic() + timeout_seconds
    while not rest.answers(api_url):
        if not is_alive():
            raise Refusal(f"the controller ended at its start: {_last_words(state)}")
        if time.monotonic() > deadline:
            raise Refusal(
                f"the controller did not answer at {api_url} within {timeout_seconds:g} s: see {state.log};"
                " 'octavia-standalone down' ends it."
            )
        time.sleep(0.05)


def stop(state: State) -> bool:
    """Ask the controller to end, insist after a while; False if there was none."""
    pid = running_pid(state)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            # Asked again now that the handle is held: the number cannot mean a stranger any more.
            if running_pid(state) == pid:
                _end(handle)
        finally:
            os.close(handle)
    return True


def _end(handle: int) -> None:
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    for signal_number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, 5.0)):
        signal.pidfd_send_signal(handle, signal_number)
        if watch.poll(seconds * 1000):
            return


def _last_words(state: State) -> str:
    for file in (state.output, state.log):
        if file.exists():
            lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
            if lines:
                return f"{lines[-1].strip()} (see {file})"
    return f"see {state.log}."
