# SPDX-License-Identifier: Apache-2.0
"""The kernel's side of UDP and SCTP listeners: the nftables table and the flows in conntrack.

Asked through ``nft`` and ``conntrack``, inside the namespace ``amphora-haproxy``. Netlink from here would
need a library of tens of megabytes in the tenant's memory, for a handful of commands a change.
"""

import json
import logging
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import NETNS_PATH
from octavia.dataplane.l4.nftables import Flow, Rendered, Target
from octavia.dataplane.l4.ruleset import Named
from octavia.dataplane.l4.transaction import TABLE, difference, removal, replacement
from octavia.dataplane.l4.words import UnsafeValue

LOG = logging.getLogger(__name__)

_INSIDE: Final = ("nsenter", f"--net={NETNS_PATH}", "--")
_NAME: Final = TABLE.partition(" ")[2]
_PROGRAMS: Final = ("nft", "conntrack")
_FAMILIES: Final = ("ipv4", "ipv6")
_SCTP: Final = Path("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established")


class _Known(NamedTuple):
    """A flow of ours that conntrack knows."""

    protocol: str
    vip: str
    port: int
    mark: int


class TableRefused(Exception):
    """The kernel does not take the rules; what it had before still holds."""


def missing_programs() -> list[str]:
    """What has to be installed before anything can be served."""
    return [one for one in _PROGRAMS if shutil.which(one) is None]


def tracks_sctp() -> bool:
    """Can this kernel's conntrack translate SCTP?"""
    return _SCTP.exists()


class Table:
    """The table ``inet octavia_l4``."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._live: Rendered | None = None  # as we made it; None while that is not known

    @property
    def live(self) -> Rendered | None:
        """What it is; None if it may be anything."""
        return self._live

    def become(self, wanted: Rendered) -> None:
        """One transaction: of the difference, or, where the kernel does not take that, of the whole table.

        :raises TableRefused: and then nothing has changed.
        """
        live, self._live = self._live, None
        change = difference(live, wanted) if live is not None else None
        if change is None or not self._is_taken(change):
            self._run(replacement(wanted, self.present()))
        self._live = wanted

    def _is_taken(self, change: str) -> bool:
        try:
            if change:
                self._run(change)
        except TableRefused as error:
            LOG.warning("The table is not what it was and is made anew: %s", error)
            return False
        return True

    def _run(self, text: str) -> None:
        try:
            result = self._processes.run((*_INSIDE, "nft", "-f", "-"), text=text)
        except OSError as error:
            raise TableRefused(str(error)) from error
        if result.returncode:
            raise TableRefused(result.output.strip())

    def remove(self) -> None:
        """After this there is none."""
        self._live = None
        self._run(removal())

    def present(self) -> frozenset[Named]:
        """The named objects that are there; empty without a table."""
        found = set()
        for what in ("chains", "sets", "maps", "counters"):
            for item in self._list(f"{what} inet"):
                ((kind, body),) = item.items()
                if kind in ("chain", "set", "map", "counter") and body.get("table") == _NAME:
                    found.add(_named(kind, str(body["name"])))
        return frozenset(found)

    def counters(self) -> dict[str, tuple[int, int]]:
        """Name to packets and bytes since the object was made."""
        every = [one["counter"] for one in self._list("counters inet") if "counter" in one]
        return {
            str(one["name"]): (int(one["packets"]), int(one["bytes"]))
            for one in every
            if one.get("table") == _NAME
        }

    def _list(self, what: str) -> list[Mapping[str, Mapping[str, Any]]]:
        result = self._processes.run((*_INSIDE, "nft", "-j", "-t", "list", *what.split()))
        if result.returncode:
            raise TableRefused(result.output.strip())
        return list(json.loads(result.output)["nftables"])

    # --- flows ----------------------------------------------------------------------------------

    def end_flows_to(self, targets: Iterable[Target]) -> None:
        """Forget all flows of these members; their next packets are new flows to others."""
        for one in sorted(targets):
            self._end_marked(one.mark, _family(one.address))

    def end_flows_but_to(self, targets: Iterable[Target]) -> None:
        """Forget all flows of whoever is none of these."""
        known = {one.mark for one in targets}
        for mark in sorted({one.mark for one in self._flows(_FAMILIES)} - known):
            for family in _FAMILIES:
                self._end_marked(mark, family)

    def _end_marked(self, mark: int, family: str) -> None:
        self._conntrack("--delete", "--family", family, "--mark", str(mark))

    def end_flows_through(self, ways: Iterable[Flow]) -> None:
        """Forget all flows that came in this way, translated or not."""
        for protocol, vip, port in sorted({(one.protocol.lower(), one.vip, one.port) for one in ways}):
            which = ("--proto", protocol, "--orig-dst", vip, "--orig-port-dst", str(port))
            self._conntrack("--delete", "--family", _family(vip), *which)

    def _conntrack(self, *words: str) -> None:
        # It exits with 1 when there was nothing to delete, too.
        result = self._processes.run((*_INSIDE, "conntrack", *words))
        if result.returncode and "0 flow entries" not in result.output:
            LOG.warning("conntrack %s: %s", " ".join(words), result.output.strip())

    def open_flows(self, vips: Iterable[str]) -> Counter[tuple[str, str, int]]:
        """Protocol, VIP and port to the number of flows that conntrack knows now."""
        # The kernel looks through the table of the whole machine each time: only for who is wanted.
        families = sorted({_family(one) for one in vips})
        return Counter((one.protocol, one.vip, one.port) for one in self._flows(families))

    def _flows(self, families: Iterable[str]) -> Iterator[_Known]:
        for family in families:
            argv = (*_INSIDE, "conntrack", "--dump", "--family", family)
            # There may be a hundred thousand lines: never all of them in memory.
            process = self._processes.spawn(argv, output=subprocess.PIPE)
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    if (flow := _known(line)) is not None:
                        yield flow
            self._processes.wait(process)


def _named(kind: str, name: str) -> Named:
    try:
        return Named(kind, name)
    except UnsafeValue as error:
        raise TableRefused(f"Somebody put a {kind} into our table that nft cannot name: {error}") from error


def _family(address: str) -> str:
    return "ipv6" if ":" in address else "ipv4"


def _known(line: bytes) -> _Known | None:
    """A line of ``conntrack --dump``: where the flow came to, its first tuple; None if it is not ours."""
    protocol = line[:5].split(b" ")[0].upper()
    if protocol not in (b"UDP", b"SCTP"):
        return None
    first: dict[bytes, bytes] = {}
    for word in line.split():
        key, _, value = word.partition(b"=")
        first.setdefault(key, value)
    mark = int(first.get(b"mark", b"0"))
    if not mark or b"dst" not in first or b"dport" not in first:
        return None
    vip = str(ip_address(first[b"dst"].decode()))
    return _Known(protocol.decode(), vip, int(first[b"dport"]), mark)
