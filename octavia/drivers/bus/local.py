# SPDX-License-Identifier: Apache-2.0
"""The doorbell of one process: a condition variable."""

import threading


class LocalDoorbell:
    """Each ring wakes one sleeper, or the next one that would have slept."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0

    def ring(self) -> None:
        """Wake one sleeper."""
        with self._condition:
            self._rings += 1
            self._condition.notify()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until it rings."""
        with self._condition:
            self._condition.wait_for(lambda: self._rings > 0, timeout_s)
            rang = self._rings > 0
            if rang:
                self._rings -= 1
            return rang
