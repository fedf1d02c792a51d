# SPDX-License-Identifier: Apache-2.0
"""When the namespace has to be made."""

from pathlib import Path
from unittest.mock import create_autospec

import pytest

from octavia.amphora_agent import netns
from octavia.amphora_agent.processes import Processes


@pytest.mark.parametrize("is_half_made", [False, True])
def test_a_namespace_is_made_where_there_is_none_and_where_somebody_was_killed_making_it(
    is_half_made: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "amphora-haproxy"
    if is_half_made:
        place.touch()  # what ``ip netns add`` mounts the namespace on
    monkeypatch.setattr(netns, "NETNS_PATH", str(place))
    processes = create_autospec(Processes, instance=True)
    assert netns.begin(processes) is processes.spawn.return_value
    assert processes.spawn.call_args.args == (("ip", "netns", "add", "amphora-haproxy"),)
    assert not place.exists()


def test_a_namespace_that_is_there_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "NETNS_PATH", "/proc")
    processes = create_autospec(Processes, instance=True)
    assert netns.begin(processes) is None
    processes.spawn.assert_not_called()
