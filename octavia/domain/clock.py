# SPDX-License-Identifier: Apache-2.0
"""Time as an argument: parts that wait or compare times take a clock, so that tests own it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time; the simulator's moves only when told to."""

    def now(self) -> datetime:
        """Naive UTC, as the database stores it, with microseconds."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for measuring durations."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Naive UTC."""
        return datetime.now(UTC).replace(tzinfo=None)

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()
