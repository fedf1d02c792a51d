# SPDX-License-Identifier: Apache-2.0
"""docs/user/features.md names a test that exists for every option and every value that the API takes."""

import re
from collections.abc import Set
from enum import StrEnum
from pathlib import Path

import pytest

from octavia.api.schemas.fields import Schema
from octavia.api.schemas.health_monitor import HEALTH_MONITOR
from octavia.api.schemas.l7_policy import L7_POLICY
from octavia.api.schemas.l7_rule import L7_RULE
from octavia.api.schemas.listener import LISTENER
from octavia.api.schemas.member import MEMBER
from octavia.api.schemas.pool import POOL
from octavia.domain.tree import (
    Algorithm,
    ClientAuthentication,
    CompareType,
    L7Action,
    MonitorType,
    PersistenceType,
    Protocol,
    RuleType,
)

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/user/features.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith("| option |")
]
# What is kept for people, and where an object hangs in the tree.
NO_TRAFFIC = {"name", "description", "tags", "project_id", "tenant_id"}
NO_TRAFFIC |= {"loadbalancer_id", "listener_id", "pool_id"}
SENDING = ("netns", "haproxy", "scenario")
SCHEMAS = {
    "listener": LISTENER,
    "pool": POOL,
    "member": MEMBER,
    "health monitor": HEALTH_MONITOR,
    "L7 policy": L7_POLICY,
    "L7 rule": L7_RULE,
}
POOL_ONLY = {Protocol.PROXY, Protocol.PROXYV2}
LISTENER_ONLY = {Protocol.TERMINATED_HTTPS, Protocol.PROMETHEUS}
VALUES: list[tuple[str, str, Set[StrEnum]]] = [
    ("listener", "protocol", set(Protocol) - POOL_ONLY),
    ("pool", "protocol", set(Protocol) - LISTENER_ONLY - {Protocol.UDP, Protocol.SCTP}),
    ("pool", "lb_algorithm", set(Algorithm)),
    ("pool", "session_persistence", set(PersistenceType)),
    ("listener", "client_authentication", set(ClientAuthentication)),
    ("health monitor", "type", set(MonitorType)),
    ("L7 policy", "action", set(L7Action)),
    ("L7 rule", "type", set(RuleType)),
    ("L7 rule", "compare_type", set(CompareType)),
]


def sources() -> str:
    files = (path for part in SENDING for path in (ROOT / "tests" / part).rglob("test_*.py"))
    return "\n".join(path.read_text() for path in files)


def rows_about(kind: str, field: str) -> list[list[str]]:
    return [row for row in ROWS if re.match(rf"(UDP )?{kind}\b", row[0]) and f"`{field}`" in row[0]]


def test_every_test_and_file_of_the_table_exists_and_sends_traffic() -> None:
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", TABLE))
    assert named
    known = sources()
    assert {name for name in named if f"def {name}(" not in known} == set()
    assert {file for file in files if not (ROOT / file).exists()} == set()


def test_every_row_names_a_test_or_says_why_there_is_none() -> None:
    assert all(len(row) == 3 for row in ROWS)
    assert [row for row in ROWS if not re.match(r"`(test_\w+|tests/[\w/]+\.py)`|no: \w", row[2])] == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_option_of_the_api_has_a_row(kind: str) -> None:
    schema: Schema = SCHEMAS[kind]
    taken = {one.name for one in schema.fields if one.type is not None} - NO_TRAFFIC
    assert taken
    assert {name for name in taken if not rows_about(kind, name)} == set()


@pytest.mark.parametrize(("kind", "field", "values"), VALUES)
def test_every_value_of_a_choice_has_a_row(kind: str, field: str, values: Set[StrEnum]) -> None:
    told = " ".join(row[1] for row in rows_about(kind, field))
    assert {str(value) for value in values if f"`{value}`" not in told} == set()
