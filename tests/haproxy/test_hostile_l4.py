# SPDX-License-Identifier: Apache-2.0
"""What the kernel and keepalived make of UDP listeners whose tenant means no good."""

import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavia.dataplane.l4 import lvs, nftables
from octavia.dataplane.l4.build import build
from octavia.dataplane.l4.model import ALGORITHMS, PROTOCOLS, L4Config, Listener, Member, Persistence, Pool
from octavia.dataplane.l4.nftables import Rendered
from octavia.domain.tree import MonitorType, PersistenceType, Protocol, SessionPersistence
from tests.corpus import hostile_strings
from tests.haproxy import nft_listing
from tests.haproxy.live import needs_root
from tests.unit.dataplane.l4_samples import uuid
from tests.unit.dataplane.samples import listener, load_balancer, member, monitor, pool

pytestmark = [
    pytest.mark.netns,
    needs_root,
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft"),
    pytest.mark.skipif(shutil.which("keepalived") is None, reason="needs keepalived"),
]


def written_by(text: str) -> list[L4Config]:
    """Listeners with the string in one field after another."""
    made = []
    for field in ("name", "address", "monitor_address", "url_path", "codes", "host", "cidr", "granularity"):
        one: dict[str, Any] = {field: text}
        watched = monitor(
            MonitorType.HTTP,
            url_path="/" + one.get("url_path", ""),
            expected_codes=one.get("codes"),
            domain_name=one.get("host"),
            http_version=1.1,
        )
        kept = SessionPersistence(
            type=PersistenceType.SOURCE_IP, persistence_granularity=one.get("granularity")
        )
        members = (
            member(1, name=one.get("name", "")),
            member(2, address=one.get("address", "10.1.0.2"), monitor_address=one.get("monitor_address")),
        )
        front = listener(
            protocol=Protocol.UDP,
            allowed_cidrs=("10.0.0.0/8", *filter(None, [one.get("cidr")])),
            name=one.get("name", ""),
            insert_headers={one.get("name", ""): one.get("name", "")},
        )
        back = pool(protocol=Protocol.UDP, health_monitor=watched, session_persistence=kept, members=members)
        built = build(load_balancer((front, back), name=one.get("name", "")))
        if built.config is not None:
            made.append(built.config)
        else:
            assert field == "cidr"
            assert front.id in built.refused
    return made


CONFIGS = {config: why for why, text in hostile_strings().items() for config in written_by(text)}


def test_the_kernel_has_the_objects_that_were_meant_and_no_others() -> None:
    every = (nftables.render(config) for config in CONFIGS)
    rendered = {one.text: one for one in every}
    assert len(rendered) > 3
    for one in rendered.values():
        assert_the_kernel_has(one)


def assert_the_kernel_has(table: Rendered) -> None:
    """Every object and every rule of it, to the last value, and nothing else."""
    command = ("unshare", "--net", "sh", "-c", "nft -f - && nft -j list ruleset")
    done = subprocess.run(command, input=table.text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stderr, table.text)
    assert nft_listing.listed(done.stdout) == nft_listing.meant(table), table.text


PORTS = st.integers(1, 65535)
V4, V6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)
NETS = st.builds(
    lambda address, length: str(ip_network((address, length % (address.max_prefixlen + 1)), strict=False)),
    st.ip_addresses(),
    st.integers(0, 128),
)
POOLS = st.builds(
    Pool,
    id=st.integers(500, 509).map(uuid),
    algorithm=st.sampled_from(ALGORITHMS),
    enabled=st.sampled_from([True, True, False]),
    persistence=st.none()
    | st.builds(Persistence, timeout=st.integers(1, 99999), granularity=st.none() | V4 | V6),
    members=st.lists(
        st.builds(
            Member,
            id=st.uuids().map(str),
            address=V4 | V6,
            port=PORTS,
            weight=st.integers(0, 3) | st.integers(200, 256),
            backup=st.booleans(),
            enabled=st.sampled_from([True, True, False]),
        ),
        unique_by=lambda one: one.id,
        max_size=6,
    ).map(tuple),
)
LISTENERS = st.builds(
    Listener,
    id=st.uuids().map(str),
    protocol=st.sampled_from(PROTOCOLS),
    port=st.integers(53, 55) | PORTS,
    enabled=st.sampled_from([True, True, False]),
    connection_limit=st.none() | st.integers(1, 2**31 - 1),
    allowed_cidrs=st.lists(NETS, max_size=4).map(tuple),
)


@st.composite
def valid(draw: st.DrawFn) -> L4Config:
    """Any that the model takes; a port of a protocol is one listener's."""
    pools = draw(st.lists(POOLS, unique_by=lambda one: one.id, max_size=4))
    apart = (lambda one: one.id, lambda one: (one.protocol, one.port))
    listeners = draw(st.lists(LISTENERS, unique_by=apart, max_size=4))
    if pools:
        listeners = [replace(one, pool_id=draw(st.sampled_from(pools)).id) for one in listeners]
    return L4Config(
        load_balancer_id=uuid(1),
        vips=tuple(draw(st.lists(V4 | V6, unique=True, min_size=1, max_size=3))),
        listeners=tuple(listeners),
        pools=tuple(pools),
        streams=draw(st.booleans()),
    )


@given(valid(), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_valid_becomes_what_the_model_means(config: L4Config, data: st.DataObject) -> None:
    members = [one.id for pool in config.pools for one in pool.members]
    down = data.draw(st.sets(st.sampled_from(members))) if members else set()
    assert_the_kernel_has(nftables.render(config, down=down))


def test_keepalived_reads_each_file_without_a_word(tmp_path: Path) -> None:
    texts: set[str] = set()
    for config in CONFIGS:
        texts.update(lvs.render(config, base_path="/var/lib/octavia").values())
    assert len(texts) > 10
    for number, text in enumerate(sorted(texts)):
        (tmp_path / f"{number}.conf").write_text(text)
    (tmp_path / "nonsense.conf").write_text("virtual_server 10.0.0.1 80 {\n  nonsense\n}\n")
    script = (
        f'for f in {tmp_path}/*.conf; do keepalived --config-test -f "$f" 2>&1 || echo "refused $f"; done'
    )
    done = subprocess.run(
        ("unshare", "--net", "sh", "-c", script), capture_output=True, text=True, timeout=120, check=False
    )
    refused = [line for line in done.stdout.splitlines() if line.startswith("refused")]
    assert refused == [f"refused {tmp_path}/nonsense.conf"], done.stdout
