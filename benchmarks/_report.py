# SPDX-License-Identifier: Apache-2.0
"""What every benchmark prints: the machine, and a table of medians and 99th percentiles beside the budgets.

Nothing is judged by an exit code: a machine may be slow or busy, and a reader sees that in the table.
"""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent of them do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(int(rank), 1) - 1]


def machine() -> str:
    """What was measured on, and how fast it was just now."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        "unknown CPU",
    )
    load = os.getloadavg()[0]
    # What other programs do here spoils the figures, CPU times too: cores share caches and execution units.
    return (
        f"{model}, {os.cpu_count()} cores, Linux {os.uname().release}; load {load:.1f},"
        f" reference loop {_reference_ms():.1f} ms"
    )


def _reference_ms() -> float:
    """CPU of a loop that is always the same: figures of two runs compare if these do."""
    before = time.process_time()
    total = 0
    for number in range(300_000):
        total += number & 7
    return (time.process_time() - before) * 1e3


def _lines(path: str) -> Iterator[str]:
    yield from Path(path).read_text().splitlines()


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured a number of times.

    :param budget: what its median must not exceed (its 99th percentile if ``of_p99``), in the same unit.
    """

    what: str
    values: Sequence[float]
    budget: float | None = None
    of_p99: bool = False
    note: str = ""

    def judged(self) -> float:
        """The number that the budget is about."""
        return percentile(self.values, 99) if self.of_p99 else statistics.median(self.values)


def show(title: str, unit: str, rows: Sequence[Row], digits: int = 2) -> None:
    """Print a table."""
    wide = max([len(row.what) for row in rows] + [20])
    print(f"{title}\n{machine()}")
    print(f"{'':{wide}}  {'least':>9} {'median':>9} {'p99':>9} {'runs':>5}  budget")
    for row in rows:
        columns = (min(row.values), statistics.median(row.values), percentile(row.values, 99))
        numbers = " ".join(f"{value:9.{digits}f}" for value in columns)
        print(f"{row.what:{wide}}  {numbers} {len(row.values):5}  {_budget(row, unit)}{row.note}")
    print(flush=True)


def _budget(row: Row, unit: str) -> str:
    if row.budget is None:
        return unit
    which = "p99" if row.of_p99 else "median"
    verdict = "met" if row.judged() <= row.budget else "NOT MET"
    return f"{unit}, {which} ≤ {row.budget:g}: {verdict}"
