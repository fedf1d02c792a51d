# SPDX-License-Identifier: Apache-2.0
"""The doorbell of one process: a condition variable."""

import threading


class LocalDoorbell:
    """Rings that nobody has waited for yet count as one."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rung = False

    def ring(self) -> None:
        """Wake a sleeper, or keep the next one from sleeping."""
        with self._condition:
            self._rung = True
            self._condition.notify()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until it rings."""
        with self._condition:
            rang = self._condition.wait_for(lambda: self._rung, timeout_s)
            self._rung = False
            return rang
