# SPDX-License-Identifier: Apache-2.0
"""The rules bite: some of the deliberate faults, those that show soon.

The whole table is made by ``./dev bench simulation --faults``.
"""

import pytest

from tests.simulation import deliberate

SOON = (
    "a change is not announced",
    "agents obey whoever speaks",
    "failures are tried again tomorrow",
    "last good forms are forgotten",
    "later writes settle as well",
    "there is no sweep",
)


@pytest.mark.parametrize("name", SOON)
def test_a_deliberate_fault_is_noticed(name: str) -> None:
    (fault,) = (one for one in deliberate.FAULTS if one.name == name)
    rule, histories = deliberate.catch(fault, limit=30)
    assert rule is not None, f"{histories} histories did not notice"
