# SPDX-License-Identifier: Apache-2.0
"""The controller's processes: the code that production runs, on a simulated clock, database and bus.

Each process has its own worker, receiver or judge with its own memory, and dies alone; a supervisor
starts it again. They meet in one SQLite database.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa

from octavia.dataplane.cloud_init.agent_conf import AgentConf
from octavia.db.engine import Database, create_engine
from octavia.db.tables import metadata
from octavia.db.work import Lease
from octavia.domain.errors import Transient
from octavia.drivers.faults import Moment
from octavia.health.inbox import Arrived, Inbox
from octavia.health.receive import Receiver, ReceiverSettings
from octavia.health.stale import Judge, Limits
from octavia.health.witness import Witness
from octavia.housekeeping.service import Housekeeping, HousekeepingSettings, jobs
from octavia.worker import flow
from octavia.worker import world as workers
from octavia.worker.reconcile import Reconciler
from octavia.worker.service import Worker
from octavia.worker.settings import WorkerSettings
from octavia.worker.startup import doubt_absent_amphorae
from tests.simulation.faults import Blow, Gates, RunAgain
from tests.simulation.schedule import Process, Schedule, Task
from tests.simulation.world import World

_T = TypeVar("_T")

KEY: Final = "simulated"
HEARTBEAT_S: Final = 20.0
LEASE: Final = timedelta(seconds=60)
TIMEOUT: Final = timedelta(seconds=60)
CLEANUP: Final = timedelta(seconds=60)
# Rings are lost now and then; the sweep is what finds the work nevertheless.
_SWEEP: Final = timedelta(seconds=30)
_RINGS_LOST: Final = 0.1
_RESTART_S: Final = 3.0
_LONG_S: Final = 86400.0


class Store:
    """The one SQLite database, in memory; an engine is made once, since its compiled statements are dear."""

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://")
        metadata.create_all(self.engine)
        self._empty = self.snapshot()

    def snapshot(self) -> bytes:
        """Everything, as a backup would have it."""
        return bytes(self.raw.serialize())

    def restore(self, snapshot: bytes | None = None) -> None:
        """Everything as it was; empty without a snapshot."""
        self.raw.deserialize(snapshot or self._empty)

    @property
    def raw(self) -> Any:
        """The sqlite3 connection, for a look that costs next to nothing."""
        with self.engine.connect() as connection:
            return connection.connection.driver_connection


class SimulatedDatabase(Database):
    """Gates around every transaction, none inside; ``committed`` hears of each commit."""

    def __init__(self, store: Store, gates: Gates, committed: Callable[[str, int], None]) -> None:
        super().__init__(store.engine)
        self._gates = gates
        self._committed = committed
        self._raw = store.raw

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        self._gates.pass_("database.read", Moment.BEFORE)
        with super().read() as tx, self._inside():
            yield tx

    def look(self) -> AbstractContextManager[sa.Connection]:
        """As :meth:`read`, by nobody."""
        return super().read()

    def write(self, change: Callable[[sa.Connection], _T]) -> _T:
        """A transaction between two gates."""
        name = f"commit {change.__qualname__.replace('.<locals>', '')}"
        fault = self._gates.pass_(name, Moment.BEFORE)
        before = self._raw.total_changes

        def inside(tx: sa.Connection) -> _T:
            with self._inside():
                return change(tx)

        if fault is not None and fault.blow is Blow.AGAIN:
            self._and_roll_back(inside)
        result = super().write(inside)
        self._committed(name, self._raw.total_changes - before)
        self._gates.pass_(name, Moment.AFTER)
        return result

    def _and_roll_back(self, inside: Callable[[sa.Connection], object]) -> None:
        def deadlocked(tx: sa.Connection) -> None:
            inside(tx)
            raise RunAgain

        with suppress(RunAgain):
            super().write(deadlocked)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._gates.in_transaction = True
        try:
            yield
        finally:
            self._gates.in_transaction = False


class Bell:
    """A doorbell that one process sleeps at."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._rung = False
        self._sleeper: Task | None = None

    def ring(self) -> None:
        self._rung = True
        if self._sleeper is not None:
            self._schedule.wake(self._sleeper)

    def wait(self, timeout_s: float) -> bool:
        if not self._rung:
            self._sleeper = self._schedule.current
            try:
                self._schedule.sleep(timeout_s)
            finally:
                self._sleeper = None
        rang, self._rung = self._rung, False
        return rang


class Bus:
    """Rings every worker, mostly."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.bells: dict[str, Bell] = {}

    def ring(self) -> None:
        task = self._schedule.current
        for bell in self.bells.values():
            if task is None or task.rng.random() >= _RINGS_LOST:
                bell.ring()

    def wait(self, timeout_s: float) -> bool:
        raise AssertionError("nobody sleeps at the bus")


class Stop(threading.Event):
    """Never set: processes are killed. Waiting for it is how loops pass their time."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self._schedule = schedule

    def wait(self, timeout: float | None = None) -> bool:
        self._schedule.sleep(timeout or 0.0)
        return False


class Branches(Executor):
    """Runs the branches of a pass in tasks of their own, which overtake each other at every gate."""

    def __init__(self, schedule: Schedule, process: Process) -> None:
        self._schedule = schedule
        self._process = process

    def map(self, fn: Callable[..., Any], *iterables: Any, **_kwargs: Any) -> Iterator[Any]:
        caller = self._schedule.current
        assert caller is not None
        arguments = list(zip(*iterables, strict=True))
        results: dict[int, Any] = {}

        def run(number: int) -> None:
            results[number] = fn(*arguments[number])
            self._schedule.wake(caller)

        for number in range(len(arguments)):
            task = self._schedule.spawn(self._process, "branch", lambda one=number: run(one))  # type: ignore[misc]
            task.fence, task.load_balancer_id = caller.fence, caller.load_balancer_id
        while len(results) < len(arguments):
            self._schedule.sleep(_LONG_S)
        return iter([results[number] for number in range(len(arguments))])


def side_by_side(work: Any, executor: Executor) -> list[Any]:
    """What TaskFlow's engine does for a pass, on the simulated clock."""
    return list(executor.map(flow._run_one, work))


class Passes(Executor):
    """Runs each pass in a task of its own, which knows the lease that it works under."""

    def __init__(self, schedule: Schedule, process: Process) -> None:
        self._schedule = schedule
        self._process = process

    def submit(self, fn: Callable[..., Any], /, *args: Any, **_kwargs: Any) -> Future[Any]:
        task = self._schedule.spawn(self._process, "pass", lambda: fn(*args))
        (lease,) = args
        assert isinstance(lease, Lease)
        task.fence, task.load_balancer_id = lease.fence, lease.load_balancer_id
        return Future()


class Mailbox:
    """Datagrams for one health manager."""

    dropped = 0

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._bell = Bell(schedule)
        self._waiting: list[tuple[float, bytes]] = []

    def put(self, datagram: bytes) -> None:
        self._waiting.append((self._schedule.clock.monotonic(), datagram))
        self._bell.ring()

    def wait(self, _timeout_s: float) -> bool:
        # Longer than the real one, which turns once a second though nothing comes.
        return bool(self._waiting) or self._bell.wait(10.0)

    def drain(self, limit: int) -> list[Arrived]:
        now = self._schedule.clock.monotonic()
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return [Arrived(datagram, "198.18.0.2", now - at) for at, datagram in taken]

    def close(self) -> None:
        self._waiting.clear()


class Ear(Receiver):
    """A receiver at a mailbox instead of a socket."""

    mailbox: Mailbox

    def open(self) -> Inbox:
        return cast(Inbox, self.mailbox)


class Controller:
    """All processes of one installation."""

    def __init__(
        self,
        schedule: Schedule,
        world: World,
        gates: Gates,
        store: Store,
        committed: Callable[[str, int], None],
        say: Callable[[str, str], None],
    ) -> None:
        self.schedule = schedule
        self.world = world
        self.raw = store.raw
        self.database = SimulatedDatabase(store, gates, committed)
        self.bus = Bus(schedule)
        self.processes: dict[str, Process] = {}
        self.everybody: list[Process] = []
        self.mailboxes: dict[str, Mailbox] = {}
        self._say = say
        self._starts: dict[str, Callable[[Process], None]] = {}

    def add(self, kind: str, name: str) -> None:
        """Start a process, and start it again whenever it has died."""
        self._starts[name] = {
            "worker": self._worker,
            "health": self._health,
            "housekeeping": self._housekeeping,
        }[kind]
        self._start(name)

    def crash(self, process: Process) -> None:
        """It dies in mid-air."""
        self._say(process.name, "dies")
        self.schedule.kill(process)
        if process.name in self._starts:
            supervisor = Process("supervisor")
            self.everybody.append(supervisor)
            self.schedule.spawn(supervisor, process.name, lambda: self._start(process.name), _RESTART_S)

    def _start(self, name: str) -> None:
        process = self.processes[name] = Process(name)
        self.everybody.append(process)
        self._starts[name](process)

    def _worker(self, process: Process) -> None:
        bell = self.bus.bells[process.name] = Bell(self.schedule)
        drivers = workers.World(
            self.world.compute,
            self.world.network,
            self.world.certificates,
            self.world.agents,
            self.schedule.clock,
        )
        settings = WorkerSettings(
            owner=process.name,
            lease=LEASE,
            sweep=_SWEEP,
            agent=AgentConf(controllers=("198.18.0.1:5555",), heartbeat_key=KEY),
        )
        worker = Worker(self.database, drivers, bell, settings)
        # The threads that a pass and its branches would run in are tasks here.
        steps = cast(Any, Branches(self.schedule, process))
        parts = {
            "_passes": Passes(self.schedule, process),
            "_reconciler": Reconciler(self.database, drivers, settings, steps),
        }
        for name, part in parts.items():
            setattr(worker, name, part)

        def run() -> None:
            try:
                doubt_absent_amphorae(self.database, drivers.compute, drivers.clock)
            except Transient as error:
                self._say(process.name, f"starts in the dark: {error}")
            worker.run(Stop(self.schedule))

        self.schedule.spawn(process, "worker", run)

    def _health(self, process: Process) -> None:
        clock, stop = self.schedule.clock, Stop(self.schedule)
        mailbox = self.mailboxes[process.name] = Mailbox(self.schedule)
        receiver = Ear(
            self.database,
            clock,
            self.bus,
            ReceiverSettings(key=KEY, timeout=TIMEOUT, interval=timedelta(seconds=HEARTBEAT_S)),
        )
        receiver.mailbox = mailbox
        self.schedule.spawn(process, "receiver", lambda: receiver.run(stop))

        def judge() -> None:
            Judge(
                self.database,
                clock,
                self.bus,
                Witness(self.world.compute, self.world.agents),
                Limits(timeout=TIMEOUT),
                owner=process.name,
                ear=receiver.vitals,
                interval=timedelta(seconds=20),
            ).run(stop)

        self.schedule.spawn(process, "judge", judge)

    def _housekeeping(self, process: Process) -> None:
        work = jobs(
            self.database,
            self.bus,
            self.world.compute,
            self.world.network,
            HousekeepingSettings(interval=CLEANUP),
        )
        housekeeping = Housekeeping(work, self.schedule.clock)
        self.schedule.spawn(process, "housekeeping", lambda: housekeeping.run(Stop(self.schedule)))

    def deliver(self, datagrams: Sequence[tuple[str, bytes]]) -> None:
        """Put datagrams into the mailboxes of those health managers that are up."""
        for name, datagram in datagrams:
            if self.processes[name].alive:
                self.mailboxes[name].put(datagram)
