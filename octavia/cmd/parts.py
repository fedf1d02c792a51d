# SPDX-License-Identifier: Apache-2.0
"""Runs the long-lived parts of a process in threads and ends them together.

What the parts are is not here: see :mod:`octavia.cmd.controller` and the daemons' own modules.
"""

import gc
import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from oslo_config import cfg

LOG = logging.getLogger(__name__)

_RESTART_PAUSE_S: Final = 1.0


@dataclass(slots=True)
class Parts:
    """What a process consists of.

    :ivar stop: set once, when the process is to end.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _wakers: list[Callable[[], None]] = field(default_factory=list)

    def start(self, name: str, run: Callable[[], None], wake: Callable[[], None] | None = None) -> None:
        """Run a part until the process ends; one that breaks is started again.

        :param run: returns soon after :attr:`stop` is set and ``wake`` was called.
        """
        thread = threading.Thread(target=self._keep_running, args=(name, run), name=name)
        self._threads.append(thread)
        if wake:
            self._wakers.append(wake)
        thread.start()

    def wait(self, conf: cfg.ConfigOpts | None = None) -> None:
        """Until SIGTERM or SIGINT arrives and every part has ended.

        :param conf: to be read again on SIGHUP, as far as its options may change while the process runs.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        if conf is not None:
            signal.signal(signal.SIGHUP, lambda _number, _frame: reload(conf))
        # What is there by now stays. To look through all of it for garbage takes a tenth of a second,
        # in which a change is not made live.
        gc.freeze()
        self.stop.wait()
        for wake in self._wakers:
            wake()
        for thread in self._threads:
            thread.join()

    def _on_signal(self, number: int, _frame: Any) -> None:
        LOG.info("Ending on %s", signal.Signals(number).name)
        self.stop.set()

    def _keep_running(self, name: str, run: Callable[[], None]) -> None:
        while not self.stop.is_set():
            try:
                run()
            except Exception:
                LOG.exception("%s broke down and is started again", name)
                self.stop.wait(_RESTART_PAUSE_S)


def reload(conf: cfg.ConfigOpts) -> None:
    """Read the options again that may change while a process runs."""
    try:
        conf.mutate_config_files()
    except cfg.Error as error:
        LOG.error("The configuration stays as it was: %s", error)
    else:
        LOG.debug("The configuration was read again; this is said where debug is on by now")
