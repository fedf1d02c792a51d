# SPDX-License-Identifier: Apache-2.0
"""Seeing that a change is live, where the amphora's traffic is: in HAProxy's process or in the kernel.

Each look has to be cheap, however many members there are: it runs on the machine that is measured.
"""

import csv
import os
import socket
import struct
import subprocess
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final, Protocol

from benchmarks._standalone import TRAFFIC_NAMESPACE, HaproxySocket, process
from octavia.dataplane.haproxy.values import server_ids
from octavia.drivers.local import links
from tests.scenario.standalone import Machine

MAINTENANCE: Final = "MAINT"
_GET_GENERATION: Final = 10 << 8 | 16  # <linux/netfilter/nfnetlink.h>, <linux/netfilter/nf_tables.h>
_NETLINK_NETFILTER: Final = 12


class Amphora(Protocol):
    """What one amphora does for the changed member."""

    def mark(self) -> None:
        """What comes after this is the next change."""

    def has(self, member: Mapping[str, Any]) -> bool:
        """Does new traffic go to it, in this share?"""

    def lacks(self, member: Mapping[str, Any]) -> bool:
        """Does no new traffic go to it, whatever its weight?"""

    def reloads(self) -> int:
        """Since this object was made."""


class Haproxy:
    """HAProxy's table of statistics: one row."""

    def __init__(self, machine: Machine, amphora_id: str, made: Mapping[str, Any]) -> None:
        self._socket = HaproxySocket(machine, amphora_id, made["id"])
        self._backend = f"{made['pools'][0]['id']}:{made['listeners'][0]['id']}"
        self._worker = self._socket.worker_pid()

    def mark(self) -> None:
        return

    def has(self, member: Mapping[str, Any]) -> bool:
        row = self._row(member["id"])
        return bool(row) and row["status"] != MAINTENANCE and int(row["weight"]) == member["weight"]

    def lacks(self, member: Mapping[str, Any]) -> bool:
        row = self._row(member["id"])
        return not row or row["status"] == MAINTENANCE

    def reloads(self) -> int:
        return int(self._socket.worker_pid() != self._worker)

    def _row(self, member_id: str) -> dict[str, str]:
        number = server_ids([member_id])[member_id]
        table = self._socket.ask(f"show stat {self._backend} 4 {number}").removeprefix("# ")
        return next(csv.DictReader(table.splitlines()), {})


class Kernel:
    """Netfilter's number of the generation of its rules: each transaction is one more.

    That the transaction was about this member is asked where time does not count: in :meth:`mark`.
    """

    def __init__(self, machine: Machine, amphora_id: str) -> None:
        first = process(machine, amphora_id).pid
        self._namespace = f"/proc/{first}/root/{TRAFFIC_NAMESPACE}"
        descriptor = os.open(self._namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._netlink = links.run_inside(descriptor, _netlink)
        finally:
            os.close(descriptor)
        self._before = self._generation()
        self._claims: list[tuple[str, bool]] = []

    def mark(self) -> None:
        if self._claims:
            rules = subprocess.run(
                ("nsenter", f"--net={self._namespace}", "--", "nft", "list", "ruleset"),
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for place, is_there in self._claims:
                assert (place in rules) == is_there, f"{place} should {'' if is_there else 'not '}be there"
        self._claims = []
        self._before = self._generation()

    def has(self, member: Mapping[str, Any]) -> bool:
        return self._changed(member, is_there=member["weight"] > 0)

    def lacks(self, member: Mapping[str, Any]) -> bool:
        return self._changed(member, is_there=False)

    def reloads(self) -> int:
        return 0

    def _changed(self, member: Mapping[str, Any], *, is_there: bool) -> bool:
        self._claims = [(f" : {member['address']} . {member['protocol_port']}", is_there)]
        return self._generation() > self._before

    def _generation(self) -> int:
        header = struct.pack("=IHHII", 20, _GET_GENERATION, 1, 0, 0)
        self._netlink.send(header + struct.pack("=BBH", 0, 0, 0))
        answer = self._netlink.recv(4096)
        (number,) = struct.unpack_from(">I", answer, 16 + 4 + 4)  # the first attribute
        return int(number)


def _netlink() -> socket.socket:
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)) as opened:
        opened.bind((0, 0))
        return opened.dup()
