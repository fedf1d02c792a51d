# SPDX-License-Identifier: Apache-2.0
"""Statuses, and what may follow what.

Two questions, two columns: ``provisioning_status`` says whether the last write is live,
``operating_status`` says whether traffic flows. Who may write them is not here: see
:mod:`octavia.db.statuses`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ProvisioningStatus(StrEnum):
    """Whether the last write to an object is live (contract: api.md section 4.1)."""

    ACTIVE = "ACTIVE"
    PENDING_CREATE = "PENDING_CREATE"
    PENDING_UPDATE = "PENDING_UPDATE"
    PENDING_DELETE = "PENDING_DELETE"
    ERROR = "ERROR"
    DELETED = "DELETED"

    @property
    def pending(self) -> bool:
        """Is a change still on its way to the amphorae?"""
        return self.name.startswith("PENDING")


class OperatingStatus(StrEnum):
    """What the amphorae measure (contract: api.md section 4.3)."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"
    DEGRADED = "DEGRADED"
    ERROR = "ERROR"
    NO_MONITOR = "NO_MONITOR"
    DRAINING = "DRAINING"


class AmphoraStatus(StrEnum):
    """The life of one amphora (contract: control-plane.md section 9.4)."""

    PENDING_CREATE = "PENDING_CREATE"  # the row exists, compute has perhaps not been asked yet
    BOOTING = "BOOTING"  # compute has been asked
    ALLOCATED = "ALLOCATED"  # reachable and plugged: it takes configuration
    ERROR = "ERROR"  # marked failed: it is being replaced and acknowledges nothing
    PENDING_DELETE = "PENDING_DELETE"  # being taken away, what it owned with it
    DELETED = "DELETED"
    FAILOVER_STOPPED = "FAILOVER_STOPPED"  # stale, but the velocity limit holds the healer back


_P = ProvisioningStatus
_A = AmphoraStatus

NEXT: Final[Mapping[ProvisioningStatus, frozenset[ProvisioningStatus]]] = {
    # An object deleted before it was ever live just disappears.
    _P.PENDING_CREATE: frozenset({_P.ACTIVE, _P.ERROR, _P.PENDING_UPDATE, _P.PENDING_DELETE}),
    _P.ACTIVE: frozenset({_P.PENDING_UPDATE, _P.PENDING_DELETE, _P.ERROR}),
    _P.PENDING_UPDATE: frozenset({_P.ACTIVE, _P.ERROR, _P.PENDING_DELETE}),
    # Healed, written to again, deleted; a delete that failed may work at last. It never flaps back to
    # PENDING by itself.
    _P.ERROR: frozenset({_P.ACTIVE, _P.PENDING_UPDATE, _P.PENDING_DELETE, _P.DELETED}),
    _P.PENDING_DELETE: frozenset({_P.DELETED, _P.ERROR}),
    _P.DELETED: frozenset(),
}

NEXT_AMPHORA: Final[Mapping[AmphoraStatus, frozenset[AmphoraStatus]]] = {
    _A.PENDING_CREATE: frozenset({_A.BOOTING, _A.ERROR, _A.PENDING_DELETE}),
    _A.BOOTING: frozenset({_A.ALLOCATED, _A.ERROR, _A.PENDING_DELETE}),
    _A.ALLOCATED: frozenset({_A.ERROR, _A.PENDING_DELETE, _A.FAILOVER_STOPPED}),
    _A.FAILOVER_STOPPED: frozenset({_A.ALLOCATED, _A.ERROR, _A.PENDING_DELETE}),
    _A.ERROR: frozenset({_A.PENDING_DELETE}),
    _A.PENDING_DELETE: frozenset({_A.DELETED}),
    _A.DELETED: frozenset(),
}


def may_follow(now: ProvisioningStatus, then: ProvisioningStatus) -> bool:
    """Does the table allow ``then`` after ``now``? Staying the same always is."""
    return now == then or then in NEXT[now]
