# SPDX-License-Identifier: Apache-2.0
"""A doorbell, not a queue: the work is in the database, so a ring may be lost or come twice."""

from typing import Protocol


class Doorbell(Protocol):
    """Rung after the transaction that announced work has been committed."""

    def ring(self) -> None:
        """Somebody should look into the work queue; never blocks, never raises."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until it rings, at most ``timeout_s``; True if it rang since the last wait."""
