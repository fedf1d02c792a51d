# SPDX-License-Identifier: Apache-2.0
"""What an amphora on this machine prints is in a file that its agent keeps small."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from octavia.drivers.compute.contract import ServerStatus
from tests.netns.agent_lab import eventually, needs_root
from tests.netns.local_world import LocalWorld, local_world
from tests.unit.drivers.compute_contract import a_spec

pytestmark = [pytest.mark.netns, needs_root]

# The agent's own way to set its log up, with a smaller bound; what it prints last is no log.
PROGRAM = """
import logging, os, signal
from octavia.amphora_agent import output
from octavia.amphora_agent.config import AgentConfig
from octavia.cmd import amphora_agent
output.MOST_BYTES = 20_000
os.write(2, b"said before there was a log\\n")
amphora_agent._log(AgentConfig(amphora_id="a"))
for number in range(600):
    logging.info("said %d", number)
print("said last", flush=True)
signal.pause()
"""
COMMAND = (sys.executable, "-c", PROGRAM)


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Iterator[LocalWorld]:
    with local_world(tmp_path / "state", COMMAND) as world:
        yield world


def test_a_big_one_becomes_the_older_one_and_no_line_is_lost(world: LocalWorld) -> None:
    server = world.compute.create(a_spec())
    process = world.process(server.compute_id)
    log = process.log
    assert eventually(lambda: "said last" in log.read_text(), within=30)
    older = log.with_name("output.log.1")
    assert 20_000 < older.stat().st_size < 21_000
    lines = (older.read_text() + log.read_text()).splitlines()
    assert [line.rpartition("said ")[2] for line in lines] == [
        "before there was a log",
        *map(str, range(600)),
        "last",
    ]
    for file in (log, older):
        assert file.stat().st_mode & 0o777 == 0o600
    assert process.last_words() == "said last"
    assert server.status is ServerStatus.ACTIVE
    world.compute.delete(server.compute_id)
    assert not log.exists()
