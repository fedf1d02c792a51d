# SPDX-License-Identifier: Apache-2.0
"""CPU of other processes than this one."""

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
