# SPDX-License-Identifier: Apache-2.0
"""The rules of UDP listeners before the real nft, and an agent that dies and comes back to them."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavia.amphora_agent import durable, l4_table, netns
from octavia.amphora_agent.l4 import L4, L4Refused
from octavia.amphora_agent.l4_checks import Checker, Target
from octavia.amphora_agent.processes import Processes
from octavia.dataplane.l4 import nftables, transaction
from octavia.dataplane.l4.model import L4Config, Persistence
from octavia.dataplane.l4.nftables import Rendered
from octavia.dataplane.l4.ruleset import Chain, GotoBy, Named
from octavia.dataplane.l4.words import Key
from tests.netns.agent_lab import needs_root
from tests.netns.own_network import own_network
from tests.netns.udp_lab import needs_programs
from tests.unit.dataplane.l4_samples import EVERYTHING, check, config, member, pool

pytestmark = [pytest.mark.netns, needs_root, *needs_programs]


def test_nft_accepts_it_and_a_replacement_leaves_nothing_behind() -> None:
    """In a network namespace of its own, without any interface."""
    before = nftables.render(EVERYTHING).text
    named = {
        Named(kind, name) for kind, name in re.findall(r"^  (chain|map|set|counter) (\S+)", before, re.M)
    }
    plain = config(pool(member(1)))
    after = transaction.replacement(nftables.render(plain), named)
    done = subprocess.run(
        (
            "unshare",
            "--net",
            "sh",
            "-c",
            'nft -f - && printf "%s" "$0" | nft -f - && nft list ruleset',
            after,
        ),
        input=before,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = set(re.findall(r"^\t(chain|map|set|counter) (\S+)", done.stdout, re.M))
    assert left == set(re.findall(r"^  (chain|map|set|counter) (\S+)", after, re.M))


@pytest.fixture(name="base")
def _base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A network of the test's own, in which the agent is already inside."""
    monkeypatch.setattr(l4_table, "_INSIDE", ())
    monkeypatch.setattr(netns, "run_inside", lambda function: function())
    with own_network():
        yield tmp_path


def agent(base: Path) -> L4:
    return L4(base, Processes(), lambda: None)


def flow(port: int, mark: int) -> None:
    """A flow of 10.0.0.99 to the VIP that conntrack knows."""
    subprocess.run(
        (
            *("conntrack", "--create", "--proto", "udp", "--timeout", "100", "--mark", str(mark)),
            *("--src", "10.0.0.99", "--dst", "10.9.9.9", "--sport", str(port), "--dport", "53"),
        ),
        check=True,
        capture_output=True,
    )


def flows() -> set[int]:
    """Their ports."""
    shown = subprocess.run(("conntrack", "--dump"), check=True, capture_output=True, text=True).stdout
    return set(map(int, re.findall(r"src=10\.0\.0\.99 dst=10\.9\.9\.9 sport=(\d+)", shown)))


def rules() -> str:
    return subprocess.run(("nft", "list", "ruleset"), check=True, capture_output=True, text=True).stdout


def test_an_agent_that_died_in_between_ends_the_flows_that_it_had_to(base: Path) -> None:
    plain = config(pool(member(1), member(2)))
    first = agent(base)
    assert first.apply(plain.to_json())
    assert not first.apply(plain.to_json())
    numbers = nftables.marks(plain)
    flow(5001, numbers[member(1).id])
    flow(5002, 12345)  # of a member that the file does not name any more
    del first
    second = agent(base)
    before = rules()
    second.restore()
    assert rules() == before
    assert flows() == {5001}
    reports, (told,) = second.reports()
    assert [(one.status, one.conns) for one in reports.values()] == [("OPEN", 1)]
    assert set(told.members.values()) == {"no check"}


def test_a_table_that_the_kernel_refuses_changes_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = agent(base)
    one.apply(config(pool(member(1))).to_json())
    before, file = rules(), (base / "l4.json").read_text()
    render = nftables.render

    def nonsense(*args: Any, **more: Any) -> Rendered:
        made = render(*args, **more)
        nowhere = GotoBy((Key.PORT,), (((53,), "nowhere"),))
        return replace(made, chains={**made.chains, "dispatch": Chain(((nowhere,),))})

    monkeypatch.setattr(nftables, "render", nonsense)
    with pytest.raises(L4Refused, match="nftables"):
        one.apply(config(pool(member(2))).to_json())
    assert (rules(), (base / "l4.json").read_text()) == (before, file)
    monkeypatch.setattr(nftables, "render", render)
    assert one.apply(config(pool(member(2))).to_json())
    assert " : 10.0.0.2 . 53" in rules()


def test_a_table_that_somebody_else_has_changed_is_made_anew(base: Path) -> None:
    one = agent(base)
    one.apply(config(pool(member(1))).to_json())
    subprocess.run(("nft", "delete", "table", *transaction.TABLE.split()), check=True)
    assert one.apply(config(pool(member(1), member(2))).to_json())
    after = rules()
    fresh = agent(base)
    fresh.restore()
    assert rules() == after
    assert " : 10.0.0.2 . 53" in after


def test_a_change_keeps_what_the_kernel_has_counted_and_remembered(base: Path) -> None:
    one = agent(base)
    sticky = {"persistence": Persistence(timeout=60)}
    one.apply(config(pool(member(1), **sticky)).to_json())
    (remembered,) = re.findall(r"map (from4_\S+)", rules())
    element = f"{transaction.TABLE} {remembered} {{ 10.0.0.99 : 0x7 }}"
    subprocess.run(("nft", f"add element {element}"), check=True)
    one.apply(config(pool(member(1), member(2), **sticky)).to_json())
    subprocess.run(("nft", f"get element {element.replace(' : 0x7', '')}"), check=True, capture_output=True)


MEMBERS: Final = st.lists(
    st.builds(
        member,
        st.integers(1, 9),
        st.sampled_from([None, "10.0.1.1", "10.0.1.2", "fd00::1"]),
        weight=st.integers(0, 3),
        backup=st.booleans(),
        enabled=st.sampled_from([True, True, False]),
    ),
    unique_by=lambda one: one.id,
    max_size=6,
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[L4Config, frozenset[str]]]:
    """A pool's members as they come, go and change, on listeners that stay, and who is down."""
    algorithm = draw(st.sampled_from(["ROUND_ROBIN", "SOURCE_IP"]))
    persistence = draw(st.none() | st.just(Persistence(timeout=60)))
    vips = draw(st.sampled_from([("10.9.9.9",), ("10.9.9.9", "fd00::9")]))
    found = []
    for members in draw(st.lists(MEMBERS, min_size=2, max_size=4)):
        every = pool(*members, algorithm=algorithm, persistence=persistence)
        down = draw(st.sets(st.sampled_from([one.id for one in members]))) if members else set()
        found.append((config(every, vips=vips), frozenset(down)))
    return found


@given(histories())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_changes_lead_to_is_what_the_whole_table_would_be(
    base: Path, history: list[tuple[L4Config, frozenset[str]]]
) -> None:
    del base
    live: Rendered | None = None
    for wanted, down in history:
        rendered = nftables.render(wanted, down=down, before=live)
        change = transaction.difference(live, rendered) if live else None
        nft(transaction.replacement(rendered, live.named if live else ()) if change is None else change)
        live = rendered
    changed = content()
    nft("flush ruleset")
    wanted, down = history[-1]
    nft(nftables.render(wanted, down=down).text)
    assert changed == content()
    nft("flush ruleset")


def nft(transaction: str) -> None:
    subprocess.run(("nft", "-f", "-"), input=transaction, text=True, check=True)


def content() -> list[str]:
    """The rules without what has no meaning: handles, and the order of objects and elements."""
    shown = subprocess.run(
        ("nft", "-j", "list", "ruleset"), check=True, capture_output=True, text=True
    ).stdout
    found = []
    for item in json.loads(shown)["nftables"]:
        ((kind, body),) = item.items()
        body.pop("handle", None)
        body.get("elem", []).sort(key=repr)
        found.append((kind, body))
    chains = [one for one in found if one[0] == "rule"]
    others = sorted((one for one in found if one[0] != "rule"), key=repr)
    return [*map(repr, others), *map(repr, sorted(chains, key=lambda one: str(one[1]["chain"])))]


def test_what_could_not_be_saved_is_saved_when_it_is_applied_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, wanted = agent(base), config(pool(member(1))).to_json()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    rename = durable.rename
    monkeypatch.setattr(durable, "rename", full)
    with pytest.raises(OSError, match="No space"):
        one.apply(wanted)
    monkeypatch.setattr(durable, "rename", rename)
    assert one.apply(wanted)
    assert (base / "l4.json").stat().st_mode & 0o777 == 0o600
    assert not one.apply(wanted)


@pytest.mark.parametrize("type_", ["UDP-CONNECT", "TCP", "HTTP"])
@pytest.mark.parametrize("address", ["10.1.2.3", "fd00::3"])
def test_a_member_that_no_route_leads_to_is_down(base: Path, type_: str, address: str) -> None:
    del base
    told = threading.Event()

    def act() -> bool:
        told.set()
        return True

    checker = Checker(act, lambda make: make())
    checker.watch({"m": Target(address, 53, check(type_, timeout=60))})
    assert told.wait(10)
    assert checker.down == {"m"}
    checker.watch({})
    assert checker.down == frozenset()


def test_what_could_not_be_acted_upon_is_told_again(base: Path) -> None:
    del base
    answers = iter([False, True])
    told = threading.Semaphore(0)

    def act() -> bool:
        told.release()
        return next(answers)

    checker = Checker(act, lambda make: make())
    checker.watch({"m": Target("10.1.2.3", 53, check(delay=60))})
    assert told.acquire(timeout=10)
    assert told.acquire(timeout=10)
    checker.watch({})


def test_nothing_is_left_when_nothing_is_wanted(base: Path) -> None:
    one = agent(base)
    assert not one.apply(None)
    one.apply(config(pool(member(1))).to_json())
    flow(5001, 77)
    assert one.apply(None)
    assert rules() == ""
    assert flows() == set()
    assert not (base / "l4.json").exists()
    assert one.reports() == ({}, [])
