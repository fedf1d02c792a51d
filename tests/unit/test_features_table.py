# SPDX-License-Identifier: Apache-2.0
"""What docs/user/features.md calls a test is one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/user/features.md").read_text()


def test_every_test_and_file_of_the_table_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", TABLE))
    assert named
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name for name in named if f"def {name}(" not in sources} == set()
    assert {file for file in files if not (ROOT / file).exists()} == set()
