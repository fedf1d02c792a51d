# SPDX-License-Identifier: Apache-2.0
"""From reports to counters (contract: heartbeat.md section 4.2). Storing them is not here:
see :mod:`octavia.db.statistics`.
"""

from collections.abc import Collection
from dataclasses import replace

from octavia.db.statistics import NONE, Counted, Counters
from octavia.wire.heartbeat import Heartbeat, ListenerReport


class Tally:
    """Counters of one batch: each (listener, amphora) once, however often its amphora reported."""

    def __init__(self) -> None:
        self._differences: dict[tuple[str, str], Counters] = {}
        self._sums: dict[tuple[str, str], Counters] = {}

    def count(self, report: Heartbeat, listener_ids: Collection[str]) -> None:
        """Take a report in; listeners that its load balancer does not have are left out."""
        for listener_id, one in report.listeners.items():
            if listener_id not in listener_ids:
                continue
            key = (listener_id, report.amphora_id)
            counters = _counters(one)
            if not report.statistics_are_differences:
                self._sums[key] = counters
            elif key in self._differences:
                both = self._differences[key] + counters
                self._differences[key] = replace(both, active_connections=counters.active_connections)
            else:
                self._differences[key] = counters

    @property
    def differences(self) -> list[Counted]:
        """What is to be added."""
        return [Counted(*key, counters) for key, counters in self._differences.items()]

    @property
    def sums(self) -> list[Counted]:
        """What is to be stored as it is: of agents before version 3."""
        return [Counted(*key, counters) for key, counters in self._sums.items()]


def _counters(one: ListenerReport) -> Counters:
    if not (one.rx or one.tx or one.conns or one.totconns or one.ereq):
        return NONE
    return Counters(
        bytes_in=one.rx,
        bytes_out=one.tx,
        active_connections=one.conns,
        total_connections=one.totconns,
        request_errors=one.ereq,
    )
