# SPDX-License-Identifier: Apache-2.0
"""CPU of other processes than this one."""

import os
from contextlib import suppress
from pathlib import Path


def on_cpu_s(pid: int) -> float:
    """CPU seconds of the living threads of a process and of its children, to the nanosecond.

    ``/proc/PID/stat`` knows those that ended too, but counts in steps of 10 ms.
    """
    total_ns = 0
    pids = [pid]
    for one in pids:
        for thread in Path(f"/proc/{one}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
                total_ns += int((thread / "schedstat").read_text().split()[0])
                pids += [int(child) for child in (thread / "children").read_text().split()]
    return total_ns / 1e9


def on_cpu_so_far_s(pid: int) -> float:
    """CPU seconds of a process and of those of its children that have ended, in steps of 10 ms."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")  # utime, stime, cutime, cstime
