# SPDX-License-Identifier: Apache-2.0
"""Where a flow of UDP or SCTP may go on to, the table knows an address for."""

import pytest

from octavia.dataplane.l4 import nftables
from octavia.dataplane.l4.model import L4Config
from tests.unit.dataplane.l4_samples import EVERYTHING, config, member, pool


@pytest.mark.parametrize(
    "wanted",
    [
        config(pool(member(1), member(2, weight=0), member(3, backup=True), member(4, enabled=False))),
        EVERYTHING,
    ],
)
def test_whoever_keeps_its_flows_has_an_address_even_if_it_gets_no_new_ones(wanted: L4Config) -> None:
    """A packet may meet its choice before a change of the table, and its translation after it."""
    first = wanted.pools[0].members[0].id
    for down in (frozenset[str](), frozenset({first})):
        addresses = nftables.render(wanted, down=down).addresses
        known = {mark for one in addresses.values() for mark in one.places}
        assert known == {one.mark for one in nftables.targets(wanted, down=down)}
