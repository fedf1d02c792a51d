# SPDX-License-Identifier: Apache-2.0
"""systemd units, with a systemctl that writes down what it is told and runs one program."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import Service, ServiceFailed
from octavia.amphora_agent.systemd import SystemdSupervisor, unit_text

SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> {directory}/told
case "$1 $2" in
    "start broken.service") echo "Job for broken.service failed."; exit 1 ;;
esac
"""


def service(directory: Path, name: str = "haproxy-x") -> Service:
    return Service(
        name=name,
        argv=("/usr/sbin/haproxy", "-Ws", "-f", "/a b/haproxy.cfg"),
        pid_file=directory / "pid",
        reload_signal=signal.SIGUSR2,
        notify_socket=directory / "ntf",
        notifies=True,
        unit_options=("KillMode=mixed",),
    )


@pytest.fixture(name="sleeper")
def _sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(name="systemctl")
def _systemctl(tmp_path: Path) -> str:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL.format(directory=tmp_path))
    program.chmod(0o755)
    return str(program)


def told(directory: Path) -> list[str]:
    return (directory / "told").read_text().splitlines()


def test_the_unit_is_the_contracts(tmp_path: Path) -> None:
    text = unit_text(service(tmp_path))
    assert "Type=notify" in text
    assert "ExecStart=/sbin/ip netns exec amphora-haproxy /usr/sbin/haproxy -Ws -f '/a b/haproxy.cfg'" in text
    assert "ExecReload=/bin/kill -USR2 $MAINPID" in text
    assert "Requires=amphora-netns.service" in text
    assert "LimitNOFILE=2600000" in text


def test_a_pid_of_before_a_reboot_is_not_taken_for_the_service(tmp_path: Path) -> None:
    lines = unit_text(replace(service(tmp_path), more_pid_files=(tmp_path / "vrrp.pid",))).splitlines()
    (clean,) = [number for number, line in enumerate(lines) if line.startswith("ExecStartPre=")]
    assert lines[clean] == f"ExecStartPre=/bin/rm -f {tmp_path}/pid {tmp_path}/vrrp.pid"
    assert lines[clean + 1].startswith("ExecStart=")


def test_a_service_is_written_enabled_started_and_taken_away(tmp_path: Path, systemctl: str) -> None:
    heard: list[bool] = []
    units = tmp_path / "units"
    supervisor = SystemdSupervisor(
        Processes(), lambda _, up: heard.append(up), unit_directory=units, systemctl=systemctl
    )
    one = service(tmp_path)
    supervisor.start(one)
    supervisor.start(one)
    supervisor.reload(one)
    supervisor.stop(one)
    supervisor.stop(one)
    name = "haproxy-x.service"
    again = [f"enable {name}", f"start {name}"]
    assert told(tmp_path) == [
        "daemon-reload",
        *again,
        *again,
        f"reload {name}",
        f"stop {name}",
        f"disable {name}",
    ]
    assert list(units.iterdir()) == []
    assert heard[0] is True


def test_a_failed_start_says_what_systemctl_said(tmp_path: Path, systemctl: str) -> None:
    supervisor = SystemdSupervisor(
        Processes(), lambda *_: None, unit_directory=tmp_path / "units", systemctl=systemctl
    )
    with pytest.raises(ServiceFailed, match=r"Job for broken\.service failed"):
        supervisor.start(service(tmp_path, "broken"))


def test_a_running_service_is_adopted_and_its_death_noticed_at_once(
    tmp_path: Path, systemctl: str, sleeper: "subprocess.Popen[bytes]"
) -> None:
    down, up = threading.Event(), threading.Event()
    supervisor = SystemdSupervisor(
        Processes(),
        lambda _, serves: (up if serves else down).set(),
        unit_directory=tmp_path / "units",
        systemctl=systemctl,
    )
    one = service(tmp_path)
    assert not supervisor.adopt(one)
    one.pid_file.write_text(f"{sleeper.pid}\n")
    assert supervisor.adopt(one)
    assert supervisor.main_pid(one) == sleeper.pid
    sleeper.kill()
    assert down.wait(5)
    one.pid_file.write_text(f"{os.getpid()}\n")  # systemd has started it again
    assert up.wait(5)
    supervisor.stop(one)
