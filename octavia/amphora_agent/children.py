# SPDX-License-Identifier: Apache-2.0
"""Supervision where there is no systemd: HAProxy and keepalived are the agent's own children.

A thread waits for each child, so that a death is noticed at once and not by polling. A child that
dies is started again, the first time immediately, then with a capped back-off.

They die with an agent that is PID 1. One that is not, and is killed, leaves them behind: whoever starts next
has no pipe to them and cannot wait for them, so it ends them and starts its own.
"""

import collections
import contextlib
import logging
import os
import resource
import selectors
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from octavia.amphora_agent import leftovers
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import NETNS_PATH, OnChange, Service, ServiceFailed

LOG = logging.getLogger(__name__)

READY_SECONDS: Final = 10.0  # HAProxy retries a bind for a second; loading big certificates takes some more
STOP_SECONDS: Final = 5.0
BACKOFF_SECONDS: Final = (0.0, 0.1, 0.3, 1.0, 3.0, 5.0)
STABLE_SECONDS: Final = 10.0  # whoever ran that long starts from the front of the back-off again
MAX_FILES: Final = 2_600_000
LAST_WORDS: Final = 40  # lines kept to explain a failure
_ENOUGH: Final = b"X_OCTAVIA_ENOUGH=1"  # from the keeper to its ear; only root may write to the socket


def allow_many_files() -> None:
    """Raise the hard limit of open files as far as the kernel allows, as a systemd unit would.

    The soft limit stays: HAProxy raises its own as far as its maxconn needs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(MAX_FILES, int(Path("/proc/sys/fs/nr_open").read_text()))
    if hard != resource.RLIM_INFINITY and hard < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
        except (OSError, ValueError) as error:
            LOG.warning("HAProxy is limited to %s open files, half as many connections: %s", hard, error)


class ChildSupervisor:
    """Implements :class:`octavia.amphora_agent.supervisor.Supervisor` with child processes."""

    reload_is_synchronous = True  # sd_notify says when
    ends_with_agent = True

    def __init__(self, processes: Processes, on_change: OnChange) -> None:
        self._processes = processes
        self._on_change = on_change
        self._children: dict[str, _Child] = {}
        allow_many_files()

    def adopt(self, service: Service) -> bool:
        """Never: what an earlier life left is nobody's child, and :meth:`start` ends it."""
        del service
        return False

    def start(self, service: Service) -> None:
        """See :class:`Supervisor`."""
        existing = self._children.pop(service.name, None)
        if existing and existing.pid is not None:
            self._children[service.name] = existing
            return
        if existing:
            existing.stop()  # it waits to be started again; whoever asks wants to know how that goes
        else:
            leftovers.end(service.argv, STOP_SECONDS)
            # After a reboot such a number is some other process's, and keepalived would refuse to start.
            for file in (service.pid_file, *service.more_pid_files):
                file.unlink(missing_ok=True)
        child = _Child(service, self._processes, self._on_change)
        try:
            child.start()
        except ServiceFailed:
            child.stop()
            raise
        self._children[service.name] = child

    def reload(self, service: Service) -> None:
        """See :class:`Supervisor`."""
        child = self._children.get(service.name)
        if child is None:
            raise ServiceFailed(f"{service.name} is not running")
        child.reload()

    def stop(self, service: Service) -> None:
        """See :class:`Supervisor`."""
        child = self._children.pop(service.name, None)
        if child is not None:
            child.stop()

    def main_pid(self, service: Service) -> int | None:
        """See :class:`Supervisor`."""
        child = self._children.get(service.name)
        return child.pid if child else None

    def last_words(self, service: Service) -> str:
        """See :class:`Supervisor`."""
        child = self._children.get(service.name)
        return child.last_words if child else ""


class _Child:
    """One program, its thread that waits for it, and its thread that listens to it."""

    def __init__(self, service: Service, processes: Processes, on_change: OnChange) -> None:
        self._service = service
        self._processes = processes
        self._on_change = on_change
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._readies = 0
        self._exits = 0
        self._stopping = threading.Event()
        self._last_words: collections.deque[str] = collections.deque(maxlen=LAST_WORDS)
        self._notifications = _notify_socket(service)
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._ear = threading.Thread(target=self._listen, name=f"{service.name}-ear", daemon=True)
        self._keeper = threading.Thread(target=self._keep, name=service.name, daemon=True)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process and process.returncode is None else None

    def start(self) -> None:
        self._ear.start()
        with self._changed:
            self._keeper.start()
            self._await_ready(readies=0, exits=0, doing="start")

    def reload(self) -> None:
        with self._changed:
            readies, exits, process = self._readies, self._exits, self._process
            if process is None or process.returncode is not None:
                raise ServiceFailed(f"{self._service.name} is not running; it is being restarted")
            self._last_words.clear()
            process.send_signal(self._service.reload_signal)
            if self._service.notifies:
                self._await_ready(readies=readies, exits=exits, doing="reload")

    def stop(self) -> None:
        self._stopping.set()
        if self._keeper.is_alive():
            self._signal(signal.SIGTERM)
            self._keeper.join(STOP_SECONDS)
            if self._keeper.is_alive():
                self._signal(signal.SIGKILL)
                self._keeper.join()
        if self._ear.is_alive():
            # Old workers of HAProxy may hold the pipe open for as long as their sessions last.
            self._tell_ear(_ENOUGH)
            self._ear.join()
        os.close(self._write_end)
        os.close(self._read_end)
        self._notifications.close()
        self._service.notify_socket.unlink(missing_ok=True)

    @property
    def last_words(self) -> str:
        return "\n".join(self._last_words)

    def _tell_ear(self, message: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice:
            voice.sendto(message, str(self._service.notify_socket))

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def _await_ready(self, *, readies: int, exits: int, doing: str) -> None:
        """Holding the condition: until it is ready once more, or dead once more."""
        self._changed.wait_for(lambda: self._readies > readies or self._exits > exits, timeout=READY_SECONDS)
        if self._readies > readies and self._exits == exits:
            return
        what = "died" if self._exits > exits else f"was not ready after {READY_SECONDS:.0f} seconds"
        raise ServiceFailed(f"{self._service.name} {what} at {doing}:\n{self.last_words}")

    def _keep(self) -> None:
        """The keeper: start, wait, and again."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code = self._run_once()
            with self._changed:
                self._exits += 1
                first_never_ready = self._readies == 0
                self._changed.notify_all()
            if self._stopping.is_set() or first_never_ready:
                return
            self._on_change(self._service, False)
            failures = 0 if time.monotonic() - started > STABLE_SECONDS else failures + 1
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            LOG.error(
                "%s died with code %s, starting it again in %s s. Its last words:\n%s",
                self._service.name,
                code,
                pause,
                self.last_words,
            )
            self._stopping.wait(pause)

    def _run_once(self) -> int:
        service = self._service
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NOTIFY_SOCKET": str(service.notify_socket)}
        entering = ("nsenter", f"--net={NETNS_PATH}", "--") if service.in_netns else ()
        argv = (*entering, *service.argv)
        try:
            process = self._processes.spawn(argv, output=self._write_end, env=environment)
        except OSError as error:
            self._last_words.append(str(error))
            return -1
        with self._changed:
            self._process = process
        if not service.notifies:
            self._ready()
        if self._stopping.is_set():  # stop() may have looked before there was a process
            self._signal(signal.SIGTERM)
        return self._processes.wait(process)

    def _ready(self) -> None:
        with self._changed:
            self._readies += 1
            again = self._exits > 0
            self._changed.notify_all()
        if again:
            LOG.warning("%s serves again", self._service.name)
        self._on_change(self._service, True)

    def _listen(self) -> None:
        """The ear: its standard error for the log, its notifications for whoever waits."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._notifications, selectors.EVENT_READ)
            selector.register(self._read_end, selectors.EVENT_READ)
            rest = b""
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._notifications:
                        lines = self._notifications.recv(4096).split(b"\n")
                        if _ENOUGH in lines:
                            return
                        if b"READY=1" in lines:
                            self._ready()
                        continue
                    *lines, rest = (rest + os.read(self._read_end, 65536)).split(b"\n")
                    for line in lines:
                        self._say(line.decode(errors="replace"))

    def _say(self, line: str) -> None:
        self._last_words.append(line)
        LOG.info("%s: %s", self._service.name, line)


def _notify_socket(service: Service) -> socket.socket:
    service.notify_socket.unlink(missing_ok=True)
    notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notifications.bind(str(service.notify_socket))
    service.notify_socket.chmod(0o600)
    return notifications
