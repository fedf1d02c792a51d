# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners as nftables rules: who gets new flows, what stays, what is deleted."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

from octavia.dataplane.l4 import nftables
from octavia.dataplane.l4.model import Persistence
from octavia.dataplane.l4.nftables import Flow, Named
from tests.unit.dataplane.l4_samples import EVERYTHING, config, member, pool, uuid
from tests.unit.dataplane.test_l4_model import assert_only_what_was_intended


def text_of(*args: Any, **more: Any) -> str:
    return nftables.render(*args, **more).text


def chain(text: str, name: str) -> list[str]:
    found = re.search(rf"^  chain {name} {{\n(.*?)^  }}$", text, re.MULTILINE | re.DOTALL)
    assert found, name
    return [line.strip() for line in found[1].splitlines()]


def test_the_skeleton_is_closed() -> None:
    assert_only_what_was_intended(text_of(EVERYTHING))


def test_turns_give_each_its_share_and_spread_it() -> None:
    assert nftables.turns([5, 1, 1]) == [0, 0, 1, 0, 2, 0, 0]
    order = nftables.turns([3, 2, 4])
    assert Counter(order) == {0: 3, 1: 2, 2: 4}


def test_weights_are_reduced_and_many_turns_become_lots() -> None:
    text = text_of(config(pool(member(1, weight=200), member(2, weight=100))))
    assert "numgen inc mod 3 map" in text
    many = [member(number, weight=251 if number % 2 else 256) for number in range(1, 9)]
    assert "numgen random mod 2028 map" in text_of(config(pool(*many)))


def test_a_source_that_loses_its_member_is_the_only_one_that_moves() -> None:
    members = [member(number) for number in range(1, 9)]
    before = [members[one].id for one in nftables.source_slots(members)]
    after = [members[1:][one].id for one in nftables.source_slots(members[1:])]
    assert all(old == new for old, new in zip(before, after, strict=True) if old != members[0].id)
    assert min(Counter(before).values()) > nftables.SOURCE_SLOTS / 8 / 2


def test_sources_are_shared_by_weight() -> None:
    count = Counter(nftables.source_slots([member(1, weight=3), member(2, weight=1)]))
    assert 2.2 < count[0] / count[1] < 4


def test_a_member_keeps_its_mark_whoever_else_comes() -> None:
    alone = nftables.marks(config(pool(member(5))))[uuid(5)]
    among = nftables.marks(config(pool(*(member(number) for number in range(1, 200)))))
    assert among[uuid(5)] == alone
    assert len(set(among.values())) == len(among)
    assert 0 not in among.values()


def test_new_flows_go_to_members_that_are_up_enabled_and_of_weight() -> None:
    members = (member(1), member(2, weight=0), member(3, enabled=False), member(4), member(5, backup=True))
    one = pool(*members)

    def ids(**more: set[str]) -> list[str]:
        return [each.id for each in nftables.choosable(one, 4, **more)]

    assert ids() == [uuid(1), uuid(4)]
    assert ids(down={uuid(4)}) == [uuid(1)]
    assert ids(down={uuid(1), uuid(4)}) == [uuid(5)]
    assert ids(down={uuid(1), uuid(4), uuid(5)}) == []
    assert nftables.choosable(one, 6) == ()


def test_existing_flows_may_go_on_to_draining_members_and_backups_alone() -> None:
    one = config(pool(member(1), member(2, weight=0), member(3, enabled=False), member(4, backup=True)))
    assert {each.address for each in nftables.targets(one)} == {"10.0.0.1", "10.0.0.2", "10.0.0.4"}
    assert {each.address for each in nftables.targets(one, down={uuid(1)})} == {"10.0.0.2", "10.0.0.4"}
    closed = replace(one, listeners=(replace(one.listeners[0], enabled=False),))
    assert nftables.targets(closed) == frozenset()


def test_ways_in_are_those_of_open_listeners_on_every_vip() -> None:
    one = config(pool(member(1)), vips=("10.9.9.9", "fd00::9"))
    assert nftables.flows(one) == {
        Flow("UDP", "10.9.9.9", 53, uuid(500)),
        Flow("UDP", "fd00::9", 53, uuid(500)),
    }
    off = replace(one, pools=(replace(one.pools[0], enabled=False),))
    assert {each.pool_id for each in nftables.flows(off)} == {None}
    assert "reject" in chain(text_of(off), f"v4_{uuid(700).replace('-', '')}")


def test_nobody_left_is_said_to_clients_but_existing_flows_pass() -> None:
    rules = chain(text_of(config(pool(member(1, weight=0)))), f"v4_{uuid(700).replace('-', '')}")
    assert rules[-2:] == ["ct mark != 0 accept", "reject"]


def test_cidrs_of_one_version_shut_out_all_of_the_other() -> None:
    one = config(pool(member(1)), vips=("10.9.9.9", "fd00::9"), allowed_cidrs=("10.0.0.0/8", "10.1.0.0/16"))
    text = text_of(one)
    name = uuid(700).replace("-", "")
    assert chain(text, f"v4_{name}")[0] == "ip saddr != { 10.0.0.0/8 } drop"
    assert chain(text, f"v6_{name}")[0] == "drop"
    everybody = config(pool(member(1)), allowed_cidrs=("0.0.0.0/0",))
    assert "saddr" not in text_of(everybody)


def test_objects_are_kept_by_name_and_what_they_are_like_is_in_their_names() -> None:
    sticky = config(pool(member(1), persistence=Persistence(timeout=60)))
    longer = config(pool(member(1), persistence=Persistence(timeout=61)))
    (map60,), (map61,) = (re.findall(r"^  map (\S+)", text_of(one), re.M) for one in (sticky, longer))
    assert map60 != map61
    rx = Named("counter", nftables.counter("rx", uuid(700)))
    present = {Named("map", map60), Named("chain", "dispatch"), rx, Named("chain", "v4_old")}
    text = text_of(longer, present=present)
    assert re.findall(r"^delete .*", text, re.M) == [
        "delete chain inet octavia_l4 v4_old",
        f"delete map inet octavia_l4 {map60}",
    ]


def test_granularity_is_for_clients_of_its_own_ip_version() -> None:
    both = Persistence(granularity="255.255.255.0")
    assert (both.mask(4), both.mask(6)) == ("255.255.255.0", None)
    assert Persistence(granularity="255.255.255.255").mask(4) is None
    assert Persistence(granularity="ffff:ffff::").mask(6) == "ffff:ffff::"
