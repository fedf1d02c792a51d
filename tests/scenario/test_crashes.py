# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every fail-point and at random moments: nothing stuck, nothing leaked, nobody else disturbed.

``OCTAVIA_EVERY_FAILPOINT=1`` kills at each call and commit of an operation in both topologies, instead of at
the first of each name in one. ``OCTAVIA_RANDOM_KILLS=100`` kills that often, instead of for some seconds;
``OCTAVIA_RANDOM_SEED`` plays a printed seed again. See ``docs/contributor/crash-safety.md``.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

import httpx
import pytest

from octavia.cmd.standalone.probe import Probe
from octavia.drivers.local.process import NamespacedProcess
from tests import luck
from tests.scenario.crash_invariants import check, check_promises, is_settled
from tests.scenario.crash_tenant import PORTS, Account, Form, Tenant, amphorae_of
from tests.scenario.standalone import Controller, Machine, missing_programs, opened_machine

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(missing_programs()), reason=f"needs {', '.join(missing_programs())}"),
]

EVERY: Final = os.environ.get("OCTAVIA_EVERY_FAILPOINT") == "1"
RANDOM_KILLS: Final = int(os.environ.get("OCTAVIA_RANDOM_KILLS", "0"))
RANDOM_SEED: Final = luck.seed("OCTAVIA_RANDOM_SEED")
RANDOM_SECONDS: Final = 30.0  # how long random kills go on where nobody says how many

# These names cover several different commits each, so each occurrence is a point of its own.
_SHARED_NAMES: Final = ("commit worker.world.Branch.record", "commit api.handlers.load_balancers._make")
_SETTLED_S: Final = (
    1.0  # a point that was not reached by then after everything is done is not reached any more
)


def say(what: str) -> None:
    """Shown when a test fails, and with ``-s``."""
    print(what)  # noqa: T201


@dataclass
class Town:
    """A machine, its tenant, and a load balancer that nobody touches.

    :ivar deadly: a file that says at which fail-point the controller dies.
    :ivar reached: a file with the fail-points that it reached.
    """

    machine: Machine
    tenant: Tenant
    bystander: Account
    probe: Probe
    deadly: Path
    reached: Path

    def configure(self, topology: str) -> None:
        """For load balancers to come. What time brings comes sooner: no test waits for it."""
        self.machine.configure(
            controller_worker={"loadbalancer_topology": topology}, house_keeping={"cleanup_interval": 1}
        )

    def launch(self) -> Controller:
        """Kill the controller, if there is one, and start the next."""
        if self.machine.controller:
            self.machine.controller.kill()
        return self.machine.launch(
            {"OCTAVIA_FAILPOINT": f"@{self.deadly}", "OCTAVIA_FAILPOINT_LOG": str(self.reached)}
        )

    def restart(self) -> None:
        self.launch()
        assert self.machine.await_api(), self.machine.last_words()

    def check(self, *, but_shown: bool = False) -> float:
        """All invariants, the bystander's included."""
        took = check(self.machine, self.tenant.accounts.values(), but_shown=but_shown)
        self.tenant.forget_deleted()
        self.check_bystander()
        return took

    def check_bystander(self) -> None:
        assert not self.probe.failures(), "requests to a load balancer that nobody touched failed"


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with opened_machine() as machine:
        machine.preload()
        tenant = Tenant(machine)
        for port in PORTS:
            machine.serve(str(port), port)
        directory = machine.state.parent
        nobody = Account("nobody")
        town = Town(machine, tenant, nobody, Probe("", 0), directory / "deadly", directory / "reached")
        town.configure("ACTIVE_STANDBY")
        town.restart()
        town.bystander = tenant.create({8081: 1, 8082: 1})
        town.check()
        vip = machine.get(f"/loadbalancers/{town.bystander.id}")["loadbalancer"]["vip_address"]
        with Probe(vip, 80) as town.probe:
            assert town.probe.wait_for_answers(0, count=10, timeout_seconds=60)
            yield town
            assert town.probe.wait_for_answers(time.monotonic(), count=10, timeout_seconds=60)


# --- at every fail-point ----------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """What is done to a controller, and what must be so before."""

    act: Callable[[], None]
    prepare: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return self.act.__name__


def points_of(town: Town, operation: Operation) -> list[str]:
    """Do it once undisturbed, and learn which points are passed on the way."""
    operation.prepare()
    with town.reached.open() as log:
        log.seek(0, os.SEEK_END)
        operation.act()
        town.check()
        passed = Counter(log.read().splitlines())
    points = []
    for name, times in passed.items():
        each = EVERY or name.startswith(_SHARED_NAMES)
        points += [f"{name} #{number}" for number in range(1, (times if each else 1) + 1)]
    say(f"{operation.name}: {len(points)} points")
    return points


class Killer:
    """Dies at one point after the other, checks each time, and remembers how it went."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.kills = 0
        self.slowest_s = 0.0
        self._began = time.monotonic()
        self.missed: list[str] = []

    def kill_at(self, point: str, operation: Operation) -> None:
        operation.prepare()
        town = self._town
        assert town.machine.controller
        town.deadly.write_text(f"{point}\n")
        with suppress(httpx.TransportError):  # it died before the tenant had asked for anything
            operation.act()
        controller = town.machine.controller
        if not self._died(controller):
            self.missed.append(f"{operation.name} at {point}")
        self.kills += 1
        town.deadly.unlink()
        town.restart()
        try:
            self.slowest_s = max(self.slowest_s, town.check(but_shown=True))
        except AssertionError as broken:
            raise AssertionError(f"{operation.name}, killed at {point}: {broken}") from broken

    def _died(self, controller: Controller) -> bool:
        """Wait for its death, or until everything has been done for a while without it."""
        done_since: float | None = None
        while not controller.ended(within=0.05):
            if not is_settled(self._town.machine):
                done_since = None
            elif done_since is None:
                done_since = time.monotonic()
            elif time.monotonic() - done_since > _SETTLED_S:
                return False
        return True

    def report(self) -> None:
        took_s = time.monotonic() - self._began
        say(
            f"{self.kills} kills in {took_s:.0f} s, slowest recovery {self.slowest_s:.1f} s,"
            f" not reached again: {self.missed}"
        )
        assert len(self.missed) * 10 <= self.kills, f"these points were not reached again: {self.missed}"


class Subject:
    """The load balancer that operations are done to."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._tenant = town.tenant
        self.account = Account("nobody yet")

    @property
    def members(self) -> dict[int, int] | None:
        """Weight by port; None without a load balancer. Only after a check."""
        form = self.account.form
        return None if form is None else dict(form.members)

    def create(self) -> None:
        self.account = self._tenant.create({8081: 1})

    def delete(self) -> None:
        self._tenant.delete(self.account)

    def add_member(self) -> None:
        """On a network of its own, which has to be plugged."""
        self._tenant.add_member(self.account, 8083)

    def remove_member(self) -> None:
        self._tenant.remove_member(self.account, 8083)

    def weigh_member(self) -> None:
        assert self.members
        self._tenant.weigh_member(self.account, 8081, self.members[8081] % 10 + 1)

    def fail_over(self) -> None:
        self._tenant.fail_over(self.account)

    def be_there(self) -> None:
        if self.members is None:
            self.create()
            self._town.check()

    def be_absent(self) -> None:
        if self.members is not None:
            self.delete()
            self._town.check()

    def have_no_member(self) -> None:
        assert self.members is not None
        if 8083 in self.members:
            self.remove_member()
            self._town.check()

    def have_the_member(self) -> None:
        assert self.members is not None
        if 8083 not in self.members:
            self.add_member()
            self._town.check()


def kill_everywhere(
    town: Town, *operations: Operation, skip: Callable[[str], bool] = lambda name: False
) -> set[str]:
    """Each operation once undisturbed and once a point, taking turns.

    :param skip: names of points that need not be tried, unless all of them are asked for.
    :returns: the names of all points.
    """
    killer = Killer(town)
    points = [points_of(town, one) for one in operations]
    chosen = [[one for one in each if EVERY or not skip(_name(one))] for each in points]
    for turn in zip_longest(*chosen):
        for operation, point in zip(operations, turn, strict=True):
            if point:
                killer.kill_at(point, operation)
    town.check()
    killer.report()
    return {_name(one) for each in points for one in each}


def _name(point: str) -> str:
    return point.partition(" #")[0]


@pytest.fixture
def subject(town: Town) -> Iterator[Subject]:
    subject = Subject(town)
    yield subject
    town.deadly.unlink(missing_ok=True)
    town.configure("SINGLE")
    town.restart()
    town.check()
    subject.be_absent()


def test_create_and_delete_survive_a_kill_at_every_point(town: Town, subject: Subject) -> None:
    known: set[str] = set()
    for topology in ("SINGLE", "ACTIVE_STANDBY"):
        subject.be_absent()
        town.configure(topology)
        town.restart()
        passed = kill_everywhere(
            town,
            Operation(subject.create, subject.be_absent),
            Operation(subject.delete, subject.be_there),
            skip=known.__contains__,
        )
        known.update(passed)


def test_changes_of_members_survive_a_kill_at_every_point(town: Town, subject: Subject) -> None:
    town.configure("SINGLE")
    town.restart()
    subject.be_there()
    kill_everywhere(
        town,
        Operation(subject.add_member, subject.have_no_member),
        Operation(subject.remove_member, subject.have_the_member),
        Operation(subject.weigh_member),
    )


def test_failover_survives_a_kill_at_every_point(town: Town, subject: Subject) -> None:
    known: set[str] = set()

    def skip(name: str) -> bool:
        # Before a call of a driver the world is as it was at the point before. This operation takes longest,
        # so it tries only one of the two.
        return name in known or (not name.startswith("commit ") and name.endswith(" before"))

    for topology in ("SINGLE", "ACTIVE_STANDBY"):
        subject.be_absent()
        town.configure(topology)
        town.restart()
        subject.be_there()
        known.update(kill_everywhere(town, Operation(subject.fail_over), skip=skip))


def test_a_start_survives_a_kill_at_every_point(town: Town) -> None:
    def start() -> None:
        town.launch()
        town.machine.await_api()

    kill_everywhere(town, Operation(start))


# --- at random moments ------------------------------------------------------------------------


class Mixture:
    """Operations in random order on a few load balancers, as fast as they are answered."""

    _AT_MOST: Final = 2

    def __init__(self, town: Town, chance: random.Random) -> None:
        self._town = town
        self._tenant = town.tenant
        self._chance = chance
        self.done: Counter[str] = Counter()

    def go_on(self) -> None:
        """One operation. An answer that is lost leaves doubts, so that nothing else may be done first."""
        ours = [one for one in self._tenant.accounts.values() if one is not self._town.bystander]
        choices: list[tuple[str, Callable[[], object]]] = []
        if len(ours) < self._AT_MOST:
            choices.append(("create", lambda: self._tenant.create({8081: 1, 8082: 1})))
        for account in ours:
            choices += self._changes(account)
        name, act = self._chance.choice(choices)
        act()
        self.done[name] += 1

    def _changes(self, account: Account) -> list[tuple[str, Callable[[], object]]]:
        form, tenant = account.form, self._tenant
        assert form is not None
        weight = self._chance.randrange(1, 10)
        changes: list[tuple[str, Callable[[], object]]] = [
            ("delete", lambda: tenant.delete(account)),
            ("failover", lambda: tenant.fail_over(account)),
            ("weigh", lambda: tenant.weigh_member(account, 8081, weight)),
        ]
        return [*changes, *(self._toggle(account, form, port, weight) for port in (8082, 8083))]

    def _toggle(
        self, account: Account, form: Form, port: int, weight: int
    ) -> tuple[str, Callable[[], object]]:
        if port in form.members:
            return "remove", lambda: self._tenant.remove_member(account, port)
        return "add", lambda: self._tenant.add_member(account, port, weight)

    def until_killed(self, after_seconds: float, *, busy: bool) -> None:
        """Go on until the controller, which has just been launched, is killed.

        :param busy: so long after its first operation; else after its launch, which on a slow machine it
            has not got over by then.
        """
        controller = self._town.machine.controller
        assert controller
        killer = threading.Timer(after_seconds, controller.kill)
        if not busy:
            killer.start()
        try:
            with suppress(httpx.TransportError):
                if self._town.machine.await_api():
                    check_promises(self._town.machine, self._tenant.accounts.values())
                    if busy:
                        self._tenant.forget_deleted()
                        self.go_on()
                        killer.start()
                    while not self._in_doubt():
                        self._tenant.forget_deleted()
                        self.go_on()
                        time.sleep(self._chance.expovariate(1 / 0.05))
        finally:
            if killer.ident is None:
                killer.start()
            killer.join()
        assert controller.ended()

    def _in_doubt(self) -> bool:
        return any(len(one.forms) > 1 for one in self._tenant.accounts.values())


def test_nothing_is_lost_or_left_by_kills_at_random_moments(town: Town) -> None:
    say(f"OCTAVIA_RANDOM_SEED={RANDOM_SEED}")
    chance = random.Random(RANDOM_SEED)
    mixture = Mixture(town, chance)
    began, kills, slowest = time.monotonic(), 0, 0.0
    while kills < RANDOM_KILLS if RANDOM_KILLS else time.monotonic() - began < RANDOM_SECONDS:
        town.configure(chance.choice(["SINGLE", "ACTIVE_STANDBY"]))
        town.launch()
        mixture.until_killed(chance.uniform(0.2, 2.5), busy=kills % 2 == 0)
        kills += 1
        town.check_bystander()
        if kills % 10 == 0:
            town.restart()
            slowest = max(slowest, town.check())
    town.restart()
    slowest = max(slowest, town.check())
    say(f"{kills} kills during {dict(mixture.done)}, slowest recovery {slowest:.1f} s")
    assert mixture.done.total() >= kills / 2
    for account in list(town.tenant.accounts.values()):
        if account is not town.bystander:
            town.tenant.delete(account)
    town.check()


# --- other deaths -----------------------------------------------------------------------------


def test_a_first_start_can_be_killed_at_any_moment() -> None:
    """While it makes its authorities, its networks and its database."""
    say(f"OCTAVIA_RANDOM_SEED={RANDOM_SEED}")
    chance = random.Random(RANDOM_SEED)
    with opened_machine() as machine:
        machine.preload()
        for _ in range(10):
            controller = machine.launch()
            controller.ended(within=chance.uniform(0.02, 0.6))
            controller.kill()
        machine.serve("8081", 8081)
        machine.start()
        tenant = Tenant(machine)
        tenant.create({8081: 1})
        check(machine, tenant.accounts.values())


def test_an_idle_controller_can_be_killed_and_started_again(town: Town, subject: Subject) -> None:
    town.configure("SINGLE")
    town.restart()
    subject.be_there()
    amphorae = amphorae_of(town.machine, str(subject.account.id))
    assert town.machine.controller
    town.machine.controller.kill()
    assert town.probe.wait_for_answers(time.monotonic(), count=100, timeout_seconds=60)
    town.machine.start(preloaded=False)
    town.check()
    assert amphorae_of(town.machine, str(subject.account.id)) == amphorae, "adopted, not built again"
    subject.weigh_member()
    town.check()


@pytest.mark.parametrize("topology", ["SINGLE", "ACTIVE_STANDBY"])
def test_an_amphora_that_dies_while_the_controller_is_down_is_replaced(
    town: Town, subject: Subject, topology: str
) -> None:
    town.configure(topology)
    town.restart()
    subject.be_there()
    victim = amphorae_of(town.machine, str(subject.account.id))[0]
    assert town.machine.controller
    town.machine.controller.kill()
    NamespacedProcess(town.machine.installation.amphorae / victim, town.machine.installation).stop()
    subject.account.replaced = frozenset({victim})
    town.restart()
    town.check()


def test_a_second_controller_refuses_to_start(town: Town) -> None:
    town.restart()
    first = town.machine.controller
    assert first
    second = town.machine.launch()
    assert second.ended(within=30)
    town.machine.controller = first
    assert "is already running" in (town.machine.state.parent / "controller.out").read_text()
    assert not first.ended()
    town.check()


def test_the_address_of_an_interrupted_creation_is_free_within_a_minute(town: Town, subject: Subject) -> None:
    """With the intervals that everybody has, not with those of these tests."""
    town.machine.configure(controller_worker={"loadbalancer_topology": "SINGLE"})
    town.restart()
    town.deadly.write_text("network.create_vip_port after")
    subject.create()
    assert town.machine.controller
    assert town.machine.controller.ended(within=10)
    town.deadly.unlink()
    town.restart()
    town.check()
    assert subject.members is None
