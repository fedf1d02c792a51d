# SPDX-License-Identifier: Apache-2.0
"""What keeps clients with their members over a reload of HAProxy: stick tables, which processes hand on.

A new process asks the one before it, and others, for their tables; in 2.6 it gives up after five seconds
where nobody answers. As long as it asks it hands nothing on itself: reloaded then, it would take along
what it remembers, and so would the next one, however many reloads there are.
"""

import logging
import time
from pathlib import Path
from typing import Final

from octavia.amphora_agent import stats_socket
from octavia.dataplane.haproxy import peer

LOG = logging.getLogger(__name__)

LEARNING_SECONDS: Final = 5.5  # HAProxy's own five, and some time to notice
_POLL_SECONDS: Final = 0.005


def await_learnt(admin_socket: Path) -> None:
    """Before a reload: return when the process hands on what it remembers, at once if that is nothing."""
    started = time.monotonic()
    try:
        if not peer.remembers(stats_socket.ask(admin_socket, peer.SHOW_TABLES)):
            return
        while peer.is_learning(stats_socket.ask(admin_socket, peer.SHOW_PEERS)):
            if time.monotonic() - started > LEARNING_SECONDS:
                LOG.warning("HAProxy is reloaded although it still learns: clients may meet other members")
                return
            time.sleep(_POLL_SECONDS)
    except stats_socket.NoAnswer as error:
        LOG.warning("Cannot see whether HAProxy is learning: %s", error)
