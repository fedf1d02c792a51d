# SPDX-License-Identifier: Apache-2.0
"""Fail-points: where a process dies when it is asked to."""

import os
import signal
from pathlib import Path

import pytest

from octavia.cmd.failpoints import Failpoints


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that the process sent to itself."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append(number) if pid == os.getpid() else None)
    return sent


def test_it_dies_at_the_point_of_that_name_and_at_no_other(deaths: list[int]) -> None:
    points = Failpoints("compute.create after", None)
    points.reach("compute.create before")
    assert deaths == []
    points.reach("compute.create after")
    assert deaths == [signal.SIGKILL]


def test_it_dies_at_the_third_pass_if_told_so(deaths: list[int]) -> None:
    points = Failpoints("compute.get after #3", None)
    points.reach("compute.get after")
    points.reach("compute.get after")
    assert deaths == []
    points.reach("compute.get after")
    assert deaths == [signal.SIGKILL]


def test_a_running_process_is_told_by_a_file_and_counts_from_then_on(
    deaths: list[int], tmp_path: Path
) -> None:
    order = tmp_path / "order"
    points = Failpoints(f"@{order}", None)
    points.reach("compute.get after")
    order.write_text("compute.get after #2\n")
    points.reach("compute.get after")
    assert deaths == []
    points.reach("compute.get after")
    assert deaths == [signal.SIGKILL]


def test_the_log_has_a_line_a_point(deaths: list[int], tmp_path: Path) -> None:
    points = Failpoints("", str(tmp_path / "log"))
    points.reach("network.get_port before")
    points.reach("network.get_port after")
    assert (tmp_path / "log").read_text() == "network.get_port before\nnetwork.get_port after\n"
    assert deaths == []


def test_nothing_is_watched_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCTAVIA_FAILPOINT", raising=False)
    monkeypatch.delenv("OCTAVIA_FAILPOINT_LOG", raising=False)
    assert Failpoints.from_environment() is None
