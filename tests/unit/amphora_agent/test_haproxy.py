# SPDX-License-Identifier: Apache-2.0
"""What the agent adds to a controller's configuration of HAProxy."""

from collections import Counter
from pathlib import Path

import pytest

from octavia.amphora_agent.children import ChildSupervisor
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.details import Versions
from octavia.amphora_agent.haproxy import Haproxy
from octavia.amphora_agent.processes import Processes

LB = "33333333-3333-4333-8333-333333333333"


@pytest.mark.parametrize(
    ("said", "leaves_cas"),
    [("HAProxy version 2.6.12-1+deb12u4", True), ("2.5.14", False), ("nothing", False)],
)
def test_the_cas_of_the_system_are_left_alone_where_haproxy_can_be_told(
    tmp_path: Path, said: str, leaves_cas: bool
) -> None:
    program = tmp_path / "haproxy"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    config = AgentConfig(
        amphora_id="a", base_path=tmp_path, base_cert_dir=tmp_path / "certs", haproxy_cmd=str(program)
    )
    processes = Processes()
    versions = Versions(processes, config.haproxy_cmd, config.keepalived_cmd)
    supervisor = ChildSupervisor(processes, lambda service, serves: None)
    one = Haproxy(LB, config, supervisor, processes, versions, Counter())
    one.stage("global\n")  # this one finds nothing wrong with anything
    own = (one.directory / "agent.cfg").read_text()
    assert ("    httpclient.ssl.verify none\n" in own) == leaves_cas
