# SPDX-License-Identifier: Apache-2.0
"""Histories of the whole controller.

``OCTAVIA_HISTORIES`` is how many more than the first 160 are played (40); ``OCTAVIA_SEED`` is the first
of these, to play one again. What a seed is and how a failing history is read is in
``docs/contributor/simulator.md``.
"""

import os

import pytest

from tests import luck
from tests.simulation.history import minimise, play

FIXED = 160
MORE = int(os.environ.get("OCTAVIA_HISTORIES", "40"))
FIRST = luck.seed("OCTAVIA_SEED")


@pytest.mark.parametrize("seed", range(FIXED))
def test_a_history_breaks_no_rule(seed: int) -> None:
    _play(seed)


@pytest.mark.parametrize("number", range(MORE))
def test_another_history_breaks_no_rule(number: int) -> None:
    _play(FIRST + number)


def _play(seed: int) -> None:
    history = play(seed)
    if history.violation is not None:
        pytest.fail(f"OCTAVIA_SEED={seed} plays it again.\n{minimise(history, limit=60)}", pytrace=False)


def test_the_same_seed_is_the_same_history() -> None:
    assert play(3).lines == play(3).lines
    assert play(3).lines != play(4).lines
