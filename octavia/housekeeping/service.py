# SPDX-License-Identifier: Apache-2.0
"""Runs the jobs, each in its interval, one after the other. What they do is not here."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from octavia.db.engine import Database
from octavia.domain.clock import Clock
from octavia.domain.errors import Transient
from octavia.drivers.bus.contract import Bell
from octavia.drivers.compute.contract import ComputeDriver
from octavia.drivers.network.contract import NetworkDriver
from octavia.housekeeping.purge import Ages, Purge
from octavia.housekeeping.sweep import Leftovers, Sweep, nothing

LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every so often.

    :param once: one pass, given the time (naive UTC).
    """

    name: str
    interval: timedelta
    once: Callable[[datetime], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class HousekeepingSettings:
    """From section ``[house_keeping]``; ``interval`` is ``cleanup_interval``."""

    interval: timedelta = timedelta(seconds=30)
    ages: Ages = field(default_factory=Ages)


def from_config(conf: Any) -> HousekeepingSettings:
    """Read the section once; leaf code sees no global."""
    options = conf.house_keeping
    return HousekeepingSettings(
        interval=timedelta(seconds=options.cleanup_interval),
        ages=Ages(
            load_balancer=timedelta(seconds=options.load_balancer_expiry_age),
            amphora=timedelta(seconds=options.amphora_expiry_age),
        ),
    )


def jobs(
    database: Database,
    doorbell: Bell,
    compute: ComputeDriver,
    network: NetworkDriver,
    settings: HousekeepingSettings,
    leftovers: Leftovers = nothing,
) -> list[Job]:
    """Everything that time alone brings."""
    purge = Purge(database, doorbell, settings.ages)
    sweep = Sweep(database, compute, network, interval=settings.interval, leftovers=leftovers)
    return [Job("purge", settings.interval, purge.once), Job("sweep", settings.interval, sweep.once)]


class Housekeeping:
    """One thread; a job that fails is tried again after its interval."""

    def __init__(self, jobs: Sequence[Job], clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._due_s = {job.name: clock.monotonic() for job in jobs}

    def run(self, stop: threading.Event) -> None:
        """Every job now, and again after its interval, until told to stop."""
        while not stop.wait(max(0.0, min(self._due_s.values()) - self._clock.monotonic())):
            self.run_due()

    def run_due(self) -> None:
        """One pass of every job whose time has come."""
        for job in self._jobs:
            if self._due_s[job.name] <= self._clock.monotonic():
                self._run(job)
                # Counted from its end: a job that takes longer than its interval must not crowd out others.
                self._due_s[job.name] = self._clock.monotonic() + job.interval.total_seconds()

    def _run(self, job: Job) -> None:
        try:
            job.once(self._clock.now())
        except Transient as error:
            LOG.warning("%s has to wait: %s", job.name, error)
        except Exception:
            LOG.exception("%s failed", job.name)
