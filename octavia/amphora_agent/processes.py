# SPDX-License-Identifier: Apache-2.0
"""Starting programs, and burying orphans where the agent is PID 1.

Programs are started from here alone: the undertaker must know which exit codes somebody waits for.
What should run, and again after it died, is not here: see :mod:`octavia.amphora_agent.children`.
"""

import logging
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completed:
    """How a short program ended; ``output`` is standard output and standard error as they came."""

    returncode: int
    output: str


class Processes:
    """The programs that this process has started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited_for: set[int] = set()
        self._collected = threading.Condition(self._lock)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        output: int,
        standard_input: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program whose exit :meth:`wait` collects.

        :param output: file descriptor of its standard output and error, or ``subprocess.PIPE``.
        :raises OSError: there is no such program.
        """
        with self._lock:  # between fork and registration the undertaker must not look
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if standard_input else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
            )
            self._waited_for.add(process.pid)
        return process

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Block until it ends; its exit code, negative for a signal."""
        code = process.wait()
        self._forget(process)
        return code

    def run(self, argv: Sequence[str], *, text: str | None = None, timeout: float = 30) -> Completed:
        """Run a short program to its end.

        :param text: its standard input.
        :param timeout: seconds after which it is killed and counts as failed.
        :raises OSError: there is no such program.
        """
        process = self.spawn(argv, output=subprocess.PIPE, standard_input=text is not None)
        try:
            output, _ = process.communicate(None if text is None else text.encode(), timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += f"\n{argv[0]} was killed after {timeout} seconds".encode()
        finally:
            self._forget(process)
        return Completed(process.returncode, output.decode(errors="replace"))

    def bury_orphans(self) -> None:
        """Collect processes that were reparented to PID 1; a thread that never ends."""
        threading.Thread(target=self._undertaker, name="undertaker", daemon=True).start()

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._waited_for.discard(process.pid)
            self._collected.notify_all()

    def _undertaker(self) -> None:
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:
                time.sleep(1)  # nobody to wait for; orphans appear only where there were children
                continue
            if dead is None:
                continue
            with self._lock:
                if dead.si_pid in self._waited_for:
                    # Somebody else collects this one, and we would see it again until then.
                    self._collected.wait(timeout=1)
                    continue
                try:
                    os.waitpid(dead.si_pid, os.WNOHANG)
                except ChildProcessError:
                    continue
                LOG.debug("Buried orphan %s", dead.si_pid)
