# SPDX-License-Identifier: Apache-2.0
"""Places where a process can be made to die, so that tests can prove that it does no harm.

Every call of a driver and every commit has a point before and after it. Nothing is wrapped unless
the environment asks for it:

``OCTAVIA_FAILPOINT=NAME`` or ``NAME #3``
    SIGKILL ourselves when the point of that name is reached for the first time, or for the third.
``OCTAVIA_FAILPOINT=@FILE``
    The same, as the first line of that file says at the moment; no such file is no such point. Counting
    starts anew with each other content, so that a process that runs can be told where to die.
``OCTAVIA_FAILPOINT_LOG=FILE``
    Append the name of every point that is reached, a line each.
"""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from octavia.db.engine import Connection, Database, Engine

_D = TypeVar("_D")
_T = TypeVar("_T")


class Failpoints:
    """What the environment asks for."""

    def __init__(self, deadly: str, log: str | None) -> None:
        self._deadly = deadly
        self._counted = ""
        self._passes = 0
        self._lock = threading.Lock()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._log = os.open(log, flags, 0o600) if log else None

    @classmethod
    def from_environment(cls) -> "Failpoints | None":
        """None when nobody asks, as in every production."""
        deadly, log = os.environ.get("OCTAVIA_FAILPOINT", ""), os.environ.get("OCTAVIA_FAILPOINT_LOG")
        return cls(deadly, log) if deadly or log else None

    def reach(self, name: str) -> None:
        """Die here, if this is the place."""
        with self._lock:
            if self._log is not None:
                os.write(self._log, f"{name}\n".encode())
            wanted = self._wanted()
            if wanted != self._counted:
                self._counted, self._passes = wanted, 0
            deadly, _, number = wanted.partition(" #")
            if name == deadly:
                self._passes += 1
                if self._passes == int(number or 1):
                    os.kill(os.getpid(), signal.SIGKILL)

    def _wanted(self) -> str:
        if not self._deadly.startswith("@"):
            return self._deadly
        try:
            return Path(self._deadly[1:]).read_text(encoding="utf-8").partition("\n")[0]
        except FileNotFoundError:
            return ""

    def around(self, driver: _D, family: str) -> _D:
        """The driver with a point before and after each of its calls."""
        return cast(_D, _Watched(driver, family, self))


class _Watched:
    def __init__(self, driver: object, family: str, points: Failpoints) -> None:
        self._driver = driver
        self._family = family
        self._points = points

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._driver, name)
        if not callable(attribute):
            return attribute
        point = f"{self._family}.{name}"

        def watched(*args: Any, **kwargs: Any) -> Any:
            self._points.reach(f"{point} before")
            result = attribute(*args, **kwargs)
            self._points.reach(f"{point} after")
            return result

        return watched


class WatchedDatabase(Database):
    """A database with a point before and after each commit, named after what was changed."""

    def __init__(self, engine: Engine, points: Failpoints) -> None:
        super().__init__(engine)
        self._points = points

    def write(self, change: Callable[[Connection], _T]) -> _T:
        """Commit between two points."""
        name = f"commit {change.__module__.removeprefix('octavia.')}.{change.__qualname__}"

        def before_commit(tx: Connection) -> _T:
            result = change(tx)
            self._points.reach(f"{name} before")
            return result

        result = super().write(before_commit)
        self._points.reach(f"{name} after")
        return result
