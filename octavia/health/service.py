# SPDX-License-Identifier: Apache-2.0
"""The health manager of one process: an ear and a judge that trusts it only while it is well."""

import threading
from concurrent.futures import ThreadPoolExecutor

from octavia.db.engine import Database
from octavia.domain.clock import Clock
from octavia.drivers.amphora.contract import AmphoraDriver
from octavia.drivers.bus.contract import Bell
from octavia.drivers.compute.contract import ComputeDriver
from octavia.health.receive import Receiver
from octavia.health.settings import HealthSettings
from octavia.health.stale import Judge
from octavia.health.witness import Witness


class HealthManager:
    """Two loops, to be run in two threads: :meth:`receive` and :meth:`judge`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        doorbell: Bell,
        compute: ComputeDriver,
        agents: AmphoraDriver,
        settings: HealthSettings,
    ) -> None:
        self._executor = ThreadPoolExecutor(settings.witnesses, thread_name_prefix="witness")
        self.receiver = Receiver(database, clock, doorbell, settings.receiver)
        self.judge_of_silence = Judge(
            database,
            clock,
            doorbell,
            Witness(compute, agents),
            settings.limits,
            owner=settings.owner,
            ear=self.receiver.vitals,
            interval=settings.check_interval,
            executor=self._executor,
        )

    def open(self) -> None:
        """Bind the socket now, so that a taken port is noticed before anything runs.

        :raises Terminal: the address cannot be bound.
        """
        self.receiver.open()

    def receive(self, stop: threading.Event) -> None:
        """Take heartbeats in until told to stop."""
        self.receiver.run(stop)

    def judge(self, stop: threading.Event) -> None:
        """Judge silence until told to stop."""
        self.judge_of_silence.run(stop)
