# SPDX-License-Identifier: Apache-2.0
"""Histories of the whole controller: the same seeds every time, and fresh ones.

``OCTAVIA_HISTORIES`` is how many fresh ones (40); ``OCTAVIA_SEED`` is the first of them, to play one
again. What a seed is and how a failing history is read is in ``docs/contributor/simulator.md``.
"""

import os
import time

import pytest

from tests.simulation.history import minimise, play

FIXED = 160
FRESH = int(os.environ.get("OCTAVIA_HISTORIES", "40"))
FIRST = int(os.environ.get("OCTAVIA_SEED", str(int(time.time()))))


@pytest.mark.parametrize("seed", range(FIXED))
def test_a_history_breaks_no_rule(seed: int) -> None:
    _play(seed)


@pytest.mark.parametrize("number", range(FRESH))
def test_a_fresh_history_breaks_no_rule(number: int) -> None:
    _play(FIRST + number)


def _play(seed: int) -> None:
    history = play(seed)
    if history.violation is not None:
        pytest.fail(f"OCTAVIA_SEED={seed} plays it again.\n{minimise(history, limit=60)}", pytrace=False)


def test_the_same_seed_is_the_same_history() -> None:
    assert play(3).lines == play(3).lines
    assert play(3).lines != play(4).lines
