# SPDX-License-Identifier: Apache-2.0
"""The namespace ``amphora-haproxy``, where the tenant's traffic is (contract: data-plane.md sections 10, 11).

The agent itself stays outside, with the management interface; it sends a thread in where a system
call has to be made inside.
"""

import contextlib
import ctypes
import logging
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import NETNS, NETNS_PATH

LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_CLONE_NEWNET: Final = 0x40000000

# What the kernel has of it per network namespace; the rest belongs to the machine and its image.
SYSCTLS: Final = {
    "net/ipv4/ip_nonlocal_bind": "1",  # a standby binds VIPs that it does not hold
    "net/ipv6/ip_nonlocal_bind": "1",
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    # A datagram leaves by the interface that it came in by: nobody shall be told to go there directly.
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    # Of several addresses of a subnet, one that goes does not take the others along.
    "net/ipv4/conf/all/promote_secondaries": "1",
    "net/ipv4/vs/conntrack": "1",
    "net/ipv4/vs/expire_nodest_conn": "1",
    "net/ipv4/vs/expire_quiescent_template": "1",
    "net/ipv4/tcp_max_tw_buckets": "5800000",
    "net/ipv4/tcp_max_orphans": "5800000",
    "net/ipv4/tcp_max_syn_backlog": "100000",
    "net/ipv4/tcp_keepalive_time": "300",
    "net/ipv4/tcp_tw_reuse": "1",
    "net/core/somaxconn": "65534",
    "net/ipv4/tcp_synack_retries": "3",
    "net/core/netdev_max_backlog": "100000",
    "net/ipv4/tcp_mtu_probing": "1",
    "net/ipv4/tcp_fin_timeout": "5",
    "net/ipv4/ip_local_port_range": "1025 65534",
    "net/ipv4/ping_group_range": "0 2147483647",
    "net/core/rmem_max": "67108864",
    "net/core/wmem_max": "67108864",
    "net/ipv4/tcp_rmem": "4096 87380 33554432",
    "net/ipv4/tcp_wmem": "4096 87380 33554432",
}


class NamespaceMissing(Exception):
    """The namespace could not be made; the text says why."""


def begin(processes: Processes) -> "subprocess.Popen[bytes] | None":
    """Begin to make the namespace, so that it happens while the agent is still importing."""
    if _is_there():
        return None
    Path(NETNS_PATH).unlink(missing_ok=True)  # of an ``ip netns add`` that was killed half-way
    return processes.spawn(("ip", "netns", "add", NETNS), output=subprocess.PIPE)


def finish(processes: Processes, beginning: "subprocess.Popen[bytes] | None") -> None:
    """Wait until the namespace is there, and set it up.

    :raises NamespaceMissing: it cannot be made.
    """
    if beginning is not None:
        assert beginning.stdout is not None
        with beginning.stdout:
            output = beginning.stdout.read()
        if processes.wait(beginning) and not _is_there():
            raise NamespaceMissing(f"ip netns add {NETNS}: {output.decode(errors='replace').strip()}")
    run_inside(_set_sysctls)
    result = processes.run(("ip", "-n", NETNS, "link", "set", "lo", "up"))
    if result.returncode:
        raise NamespaceMissing(f"its loopback interface does not come up: {result.output.strip()}")


def run_inside(function: Callable[[], _T]) -> _T:
    """Call a function in a thread that has entered the namespace; its sockets stay there for good.

    :raises OSError: the namespace is gone.
    """
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def enter_and_call() -> None:
        try:
            descriptor = os.open(NETNS_PATH, os.O_RDONLY)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(descriptor, _CLONE_NEWNET) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, f"setns {NETNS_PATH}: {os.strerror(number)}")
            finally:
                os.close(descriptor)
            outcome.append(function())
        except BaseException as error:  # handed to the caller's thread, whatever it is
            failure.append(error)

    # The thread must not live on: it would be a thread of the agent in the wrong namespace.
    thread = threading.Thread(target=enter_and_call, name="inside-amphora-haproxy")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _is_there() -> bool:
    return os.path.ismount(NETNS_PATH)  # before it is that, it is an empty file


def _set_sysctls() -> None:
    missing = []
    for name, value in SYSCTLS.items():
        try:
            with open(f"/proc/sys/{name}", "w") as file:
                file.write(value)
        except OSError:
            missing.append(name)
    if missing:
        LOG.info("Not settable in this namespace: %s", ", ".join(missing))


def link_statistics(processes: Processes) -> str:
    """``ip -j -s link`` of the namespace, for ``details``; an empty list if there is none."""
    with contextlib.suppress(OSError):
        result = processes.run(("ip", "-n", NETNS, "-j", "-s", "link", "show"))
        if result.returncode == 0:
            return result.output
    return "[]"
