# SPDX-License-Identifier: Apache-2.0
"""Fencing numbers and generations, over restarts and full disks."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.amphora_agent import durable
from octavia.amphora_agent.state import AgentState, FencedOff, Overtaken

LB = "11111111-1111-4111-8111-111111111111"


def test_the_highest_fence_survives_a_restart(tmp_path: Path) -> None:
    state = AgentState(tmp_path / "state.json")
    for fence in (3, None, 7, 7):
        state.admit(fence)
    again = AgentState(tmp_path / "state.json")
    assert again.fence == 7
    with pytest.raises(FencedOff) as fenced:
        again.admit(6)
    assert fenced.value.highest == 7
    again.admit(None)
    assert again.fence == 7


@given(st.lists(st.none() | st.integers(0, 5), max_size=12))
def test_no_admitted_fence_is_lower_than_one_before(fences: list[int | None]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        state = AgentState(Path(directory) / "state.json")
        admitted: list[int] = []
        for fence in fences:
            if fence is not None and admitted and fence < max(admitted):
                with pytest.raises(FencedOff):
                    state.admit(fence)
                continue
            state.admit(fence)
            admitted += [] if fence is None else [fence]
        assert admitted == sorted(admitted)


def test_a_fence_that_could_not_be_written_is_not_admitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = AgentState(tmp_path / "state.json")
    state.admit(1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", full)
        with pytest.raises(OSError, match="No space"):
            state.admit(2)
    assert state.fence == 1
    state.admit(2)
    assert AgentState(tmp_path / "state.json").fence == 2


def test_a_damaged_file_stops_the_agent_instead_of_letting_the_past_in(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        AgentState(tmp_path / "state.json")


def test_a_delayed_request_of_the_same_lease_is_overtaken(tmp_path: Path) -> None:
    state = AgentState(tmp_path / "state.json")
    state.change(LB, generation=5, generation_fence=3)
    state.check_order(LB, 5, 3)
    state.check_order(LB, 6, 3)
    state.check_order(LB, 4, 4)
    state.check_order(LB, 4, None)
    with pytest.raises(Overtaken):
        state.check_order(LB, 4, 3)


def test_generations_survive_a_restart_and_end_with_their_load_balancer(tmp_path: Path) -> None:
    state = AgentState(tmp_path / "state.json")
    state.admit(9)
    state.change(LB, generation=5, certificates_changed=True)
    again = AgentState(tmp_path / "state.json")
    assert (again.generation, again.load_balancer(LB).certificates_changed) == (5, True)
    again.forget(LB)
    last = AgentState(tmp_path / "state.json")
    assert (last.generation, last.fence) == (None, 9)


def test_a_write_replaces_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    durable.write(path, "one", mode=0o644)
    durable.write(path, b"two", mode=0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b/c", ".d"):
        durable.write(tmp_path / name, "kept")
        durable.draft((tmp_path / name).with_name(f".{Path(name).name}.writing"), "half")
    durable.remove_leftover(tmp_path / "a")
    assert not (tmp_path / ".a.writing").exists()
    durable.remove_leftovers(tmp_path)
    durable.remove_leftovers(tmp_path / "absent")
    durable.remove_leftover(tmp_path / "absent")
    left = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file())
    assert left == [".d", "a", "b/c"]
