# SPDX-License-Identifier: Apache-2.0
"""A restarted agent and a HAProxy that lived on, as under systemd: what was interrupted is finished."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from octavia.amphora_agent import stats_socket
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.details import Versions
from octavia.amphora_agent.haproxy import Change, Haproxy, Invalid
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import Service, ServiceFailed
from tests.netns.agent_lab import eventually, needs_haproxy, needs_root
from tests.netns.own_network import own_network

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]

LB = "33333333-3333-4333-8333-333333333333"
B = "p:l"


class Outside:
    """A supervisor that outlives agents, here the test."""

    reload_is_synchronous = False
    ends_with_agent = False

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def adopt(self, service: Service) -> bool:
        return self.main_pid(service) is not None

    def start(self, service: Service) -> None:
        if self.main_pid(service) is None:
            argv = ["-W" if word == "-Ws" else word for word in service.argv]
            self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            assert eventually(service.pid_file.exists, within=5)

    def reload(self, service: Service) -> None:
        if self.process is None or self.process.poll() is not None:
            raise ServiceFailed("not running")
        self.process.send_signal(service.reload_signal)

    def stop(self, service: Service) -> None:
        del service
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def main_pid(self, service: Service) -> int | None:
        del service
        return self.process.pid if self.process and self.process.poll() is None else None

    def last_words(self, service: Service) -> str:
        del service
        return ""


class World:
    def __init__(self, base: Path) -> None:
        self.config = AgentConfig(
            amphora_id="a",
            base_path=base,
            base_cert_dir=base / "certs",
            haproxy_cmd=shutil.which("haproxy") or "haproxy",
        )
        self.outside = Outside()
        self.agent = self.restarted_agent()
        self.agent.restore()

    def restarted_agent(self) -> Haproxy:
        self.reloads: Counter[str] = Counter()
        processes = Processes()
        versions = Versions(processes, self.config.haproxy_cmd, self.config.keepalived_cmd)
        return Haproxy(LB, self.config, self.outside, processes, versions, self.reloads)

    def servers(self) -> set[str]:
        rows = [line.split() for line in self.agent.ask("show servers state").splitlines()]
        return {row[3] for row in rows if len(row) > 6 and row[0] != "#"}

    def worker(self) -> int | None:
        return stats_socket.worker_pid(self.agent.admin_socket)


@pytest.fixture(name="world")
def _world() -> Iterator[World]:
    with own_network(), tempfile.TemporaryDirectory(prefix="aga") as directory:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        world = World(Path(directory))
        try:
            yield world
        finally:
            world.outside.stop(world.agent.service)


def text(*servers: str, port: int = 8080, extra: str = "") -> str:
    lines = "".join(f"    server {name} 127.0.0.1:{port} weight 1\n" for name in servers)
    return (
        "global\n    maxconn 100\ndefaults\n    mode http\n    timeout connect 1s\n    timeout client 9s\n"
        "    timeout server 9s\nfrontend l\n    bind 127.0.0.1:80\n    default_backend p:l\n"
        f"backend p:l\n    balance roundrobin\n{extra}{lines}"
    )


def test_a_reload_that_was_interrupted_is_finished(world: World) -> None:
    assert world.agent.apply(text("a")) == Change("started")
    worker = world.worker()
    # The agent swapped the file and died before it told HAProxy.
    shutil.copy(world.agent.live, world.agent.directory / "haproxy.cfg.previous")
    world.agent.live.write_text(text("a", "b"))
    world.agent = world.restarted_agent()
    world.agent.restore()
    assert world.servers() == {"a", "b"}
    assert world.worker() != worker
    assert world.agent.apply(text("a", "b")) == Change("unchanged")


def test_a_change_at_runtime_that_was_interrupted_is_finished(world: World) -> None:
    world.agent.apply(text("a"))
    # The agent told HAProxy and died before it rewrote the file.
    assert "registered" in world.agent.ask(f"add server {B}/b 127.0.0.1:8080 weight 1")
    world.agent = world.restarted_agent()
    world.agent.restore()
    change = world.agent.apply(text("a", "b"))
    assert change.action == "reloaded"
    assert "a change at runtime failed" in (change.reason or "")
    assert world.servers() == {"a", "b"}


class Died(BaseException):
    """What the agent does not see coming."""


def test_what_an_agent_said_before_it_died_does_not_outlive_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller may want the old configuration again, which looks as if it were running."""
    world.agent.apply(text("a"))
    ask = stats_socket.ask

    def ask_and_die(path: Path, command: str, payload: str = "") -> str:
        answer = ask(path, command, payload)
        if command.startswith("set server"):
            raise Died
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(stats_socket, "ask", ask_and_die)
        with pytest.raises(Died):
            world.agent.apply(text("a").replace("weight 1", "weight 7"))
    assert world.agent.ask(f"get weight {B}/a").startswith("7 ")
    world.agent = world.restarted_agent()
    world.agent.restore()
    assert dict(world.reloads) == {"unknown": 1}
    assert world.agent.ask(f"get weight {B}/a").startswith("1 ")
    assert world.agent.apply(text("a")) == Change("unchanged")


def test_members_removed_before_the_restart_are_deleted_after_it(world: World) -> None:
    world.agent.apply(text("a", "b"))
    assert world.agent.apply(text("a")) == Change("changed")
    assert world.servers() == {"a", "b"}
    world.agent = world.restarted_agent()
    world.agent.restore()
    assert eventually(lambda: not world.agent.delete_drained(), within=10)
    assert world.servers() == {"a"}
    assert sum(world.reloads.values()) == 0


def test_an_adopted_haproxy_is_changed_without_a_reload(world: World) -> None:
    world.agent.apply(text("a"))
    worker = world.worker()
    world.agent = world.restarted_agent()
    world.agent.restore()
    assert world.agent.apply(text("a", "b")) == Change("changed")
    assert world.worker() == worker


def test_a_changed_certificate_is_a_reason_to_reload(world: World) -> None:
    world.agent.apply(text("a"))
    assert world.agent.apply(text("a"), certificates_changed=True) == Change(
        "reloaded", "a certificate has changed"
    )


def test_staging_changes_nothing_until_the_reload(world: World) -> None:
    world.agent.apply(text("a"))
    world.agent.stage(text("a", "b").replace("global\n", "global\n    group nogroup\n"))
    assert world.servers() == {"a"}
    assert world.agent.live.read_text() == text("a")
    assert "group nogroup" not in world.agent.text()
    with pytest.raises(Invalid):
        world.agent.stage(text("a", extra="    nonsense\n"))
    change = world.agent.reload()
    assert change.action in ("changed", "reloaded")
    assert world.servers() == {"a", "b"}
    assert not world.agent.staged.exists()


def test_a_haproxy_that_was_killed_is_started_with_what_is_asked_for(world: World) -> None:
    world.agent.apply(text("a"))
    assert world.outside.process is not None
    os.kill(world.outside.process.pid, signal.SIGKILL)
    world.outside.process.wait()
    time.sleep(0.05)
    assert world.agent.apply(text("a", "b")) == Change("started")
    assert eventually(lambda: world.worker() is not None, within=5)
    assert world.servers() == {"a", "b"}
