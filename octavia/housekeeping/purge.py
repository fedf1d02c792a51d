# SPDX-License-Identifier: Apache-2.0
"""Rows whose time is over, and load balancers that the queue forgot.

Contract: control-plane.md section 6. What the cloud has without an owner is not here: see
:mod:`octavia.housekeeping.sweep`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import octavia.db.purge as rows
from octavia.db import events, provider_calls, reservations, statistics
from octavia.db.engine import Connection, Database
from octavia.drivers.bus.contract import Bell

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """How long what is DELETED is remembered: ``load_balancer_expiry_age``, ``amphora_expiry_age``."""

    load_balancer: timedelta = timedelta(days=7)
    amphora: timedelta = timedelta(days=7)


class Purge:
    """Several may run at once, on as many hosts."""

    def __init__(self, database: Database, doorbell: Bell, ages: Ages) -> None:
        self._database = database
        self._doorbell = doorbell
        self._ages = ages

    def once(self, now: datetime) -> None:
        """One pass: each part in small transactions, so that nobody waits for it.

        :raises Transient: the database cannot be used.
        """
        self._in_portions(
            "load balancers", lambda tx: rows.load_balancers(tx, now - self._ages.load_balancer)
        )
        self._in_portions("amphorae", lambda tx: rows.deleted_amphorae(tx, now - self._ages.amphora))
        for expired in self._database.write(lambda tx: reservations.expire(tx, now)):
            LOG.info("The reservation of load balancer %s has expired", expired)
        self._database.write(events.trim)
        self._database.write(statistics.forget_gone)
        self._queue_forgotten(now)
        self._give_up_on_providers(now)

    def _in_portions(self, noun: str, purge: Callable[[Connection], list[str]]) -> None:
        while ids := self._database.write(purge):
            LOG.info("%d deleted %s are forgotten: %s", len(ids), noun, ", ".join(ids))

    def _queue_forgotten(self, now: datetime) -> None:
        with self._database.read() as tx:
            forgotten = rows.forgotten(tx)
        for load_balancer_id in forgotten:
            if self._database.write(lambda tx, one=load_balancer_id: rows.announce(tx, one, now)):  # type: ignore[misc]
                LOG.warning("Load balancer %s had work that nobody was told of", load_balancer_id)
                self._doorbell.ring()

    def _give_up_on_providers(self, now: datetime) -> None:
        with self._database.read() as tx:
            overdue = provider_calls.overdue(tx, now - provider_calls.PATIENCE)
        for call_id in overdue:
            if found := self._database.write(lambda tx, one=call_id: provider_calls.give_up(tx, one, now)):  # type: ignore[misc]
                LOG.error("The provider of load balancer %s never answered", found)
