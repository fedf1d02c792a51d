# SPDX-License-Identifier: Apache-2.0
"""A doorbell, not a queue: the work is in the database, so a ring may be lost or come twice."""

from typing import Protocol


class Bell(Protocol):
    """The button, for those who write to the work queue."""

    def ring(self) -> None:
        """Somebody should look into the work queue; never blocks, never raises.

        To be called after the transaction that announced work has been committed.
        """


class Doorbell(Bell, Protocol):
    """The button and the chime, for those who work."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until it rings, at most ``timeout_s``; True if it rang since the last wait."""
