# SPDX-License-Identifier: Apache-2.0
"""What the agent says of itself and its machine (contract: amphora-agent.md section 4)."""

import functools
import json
import os
import re
import socket
from pathlib import Path
from typing import Any

from octavia.amphora_agent import netns
from octavia.amphora_agent.processes import Processes
from octavia.wire.agent import API_VERSION

_VERSION = re.compile(r"\bv?(\d+(?:\.\d+)+\S*)")
_MEMORY = {
    "total": "MemTotal",
    "free": "MemFree",
    "buffers": "Buffers",
    "cached": "Cached",
    "swap_used": "SwapCached",
    "shared": "Shmem",
    "slab": "Slab",
}


class Versions:
    """The programs' versions, asked once."""

    def __init__(self, processes: Processes, haproxy_cmd: str, keepalived_cmd: str) -> None:
        self._processes = processes
        self._haproxy_cmd = haproxy_cmd
        self._keepalived_cmd = keepalived_cmd

    @functools.cached_property
    def haproxy(self) -> str:
        """Like ``2.6.12-1+deb12u4``; empty if it is not installed."""
        return self._ask(self._haproxy_cmd, "-v")

    @functools.cached_property
    def keepalived(self) -> str:
        """Like ``2.2.7``; empty if it is not installed."""
        return self._ask(self._keepalived_cmd, "--version")

    @functools.cached_property
    def ipvsadm(self) -> str:
        """Empty if it is not installed."""
        return self._ask("ipvsadm", "--version")

    def _ask(self, *argv: str) -> str:
        try:
            first_line = self._processes.run(argv).output.partition("\n")[0]
        except OSError:
            return ""
        found = _VERSION.search(first_line)
        return found.group(1) if found else ""


def info(versions: Versions) -> dict[str, Any]:
    """Who is there."""
    return {
        "hostname": socket.gethostname(),
        "haproxy_version": versions.haproxy,
        "api_version": API_VERSION,
        "keepalived_version": versions.keepalived,
        "ipvsadm_version": versions.ipvsadm,
    }


def machine(processes: Processes, *, is_shared: bool) -> dict[str, Any]:
    """Processor, memory, disk, network.

    :param is_shared: other amphorae are on this machine too. What it has free is then nobody's to plan with,
        and tuned keeps none of its processors for one of them: there is no ``memory``, and no profile.
    """
    disk = os.statvfs("/")
    own_memory = {} if is_shared else {"memory": _memory()}
    return {
        "networks": _networks(processes),
        "active": True,
        "cpu_count": os.cpu_count() or 1,
        "cpu": _cpu(),
        **own_memory,
        "disk": {
            "used": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
            "available": disk.f_bavail * disk.f_frsize,
        },
        "load": Path("/proc/loadavg").read_text().split()[:3],
        "active_tuned_profiles": "" if is_shared else _tuned_profile(),
        "topology": "SINGLE",
        "topology_status": "OK",
        "packages": {},
    }


def _networks(processes: Processes) -> dict[str, dict[str, int]]:
    return {
        link["ifname"]: {
            "network_tx": link["stats64"]["tx"]["bytes"],
            "network_rx": link["stats64"]["rx"]["bytes"],
        }
        for link in json.loads(netns.link_statistics(processes))
        if link["ifname"].startswith("eth")
    }


def _cpu() -> dict[str, Any]:
    words = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return {
        "total": sum(int(word) for word in words),
        "user": words[0],
        "system": words[2],
        "soft_irq": words[6],
    }


def _memory() -> dict[str, int]:
    values = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0])
    return {key: values.get(name, 0) for key, name in _MEMORY.items()}


def _tuned_profile() -> str:
    try:
        return Path("/etc/tuned/active_profile").read_text()[:1024].strip()
    except OSError:
        return ""
