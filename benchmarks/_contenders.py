# SPDX-License-Identifier: Apache-2.0
"""Two data planes that are asked in turns, and what comes of the comparison.

A B, B A, A B: neither is always the first, and what else the machine does meets both alike. What counts is
the median of the ratios of neighbouring rounds; CPU a request stands beside it, which a busy machine spoils
less.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks._cpu import on_cpu_s
from benchmarks._load import Load
from benchmarks._report import machine as this_machine

BUDGET: Final = 0.95


@dataclass
class Contender:
    """Who is asked.

    :param pids: of its processes, whose CPU is counted; none where the kernel does the work.
    """

    what: str
    address: str
    pids: Sequence[int] = ()


@dataclass
class Rounds:
    """What one contender did in all rounds."""

    contender: Contender
    loads: list[Load] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def once(self, ask: Callable[[Contender], Load]) -> None:
        before = self._cpu_s()
        load = ask(self.contender)
        cpu_s = self._cpu_s() - before + load.client_cpu_s
        self.loads.append(load)
        self.cpu_us.append(cpu_s / load.answered * 1e6)

    def _cpu_s(self) -> float:
        return sum(on_cpu_s(pid) for pid in self.contender.pids)

    @property
    def rates(self) -> list[float]:
        return [one.rate for one in self.loads]


@dataclass(frozen=True)
class Comparison:
    """Ours beside theirs.

    :param unit: what is counted, in the plural.
    """

    title: str
    unit: str
    ours: Rounds
    theirs: Rounds

    @property
    def ratios(self) -> list[float]:
        """Of the rates of neighbouring rounds."""
        return [mine / other for mine, other in zip(self.ours.rates, self.theirs.rates, strict=True)]

    @property
    def cpu_ratios(self) -> list[float]:
        """Of what a second of CPU does."""
        return [
            other / mine for mine, other in zip(self.ours.cpu_us, self.theirs.cpu_us, strict=True) if mine
        ]

    def __str__(self) -> str:
        ratio = statistics.median(self.ratios)
        verdict = "met" if ratio >= BUDGET else "NOT MET"
        wide = max(len(one.contender.what) for one in (self.ours, self.theirs))
        head = f"{'':{wide}} {self.unit + '/s':>13} {'least':>9} {'most':>9} {'p50 us':>9} {'p99 us':>9}"
        said = [self.title, f"{head} {'CPU us each':>12}"]
        said += [f"{one.contender.what:{wide}} {_numbers(one)}" for one in (self.ours, self.theirs)]
        said.append(f"ratio {spread(self.ratios)} (budget {BUDGET:.0%}: {verdict}){self._of_cpu()}")
        return "\n".join(said)

    def _of_cpu(self) -> str:
        return f"; {self.unit} a CPU second {spread(self.cpu_ratios)}" if self.cpu_ratios else ""


def _numbers(one: Rounds) -> str:
    numbers = [statistics.median(one.rates), min(one.rates), max(one.rates)]
    columns = [f"{numbers[0]:13.0f}", *(f"{number:9.0f}" for number in numbers[1:])]
    for values in ([load.p50_us for load in one.loads], [load.p99_us for load in one.loads]):
        told = [value for value in values if value is not None]
        columns.append(f"{statistics.median(told):9.0f}" if told else f"{'-':>9}")
    columns.append(f"{statistics.median(one.cpu_us):12.2f}" if any(one.cpu_us) else f"{'-':>12}")
    return " ".join(columns)


def spread(ratios: Sequence[float]) -> str:
    """The median, and between which values half of them lie."""
    if len(ratios) < 2:
        return f"{ratios[0]:.1%}"
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{statistics.median(ratios):.1%} (half within {low:.1%} to {high:.1%})"


def compare(
    title: str, unit: str, ours: Contender, theirs: Contender, ask: Callable[[Contender], Load], rounds: int
) -> Comparison:
    """One round each that does not count, then ``rounds`` pairs."""
    pair = (Rounds(ours), Rounds(theirs))
    for one in pair:
        ask(one.contender)
    for number in range(rounds):
        for one in pair if number % 2 == 0 else reversed(pair):
            one.once(ask)
    return Comparison(f"{title}, {rounds} rounds\n{this_machine()}", unit, *pair)
