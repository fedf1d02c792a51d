# SPDX-License-Identifier: Apache-2.0
"""keepalived's configurations are read back as the blocks, lines and words that were meant."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.dataplane.keepalived.model import Block, UnsafeWord, block, parse, serialize
from octavia.dataplane.keepalived.render import KeepalivedSettings, VipSubnet, render
from octavia.dataplane.l4 import lvs
from octavia.dataplane.l4.build import build
from octavia.domain import tree
from octavia.domain.tree import MonitorType, PersistenceType, Protocol, SessionPersistence, Vip, VrrpGroup
from tests.corpus import hostile_strings
from tests.unit.dataplane.samples import (
    amphorae,
    listener,
    load_balancer,
    member,
    monitor,
    pair,
    pool,
    simple,
)

BARE = st.from_regex(r"[A-Za-z0-9_./:-][A-Za-z0-9_./:,+=~%?&;@-]{0,12}", fullmatch=True)
WORDS = st.lists(BARE | st.just('"/a b/c"'), min_size=1, max_size=4).map(tuple)
BLOCKS = st.recursive(
    st.builds(Block, WORDS, st.lists(WORDS, max_size=4).map(tuple)),
    lambda inner: st.builds(Block, WORDS, st.lists(WORDS | inner, max_size=3).map(tuple)),
    max_leaves=6,
)
ANY = st.sampled_from([one for one in hostile_strings().values() if len(one) < 300]) | st.text(max_size=40)
SETTINGS = KeepalivedSettings(track_file=True)
SUBNET = VipSubnet(
    vip_address="127.0.0.1",
    cidr="127.0.0.0/8",
    gateway="127.0.0.9",
    host_routes=(("10.8.0.0/16", "127.0.0.9"),),
)
BASE_PATH = "/var/lib/octavia"


@given(st.lists(BLOCKS, max_size=3).map(tuple))
def test_whatever_the_words_are_the_text_says_exactly_them(blocks: tuple[Block, ...]) -> None:
    assert parse(serialize(blocks)) == blocks


@given(ANY)
def test_a_word_is_refused_or_stays_one(text: str) -> None:
    try:
        made = (Block((text,), (("keyword", text, "end"),)),)
    except UnsafeWord:
        return
    assert parse(serialize(made)) == made
    assert re.fullmatch(r'"[\w./: -]+"|[\w./:,+=~%?&;@-]+', text, re.ASCII)


@pytest.mark.parametrize(
    "text", ["}", "a {", "a {\n}\n}", "a {\n  b {\n}", "a {\n  'b'\n}", "a {\n  b $c\n}", "!a"]
)
def test_text_that_is_none_of_ours_is_refused(text: str) -> None:
    with pytest.raises(UnsafeWord):
        parse(text)


def skeleton(blocks: tuple[Block, ...]) -> list[object]:
    """What is said, without about whom."""

    def inside(one: Block) -> Iterator[object]:
        yield one.head[0], len(one.head)
        for item in one.body:
            if isinstance(item, Block):
                yield list(inside(item))
            elif isinstance(item, tuple):
                yield "an address" if re.search(r"[:/.]", item[0]) else item[0], len(item)

    return [list(inside(one)) for one in blocks]


def vrrp(
    lb: tree.LoadBalancer, amphora: tree.Amphora, subnet: VipSubnet, settings: KeepalivedSettings = SETTINGS
) -> tuple[Block, ...]:
    text = render(lb, amphora, amphorae(), settings, [subnet])
    assert text is not None
    made = parse(text)
    assert serialize(made) == text
    return made


def _flat(nested: list[object]) -> list[object]:
    return [one for item in nested for one in (_flat(item) if isinstance(item, list) else [item])]


CALM = [
    one
    for own in ("10.0.0.2", "2001:db8::2")
    for one in _flat(skeleton(vrrp(pair(simple()), replace(amphorae()[0], vrrp_ip=own), SUBNET)))
]


@given(field=st.integers(0, 11), text=ANY)
def test_in_keepaliveds_file_a_string_adds_nothing_wherever_it_stands(field: int, text: str) -> None:
    lb, amphora, subnet, settings = pair(simple()), amphorae()[0], SUBNET, SETTINGS
    match field:
        case 0:
            lb = replace(lb, name=text, description=text, project_id=text, tags=(text,))
        case 1:
            lb = replace(lb, vip=Vip(ip_address="127.0.0.1", port_id=text, subnet_id=text, network_id=text))
        case 2:
            lb = replace(lb, vrrp_group=VrrpGroup(name=text, version=3))
        case 3:
            lb = replace(lb, id=text)
        case 4:
            amphora = replace(amphora, vrrp_interface=text)
        case 5:
            amphora = replace(amphora, vrrp_ip=text)
        case 6:
            amphora = replace(amphora, id=text)
        case 7:
            subnet = replace(subnet, vip_address=text)
        case 8:
            subnet = replace(subnet, cidr=text)
        case 9:
            subnet = replace(subnet, gateway=text)
        case 10:
            subnet = replace(subnet, host_routes=((text, "127.0.0.9"), ("10.8.0.0/16", text)))
        case _:
            settings = replace(settings, base_path="/" + text)
    try:
        made = vrrp(lb, amphora, subnet, settings)
    except ValueError:
        assert field > 2, "what a tenant writes is no reason to refuse"
        return
    assert [one for one in _flat(skeleton(made)) if one not in CALM] == []


@given(path=ANY, codes=ANY, address=ANY, cidr=ANY, granularity=ANY, name=ANY)
def test_in_the_files_of_lvs_a_string_adds_nothing(
    path: str, codes: str, address: str, cidr: str, granularity: str, name: str
) -> None:
    watched = monitor(
        MonitorType.HTTP, url_path=f"/{path}", expected_codes=codes, name=name, domain_name=name
    )
    kept = SessionPersistence(
        type=PersistenceType.SOURCE_IP, persistence_granularity=granularity, cookie_name=name
    )
    members = (member(1, name=name), member(2, address=address), member(3, monitor_address=address))
    front = listener(protocol=Protocol.UDP, allowed_cidrs=(cidr,), name=name, insert_headers={name: name})
    back = pool(
        protocol=Protocol.UDP, health_monitor=watched, session_persistence=kept, members=members, name=name
    )
    built = build(load_balancer((front, back), name=name))
    if built.config is None:
        assert front.id in built.refused
        return
    (text,) = lvs.render(built.config, base_path=BASE_PATH).values()
    blocks = parse(text)
    assert {one.head[0] for one in blocks} <= {"virtual_server_group", "virtual_server"}
    served = [one for pool_ in built.config.pools for one in pool_.members if one.version == 4]
    servers = [one for one in blocks if one.head[0] == "virtual_server"]
    assert len(servers) == len(built.config.pools)  # the pool is left out for a mask that is none
    inner = [one for server in servers for one in server.body if isinstance(one, Block)]
    assert [one.head for one in inner] == [("real_server", one.address, str(one.port)) for one in served]
    for one in inner:
        assert {item.head[0] for item in one.body if isinstance(item, Block)} <= {"HTTP_GET"}


def test_a_bad_word_is_not_repeated() -> None:
    with pytest.raises(UnsafeWord) as caught:
        block("authentication", "auth_pass hush$hush")
    assert "hush" not in str(caught.value)
