# SPDX-License-Identifier: Apache-2.0
"""Leases load balancers that are due and reconciles several of them at a time."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from octavia.db import work
from octavia.db.engine import Database
from octavia.db.work import Lease
from octavia.domain.errors import Fenced, Transient
from octavia.drivers.bus.contract import Doorbell
from octavia.worker.reconcile import Reconciler
from octavia.worker.settings import WorkerSettings
from octavia.worker.world import World

LOG = logging.getLogger(__name__)

_OUTAGE_PAUSE_S: Final = 1.0


class Worker:
    """One dispatcher that leases, some threads that reconcile.

    The doorbell says that there may be work; a look into the queue every sweep finds it anyway.
    """

    def __init__(
        self, database: Database, world: World, doorbell: Doorbell, settings: WorkerSettings
    ) -> None:
        self._database = database
        self._clock = world.clock
        self._doorbell = doorbell
        self._settings = settings
        self._free = threading.BoundedSemaphore(settings.threads)
        self._passes = ThreadPoolExecutor(settings.threads, thread_name_prefix="reconcile")
        self._steps = ThreadPoolExecutor(settings.threads * 2, thread_name_prefix="step")
        self._reconciler = Reconciler(database, world, settings, self._steps)

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set and the doorbell has rung; then passes under way are finished."""
        while not stop.is_set():
            try:
                pause = self._dispatch(stop)
            except Transient as error:
                LOG.warning("%s", error)
                pause = _OUTAGE_PAUSE_S
            if pause > 0:
                self._doorbell.wait(pause)
        self._passes.shutdown(wait=True)
        self._steps.shutdown(wait=True)

    def _dispatch(self, stop: threading.Event) -> float:
        """Start what is due; the seconds until something may be due again."""
        while not stop.is_set():
            if not self._free.acquire(blocking=False):
                return self._settings.sweep.total_seconds()  # whoever finishes rings
            lease = None
            try:
                lease = self._lease()
            finally:
                if lease is None:
                    self._free.release()
            if lease is None:
                return self._until_due()
            self._passes.submit(self._pass, lease)
        return 0.0

    def _lease(self) -> Lease | None:
        now = self._clock.now()
        with self._database.read() as tx:
            candidates = work.due(tx, now)
        for load_balancer_id in candidates:
            lease = self._database.write(
                lambda tx, one=load_balancer_id: work.take(  # type: ignore[misc]
                    tx, one, self._settings.owner, now, self._settings.lease
                )
            )
            if lease is not None:
                return lease
        return None

    def _until_due(self) -> float:
        now = self._clock.now()
        with self._database.read() as tx:
            due_at = work.next_due(tx, now)
        sweep = self._settings.sweep.total_seconds()
        return min(max((due_at - now).total_seconds(), 0.001), sweep) if due_at else sweep

    def _pass(self, lease: Lease) -> None:
        try:
            self._reconciler.reconcile(lease)
        except Fenced as error:
            LOG.info("%s; it finishes the work", error)
        except Transient as error:
            LOG.warning("A pass over %s ended early: %s", lease.load_balancer_id, error)
        except Exception:
            # The lease runs out by itself and another pass follows.
            LOG.exception("A pass over load balancer %s", lease.load_balancer_id)
        finally:
            self._free.release()
            self._doorbell.ring()
