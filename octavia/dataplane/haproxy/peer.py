# SPDX-License-Identifier: Apache-2.0
"""The name by which HAProxy on one amphora is known to its peers (contract: amphora-agent.md section 3)."""

import base64
import hashlib
from typing import Final

PEER_PORT: Final = 1025


def peer_name(amphora_id: str) -> str:
    """Both the peers section and HAProxy's ``-L`` option need it; it never starts with a dash."""
    digest = hashlib.sha1(amphora_id.encode(), usedforsecurity=False).digest()
    # The contract's alphabet is URL-safe base64 with the two substitutes swapped.
    name = base64.b64encode(digest, altchars=b"_-").decode().rstrip("=")
    return "x" + name[1:] if name.startswith("-") else name
