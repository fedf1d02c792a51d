# SPDX-License-Identifier: Apache-2.0
"""Mixed changes under load: no request fails, and only changes that need a reload reload.

``OCTAVIA_CHANGES=10000`` makes that many, instead of some hundred; ``OCTAVIA_CHANGES_SEED`` plays a printed
seed again. See ``docs/contributor/testing.md``.
"""

import contextlib
import itertools
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from octavia.amphora_agent.haproxy import OLD_PROCESSES
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.render import render
from octavia.dataplane.haproxy.runtime import SHOW_SERVERS_STATE, parse_servers_state
from octavia.dataplane.haproxy.server import all_servers
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.l4.build import build
from octavia.domain.tree import Vip
from octavia.drivers.amphora.contract import Applied, Configuration
from tests import luck, pki
from tests.netns import load_http2, load_sticky, load_udp
from tests.netns.agent_lab import VIP, AgentProcess, Lab, eventually, needs_haproxy, needs_root, opened_lab
from tests.netns.book import Book
from tests.netns.changes import Change, change, founded
from tests.netns.feature_lab import ask, is_refused
from tests.netns.load import FAILURES_SHOWN, Player, load, members, players
from tests.netns.load_udp import Answerers
from tests.netns.test_features_reloads import details, workers
from tests.netns.town import Town
from tests.netns.udp_lab import needs_programs
from tests.netns.valid import OTHER, SIDE
from tests.unit.dataplane.samples import load_balancer

pytestmark = [
    *[pytest.mark.netns, pytest.mark.haproxy, pytest.mark.timeout(7200)],
    *[needs_root, needs_haproxy, *needs_programs],
]

CHANGES: Final = int(os.environ.get("OCTAVIA_CHANGES", "0")) or 300
SEED: Final = luck.seed("OCTAVIA_CHANGES_SEED")


def say(what: str) -> None:
    """Shown when a test fails, and with ``-s``."""
    print(what)  # noqa: T201


@dataclass
class Site:
    """A load balancer on an amphora, with certificates, as the worker makes it live."""

    lab: Lab
    amphora: AgentProcess
    town: Town
    answerers: Answerers
    generation: int = 0
    config: str = field(default="", repr=False)

    def apply(self) -> Applied:
        base = str(self.amphora.base)
        settings = HaproxySettings(base_path=base, base_cert_dir=f"{base}/certs", log_socket=None)
        made = render(
            self.town.lb,
            (self.amphora.amphora,),
            settings,
            amphora_id=self.amphora.id,
            haproxy_version="2.6.12",
        )
        datagrams = build(self.town.lb)
        assert made is not None
        assert {**made.refused, **datagrams.refused} == {}
        self.generation += 1
        self.config = made.text
        configuration = Configuration(
            load_balancer_id=self.lab.lb_id,
            generation=self.generation,
            haproxy=made.text,
            certificates=pki.files(made, self.town.store),
            l4=datagrams.config,
        )
        return self.lab.driver.apply(self.amphora.amphora, configuration, fence=1)


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with opened_lab() as lab, members(lab), contextlib.closing(Answerers()) as answerers:
        amphora = lab.amphora()
        amphora.attach_vip()
        assert lab.driver.plug_vip(amphora.amphora, amphora.plug, fence=1) == "eth1"
        ca = pki.Ca("sites' CA")
        (lab.directory / "site-ca.pem").write_bytes(ca.pem)
        lb = replace(load_balancer(), id=lab.lb_id, vip=Vip(ip_address=VIP, subnet_id="s"))
        yield Site(lab, amphora, founded(random.Random(SEED), lb, ca), answerers)


@dataclass
class Ledger:
    """What came of the changes.

    :ivar wrong: changes that reloaded and need not have, or the other way round.
    :ivar most: processes of HAProxy at one time.
    """

    made: Counter[str] = field(default_factory=Counter)
    reloads: int = 0
    wrong: list[str] = field(default_factory=list)
    most: int = 0

    def note(self, change: Change, reason: str | None) -> None:
        self.made[change.kind] += 1
        self.reloads += reason is not None
        if change.reloads is not (reason is not None):
            self.wrong.append(f"change {self.made.total()}, {change.kind}: {reason}")


def test_changes_under_load_fail_no_request_and_reload_only_where_they_must(site: Site) -> None:
    say(f"seed {SEED}, {CHANGES} changes")
    site.apply()
    book, ledger = Book(site.town.valid), Ledger()
    rules = _base_rules(site.amphora)
    with load(book, _clients(site, book)):
        sizes = _change_all(site, book, ledger)
        far = {f"{way}, {load_sticky.FAR}" for way in load_sticky.WAYS}
        was_far = eventually(lambda: far <= set(book.done), within=30)
    say(f"requests: {dict(sorted(book.done.items()))}, failed: {len(book.failures)}")
    say(f"changes: {dict(ledger.made)}, reloads: {ledger.reloads}, processes: {ledger.most}")
    say(f"failures: {dict(Counter(one.partition(' (')[0] for one in book.failures))}")
    say("\n".join([*book.failures[:FAILURES_SHOWN], *ledger.wrong]))
    assert book.failures == []
    assert ledger.wrong == []
    assert sum(details(site.lab, site.amphora)["reloads"].values()) == ledger.reloads
    assert ledger.most <= OLD_PROCESSES + 1
    assert set(book.done) >= {f"{way} {what}" for what in ("HTTP", "TLS") for way in ("short", "kept")}
    assert set(book.done) >= {"short TCP", "long TCP", "short TLS, resumed", "new UDP", "kept UDP"}
    assert was_far
    assert set(book.done) >= {"kept HTTP/2", load_http2.IDLE, load_http2.TOLD}
    # Replaced as a whole, the table would have others.
    assert _base_rules(site.amphora) == rules
    _assert_nothing_is_left(site)
    _assert_no_member_was_down(site)
    _assert_no_growth(sizes)


def _clients(site: Site, book: Book) -> Iterator[Player]:
    """All kinds of them."""
    rng, ca = random.Random(SEED), site.lab.directory / "site-ca.pem"
    sources = (f"10.88.0.{number}" for number in itertools.count(20))
    yield from players(book, rng, ca)
    yield from load_http2.players(book, rng, ca)
    yield from load_sticky.players(book, rng, sources)
    yield from load_udp.players(book, rng, site.answerers, sources)


def _base_rules(amphora: AgentProcess) -> list[tuple[str, int]]:
    """Where the packets of UDP listeners enter the kernel's table: chain and handle of each rule."""
    text = amphora.inside("nft", "-j", "list", "table", "inet", "octavia_l4", netns="amphora-haproxy")
    found = json.loads(text)["nftables"]
    hooked = {one["chain"]["name"] for one in found if "hook" in one.get("chain", {})}
    rules = [one["rule"] for one in found if one.get("rule", {}).get("chain") in hooked]
    assert rules
    return [(one["chain"], one["handle"]) for one in rules]


def _change_all(site: Site, book: Book, ledger: Ledger) -> list[dict[str, int]]:
    """Memory and open files, some times on the way."""
    sizes = []
    for number in range(1, CHANGES + 1):
        made = change(site.town)
        ledger.note(made, _make(site, book, made))
        if made.kind.startswith("listener"):
            _check_side_listeners(site)
        ledger.most = max(ledger.most, len(workers(site.amphora)))
        if number % max(CHANGES // 20, 1) == 0:
            sizes.append(_sizes(site.amphora))
            say(f"{datetime.now():%H:%M:%S} {number} changes, {len(book.failures)} failed, {sizes[-1]}")
    return sizes


def _make(site: Site, book: Book, change: Change) -> str | None:
    """Make it live; why HAProxy was reloaded."""
    if change.reloads:
        book.await_reach()
    book.send(site.town.valid, reloading=change.reloads)
    applied = site.apply()
    book.acknowledge(reloaded=applied.reload_reason is not None)
    return applied.reload_reason


def _check_side_listeners(site: Site) -> None:
    """What is new serves at once, and nobody listens any more where one is gone."""
    there = {one.protocol_port for one in site.town.side}
    for port in SIDE:
        if port in there:
            assert site.town.valid.allows_member(OTHER, ask(port).body)
        else:
            # A process of before may take a moment to hear that its time is over.
            assert eventually(partial(is_refused, port), within=30)


def _sizes(amphora: AgentProcess) -> dict[str, int]:
    """Memory in KiB and open files of the agent and of HAProxy's master."""
    master = amphora.pid_of(f"{amphora.lab.lb_id}/{amphora.lab.lb_id}.pid")
    found = {}
    for name, pid in (("agent", amphora.pid), ("master", master)):
        status = Path(f"/proc/{pid}/status").read_text()
        found[f"{name} KiB"] = int(re.findall(r"VmRSS:\s+(\d+)", status)[0])
        found[f"{name} files"] = len(os.listdir(f"/proc/{pid}/fd"))
    return found


def _assert_nothing_is_left(site: Site) -> None:
    """Processes of before a reload end with their last connection, removed members after theirs."""
    wanted = {str(key) for key in all_servers(parse(site.config))}

    def servers() -> set[str]:
        rows = parse_servers_state(site.amphora.ask_haproxy(SHOW_SERVERS_STATE)).rows
        return {f"{row['be_name']}/{row['srv_name']}" for row in rows}

    assert eventually(lambda: len(workers(site.amphora)) == 1, within=60, every=0.2)
    assert eventually(lambda: servers() == wanted, within=60, every=0.2), servers() ^ wanted


def _assert_no_member_was_down(site: Site) -> None:
    """All were well all the time, those that had just been added too."""
    said = {
        status
        for _, heartbeat in site.lab.heartbeats
        for pool in heartbeat.pools
        for status in pool.members.values()
    }
    assert said
    assert {one for one in said if "DOWN" in one} == set()


def _assert_no_growth(sizes: Sequence[dict[str, int]]) -> None:
    """Between the second quarter, when everything has been used, and the last one: the least of each."""
    quarter = len(sizes) // 4
    early, last = (
        {name: min(one[name] for one in some) for name in sizes[0]}
        for some in (sizes[quarter : 2 * quarter], sizes[-quarter:])
    )
    for name in ("agent files", "master files"):
        assert last[name] <= early[name] + 8, name
    for name in ("agent KiB", "master KiB"):
        assert last[name] <= early[name] + 8 * 1024, name
    assert last["agent KiB"] <= 60 * 1024
