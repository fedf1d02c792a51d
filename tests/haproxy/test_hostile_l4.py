# SPDX-License-Identifier: Apache-2.0
"""What the kernel and keepalived make of UDP listeners whose tenant means no good."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from octavia.dataplane.l4 import lvs, nftables
from octavia.dataplane.l4.build import build
from octavia.dataplane.l4.model import L4Config
from octavia.dataplane.l4.nftables import Named
from octavia.domain.tree import MonitorType, PersistenceType, Protocol, SessionPersistence
from tests.corpus import hostile_strings
from tests.haproxy.live import needs_root
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
        command = ("unshare", "--net", "sh", "-c", "nft -f - && nft -j list ruleset")
        done = subprocess.run(
            command, input=one.text, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (done.stderr, one.text)
        listed = [next(iter(item.items())) for item in json.loads(done.stdout)["nftables"]]
        assert {(body["family"], body["name"]) for kind, body in listed if kind == "table"} == {
            ("inet", "octavia_l4")
        }
        named = {
            Named(kind, body["name"]) for kind, body in listed if kind in ("chain", "map", "set", "counter")
        }
        assert named == one.named
        rules = [body["chain"] for kind, body in listed if kind == "rule"]
        assert len(rules) == sum(_is_rule(line) for line in one.text.splitlines())


def _is_rule(line: str) -> bool:
    return line.startswith("    ") and not line.startswith("    type ")


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
