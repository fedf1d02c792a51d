# SPDX-License-Identifier: Apache-2.0
"""What every rule is given, and how it says that it is broken."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from octavia.domain.errors import Invalid
from octavia.domain.tls import TlsPolicy

Values = Mapping[str, Any]
"""Typed fields of a request, by the names of the tree's attributes."""


class Concurrency(StrEnum):
    """What a write meets while an earlier one is still on its way to the amphorae."""

    QUEUE = "queue"  # it is accepted, the two coalesce
    REJECT = "reject"  # 409


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What the operator allows.

    :param reserved_ips: no members at these addresses (the metadata service's, by default).
    :param udp_connect_min_interval_s: smallest delay of UDP-CONNECT monitors; negative is no bound.
    """

    concurrent_updates: Concurrency = Concurrency.QUEUE
    allow_tls_terminated_listeners: bool = True
    allow_prometheus_listeners: bool = True
    allow_ping_health_monitors: bool = True
    udp_connect_min_interval_s: int = 3
    reserved_ips: tuple[str, ...] = ("169.254.169.254",)
    tls: TlsPolicy = field(default_factory=TlsPolicy)

    @property
    def strict(self) -> bool:
        """Does anything pending exclude further writes?"""
        return self.concurrent_updates is Concurrency.REJECT


class Births:
    """Ids and times of creation for new objects.

    Each is a microsecond younger than the one before, so that objects of one request keep their order.
    """

    def __init__(self, now: datetime, new_id: Callable[[], str]) -> None:
        self._next = now
        self._new_id = new_id

    def next(self) -> dict[str, Any]:
        """The two fields that a new object gets first."""
        at = self._next
        self._next += timedelta(microseconds=1)
        return {"id": self._new_id(), "created_at": at}


def invalid(detail: str) -> Invalid:
    """A rule is broken; ``detail`` names the field."""
    return Invalid(f"Validation failure: {detail}")


def not_allowed(option: str, value: str) -> Invalid:
    """The operator has switched something off."""
    return Invalid(f"The selected {option} is not allowed in this deployment: {value}")
