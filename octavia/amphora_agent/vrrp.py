# SPDX-License-Identifier: Apache-2.0
"""The first election of a new pair, without the wait.

Two keepaliveds that start together both listen for three advertisements before one of them takes
the VIP: most of a second in which nobody serves. RFC 5798 section 6.4.2 knows a shorter way: an
advertisement of priority 0 says "I am not the master, and shall not be", and whoever hears it as a
backup takes over after its skew time. The amphora of lower priority says so when its keepalived
starts. A master that hears it just advertises itself at once, so it is harmless later.
"""

import logging
import re
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from octavia.amphora_agent import netns
from octavia.amphora_agent.announce import checksum

LOG = logging.getLogger(__name__)

_PROTOCOL: Final = 112
_ADVERTISEMENT: Final = 0x31  # version 3, type 1
_TTL: Final = 255  # RFC 5798 section 5.1.1.3: anything less comes from another network
_FIRST: Final = 100  # the priority of the amphora that is to be master first
# The peer starts at about the same time: until it listens, nobody hears.
_REPEAT_S: Final = 0.05
_REPEATS: Final = 8


@dataclass(frozen=True, slots=True)
class Instance:
    """What the advertisement needs of keepalived's configuration.

    :param interval_cs: between two advertisements, in hundredths of a second.
    """

    virtual_router_id: int
    interval_cs: int
    source: IPv4Address
    peers: tuple[IPv4Address, ...]
    vips: tuple[IPv4Address, ...]

    def resignation(self, peer: IPv4Address) -> bytes:
        """The advertisement of priority 0 (RFC 5798 section 5.2)."""
        addresses = b"".join(vip.packed for vip in self.vips)

        def message(check: int) -> bytes:
            head = (_ADVERTISEMENT, self.virtual_router_id, 0, len(self.vips), self.interval_cs, check)
            return struct.pack("!BBBBHH", *head) + addresses

        length = len(message(0))
        pseudo = self.source.packed + peer.packed + struct.pack("!BBH", 0, _PROTOCOL, length)
        return message(checksum(pseudo + message(0)))


def lesser(text: str) -> Instance | None:
    """The instance of a keepalived configuration, if it is the one that stands back.

    None for the other one, and for what is not unicast VRRPv3 over IPv4: then the election takes
    its time.
    """
    version, priority = _number(text, "version"), _number(text, "priority")
    router, interval = _number(text, "virtual_router_id"), _word(text, "advert_int")
    source = _word(text, "unicast_src_ip")
    if version != 3 or priority is None or priority >= _FIRST or router is None or not interval:
        return None
    try:
        return Instance(
            virtual_router_id=router,
            interval_cs=round(float(interval) * 100),
            source=IPv4Address(source or ""),
            peers=_addresses(text, "unicast_peer"),
            vips=_addresses(text, "virtual_ipaddress"),
        )
    except ValueError:
        return None


def stand_back(text: str) -> None:
    """Tell the peers a few times that they may take the VIP; returns at once."""
    instance = lesser(text)
    if instance and instance.peers:
        threading.Thread(target=_stand_back, args=(instance,), name="stand-back", daemon=True).start()


def _stand_back(instance: Instance) -> None:
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, _PROTOCOL) as raw:
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _TTL)
            raw.bind((str(instance.source), 0))
            for _ in range(_REPEATS):
                for peer in instance.peers:
                    raw.sendto(instance.resignation(peer), (str(peer), 0))
                time.sleep(_REPEAT_S)

    try:
        netns.run_inside(send)
    except OSError as error:
        LOG.info("The election of the VIP's owner takes its time: %s", error)


def _word(text: str, keyword: str) -> str | None:
    found = re.search(rf"^\s*{keyword}\s+(\S+)\s*$", text, re.MULTILINE)
    return found.group(1) if found else None


def _number(text: str, keyword: str) -> int | None:
    word = _word(text, keyword)
    return int(word) if word and word.isdigit() else None


def _addresses(text: str, block: str) -> tuple[IPv4Address, ...]:
    found = re.search(rf"^\s*{block}\s*\{{([^}}]*)\}}", text, re.MULTILINE)
    words: Sequence[str] = found.group(1).split() if found else ()
    return tuple(IPv4Address(word) for word in words)
