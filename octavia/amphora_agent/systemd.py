# SPDX-License-Identifier: Apache-2.0
"""Supervision in a virtual machine: systemd units named as the contract names them.

Units restart by themselves; a thread a service waits on a pidfd, so that a death reaches keepalived's
track file at once and not with the next check (contract: amphora-agent.md section 9).
"""

import contextlib
import logging
import os
import select
import shlex
import threading
import time
from pathlib import Path
from typing import Final

from octavia.amphora_agent import durable
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import NETNS, OnChange, Service, ServiceFailed

LOG = logging.getLogger(__name__)

UNIT_DIRECTORY: Final = Path("/usr/lib/systemd/system")
COMMAND_SECONDS: Final = 90.0  # systemd's own limit for a start
RESTART_POLL_SECONDS: Final = 0.05  # after a death, until systemd's new process has written its pid


class SystemdSupervisor:
    """Implements :class:`octavia.amphora_agent.supervisor.Supervisor` with systemctl."""

    reload_is_synchronous = False  # the signal is sent, no more
    ends_with_agent = False

    def __init__(
        self,
        processes: Processes,
        on_change: OnChange,
        *,
        unit_directory: Path = UNIT_DIRECTORY,
        systemctl: str = "systemctl",
    ) -> None:
        self._processes = processes
        self._on_change = on_change
        self._unit_directory = unit_directory
        self._systemctl_program = systemctl
        self._watched: dict[str, threading.Event] = {}

    def adopt(self, service: Service) -> bool:
        """See :class:`Supervisor`."""
        if self.main_pid(service) is None:
            return False
        self._watch(service)
        return True

    def start(self, service: Service) -> None:
        """See :class:`Supervisor`."""
        self._write_unit(service)
        self._systemctl("enable", service, doing="enable")
        self._systemctl("start", service, doing="start")
        self._on_change(service, True)
        self._watch(service)

    def reload(self, service: Service) -> None:
        """See :class:`Supervisor`."""
        self._systemctl("reload", service, doing="reload")

    def stop(self, service: Service) -> None:
        """See :class:`Supervisor`."""
        watch = self._watched.pop(service.name, None)
        if watch:
            watch.set()
        if not self._unit(service).exists():
            return
        self._systemctl("stop", service, doing="stop")
        self._systemctl("disable", service, doing="disable")
        self._unit(service).unlink(missing_ok=True)

    def main_pid(self, service: Service) -> int | None:
        """See :class:`Supervisor`."""
        with contextlib.suppress(OSError, ValueError, IndexError):  # gone, or being written
            pid = int(service.pid_file.read_text().split()[0])
            os.kill(pid, 0)
            return pid
        return None

    def last_words(self, service: Service) -> str:
        """See :class:`Supervisor`."""
        return f"see journalctl -u {service.name}"

    def _unit(self, service: Service) -> Path:
        return self._unit_directory / f"{service.name}.service"

    def _write_unit(self, service: Service) -> None:
        unit = unit_text(service)
        path = self._unit(service)
        with contextlib.suppress(OSError):
            if path.read_text() == unit:
                return
        durable.write(path, unit, mode=0o644)
        result = self._processes.run((self._systemctl_program, "daemon-reload"), timeout=COMMAND_SECONDS)
        if result.returncode:
            raise ServiceFailed(f"systemctl daemon-reload: {result.output.strip()}")

    def _systemctl(self, verb: str, service: Service, *, doing: str) -> None:
        argv = (self._systemctl_program, verb, f"{service.name}.service")
        result = self._processes.run(argv, timeout=COMMAND_SECONDS)
        if result.returncode and "Job is already running" not in result.output:
            raise ServiceFailed(f"{service.name} failed to {doing}: {result.output.strip()}")

    def _watch(self, service: Service) -> None:
        if service.name not in self._watched:
            stop = self._watched[service.name] = threading.Event()
            name = f"{service.name}-watch"
            threading.Thread(target=self._keep_watch, args=(service, stop), name=name, daemon=True).start()

    def _keep_watch(self, service: Service, stop: threading.Event) -> None:
        while not stop.is_set():
            pid = self.main_pid(service)
            if pid is None:
                time.sleep(RESTART_POLL_SECONDS)
                continue
            try:
                descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                select.select([descriptor], [], [])
            finally:
                os.close(descriptor)
            if stop.is_set():
                return
            LOG.error("%s died; systemd starts it again", service.name)
            self._on_change(service, False)
            while not stop.is_set() and self.main_pid(service) in (None, pid):
                time.sleep(RESTART_POLL_SECONDS)
            if not stop.is_set():
                self._on_change(service, True)


def unit_text(service: Service) -> str:
    """The unit file of a service."""
    kind = "notify" if service.notifies else "simple"
    command = shlex.join(("/sbin/ip", "netns", "exec", NETNS, *service.argv))
    # Of before a reboot their numbers may be somebody else's: keepalived takes itself for running then.
    clean = shlex.join(("/bin/rm", "-f", *map(str, (service.pid_file, *service.more_pid_files))))
    lines = [
        "[Unit]",
        f"Description=Octavia {service.name}",
        "After=network.target amphora-netns.service",
        "Requires=amphora-netns.service",
        "",
        "[Service]",
        f"Type={kind}",
        f"ExecStartPre={clean}",
        f"ExecStart={command}",
        f"ExecReload=/bin/kill -{service.reload_signal.name.removeprefix('SIG')} $MAINPID",
        f"PIDFile={service.pid_file}",
        *service.unit_options,
        "Restart=always",
        "LimitNOFILE=2600000",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)
