# SPDX-License-Identifier: Apache-2.0
"""Programs, their output and their ends."""

import subprocess
import sys
import threading
import time

import pytest

from octavia.amphora_agent.processes import Processes


def test_output_and_code_of_a_short_program() -> None:
    done = Processes().run(("sh", "-c", "cat; echo out; echo err >&2; exit 3"), text="in\n")
    assert (done.returncode, done.output) == (3, "in\nout\nerr\n")


def test_a_program_that_hangs_is_killed() -> None:
    begun = time.monotonic()
    done = Processes().run(("sleep", "60"), timeout=0.2)
    assert time.monotonic() - begun < 10
    assert done.returncode == -9
    assert "was killed after 0.2 seconds" in done.output


def test_a_missing_program_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        Processes().run(("/no/such/program",))


def test_the_undertaker_takes_no_exit_code_away_from_who_waits_for_it() -> None:
    program = """
import os, threading
from octavia.amphora_agent.processes import Processes
processes = Processes()
processes.bury_orphans()
codes = []
def many():
    for number in range(40):
        codes.append((number, processes.run(("sh", "-c", f"exit {number}")).returncode))
threads = [threading.Thread(target=many) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(codes) == 120 and all(number == code for number, code in codes), codes
orphan = os.posix_spawn("/bin/true", ["true"], {})  # nobody waits for this one
import time
deadline = time.monotonic() + 10
while os.path.exists(f"/proc/{orphan}") and time.monotonic() < deadline: time.sleep(0.01)
assert not os.path.exists(f"/proc/{orphan}")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_wait_gives_the_code_to_the_waiting_thread() -> None:
    processes = Processes()
    process = processes.spawn(("sh", "-c", "sleep 0.1; exit 5"), output=subprocess.DEVNULL)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(processes.wait(process)))
    thread.start()
    thread.join(10)
    assert codes == [5]
