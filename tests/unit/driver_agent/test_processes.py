# SPDX-License-Identifier: Apache-2.0
"""Processes that die at a bad moment."""

import subprocess
import sys

# In an interpreter of its own: what is forked must have no threads.
_KILLED_WHILE_IT_WAITED = """
import os, signal, sys
from pathlib import Path
from octavia.driver_agent.processes import Part, Signals, keep_running

waits, waiting = os.pipe()

def wait_for_the_end(exit_event):
    os.write(waiting, b"!")
    exit_event.wait()

signals = Signals()

def kill_the_waiting_then_end(exit_event):
    parent = os.getppid()
    sibling = next(
        int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if int(pid) != os.getpid()
    )
    os.read(waits, 1)
    while Path(f"/proc/{sibling}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        pass
    os.kill(parent, signal.SIGTERM)
    os.kill(sibling, signal.SIGKILL)
    exit_event.wait()

first = Part("waiting", wait_for_the_end, 5.0)
sys.exit(keep_running(signals, first, [Part("killing", kill_the_waiting_then_end, 5.0)]))
"""


def test_the_end_does_not_wait_for_one_that_was_killed_while_it_waited_for_it() -> None:
    done = subprocess.run(
        (sys.executable, "-c", _KILLED_WHILE_IT_WAITED),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
