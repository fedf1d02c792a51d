# SPDX-License-Identifier: Apache-2.0
"""What operators write in octavia.conf reaches the amphorae."""

from pathlib import Path

from octavia import config
from octavia.worker.settings import from_config


def test_how_long_old_connections_last_is_the_operators_choice(tmp_path: Path) -> None:
    file = tmp_path / "octavia.conf"
    file.write_text("[amphora_agent]\nhaproxy_hard_stop_after = 60\nhaproxy_drain_limit = 7\n")
    conf = config.load([], program="octavia-worker", files=[str(file)])
    agent = from_config(conf, owner="test").agent
    assert (agent.haproxy_hard_stop_after_s, agent.haproxy_drain_limit_s) == (60, 7)
