# SPDX-License-Identifier: Apache-2.0
"""What was valid when: changes are sent and acknowledged, and requests fall between."""

import contextlib
import http.client
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from octavia.amphora_agent.haproxy import OLD_PROCESSES
from tests.netns.valid import Valid

PATIENCE_S: Final = 30.0  # a client that waits longer has lost its request
# A connection may outlive so many reloads: well below what HAProxy's processes of before do.
REACH: Final = OLD_PROCESSES // 2


class Book:
    """What was valid when, what the clients did, and what went wrong."""

    def __init__(self, first: Valid) -> None:
        self.failures: list[str] = []
        self.done: Counter[str] = Counter()
        self.ended = threading.Event()
        self._states = [first]
        self._acknowledged = 0
        self._reloads = 0
        self._since: dict[int, int] = {}  # a thread to the reloads that were before its present connection
        self._moved = threading.Condition()
        self._reloading = False
        self._reloaded_at = -math.inf

    @property
    def now(self) -> int:
        """A mark of the present: whatever was valid before it has been replaced by then."""
        return self._acknowledged

    def valid_since(self, mark: int) -> Sequence[Valid]:
        """All that was valid at some moment between the mark and now."""
        return self._states[mark:]

    def send(self, valid: Valid, *, reloading: bool) -> None:
        """From now on it may be valid."""
        self._reloading = reloading
        self._states.append(valid)

    def acknowledge(self, *, reloaded: bool) -> None:
        """What was sent last is valid, and nothing else."""
        with self._moved:
            self._acknowledged = len(self._states) - 1
            if reloaded:
                self._reloads += 1
                self._reloaded_at = time.monotonic()
            self._reloading = False
            self._moved.notify_all()

    def end(self) -> None:
        """The clients have asked enough."""
        with self._moved:
            self.ended.set()
            self._moved.notify_all()

    def await_reload(self) -> None:
        """Until one more, or the end."""
        with self._moved:
            before = self._reloads
            self._moved.wait_for(lambda: self._reloads > before or self.ended.is_set())

    def after_reload(self, begun: float) -> float:
        """Seconds from the end of the last one to a moment; 0 if one was under way later than that."""
        return 0.0 if self._reloading else max(0.0, begun - self._reloaded_at)

    def await_reach(self) -> None:
        """Until one more reload takes no connection's process away.

        :raises AssertionError: a connection does not end.
        """
        with self._moved:
            assert self._moved.wait_for(
                lambda: all(self._reloads - since < OLD_PROCESSES - 2 for since in self._since.values()),
                timeout=4 * PATIENCE_S,
            ), "a connection does not end"

    def is_old(self) -> bool:
        """Has the present connection of this thread seen enough reloads?"""
        return self._reloads - self._since[threading.get_ident()] >= REACH

    def spans_reload(self) -> bool:
        """May the present connection of this thread be with a process of before?"""
        return self._reloading or self._reloads > self._since[threading.get_ident()]

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """What this raises is a failed request."""
        begun = self.now
        try:
            yield
        except (OSError, http.client.HTTPException, AssertionError) as error:
            span = f"changes {begun} to {len(self._states) - 1}"
            with self._moved:
                self.failures.append(f"{what} ({span}, {self._reloads} reloads): {error!r}")

    @contextlib.contextmanager
    def connection(self, what: str) -> Iterator[None]:
        """The same, with one connection of this thread, which a process of HAProxy's has to wait for."""
        me = threading.get_ident()
        with self._moved:
            self._since[me] = self._reloads
        try:
            with self.attempt(what):
                yield
        finally:
            with self._moved:
                del self._since[me]
                self._moved.notify_all()
