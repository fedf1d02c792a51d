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

OWNER_OUT_OF_REACH = "the likely owner of a VIP is not given up because it was out of reach first"
# Where the delays have to be those of another seed for the bug to show.
SEEDS = {OWNER_OUT_OF_REACH: 5}

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
    "two amphorae whose HAProxy refuses the same member at the same time both go on without it": (
        Event(0.0, "tenant", "create", 160),
        Event(280.5, "tenant", "add_bad_member", 733),
        Event(282.7, "tenant", "add_member", 187),
    ),
    OWNER_OUT_OF_REACH: (
        Event(
            97.2,
            "fault",
            fault=Fault("agent.apply", Moment.AFTER, Blow.CRASH),
        ),
        Event(
            140.6,
            "fault",
            fault=Fault("agent.apply", Moment.AFTER, Blow.PAUSE, 178.0),
        ),
        Event(153.1, "tenant", "create", 590),
        Event(180.9, "away", "management", 0, 49.9),
        Event(259.2, "away", "management", 0, 119.6),
    ),
    "what serves is not swept away because a restored database does not know it": (
        Event(0.0, "tenant", "create", SINGLE),
        Event(100.0, "tenant", "fail_over", 0),
        Event(200.0, "restore", "", 0, 150.0),
        Event(201.0, "away", "agent", 0, 100.0),
    ),
    "who comes back while compute cannot take it away hands the VIP over": (
        Event(0.0, "tenant", "create", 808),
        Event(51.3, "tenant", "fail_over", 261),
        Event(119.5, "amphora", "reboots", 88, 22.0),
        Event(121.4, "tenant", "remove_pool", 377),
        Event(122.2, "away", "compute", 0, 89.0),
    ),
    "a port that is gone although a restored database has it is made again": (
        Event(0.0, "tenant", "create", 293),
        Event(69.2, "away", "management", 0, 63.0),
        Event(69.7, "tenant", "add_listener", 788),
        Event(70.7, "fault", fault=Fault("compute.create", Moment.AFTER, Blow.CRASH)),
        Event(267.5, "tenant", "fail_over", 689),
        Event(318.0, "restore", "", 0, 183.0),
        Event(322.3, "away", "agent", 0, 83.0),
    ),
    "a delete is not called failed because an older write was": (
        Event(17.772, "tenant", "create", 681),
        Event(67.398, "tenant", "add_bad_member", 96),
        Event(393.261, "tenant", "fail_over", 688),
        Event(395.368, "tenant", "delete", 364),
    ),
    "one lost answer of an agent does not make a lost heartbeat a death": (
        Event(0.0, "tenant", "create", 654),
        Event(377.7, "fault", fault=Fault("agent.info", Moment.AFTER, Blow.ERROR)),
        Event(383.2, "amphora", "goes silent", 394, 89.0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_once_broken(name: str) -> None:
    history = play(SEEDS.get(name, 1), CASES[name])
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
