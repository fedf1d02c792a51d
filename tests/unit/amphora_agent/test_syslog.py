# SPDX-License-Identifier: Apache-2.0
"""The agent's own words on their way to the amphora's syslog."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from octavia.amphora_agent.syslog import SyslogHandler


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(path: Path) -> Iterator[logging.Logger]:
    handler = SyslogHandler(3, path)
    logger = logging.Logger("of this test")
    logger.addHandler(handler)
    yield logger
    handler.close()


@pytest.fixture
def daemon(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.setblocking(False)
        yield daemon


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 159),
        (logging.INFO, 158),
        (logging.WARNING, 156),
        (logging.ERROR, 155),
        (logging.CRITICAL, 154),
        (5, 159),
    ],
)
def test_a_line_has_its_facility_and_severity(
    log: logging.Logger, daemon: socket.socket, level: int, priority: int
) -> None:
    log.log(level, "said %s", "so")
    assert daemon.recv(1000) == f"<{priority}>amphora-agent: said so".encode()


def test_a_daemon_that_is_not_there_costs_nothing_and_is_found_later(
    log: logging.Logger, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log.error("unheard")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        log.error("heard")
        assert daemon.recv(1000).endswith(b"heard")
    path.unlink()
    log.error("unheard again")
    assert capfd.readouterr().err == ""


def test_a_daemon_that_hangs_is_not_waited_for(log: logging.Logger, daemon: socket.socket) -> None:
    sent = 10_000  # more than any socket takes
    for number in range(sent):
        log.info("%d", number)
    received = 0
    with contextlib.suppress(BlockingIOError):
        while daemon.recv(1000):
            received += 1
    assert 0 < received < sent
    log.info("the last")
    assert daemon.recv(1000).endswith(b"the last")


def test_bytes_that_are_no_text_do_no_harm(log: logging.Logger, daemon: socket.socket) -> None:
    log.info("\udcff")
    assert daemon.recv(1000).endswith(b": ?")
