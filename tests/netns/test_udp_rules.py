# SPDX-License-Identifier: Apache-2.0
"""The rules of UDP listeners before the real nft, and an agent that dies and comes back to them."""

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from octavia.amphora_agent import durable, l4_table, netns
from octavia.amphora_agent.l4 import L4, L4Refused
from octavia.amphora_agent.l4_checks import Checker, Target
from octavia.amphora_agent.processes import Processes
from octavia.dataplane.l4 import nftables
from octavia.dataplane.l4.nftables import Named, Rendered
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
    after = nftables.render(plain, present=named).text
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
    monkeypatch.setattr(nftables, "render", lambda *args, **more: Rendered("nonsense\n", frozenset()))
    with pytest.raises(L4Refused, match="nftables"):
        one.apply(config(pool(member(2))).to_json())
    assert (rules(), (base / "l4.json").read_text()) == (before, file)
    monkeypatch.setattr(nftables, "render", render)
    assert one.apply(config(pool(member(2))).to_json())


def test_what_could_not_be_saved_is_saved_when_it_is_applied_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, wanted = agent(base), config(pool(member(1))).to_json()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    write = durable.write
    monkeypatch.setattr(durable, "write", full)
    with pytest.raises(OSError, match="No space"):
        one.apply(wanted)
    monkeypatch.setattr(durable, "write", write)
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
