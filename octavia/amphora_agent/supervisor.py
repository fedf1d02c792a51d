# SPDX-License-Identifier: Apache-2.0
"""Who keeps HAProxy and keepalived running: the interface of systemd and of our own children."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

NETNS: Final = "amphora-haproxy"  # where the tenant's traffic is (contract: data-plane.md section 10)
NETNS_PATH: Final = f"/run/netns/{NETNS}"

OnChange = Callable[["Service", bool], None]


class ServiceFailed(Exception):
    """A program did not start or reload; the text has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program that runs for as long as it is wanted.

    :param name: of its systemd unit, without ``.service``.
    :param argv: the program, in the foreground.
    :param unit_options: lines of the unit's ``[Service]`` section beside the usual ones.
    :param in_netns: it runs inside the namespace ``amphora-haproxy``; else where the agent is.
    :param more_pid_files: of its own children, who write them.
    :param notifies: it says READY=1 on NOTIFY_SOCKET after start and reload (sd_notify).
    """

    name: str
    argv: tuple[str, ...]
    pid_file: Path
    reload_signal: signal.Signals
    notify_socket: Path
    notifies: bool
    unit_options: tuple[str, ...] = ()
    in_netns: bool = True
    more_pid_files: tuple[Path, ...] = ()


class Supervisor(Protocol):
    """Starts, reloads, stops; restarts what died. ``OnChange`` hears of each death and each recovery.

    ``reload_is_synchronous``: once :meth:`reload` has returned, the program has done what it can.
    ``ends_with_agent``: the programs are the agent's children and have to be ended with it.
    """

    @property
    def reload_is_synchronous(self) -> bool:
        """See above."""

    @property
    def ends_with_agent(self) -> bool:
        """See above."""

    def adopt(self, service: Service) -> bool:
        """Is it running already, started by an earlier life of the agent? Then watch it from now on."""

    def start(self, service: Service) -> None:
        """Returns when it serves, and keeps it running from then on; running is a success.

        :raises ServiceFailed: it did not come up; it is not tried again.
        """

    def reload(self, service: Service) -> None:
        """Ask a running program to read its configuration anew; returns when it says that it has.

        Whether it liked what it read is for the caller to see.

        :raises ServiceFailed: it is not running, or gave no answer in time.
        """

    def stop(self, service: Service) -> None:
        """Returns when it is gone; absent is a success."""

    def main_pid(self, service: Service) -> int | None:
        """Its process, None while it is not running."""

    def last_words(self, service: Service) -> str:
        """The newest lines that it printed, to explain a failure; empty where somebody else keeps them."""
