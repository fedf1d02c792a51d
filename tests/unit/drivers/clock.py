# SPDX-License-Identifier: Apache-2.0
"""A clock that moves when a test says so."""

from datetime import datetime, timedelta


class StoppedClock:
    """Starts at noon."""

    def __init__(self) -> None:
        self._now = datetime(2026, 8, 1, 12)
        self._start = self._now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def advance(self, by: timedelta) -> None:
        self._now += by
