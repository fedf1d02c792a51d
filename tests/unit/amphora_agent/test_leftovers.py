# SPDX-License-Identifier: Apache-2.0
"""Programs that an earlier life of the agent left running."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from octavia.amphora_agent import leftovers

BUSY = "import signal, sys; {}; print('ready', flush=True); signal.pause()"


@contextmanager
def running(argv: tuple[str, ...]) -> Iterator["subprocess.Popen[str]"]:
    """Until it says that it is ready."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def a_program(preparation: str = "pass") -> tuple[str, ...]:
    return (sys.executable, "-c", BUSY.format(preparation), str(uuid.uuid4()))


def test_all_that_run_it_are_ended_and_nobody_else() -> None:
    argv, other = a_program(), a_program()
    with running(argv) as one, running((*argv, "-sf", "17")) as reloaded, running(other) as stranger:
        leftovers.end(argv, 10)
        assert (one.wait(), reloaded.wait()) == (-signal.SIGTERM, -signal.SIGTERM)
        assert stranger.poll() is None


def test_part_of_a_word_is_another_word() -> None:
    argv = a_program()
    with running((*argv[:-1], f"{argv[-1]}0")) as stranger:
        leftovers.end(argv, 10)
        assert stranger.poll() is None


def test_who_does_not_listen_is_killed() -> None:
    argv = a_program("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    with running(argv) as one:
        leftovers.end(argv, 0.2)
        assert one.wait() == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")
def test_the_same_paths_of_other_mounts_are_other_files() -> None:
    argv = a_program()
    with running(("unshare", "--mount", *argv)) as stranger:
        leftovers.end(argv, 10)
        assert stranger.poll() is None
