# SPDX-License-Identifier: Apache-2.0
"""``octavia-status upgrade check`` finds what is in the way of an upgrade."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from octavia.cmd import db_manage, status
from tests.unit.cmd.test_daemon import NOOP, write

SUCCESS, FAILURE = 0, 2  # oslo.upgradecheck's codes
Check = Callable[..., tuple[int, dict[str, int]]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    def checked(text: str = "") -> tuple[int, dict[str, int]]:
        conf = write(tmp_path, NOOP + text)
        code = status.main(["--config-file", conf, "upgrade", "check", "--json"])
        checks = json.loads(capsys.readouterr().out)["checks"]
        return code, {one["check"]: one["result"] for one in checks}

    return checked


def migrate(tmp_path: Path) -> None:
    assert db_manage.main(["--config-file", write(tmp_path, NOOP), "upgrade", "head"]) == 0


def test_what_is_ready_is_said_to_be(check: Check, tmp_path: Path) -> None:
    migrate(tmp_path)
    code, found = check()
    assert code == 0
    assert set(found.values()) == {SUCCESS}
    assert {"AmphoraV2 Check", "Policy File JSON to YAML Migration"} <= set(found)


def test_a_schema_that_is_not_there_is_found(check: Check) -> None:
    code, found = check()
    assert (code, found["Database Schema"], found["Configuration"]) == (2, FAILURE, SUCCESS)


def test_options_that_contradict_each_other_are_found(check: Check, tmp_path: Path) -> None:
    migrate(tmp_path)
    code, found = check("[keepalived_vrrp]\nvrrp_advert_int = 0.5\n")
    assert (code, found["Configuration"]) == (2, FAILURE)


def test_a_policy_file_of_the_old_kind_is_found(check: Check, tmp_path: Path) -> None:
    migrate(tmp_path)
    policy = tmp_path / "policy.json"
    policy.write_text('{"admin": "role:admin"}')
    code, found = check(f"[oslo_policy]\npolicy_file = {policy}\n")
    assert (code, found["Policy File JSON to YAML Migration"]) == (2, FAILURE)
