# SPDX-License-Identifier: Apache-2.0
"""An agent takes a new configuration of its own from the controller, and no bad one."""

from collections.abc import Iterator

import pytest

from octavia.dataplane.cloud_init.agent_conf import AgentConf, render
from octavia.domain.errors import Fenced, Transient
from octavia.domain.tree import Topology
from tests.netns.agent_lab import Lab, needs_haproxy, needs_root, opened_lab

pytestmark = [pytest.mark.netns, needs_root, needs_haproxy]


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with opened_lab() as one:
        yield one


def test_an_agent_takes_what_is_rendered_for_it_and_refuses_what_makes_no_sense(lab: Lab) -> None:
    amphora = lab.amphora()
    before = amphora.config.read_text()
    changed = before.replace("[health_manager]", "[health_manager]\n# written anew")
    assert changed != before
    assert lab.driver.update_agent_configuration(amphora.amphora, changed.encode(), fence=5)
    assert amphora.config.read_text() == changed
    with pytest.raises(Transient):
        lab.driver.update_agent_configuration(amphora.amphora, b"[amphora_agent]\n", fence=5)
    with pytest.raises(Fenced):
        lab.driver.update_agent_configuration(amphora.amphora, before.encode(), fence=4)
    assert amphora.config.read_text() == changed
    wanted = AgentConf(controllers=("192.0.2.1:5555",), heartbeat_key="k" * 16)
    text = render(wanted, amphora_id=amphora.id, topology=Topology.SINGLE)
    assert lab.driver.update_agent_configuration(amphora.amphora, text, fence=5)
    assert amphora.config.read_bytes() == text
