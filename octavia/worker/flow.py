# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of a pass: a graph, one branch an amphora, so that a pair is built in parallel.

TaskFlow's engine runs the graph; a decider between two steps of a branch stops the branch when the
first did not answer ``Done``. A pass of a single branch, or of one step a branch, skips the engine,
which costs more than such a pass itself (``docs/decisions/0006-taskflow.md``).
"""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from taskflow import engines, task
from taskflow.patterns import graph_flow

from octavia.worker.outcome import Done, Outcome
from octavia.worker.steps.contract import Step, attempt
from octavia.worker.world import Branch

_DONE: Final = Done()


class _StepTask(task.Task):  # type: ignore[misc]  # the library is untyped
    """One step as the engine sees it: it provides its outcome and never raises."""

    def __init__(self, name: str, step: Step, branch: Branch) -> None:
        super().__init__(name=name, provides=name)
        self._step = step
        self._branch = branch

    def execute(self, *_args: Any, **_kwargs: Any) -> Outcome:
        return attempt(self._step, self._branch)


def run(work: Sequence[tuple[Branch, Sequence[Step]]], executor: ThreadPoolExecutor) -> list[Outcome]:
    """The outcome of each branch: that of its last step, or of the step that stopped it."""
    if len(work) == 1:
        return [_run_one(work[0])]
    if all(len(steps) == 1 for _, steps in work):
        return list(executor.map(_run_one, work))
    graph = graph_flow.Flow("pass")
    names: list[list[str]] = []
    for number, (branch, steps) in enumerate(work):
        tasks = [
            _StepTask(f"{number}.{position}.{type(step).__name__}", step, branch)
            for position, step in enumerate(steps)
        ]
        graph.add(*tasks)
        for before, after in itertools.pairwise(tasks):
            graph.link(before, after, decider=_goes_on)
        names.append([one.name for one in tasks])
    engine = engines.load(graph, engine="parallel", executor=executor)
    engine.run()
    results = engine.storage.fetch_all()
    return [_last(results, branch_names) for branch_names in names]


def _run_one(work: tuple[Branch, Sequence[Step]]) -> Outcome:
    branch, steps = work
    outcome: Outcome = _DONE
    for step in steps:
        outcome = attempt(step, branch)
        if not isinstance(outcome, Done):
            break
    return outcome


def _goes_on(history: dict[str, Outcome]) -> bool:
    return all(isinstance(outcome, Done) for outcome in history.values())


def _last(results: dict[str, Outcome], names: Sequence[str]) -> Outcome:
    reached = [results[name] for name in names if name in results]
    return next((one for one in reached if not isinstance(one, Done)), reached[-1])
