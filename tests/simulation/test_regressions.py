# SPDX-License-Identifier: Apache-2.0
"""Bugs that histories have found, each as the shortest history that showed it."""

from datetime import timedelta
from unittest import mock

import pytest

from octavia.drivers.faults import Moment
from octavia.worker.reconcile import Reconciler
from tests.simulation.events import Event
from tests.simulation.faults import Blow, Fault
from tests.simulation.history import minimise, play

PAIR, SINGLE = 292, 870  # of a tenant's create: what the choice comes to

CASES = {
    "an outage of the network to the agents costs a pair neither of its amphorae": (
        Event(0.0, "tenant", "create", PAIR),
        Event(99.3, "away", "agent", 0, 48.3),
        Event(107.1, "tenant", "add_listener", 264),
    ),
    "what HAProxy refused stays in ERROR when nothing else is left to do": (
        Event(0.0, "tenant", "create", 160),
        Event(100.0, "tenant", "add_bad_member", 733),
    ),
    "an agent that knows more than a restored database is told what is there now": (
        Event(0.0, "tenant", "create", PAIR),
        Event(200.0, "tenant", "add_member", 903),
        Event(242.0, "restore", "", 0, 53.0),
    ),
    "a new peer that was reached but never configured is no reason to give up the last one": (
        Event(0.0, "tenant", "create", 691),
        Event(70.0, "away", "management", 0, 120.0),
        Event(71.0, "tenant", "add_listener", 708),
    ),
    "while one of a pair is being taken away, silence of the other is no reason to lose it too": (
        Event(118.4, "tenant", "create", 691),
        Event(
            400.5,
            "fault",
            fault=Fault("network.ports_of_amphora", Moment.AFTER, Blow.PAUSE, 53.2),
        ),
        Event(408.2, "away", "management", 0, 119.6),
    ),
    "one lost answer of an agent does not make a lost heartbeat a death": (
        Event(0.0, "tenant", "create", 654),
        Event(377.7, "fault", fault=Fault("agent.info", Moment.AFTER, Blow.ERROR)),
        Event(383.2, "amphora", "goes silent", 394, 89.0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_once_broken(name: str) -> None:
    history = play(1, CASES[name])
    assert history.violation is None, str(history)
    assert any("→ 201" in what for _, _, what in history.lines), "nothing was created"


def test_a_violation_is_told_with_its_seed_and_its_timeline() -> None:
    crash = Fault("certificates", Moment.BEFORE, Blow.CRASH)
    events = (Event(0.0, "tenant", "create", SINGLE), Event(0.0, "fault", fault=crash))
    with mock.patch.object(Reconciler, "_retry_delay", return_value=timedelta(days=1)):
        error = Fault("compute.create", Moment.BEFORE, Blow.ERROR)
        history = minimise(play(7, (*events, Event(0.0, "fault", fault=error))))
    assert "Seed 7, 2 events" in str(history), "the crash has nothing to do with it"
    assert "nothing stays pending" in str(history)
    assert "error before compute.create" in str(history)
    assert "crash" not in str(history)
