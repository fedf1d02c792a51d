# SPDX-License-Identifier: Apache-2.0
"""Faults on purpose, for the in-memory drivers: the simulator's and the tests' way to be unkind.

Each call of a driver passes two gates. What is raised at the first means that nothing was done; what
is raised at the second means that it was done and the answer was lost.
"""

import functools
from collections import defaultdict, deque
from collections.abc import Callable
from enum import StrEnum
from typing import Concatenate, ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound="Faulty")


class Moment(StrEnum):
    """Which gate of a call."""

    BEFORE = "BEFORE"
    AFTER = "AFTER"


class Hook(Protocol):
    """Called at every gate; raises to inject a fault."""

    def __call__(self, call: str, moment: Moment, /) -> None:
        """:param call: the method's name."""


class Faults:
    """A script of faults: each is used once, in the order in which they were asked for.

    :ivar calls: the names of all calls made so far, refused ones included.
    :ivar hook: asked at every gate besides; the simulator sets it.
    """

    def __init__(self, hook: Hook | None = None) -> None:
        self.calls: list[str] = []
        self.hook = hook
        self._script: dict[tuple[str, Moment], deque[Exception]] = defaultdict(deque)

    def fail(self, call: str, fault: Exception, *, times: int = 1) -> None:
        """Let the next calls of that name fail with nothing done."""
        self._script[call, Moment.BEFORE].extend([fault] * times)

    def lose_answer(self, call: str, fault: Exception, *, times: int = 1) -> None:
        """Let the next calls of that name be done, and fail nevertheless."""
        self._script[call, Moment.AFTER].extend([fault] * times)

    def pass_gate(self, call: str, moment: Moment) -> None:
        """Raise what is due."""
        if moment is Moment.BEFORE:
            self.calls.append(call)
        due = self._script.get((call, moment))
        if due:
            raise due.popleft()
        if self.hook is not None:
            self.hook(call, moment)


class Faulty:
    """A driver whose calls can be made to fail; ``faults`` is the script."""

    faults: Faults


def gated(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Put the two gates around a driver's method."""

    @functools.wraps(method)
    def between(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        self.faults.pass_gate(method.__name__, Moment.BEFORE)
        result = method(self, *args, **kwargs)
        self.faults.pass_gate(method.__name__, Moment.AFTER)
        return result

    return between
