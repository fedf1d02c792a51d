# SPDX-License-Identifier: Apache-2.0
"""What listeners of datagrams are made of: nothing gets in that is not a number, an address or an id."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.dataplane.l4 import lvs, nftables, transaction
from octavia.dataplane.l4.build import build
from octavia.dataplane.l4.model import BadModel, L4Config, Listener, Member
from octavia.domain import tree
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import Algorithm, MonitorType, PersistenceType, Protocol
from tests.unit.dataplane.l4_samples import EVERYTHING, uuid

HOSTILE = ("x", "10.0.0.1; flush ruleset", "fe80::1%eth0", "", "10.0.0.0/8", "::FFFF", " 10.0.0.1", "٣.1.1.1")


def test_what_is_sent_is_what_arrives() -> None:
    assert L4Config.from_json(json.loads(json.dumps(EVERYTHING.to_json()))) == EVERYTHING


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, one in inside for path in paths(one, (*at, key)))]


def changed(document: Any, path: tuple[Any, ...], value: object) -> Any:
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


DOCUMENT = json.loads(json.dumps(EVERYTHING.to_json()))
EVIL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.just({}),
    st.just([]),
    st.sampled_from(HOSTILE),
)


@given(st.sampled_from(paths(DOCUMENT)), EVIL)
def test_anything_else_is_refused_or_harmless(path: tuple[Any, ...], value: object) -> None:
    try:
        config = L4Config.from_json(changed(DOCUMENT, path, value))
    except BadModel:
        return
    assert_only_what_was_intended(nftables.render(config).text)
    for text in lvs.render(config).values():
        assert text.isascii()
        assert text.count("{") == text.count("}") == len(re.findall(r"^.* \{$|^\s*\}$", text, re.M)) / 2
        assert all(re.match(r"\s*misc_path \"[^\"]*\"$", line) for line in text.splitlines() if '"' in line)
        assert not set(text) & set("!$'\\`")


def assert_only_what_was_intended(text: str) -> None:
    """The skeleton of the rules: every brace closed on its line but those of tables and chains."""
    assert text.isascii()
    assert not set(text) & set(";#\\'$`") - {";"}
    for line in text.splitlines():
        if line in (f"table {transaction.TABLE}", f"flush table {transaction.TABLE}", "}", "  }"):
            continue
        if line.startswith((f"table {transaction.TABLE} {{", "  chain ")):
            assert line.endswith(" {")
            assert line.count("{") == 1
            continue
        assert line.count("{") == line.count("}")
        assert line.startswith(("    ", "  counter ", "  map ", "  set "))
        ended = line.startswith("    type ") or "{ type " in line
        assert (";" in line) == ended


@pytest.mark.parametrize(
    "cidr", ["", "x", "10.0.0.0", "10.0.0.1/8", "10.0.0.0/8 ", "fe80::%eth0/64", "FD00::/8"]
)
def test_a_network_is_a_network(cidr: str) -> None:
    with pytest.raises(BadModel, match="allowed_cidrs"):
        Listener(id=uuid(1), protocol="UDP", port=53, allowed_cidrs=(cidr,))


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_is_an_address(address: str) -> None:
    with pytest.raises(BadModel, match="member address"):
        Member(id=uuid(1), address=address, port=53)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url_path", "/a b"),
        ("url_path", "/a\r\nX: y"),
        ("url_path", "a"),
        ("http_method", "GET /"),
        ("domain_name", "a\nb"),
        ("http_version", "1.1\r\n"),
        ("expected_codes", [99]),
        ("type", "PING"),
        ("fall", 0),
        ("delay", True),
        ("nonsense", 1),
    ],
)
def test_a_check_says_nothing_else_to_members(key: str, value: object) -> None:
    document = json.loads(json.dumps(EVERYTHING.to_json()))
    document["pools"][0]["check"][key] = value
    with pytest.raises(BadModel, match=key.replace("type", "type|health monitor")):
        L4Config.from_json(document)


# From the tree


def lb(**changes: Any) -> tree.LoadBalancer:
    members = (
        tree.Member(id=uuid(1), address="2001:DB8:0::1", protocol_port=53, weight=2, backup=True),
        tree.Member(id=uuid(2), address="nonsense", protocol_port=53),
        tree.Member(id=uuid(3), address="10.0.0.3", protocol_port=53, admin_state_up=False),
        tree.Member(id=uuid(4), address="10.0.0.4", protocol_port=53, delete_requested=True),
    )
    monitor = tree.HealthMonitor(
        id=uuid(900), type=MonitorType.HTTP, delay=5, timeout=3, max_retries=2, expected_codes="200-202, 404"
    )
    pool = tree.Pool(
        id=uuid(500),
        protocol=Protocol.UDP,
        lb_algorithm=Algorithm.SOURCE_IP,
        members=members,
        health_monitor=monitor,
        session_persistence=tree.SessionPersistence(
            type=PersistenceType.SOURCE_IP, persistence_granularity="255.255.255.0"
        ),
    )
    listeners = (
        tree.Listener(
            id=uuid(700),
            protocol=Protocol.UDP,
            protocol_port=53,
            default_pool_id=pool.id,
            allowed_cidrs=("10.0.0.1/8",),
        ),
        tree.Listener(id=uuid(701), protocol=Protocol.TCP, protocol_port=53),
        tree.Listener(id=uuid(702), protocol=Protocol.UDP, protocol_port=54, connection_limit=9),
    )
    values = {"id": uuid(1), "vip": tree.Vip(ip_address="10.9.9.9"), "listeners": listeners, "pools": (pool,)}
    return tree.LoadBalancer(**{**values, **changes})


def test_a_tree_becomes_its_listeners_of_datagrams() -> None:
    built = build(lb())
    assert list(built.refused) == [uuid(2)]
    assert "nonsense" in built.refused[uuid(2)]
    config = built.config
    assert config
    first, second = config.listeners
    assert (first.port, first.pool_id, first.allowed_cidrs) == (53, uuid(500), ("10.0.0.0/8",))
    assert (second.port, second.pool_id, second.connection_limit) == (54, None, 9)
    assert config.streams
    alone = build(lb(listeners=tuple(one for one in lb().listeners if one.protocol is Protocol.UDP))).config
    assert alone
    assert not alone.streams
    (pool,) = config.pools
    assert [(one.address, one.enabled, one.backup) for one in pool.members] == [
        ("2001:db8::1", True, True),
        ("10.0.0.3", False, False),
    ]
    assert pool.persistence
    assert (pool.persistence.timeout, pool.persistence.granularity) == (360, "255.255.255.0")
    assert pool.check
    assert pool.check.expected_codes == (200, 201, 202, 404)


def test_what_goes_or_is_left_out_is_not_there() -> None:
    whole = lb()
    assert build(replace(whole, provisioning_status=ProvisioningStatus.PENDING_DELETE)).config is None
    assert build(replace(whole, listeners=whole.listeners[1:2])).config is None
    config = build(whole, excluded={uuid(500), uuid(702)}).config
    assert config
    assert [(one.id, one.pool_id) for one in config.listeners] == [(uuid(700), None)]
    assert config.pools == ()
    pool = whole.pools[0]
    assert pool.health_monitor
    bad = replace(pool.health_monitor, url_path="/a b")
    built = build(whole.with_pool(replace(pool, health_monitor=bad)))
    assert set(built.refused) == {uuid(2), uuid(900)}
    assert built.config
    assert built.config.pools[0].check is None


def test_a_disabled_load_balancer_opens_nothing() -> None:
    config = build(lb(admin_state_up=False)).config
    assert config
    assert config.enabled_listeners == ()
    assert config.served_pools == ()
