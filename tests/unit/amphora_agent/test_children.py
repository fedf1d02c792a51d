# SPDX-License-Identifier: Apache-2.0
"""The agent as its own supervisor, as far as it needs no namespace."""

import os
import signal
from pathlib import Path

from octavia.amphora_agent.children import ChildSupervisor
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import Service


def test_files_of_an_earlier_life_that_name_a_stranger_are_gone_before_the_start(tmp_path: Path) -> None:
    """keepalived takes whoever has the number for itself, and refuses to start."""
    files = (tmp_path / "a.pid", tmp_path / "b.pid")
    for file in files:
        file.write_text(f"{os.getpid()}\n")
    service = Service(
        name="s",
        argv=("sleep", "86399"),
        pid_file=files[0],
        more_pid_files=files[1:],
        reload_signal=signal.SIGHUP,
        notify_socket=tmp_path / "s.ntf",
        notifies=False,
        in_netns=False,
    )
    supervisor = ChildSupervisor(Processes(), lambda service, serves: None)
    supervisor.start(service)
    try:
        assert supervisor.main_pid(service) is not None
        assert not any(file.exists() for file in files)
    finally:
        supervisor.stop(service)
    assert supervisor.main_pid(service) is None
