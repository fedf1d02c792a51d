# SPDX-License-Identifier: Apache-2.0
"""``octavia-standalone`` says what is in the way, and leaves alone what is not its own."""

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from octavia.cmd import standalone
from octavia.cmd.standalone import clouds, controller_process, preflight, web_server
from octavia.cmd.standalone.configuration import api_url, configuration
from octavia.cmd.standalone.errors import Refusal
from octavia.cmd.standalone.probe import Probe
from octavia.cmd.standalone.state import State
from octavia.domain.errors import Terminal
from octavia.drivers.local.configured import topology


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state")
    state.make()
    return state


# --- The state directory


def test_the_state_directory_is_root_s_alone(state: State) -> None:
    assert state.path.stat().st_mode & 0o777 == 0o700


def test_a_configuration_may_be_there_before_the_first_start(tmp_path: Path) -> None:
    (tmp_path / "octavia.conf").touch()
    State(tmp_path).make()
    assert State(tmp_path).exists()


def test_a_directory_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(Refusal, match="--state-dir"):
        State(tmp_path).make()


def test_purge_removes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(Refusal, match="not made by"):
        State(tmp_path).purge()
    assert (tmp_path / "thesis.tex").exists()


def test_purge_removes_what_it_made(state: State) -> None:
    state.purge()
    state.purge()
    assert not state.path.exists()


def test_secrets_are_made_once_and_differ_between_installations(tmp_path: Path) -> None:
    one, other = State(tmp_path / "one"), State(tmp_path / "other")
    for each in (one, other):
        each.make()
    conf = configuration(one)
    assert configuration(one).health_manager.heartbeat_key == conf.health_manager.heartbeat_key
    assert configuration(other).health_manager.heartbeat_key != conf.health_manager.heartbeat_key
    assert len(conf.certificates.server_certs_key_passphrase[0]) == 32
    for file in ("heartbeat.key", "passphrase.key"):
        assert (one.path / file).stat().st_mode & 0o777 == 0o600


def test_networks_that_overlap_are_refused_with_the_file_to_change(state: State) -> None:
    (state.path / "octavia.conf").write_text("[standalone]\nnetworks = a=10.0.0.0/16, b=10.0.1.0/24\n")
    with pytest.raises(Terminal, match=r"overlap.*octavia\.conf"):
        topology(configuration(state))


# --- clouds.yaml


def test_the_client_finds_the_api_and_the_network_calls(state: State) -> None:
    clouds.write(state, "http://127.0.0.1:9876")
    cloud = yaml.safe_load(state.clouds.read_text())["clouds"]["octavia"]
    assert cloud == {
        "auth_type": "none",
        "auth": {"endpoint": "http://127.0.0.1:9876"},
        "load_balancer_endpoint_override": "http://127.0.0.1:9876",
        "network_endpoint_override": "http://127.0.0.1:9876/network",
    }


def test_an_installation_elsewhere_does_not_touch_the_whole_machine(state: State, tmp_path: Path) -> None:
    system_wide = tmp_path / "etc" / "clouds.yaml"
    assert clouds.write(state, "http://127.0.0.1:1", system_wide=system_wide) is not None
    assert not system_wide.exists()


class DefaultState(State):
    """As if the temporary directory were the usual place."""

    @property
    def is_default(self) -> bool:
        return True


@pytest.fixture
def nothing_of_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OS_CLIENT_CONFIG_FILE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("nothing_of_the_user_s")
def test_the_client_needs_nothing_but_the_cloud_s_name(state: State, tmp_path: Path) -> None:
    usual, system_wide = DefaultState(state.path), tmp_path / "etc" / "clouds.yaml"
    assert clouds.write(usual, "http://127.0.0.1:1", system_wide=system_wide) is None
    assert clouds.write(usual, "http://127.0.0.1:2", system_wide=system_wide) is None
    assert "127.0.0.1:2" in system_wide.read_text()
    clouds.remove(usual, system_wide=system_wide)
    assert not system_wide.exists()


@pytest.mark.usefixtures("nothing_of_the_user_s")
def test_somebody_s_own_clouds_yaml_is_left_alone(state: State, tmp_path: Path) -> None:
    usual, system_wide = DefaultState(state.path), tmp_path / "clouds-of-the-site.yaml"
    system_wide.write_text("clouds: {}\n")
    line = clouds.write(usual, "http://127.0.0.1:1", system_wide=system_wide)
    clouds.remove(usual, system_wide=system_wide)
    assert line == f"export OS_CLIENT_CONFIG_FILE={state.clouds}"
    assert system_wide.read_text() == "clouds: {}\n"


@pytest.mark.usefixtures("nothing_of_the_user_s")
def test_a_user_s_file_that_hides_ours_is_worked_around(state: State, tmp_path: Path) -> None:
    hiding = tmp_path / "config" / "openstack" / "clouds.yaml"
    hiding.parent.mkdir(parents=True)
    hiding.write_text("clouds: {}\n")
    line = clouds.write(DefaultState(state.path), "http://127.0.0.1:1", system_wide=tmp_path / "sys.yaml")
    assert line == f"export OS_CLIENT_CONFIG_FILE={state.clouds}"


# --- The controller's process


def test_a_controller_that_holds_its_lock_runs(state: State) -> None:
    assert controller_process.running_pid(state) is None
    with controller_process.running_lock(state):
        assert controller_process.running_pid(state) == os.getpid()
    assert controller_process.running_pid(state) is None


def test_two_controllers_cannot_share_a_state_directory(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller_process, "_LOCK_SECONDS", 0.05)
    with (
        controller_process.running_lock(state),
        pytest.raises(Refusal, match="already running"),
        controller_process.running_lock(state),
    ):
        pytest.fail("the second one came in")


def test_somebody_who_only_asks_keeps_no_controller_out(state: State) -> None:
    state.pid_file.touch()
    with state.pid_file.open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.1, lambda: fcntl.flock(asking, fcntl.LOCK_UN)).start()
        with controller_process.running_lock(state):
            assert controller_process.running_pid(state) == os.getpid()


def test_stop_ends_exactly_the_holder_of_the_lock(state: State) -> None:
    program = (
        "import signal, sys; from pathlib import Path\n"
        "from octavia.cmd.standalone import controller_process as c\n"
        "from octavia.cmd.standalone.state import State\n"
        "with c.running_lock(State(Path(sys.argv[1]))):\n"
        "    print('running', flush=True); signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(state.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        assert controller_process.stop(state)
        assert process.wait(timeout=5) == -15
    assert not controller_process.stop(state)


def test_a_stale_process_number_stops_nobody(state: State) -> None:
    state.pid_file.write_text(f"{os.getpid()}\n")  # of a controller that was killed; reused since, by us
    assert not controller_process.stop(state)


def test_a_controller_that_ends_at_its_start_leaves_its_last_words(state: State) -> None:
    state.output.write_text("Traceback\nValueError: no such network\n\n")
    with pytest.raises(
        Refusal, match=r"ended at its start: ValueError: no such network \(see .*controller\.out"
    ):
        controller_process.wait_until_it_answers(state, "http://127.0.0.1:1", lambda: False)


def test_a_controller_that_never_answers_is_not_waited_for_forever(state: State) -> None:
    with pytest.raises(Refusal, match="did not answer"):
        controller_process.wait_until_it_answers(
            state, "http://127.0.0.1:1", lambda: True, timeout_seconds=0.1
        )


# --- What is in the way


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert standalone.main(argv) == 1
    return capsys.readouterr().err


def test_not_being_root_is_one_sentence(
    state: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = refusal(capsys, "--state-dir", str(state.path), "up")
    assert said == "octavia-standalone: network namespaces need root: run it again with sudo.\n"


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    every = "HAProxy, keepalived, iproute2, nftables, conntrack, ping, rsyslog"
    with pytest.raises(Refusal, match=rf"{every} missing.*apt-get install"):
        preflight.require_programs()


@pytest.mark.parametrize(
    ("kind", "section"), [(socket.SOCK_STREAM, "api_settings"), (socket.SOCK_DGRAM, "health_manager")]
)
def test_a_taken_port_is_named(state: State, kind: socket.SocketKind, section: str) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        address = "bind_host" if section == "api_settings" else "bind_ip"
        (state.path / "octavia.conf").write_text(f"[{section}]\nbind_port = {port}\n{address} = 127.0.0.1\n")
        with pytest.raises(Refusal, match=rf"{port} of 127.0.0.1 is taken.*\[{section}\] bind_port"):
            preflight.require_free_ports(configuration(state))


def test_a_free_port_of_an_address_that_is_not_here_yet_is_free(state: State) -> None:
    (state.path / "octavia.conf").write_text("[api_settings]\nbind_port = 0\n")
    preflight.require_free_ports(configuration(state))


@pytest.mark.parametrize("command", [("why", "demo"), ("demo",)])
def test_asking_before_the_first_start_says_how_to_start(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "octavia-standalone up" in refusal(capsys, "--state-dir", str(tmp_path / "none"), *command)
    assert not (tmp_path / "none").exists()


def test_status_of_nothing_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert standalone.main(["--state-dir", str(tmp_path / "none"), "status"]) == 0
    assert "octavia-standalone up" in capsys.readouterr().out


def test_the_state_directory_may_come_from_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTAVIA_STATE_DIR", str(tmp_path / "elsewhere"))
    assert standalone.main(["status"]) == 0
    assert str(tmp_path / "elsewhere") in capsys.readouterr().out


def test_the_api_s_address_is_a_url_for_both_versions_of_ip(state: State) -> None:
    (state.path / "octavia.conf").write_text("[api_settings]\nbind_host = ::1\n")
    assert api_url(configuration(state)) == "http://[::1]:9876"


# --- The probing client, against the demo's own web server


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    handler = type("Answer", (web_server._Answer,), {"server_name": "web-1"})
    with web_server._Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_probe_sees_who_answered(server: ThreadingHTTPServer) -> None:
    with Probe("127.0.0.1", server.server_address[1]) as probe:
        assert probe.wait_for_answers(0, count=5, timeout_seconds=5)
    assert {answer.body for answer in probe.answers()} == {"hello from web-1"}
    assert probe.failures() == 0


def test_the_probe_measures_a_silence_and_not_its_own_patience(server: ThreadingHTTPServer) -> None:
    with Probe("127.0.0.1", server.server_address[1]) as probe:
        assert probe.wait_for_answers(0, count=5, timeout_seconds=5)
        gate = threading.Event()
        answer = web_server._Answer.do_GET
        silent_from = time.monotonic()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server.RequestHandlerClass, "do_GET", lambda self: gate.wait(5) and answer(self))
            threading.Timer(0.3, gate.set).start()
            assert gate.wait(5)
        assert probe.wait_for_answers(time.monotonic(), count=5, timeout_seconds=5)
    assert 0.25 <= probe.silence(silent_from) < 5.0
