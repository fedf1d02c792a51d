# SPDX-License-Identifier: Apache-2.0
"""What the agent says of its machine, and what it keeps to itself where the machine is others' too."""

from pathlib import Path

import pytest

from octavia.amphora_agent import details
from octavia.amphora_agent.processes import Processes

MEMORY_KEYS = {"total", "free", "buffers", "cached", "swap_used", "shared", "slab"}


def test_a_machine_of_its_own_has_memory_as_the_kernel_counts_it() -> None:
    found = details.machine(Processes(), is_shared=False)
    assert set(found["memory"]) == MEMORY_KEYS
    lines = Path("/proc/meminfo").read_text().splitlines()
    assert f"MemTotal: {found['memory']['total']} kB" in {" ".join(line.split()) for line in lines}
    assert 0 < found["memory"]["free"] < found["memory"]["total"]


def test_what_is_free_on_a_shared_machine_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "_tuned_profile", lambda: "amphora")
    assert details.machine(Processes(), is_shared=False)["active_tuned_profiles"] == "amphora"
    found = details.machine(Processes(), is_shared=True)
    assert "memory" not in found
    assert found["active_tuned_profiles"] == ""
    assert found["cpu_count"] >= 1
