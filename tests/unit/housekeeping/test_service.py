# SPDX-License-Identifier: Apache-2.0
"""When jobs run."""

import logging
import threading
from datetime import datetime, timedelta

import pytest

from octavia.domain.errors import Transient
from octavia.housekeeping.service import Housekeeping, Job
from tests.fleet import NOW


class ManualClock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


def test_each_job_runs_at_once_and_then_in_its_interval() -> None:
    clock, ran = ManualClock(), list[tuple[str, float]]()
    jobs = [
        Job(name, timedelta(seconds=interval), lambda now, name=name: ran.append((name, clock.seconds)))  # type: ignore[misc]
        for name, interval in (("often", 10), ("seldom", 25))
    ]
    keeper = Housekeeping(jobs, clock)
    for second in range(0, 31, 5):
        clock.seconds = second
        keeper.run_due()
    assert ran == [("often", 0), ("seldom", 0), ("often", 10), ("often", 20), ("seldom", 25), ("often", 30)]


def test_a_job_that_fails_stops_neither_itself_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clock, ran = ManualClock(), list[str]()

    def down(_now: datetime) -> None:
        raise Transient("the cloud is down")

    def wrong(_now: datetime) -> None:
        raise ValueError("a bug")

    interval = timedelta(seconds=10)
    jobs = [Job("down", interval, down), Job("wrong", interval, wrong)]
    keeper = Housekeeping([*jobs, Job("well", interval, lambda now: ran.append("well"))], clock)
    keeper.run_due()
    clock.seconds = 10
    keeper.run_due()
    assert ran == ["well", "well"]
    assert caplog.messages.count("down has to wait: the cloud is down") == 2
    assert [one.levelno for one in caplog.records].count(logging.ERROR) == 2


def test_it_ends_when_told_to() -> None:
    stop, started = threading.Event(), threading.Event()
    keeper = Housekeeping([Job("j", timedelta(hours=1), lambda now: started.set())], _RealClock())
    thread = threading.Thread(target=keeper.run, args=(stop,))
    thread.start()
    assert started.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


class _RealClock(ManualClock):
    def monotonic(self) -> float:
        import time

        return time.monotonic()
