# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners as nftables rules: who gets new flows, what stays, what is deleted."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from octavia.dataplane.l4 import choice, nftables, transaction
from octavia.dataplane.l4.model import L4Config, Persistence
from octavia.dataplane.l4.nftables import Flow
from octavia.dataplane.l4.ruleset import Named
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


def test_streams_are_left_alone_by_conntrack_where_there_are_any() -> None:
    beside = config(pool(member(1)))
    alone = replace(beside, streams=False)
    streams = {"untracked_in", "untracked_out"}
    assert nftables.render(beside).chains.keys() - nftables.render(alone).chains.keys() == streams
    assert transaction.difference(nftables.render(alone), nftables.render(beside)) is None


def test_turns_give_each_its_share_and_spread_it() -> None:
    assert choice.turns([5, 1, 1]) == [0, 1, 0, 0, 0, 2, 0]
    assert choice.turns([1, 1, 1]) == [0, 1, 2]
    order = choice.turns([3, 2, 4, 2])
    assert Counter(order) == {0: 3, 1: 2, 2: 4, 3: 2}


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_no_turn_is_far_from_where_it_would_be_in_an_even_spread(weights: list[int]) -> None:
    order, total = choice.turns(weights), sum(weights)
    assert Counter(order) == dict(enumerate(weights))
    groups = len(set(weights))
    for index, weight in enumerate(weights):
        for many in range(1, total + 1):
            had = order[:many].count(index)
            assert abs(had - many * weight / total) <= groups + 1


def test_weights_are_reduced_and_many_turns_become_lots() -> None:
    text = text_of(config(pool(member(1, weight=200), member(2, weight=100))))
    assert "numgen inc mod 3 map" in text
    many = [member(number, weight=251 if number % 2 else 256) for number in range(1, 9)]
    assert "numgen random mod 2028 map" in text_of(config(pool(*many)))


def test_a_source_that_loses_its_member_is_the_only_one_that_moves() -> None:
    members = [member(number) for number in range(1, 9)]
    before = choice.source_slots(members).owners
    after = choice.source_slots(members[1:]).owners
    assert all(old == new for old, new in zip(before, after, strict=True) if old != members[0].id)
    assert min(Counter(before).values()) > choice.SOURCE_SLOTS / 8 / 2


def test_sources_are_shared_by_weight() -> None:
    count = Counter(choice.source_slots([member(1, weight=3), member(2, weight=1)]).owners)
    assert 2.2 < count[uuid(1)] / count[uuid(2)] < 4


@given(st.lists(st.dictionaries(st.integers(1, 6), st.integers(1, 3), min_size=1), min_size=2, max_size=4))
@settings(max_examples=25, deadline=None)
def test_slots_do_not_depend_on_what_was_before(steps: list[dict[int, int]]) -> None:
    pools = [[member(number, weight=weight) for number, weight in step.items()] for step in steps]
    known = choice.source_slots(pools[0])
    for members in pools[1:]:
        known = choice.source_slots(members, known)
        assert known == choice.source_slots(members)


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
        return [each.id for each in choice.choosable(one, 4, **more)]

    assert ids() == [uuid(1), uuid(4)]
    assert ids(down={uuid(4)}) == [uuid(1)]
    assert ids(down={uuid(1), uuid(4)}) == [uuid(5)]
    assert ids(down={uuid(1), uuid(4), uuid(5)}) == []
    assert choice.choosable(one, 6) == ()


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


def test_few_listeners_are_compared_one_by_one_and_many_are_looked_up() -> None:
    def doors(count: int) -> list[str]:
        every = config(*(pool(member(number), id=uuid(500 + number)) for number in range(1, count + 1)))
        return [
            rule for rule in chain(text_of(every), "dispatch") if rule.startswith("ct direction original")
        ]

    name = uuid(700).replace("-", "")
    assert doors(1) == [
        f"ct direction original ip daddr 10.9.9.9 meta l4proto udp th dport 53 goto v4_{name}"
    ]
    assert len(doors(2)) == 2
    (looked_up,) = doors(3)
    assert looked_up.startswith("ct direction original meta l4proto . ip daddr . th dport vmap {")
    assert looked_up.count(" : goto ") == 3


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
    halves = config(pool(member(1)), allowed_cidrs=("0.0.0.0/1", "128.0.0.0/1"))
    assert "saddr" not in text_of(halves)
    neighbours = config(pool(member(1)), allowed_cidrs=("10.1.0.0/16", "10.0.0.0/16", "10.9.0.0/16"))
    assert chain(text_of(neighbours), f"v4_{name}")[0] == "ip saddr != { 10.0.0.0/15, 10.9.0.0/16 } drop"


def test_objects_are_kept_by_name_and_what_they_are_like_is_in_their_names() -> None:
    sticky = config(pool(member(1), persistence=Persistence(timeout=60)))
    longer = config(pool(member(1), persistence=Persistence(timeout=61)))
    (map60,), (map61,) = (re.findall(r"^  map (from\S+)", text_of(one), re.M) for one in (sticky, longer))
    assert map60 != map61
    rx = Named("counter", nftables.counter("rx", uuid(700)))
    present = {Named("map", map60), Named("chain", "dispatch"), rx, Named("chain", "v4_old")}
    text = transaction.replacement(nftables.render(longer), present)
    assert re.findall(r"^delete .*", text, re.M) == [
        "delete chain inet octavia_l4 v4_old",
        f"delete map inet octavia_l4 {map60}",
    ]


def test_granularity_is_for_clients_of_its_own_ip_version() -> None:
    both = Persistence(granularity="255.255.255.0")
    assert (both.mask(4), both.mask(6)) == ("255.255.255.0", None)
    assert Persistence(granularity="255.255.255.255").mask(4) is None
    assert Persistence(granularity="ffff:ffff::").mask(6) == "ffff:ffff::"


def difference(before: L4Config, after: L4Config, **more: Any) -> list[str]:
    first = nftables.render(before)
    found = transaction.difference(first, nftables.render(after, before=first, **more))
    assert found is not None
    assert_only_what_was_intended(re.sub(r"^(add|delete|flush) .*\n", "", found, flags=re.M))
    return found.splitlines()


def test_of_a_thousand_members_only_the_one_that_changed_is_sent() -> None:
    many = [member(number, f"10.1.{number // 250}.{number % 250}") for number in range(1, 1001)]
    lines = difference(config(pool(*many)), config(pool(*many, member(1001, "10.2.0.1"))))
    mark = nftables.marks(config(pool(member(1001, "10.2.0.1"))))[uuid(1001)]
    assert lines[0] == f"add element inet octavia_l4 members4 {{ {mark:#x} : 10.2.0.1 . 53 }}"
    assert [line for line in lines if line.startswith(("delete", "flush"))] == [
        f"flush chain inet octavia_l4 v4_{uuid(700).replace('-', '')}"
    ]
    assert [line for line in lines if line.startswith("  chain")] == [
        f"  chain v4_{uuid(700).replace('-', '')} {{"
    ]


def test_a_member_that_moves_keeps_its_mark_and_no_rule_changes() -> None:
    lines = difference(config(pool(member(1))), config(pool(member(1, "10.0.0.99"))))
    assert [line.split(" {")[0] for line in lines] == [
        "delete element inet octavia_l4 members4",
        "add element inet octavia_l4 members4",
    ]


def test_nothing_is_sent_when_nothing_differs() -> None:
    assert difference(EVERYTHING, EVERYTHING) == []


def test_other_objects_ask_for_the_whole_table() -> None:
    one = config(pool(member(1)))
    others = (
        config(pool(member(1)), pool(member(2), id=uuid(501))),
        config(pool(member(1)), connection_limit=5),
        config(pool(member(1), persistence=Persistence(timeout=60))),
        config(pool(member(1)), vips=("10.9.9.9", "fd00::9")),
    )
    for other in others:
        for before, after in ((one, other), (other, one)):
            assert transaction.difference(nftables.render(before), nftables.render(after)) is None
