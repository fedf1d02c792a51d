# SPDX-License-Identifier: Apache-2.0
"""What HAProxy 2.6 says of its stick tables and of whom it learns them from."""

import pytest

from octavia.dataplane.haproxy import peer

TABLES = """\
# table: a:b, type: string, size:10240, used:0
# table: c:d, type: ipv6, size:10240, used:{used}
"""
PEERS = """\
0x55d0: [20/Nov/2026:21:18:29] id=x_peers disabled=0 flags={flags} resync_timeout={timeout} task_calls=1
  0x55d1: id=me(local,inactive) addr=127.0.0.1:1025 last_status=NONE last_hdshk=<NEVER>
        reconnect=<NEVER> heartbeat=<NEVER> confirm=0 tx_hbt=0 rx_hbt=0 no_hbt=0 new_conn=0 proto_err=0 coll=0
        flags=0x0
"""


@pytest.mark.parametrize(("used", "remembers"), [(0, False), (1, True), (10240, True)])
def test_a_table_remembers_when_it_is_used(used: int, remembers: bool) -> None:
    assert peer.remembers(TABLES.format(used=used)) == remembers


def test_where_there_is_no_table_nothing_is_remembered_or_learnt() -> None:
    assert not peer.remembers("")
    assert not peer.is_learning("")


@pytest.mark.parametrize(
    ("flags", "timeout", "learning"),
    [
        ("0x0", "4s", True),  # waits for the process before it
        ("0x11", "3s", True),  # for others
        ("0x33", "<PAST>", False),  # nobody came
        ("0x1103", "4s", False),  # has been taught
        ("0x0", "<PAST>", False),
    ],
)
def test_a_process_learns_until_it_was_taught_or_has_given_up(
    flags: str, timeout: str, learning: bool
) -> None:
    assert peer.is_learning(PEERS.format(flags=flags, timeout=timeout)) == learning
