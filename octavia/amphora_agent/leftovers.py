# SPDX-License-Identifier: Apache-2.0
"""Programs that a killed agent left running: two HAProxies would share the VIP's port between them.

They are known by their command line, which has paths of this amphora's own in it. What shares no mounts with
us, like a container or a local amphora seen from its host, means other files by the same paths.
"""

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Sequence
from typing import Final

LOG = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGKILL)  # keepalived takes its addresses away on the former


def end(argv: Sequence[str], patience_seconds: float) -> None:
    """Returns when nobody runs this any more.

    :param patience_seconds: for each of the two signals, SIGTERM and SIGKILL.
    """
    if os.getpid() == 1:
        return  # the kernel has seen to it
    for number in _SIGNALS:
        found = _running(argv)
        if not found:
            return
        LOG.warning("Ending %s processes of %s, left by an earlier life of the agent", len(found), argv[0])
        deadline = time.monotonic() + patience_seconds
        for held in found:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(held, number)
        for held in found:
            _await_end(held, deadline)
            os.close(held)


def _running(argv: Sequence[str]) -> list[int]:
    """A descriptor of each process that runs this."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            held = os.pidfd_open(int(name))
            if _runs(name, argv):
                found.append(held)
            else:
                os.close(held)
    return found


def _runs(pid: str, argv: Sequence[str]) -> bool:
    """Does it, or is it about to? ``nsenter`` has these words at its end, a reloaded HAProxy some more."""
    wanted = "".join(f"\0{word}" for word in argv) + "\0"
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = b"\0" + file.read()
        return os.fsencode(wanted) in words and os.readlink(f"/proc/{pid}/ns/mnt") == _our_mounts()
    except OSError:
        return False


def _our_mounts() -> str:
    return os.readlink("/proc/self/ns/mnt")


def _await_end(held: int, deadline: float) -> None:
    watch = select.poll()
    watch.register(held, select.POLLIN)
    watch.poll(max(0.0, deadline - time.monotonic()) * 1000)
