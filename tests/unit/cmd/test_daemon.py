# SPDX-License-Identifier: Apache-2.0
"""A process that cannot start says in one sentence what to change."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from octavia.cmd import api, health_manager, housekeeping, worker
from octavia.cmd.application import FILES
from octavia.domain.errors import Terminal

NOOP = """
[database]
connection = sqlite:///{folder}/octavia.sqlite
[controller_worker]
amphora_driver = amphora_noop_driver
compute_driver = compute_noop_driver
network_driver = network_noop_driver
[certificates]
cert_generator = noop_cert_generator
cert_manager = noop_cert_manager
"""


def write(tmp_path: Path, text: str) -> str:
    file = tmp_path / "octavia.conf"
    file.write_text(text.format(folder=tmp_path))
    return str(file)


@pytest.mark.parametrize(
    ("main", "option"),
    [
        (api.main, "network_driver"),
        (worker.main, "compute_driver"),
        (worker.main, "network_driver"),
        (worker.main, "amphora_driver"),
        (worker.main, "cert_generator"),
        (health_manager.main, "compute_driver"),
        (housekeeping.main, "network_driver"),
    ],
)
def test_an_unknown_driver_is_named_with_those_that_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], main: Callable[[list[str]], int], option: str
) -> None:
    lines = NOOP.splitlines()
    found = next(line for line in lines if line.startswith(option))
    text = NOOP.replace(found, f"{option} = warp_driver") + "[api_settings]\nauth_strategy = noauth\n"
    text += "[health_manager]\nheartbeat_key = insecure\n"
    assert main(["--config-file", write(tmp_path, text)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{option} = warp_driver: there is no such driver here" in said
    assert found.partition("= ")[2] in said


def test_a_value_of_the_wrong_kind_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = write(tmp_path, NOOP + "[health_manager]\nbind_port = many\n")
    assert health_manager.main(["--config-file", conf]) == 1
    assert "bind_port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("tenant_log_targets = 192.0.2.1", "host:port"),
        ("admin_log_targets = 192.0.2.1:514, [2001:db8::1]", "host:port"),
        ("logging_template_override = {folder}/absent", "No such file"),
        ("logging_template_override = {folder}/wrong", "tenant_targets"),
    ],
)
def test_logs_that_cannot_go_anywhere_stop_the_worker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, why: str
) -> None:
    (tmp_path / "wrong").write_text("{{ tenant_targets }}")
    text = f"{NOOP}[health_manager]\nheartbeat_key = insecure\n[amphora_agent]\n{line}\n"
    assert worker.main(["--config-file", write(tmp_path, text)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.partition(" =")[0] in said
    assert why in said


def answer(application: Any) -> tuple[str, bytes]:
    """Of the application to GET /."""
    from falcon.testing import create_environ

    said: list[str] = []
    chunks = application(create_environ("/"), lambda status, _headers, *_: said.append(status))
    return said[0], b"".join(chunks)


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Of the module for WSGI servers, which cannot be imported without a configuration."""

    def loaded(text: str) -> Any:
        environment: Mapping[str, str] = {FILES: write(tmp_path, text)}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        import importlib
        import sys

        sys.modules.pop("octavia.wsgi.api", None)
        return importlib.import_module("octavia.wsgi.api").application

    return loaded


TRUSTING = "[api_settings]\nauth_strategy = noauth\nallow_noauth_beyond_loopback = True\n"


def test_a_wsgi_server_might_listen_anywhere(load: Callable[[str], Any]) -> None:
    with pytest.raises(Terminal, match="make everybody who can reach it admin"):
        load(NOOP + "[api_settings]\nauth_strategy = noauth\n")


def test_who_checks_tokens_is_to_be_said_before_the_first_request(load: Callable[[str], Any]) -> None:
    with pytest.raises(Terminal, match="auth_type is not set"):
        load(NOOP + "[api_settings]\nauth_strategy = keystone\n")


def test_under_a_wsgi_server_it_answers(load: Callable[[str], Any]) -> None:
    assert answer(load(NOOP + TRUSTING))[0] == "200 OK"


def test_without_its_database_it_answers_503_and_looks_again(
    load: Callable[[str], Any], tmp_path: Path
) -> None:
    away = NOOP.replace("sqlite:///{folder}/octavia.sqlite", "mysql+pymysql://x@127.0.0.1:1/octavia")
    application = load(away + TRUSTING)
    for _ in range(2):
        status, body = answer(application)
        assert status.startswith("503")
        assert b'"faultcode": "Server"' in body
