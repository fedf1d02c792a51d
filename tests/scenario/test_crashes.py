# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every fail-point and at random moments: nothing stuck, nothing leaked, nobody else disturbed.

``OCTAVIA_EVERY_OCCURRENCE=1`` kills at each call and commit of an operation, instead of at the first of each
kind. ``OCTAVIA_RANDOM_KILLS=100`` kills that often, instead of as often as fits into a minute;
``OCTAVIA_RANDOM_SEED`` plays a printed seed again. See ``docs/contributor/crash-safety.md``.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

import pytest

from octavia.cmd.standalone.probe import Probe
from tests.scenario.crash_invariants import Broken, check
from tests.scenario.crash_tenant import PORTS, Account, Tenant
from tests.scenario.standalone import Machine, eventually, missing_programs, opened_machine

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(missing_programs()), reason=f"needs {', '.join(missing_programs())}"),
]

EVERY_OCCURRENCE: Final = os.environ.get("OCTAVIA_EVERY_OCCURRENCE") == "1"
RANDOM_KILLS: Final = int(os.environ.get("OCTAVIA_RANDOM_KILLS", "0"))
RANDOM_SEED: Final = int(os.environ.get("OCTAVIA_RANDOM_SEED", "0")) or random.SystemRandom().randrange(
    1, 10**6
)
RANDOM_SECONDS: Final = 60.0  # how long random kills go on where nobody says how many

# These names cover several different commits each, so each occurrence is a point of its own.
_SHARED_NAMES: Final = ("commit worker.world.Branch.record", "commit api.handlers.load_balancers._make")
_SETTLED_S: Final = (
    1.0  # a point that was not reached by then after everything is done is not reached any more
)


@dataclass
class Town:
    """A machine, its tenant, and a load balancer that nobody touches."""

    machine: Machine
    tenant: Tenant
    bystander: Account
    probe: Probe

    def configure(self, topology: str) -> None:
        """For load balancers to come. What time brings comes sooner: no test waits for it."""
        self.machine.configure(
            controller_worker={"loadbalancer_topology": topology}, house_keeping={"cleanup_interval": 1}
        )

    def restart(self, **environment: str) -> None:
        assert self.machine.controller
        self.machine.controller.kill()
        self.machine.start(environment)

    def check(self) -> float:
        """All invariants, the bystander's included."""
        took = check(self.machine, self.tenant.accounts.values())
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
        town = Town(machine, tenant, Account("nobody"), Probe("", 0))
        town.configure("ACTIVE_STANDBY")
        machine.start()
        town.bystander = tenant.create({8081: 1, 8082: 1})
        town.check()
        vip = machine.get(f"/loadbalancers/{town.bystander.id}")["loadbalancer"]["vip_address"]
        with Probe(vip, 80) as town.probe:
            assert town.probe.wait_for_answers(0, count=10, timeout_seconds=10)
            yield town
            assert town.probe.wait_for_answers(time.monotonic(), count=10, timeout_seconds=10)


# --- at every fail-point ----------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """A fail-point, for the ``OCTAVIA_FAILPOINT`` of a controller that does one operation."""

    name: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.name} #{self.occurrence}"


def points_of(town: Town, log: Path, act: Callable[[], None]) -> list[Point]:
    """Do it once undisturbed, and learn which points are passed on the way."""
    town.restart(OCTAVIA_FAILPOINT_LOG=str(log))
    town.check()
    before = Counter(log.read_text().splitlines())
    act()
    town.check()
    names = log.read_text().splitlines()[before.total() :]
    found = []
    for name, times in Counter(names).items():
        wanted = times if EVERY_OCCURRENCE or name.startswith(_SHARED_NAMES) else 1
        found += [Point(name, before[name] + one) for one in range(1, wanted + 1)]
    return found


class Killer:
    """Dies at one point after the other, checks each time, and remembers what went wrong."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.kills = 0
        self.slowest = 0.0
        self.missed: list[str] = []
        self.broken: list[str] = []

    def kill_at(self, what: str, point: Point, act: Callable[[], None]) -> None:
        town = self._town
        assert town.machine.controller
        town.machine.controller.kill()
        controller = town.machine.launch({"OCTAVIA_FAILPOINT": str(point)})
        if town.machine.await_api():
            act()
            if not self._died(controller.ended):
                self.missed.append(f"{what} at {point}")
        self.kills += 1
        town.restart()
        try:
            self.slowest = max(self.slowest, town.check())
        except Broken as broken:
            self.broken.append(f"{what}, killed at {point}: {broken}")
            raise AssertionError(self.broken[-1]) from broken

    def _died(self, ended: Callable[[float], bool]) -> bool:
        try:
            check(self._town.machine, self._town.tenant.accounts.values(), within=20)
        except Broken:
            return ended(0)
        return ended(_SETTLED_S)

    def report(self) -> None:
        print(f"{self.kills} kills, slowest recovery {self.slowest:.1f} s, missed: {self.missed}")
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


@dataclass(frozen=True)
class Operation:
    """What a tenant does, and what must be so before."""

    act: Callable[[], None]
    prepare: Callable[[], None]


def kill_everywhere(town: Town, log: Path, *operations: Operation) -> None:
    """Each operation once undisturbed and once a point, taking turns."""
    killer = Killer(town)
    points = []
    for operation in operations:
        operation.prepare()
        points.append(points_of(town, log, operation.act))
        print(f"{operation.act.__name__}: {len(points[-1])} points")
    for turn in zip_longest(*points):
        for operation, point in zip(operations, turn, strict=True):
            if point:
                operation.prepare()
                killer.kill_at(operation.act.__name__, point, operation.act)
    killer.report()


@pytest.fixture
def subject(town: Town) -> Iterator[Subject]:
    subject = Subject(town)
    yield subject
    if town.machine.controller and town.machine.controller.ended():
        town.restart()
    town.configure("SINGLE")
    subject.be_absent()


@pytest.mark.parametrize("topology", ["SINGLE", "ACTIVE_STANDBY"])
def test_create_and_delete_survive_a_kill_at_every_point(
    town: Town, subject: Subject, tmp_path: Path, topology: str
) -> None:
    town.configure(topology)
    kill_everywhere(
        town,
        tmp_path / "log",
        Operation(subject.create, subject.be_absent),
        Operation(subject.delete, subject.be_there),
    )


def test_changes_of_members_survive_a_kill_at_every_point(
    town: Town, subject: Subject, tmp_path: Path
) -> None:
    town.configure("SINGLE")
    town.restart()
    subject.be_there()
    kill_everywhere(
        town,
        tmp_path / "log",
        Operation(subject.add_member, subject.have_no_member),
        Operation(subject.remove_member, subject.have_the_member),
        Operation(subject.weigh_member, subject.be_there),
    )


@pytest.mark.parametrize("topology", ["SINGLE", "ACTIVE_STANDBY"])
def test_failover_survives_a_kill_at_every_point(
    town: Town, subject: Subject, tmp_path: Path, topology: str
) -> None:
    town.configure(topology)
    town.restart()
    subject.be_there()
    kill_everywhere(town, tmp_path / "log", Operation(subject.fail_over, subject.be_there))
