# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of a pass: one branch an amphora, so that a pair is built in parallel.

The steps of a branch follow one another until one does not answer ``Done``. TaskFlow's engine runs the
branches beside each other, one task a branch; a pass of a single branch, or of one step a branch, skips
the engine, which costs more than such a pass itself (``docs/decisions/0006-taskflow.md``).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from taskflow import engines, task
from taskflow.patterns import graph_flow

from octavia.worker.outcome import Done, Outcome
from octavia.worker.steps.contract import Step, attempt
from octavia.worker.world import Branch

_DONE: Final = Done()


class _BranchTask(task.Task):  # type: ignore[misc]  # the library is untyped
    """One branch as the engine sees it: it provides the branch's outcome and never raises."""

    def __init__(self, name: str, work: tuple[Branch, Sequence[Step]]) -> None:
        super().__init__(name=name, provides=name)
        self._work = work

    def execute(self, *_args: Any, **_kwargs: Any) -> Outcome:
        return _run_one(self._work)


def run(work: Sequence[tuple[Branch, Sequence[Step]]], executor: ThreadPoolExecutor) -> list[Outcome]:
    """The outcome of each branch: that of its last step, or of the step that stopped it."""
    if len(work) == 1:
        return [_run_one(work[0])]
    if all(len(steps) == 1 for _, steps in work):
        return list(executor.map(_run_one, work))
    return _run_with_the_engine(work, executor)


def _run_with_the_engine(
    work: Sequence[tuple[Branch, Sequence[Step]]], executor: ThreadPoolExecutor
) -> list[Outcome]:
    graph = graph_flow.Flow("pass")
    names = [str(number) for number, _ in enumerate(work)]
    graph.add(*map(_BranchTask, names, work))
    engine = engines.load(graph, engine="parallel", executor=executor)
    engine.run()
    results = engine.storage.fetch_all()
    return [results[name] for name in names]


def _run_one(work: tuple[Branch, Sequence[Step]]) -> Outcome:
    branch, steps = work
    outcome: Outcome = _DONE
    for step in steps:
        outcome = attempt(step, branch)
        if not isinstance(outcome, Done):
            break
    return outcome
