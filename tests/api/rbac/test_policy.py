# SPDX-License-Identifier: Apache-2.0
"""How policies are read and decided, whatever they say."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from oslo_policy.policy import Enforcer

from octavia import config
from octavia.api.policies.calls import CALLS, PREFIX, list_rules
from octavia.api.policies.policy import Policy, enforcer
from octavia.domain.errors import Terminal
from tests.api.rbac.callers import KEYSTONE, LEGACY
from tests.api.rbac.conftest import SHIPPED

_PROGRAMS = Path(sys.executable).parent
READER: dict[str, Any] = {"roles": ["reader"], "project_id": "own", "is_admin": False}


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def _enforcer(folder: Path, policy: str | None = None, **options: object) -> Enforcer:
    if policy is not None:
        (folder / "policy.yaml").write_text(policy)
    lines = [f"{name} = {value}\n" for name, value in options.items()]
    file = folder / "octavia.conf"
    file.write_text("[oslo_policy]\n" + "".join(lines))
    return enforcer(config.load([], program="octavia-api", files=[str(file)]))


@pytest.mark.parametrize("file", [None, *(one.name for one in sorted(SHIPPED.glob("*-policy.yaml")))])
@pytest.mark.parametrize("new_defaults", [True, False])
def test_decisions_are_the_ones_of_oslo_policy(tmp_path: Path, file: str | None, new_defaults: bool) -> None:
    text = (SHIPPED / file).read_text() if file else None
    calls = {call.check_str: call for call in CALLS}.values()  # no file overrides a call's own rule
    theirs = _enforcer(tmp_path, text, enforce_new_defaults=new_defaults)
    ours = Policy(theirs)
    for roles in (*KEYSTONE, *LEGACY):
        for scope in ({"project_id": "own"}, {"system_scope": "all", "system": "all"}, {}):
            credentials: dict[str, Any] = {"roles": roles.split(","), **scope}
            credentials["is_admin"] = ours.is_admin(credentials)
            for call in calls:
                for target in ("own", "foreign", None):
                    known = {} if target is None else {"project_id": target}
                    mine = ours.allows(call.name.removeprefix(PREFIX), credentials, target)
                    assert mine == bool(theirs.enforce(call.name, known, dict(credentials))), (
                        call.name,
                        roles,
                    )


def test_a_rule_of_the_operator_takes_the_defaults_place(tmp_path: Path) -> None:
    policy = Policy(
        _enforcer(
            tmp_path,
            f'"{PREFIX}listener:get_all": "!"\n'
            f'"{PREFIX}pool:delete": "@"\n'
            f'"{PREFIX}pool:put": "not role:reader"\n'
            f'"{PREFIX}pool:post": "rule:nobody-wrote-this"\n'
            f'"{PREFIX}member:post": "user_id:%(project_id)s"\n',
        )
    )
    assert not policy.allows("listener:get_all", READER, "own")
    assert policy.allows("listener:get_one", READER, "own")
    assert policy.allows("pool:delete", READER, "foreign")
    assert not policy.allows("pool:put", READER, "own")
    assert policy.allows("pool:put", READER | {"roles": []}, "own")
    assert not policy.allows("pool:post", READER, "own")
    assert policy.allows("member:post", READER | {"user_id": "own"}, "own")


def test_nobody_of_no_project_owns_what_is_of_no_project(tmp_path: Path) -> None:
    policy = Policy(_enforcer(tmp_path))
    nobody = {"roles": ["reader", "member"], "is_admin": False}
    for project_id in (None, "None", ""):
        assert not policy.allows("loadbalancer:get_one", nobody, project_id)
    assert not policy.allows("amphora:get_one", READER | {"project_id": "None"}, None)


def test_a_changed_file_is_in_force_a_second_later_and_a_broken_one_never(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    policy = Policy(_enforcer(tmp_path, "{}\n"), clock)
    file = tmp_path / "policy.yaml"

    def write(text: str, modified: int) -> None:
        file.write_text(text)
        os.utime(file, (modified, modified))

    assert policy.allows("pool:get_all", READER, "own")
    write(f'"{PREFIX}pool:get_all": "!"\n', 2_000_000_000)
    assert policy.allows("pool:get_all", READER, "own")  # it has not looked again yet
    clock.seconds = 1.5
    assert not policy.allows("pool:get_all", READER, "own")
    write('"oh": [no', 2_000_000_010)
    with caplog.at_level(logging.ERROR):
        for clock.seconds in (3.0, 4.5):
            assert not policy.allows("pool:get_all", READER, "own")
    assert "stays in force" in caplog.text
    write("{}\n", 2_000_000_020)
    clock.seconds = 6.0
    assert policy.allows("pool:get_all", READER, "own")


def test_a_broken_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(Terminal, match="policy_file"):
        Policy(_enforcer(tmp_path, '"oh": [no'))


def test_a_file_that_does_not_exist_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _enforcer(tmp_path)
    assert not caplog.text
    _enforcer(tmp_path, policy_file="/nowhere/rules.yaml")
    assert "/nowhere/rules.yaml does not exist" in caplog.text


def _tool(program: str, *arguments: object) -> str:
    command = [str(_PROGRAMS / program), "--namespace", "octavia", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tools_of_oslo_policy_know_the_rules(tmp_path: Path) -> None:
    sample = _tool("oslopolicy-sample-generator")
    for rule in list_rules():
        assert f'#"{rule.name}": "{rule.check_str}"' in sample.replace("\n# ", ""), rule.name
    (tmp_path / "policy.yaml").write_text(f'"{PREFIX}pool:delete": "role:janitor"\n')
    conf = tmp_path / "octavia.conf"
    conf.write_text("[DEFAULT]\n")
    in_force = yaml.safe_load(_tool("oslopolicy-policy-generator", "--config-file", conf))
    assert in_force[f"{PREFIX}pool:delete"] == "role:janitor"
    assert in_force.keys() == {rule.name for rule in list_rules()}
