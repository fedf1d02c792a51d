# SPDX-License-Identifier: Apache-2.0
"""Processes that teach each other their stick tables (HAProxy 2.6 configuration manual, section 3.5).

The name by which HAProxy on one amphora is known to its peers: contract: amphora-agent.md section 3.
"""

import base64
import hashlib
import re
from typing import Final

PEER_PORT: Final = 1025
SHOW_TABLES: Final = "show table"
SHOW_PEERS: Final = "show peers"
_IN_USE: Final = re.compile(r"\bused:[1-9]")
_SECTION: Final = re.compile(r" disabled=\d flags=0x([0-9a-f]+) resync_timeout=(\S+)")
_LEARNT: Final = 0b11  # from the process before it, and from others


def peer_name(amphora_id: str) -> str:
    """Both the peers section and HAProxy's ``-L`` option need it; it never starts with a dash."""
    digest = hashlib.sha1(amphora_id.encode(), usedforsecurity=False).digest()
    # The contract's alphabet is URL-safe base64 with the two substitutes swapped.
    name = base64.b64encode(digest, altchars=b"_-").decode().rstrip("=")
    return "x" + name[1:] if name.startswith("-") else name


def remembers(tables: str) -> bool:
    """Has any stick table an entry?

    :param tables: the answer to :data:`SHOW_TABLES`.
    """
    return _IN_USE.search(tables) is not None


def is_learning(peers: str) -> bool:
    """Does a process still wait for what others may teach it? So long it would teach nobody itself.

    :param peers: the answer to :data:`SHOW_PEERS`.
    """
    return any(
        int(flags, 16) & _LEARNT != _LEARNT and timeout != "<PAST>"
        for flags, timeout in _SECTION.findall(peers)
    )
