# SPDX-License-Identifier: Apache-2.0
"""What must hold, whatever happens (SEMANTICS). Each rule has a name, under which it is reported.

Three kinds: rules of every commit, rules of every moment, and rules of the end, when the world has been
left in peace for long enough. How a new one is added is in ``docs/contributor/simulator.md``.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from octavia.db import amphorae, explain, quotas
from octavia.db.tree import loading
from octavia.domain.errors import QuotaMet
from octavia.domain.statuses import NEXT, NEXT_AMPHORA, AmphoraStatus, OperatingStatus, ProvisioningStatus
from octavia.domain.tree import Amphora, LoadBalancer, Member, Resource
from octavia.drivers.network.contract import OWNER
from octavia.health.stale import Limits
from octavia.worker.plan import ROLES
from tests.simulation.controller import HEARTBEAT_S, LEASE, TIMEOUT, Controller, Store
from tests.simulation.schedule import Task
from tests.simulation.tenants import EXISTS, PROJECT, Ledger
from tests.simulation.world import BAD_ADDRESS, BAD_WEIGHT, World, running

_ACTIVE_BUT_NOT_LIVE: Final = tuple(
    f"SELECT c.id, c.generation, l.observed_generation FROM {table} c {join}"
    " WHERE c.provisioning_status = 'ACTIVE' AND c.generation > l.observed_generation"
    for table, join in (
        ("load_balancer", "JOIN load_balancer l ON l.id = c.id"),
        ("listener", "JOIN load_balancer l ON l.id = c.load_balancer_id"),
        ("pool", "JOIN load_balancer l ON l.id = c.load_balancer_id"),
        ("member", "JOIN pool p ON p.id = c.pool_id JOIN load_balancer l ON l.id = p.load_balancer_id"),
    )
)

Complain = Callable[[str, str], None]

_ADDS: Final = ("commit _make", "commit Service.change")  # the API's transactions
_TABLES: Final = ("load_balancer", "listener", "pool", "member", "health_monitor")
# So long two amphorae may both own a VIP while nobody is cut off: VRRP and one push to each, by the worker
# that gets the lease of one that died.
_TWO_OWNERS: Final = LEASE + timedelta(seconds=45)
# So long nobody can know that an amphora died: the heartbeat that does not come, and the timeout.
_UNNOTICED: Final = TIMEOUT + timedelta(seconds=HEARTBEAT_S)
_STRANGE: Final = 10
_AT_A_TIME: Final = Limits().floor  # what a fleet as small as these may lose to silence
_SETTLED: Final = (AmphoraStatus.ALLOCATED, AmphoraStatus.DELETED)


@dataclass
class EveryCommit:
    """Rules of what transactions may do to rows.

    :param limits: the tenants' quota.
    :param exists: does compute have a server of that amphora?
    """

    store: Store
    complain: Complain
    limits: Mapping[str, int]
    exists: Callable[[str], bool]
    _raw: Any = None
    _failed: set[str] = field(default_factory=set)
    _before: dict[tuple[str, str], str] = field(default_factory=dict)
    _fences: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._raw = self.store.raw

    def start_anew(self) -> None:
        """The database is another one now."""
        self._before = self._statuses()
        self._fences = self._load_balancers("fence")
        self._failed.clear()

    def check(self, task: Task | None, name: str, changes: int) -> None:
        """After a commit of ``task`` that changed so many rows."""
        if not changes:
            return
        fences = self._load_balancers("fence")
        self._check_fence(task, name, fences)
        self._fences = fences
        statuses = self._statuses()
        self._check_transitions(name, statuses)
        if task is not None and task.name.endswith("judge"):
            self._check_velocity(name, statuses)
        self._before = statuses
        self._check_pending_is_queued(name)
        self._check_active_is_live(name)
        if name.startswith(_ADDS):
            self._check_quota(name)

    def _check_quota(self, name: str) -> None:
        for resource, limit in self.limits.items():
            rows = _in_use(self._raw, resource)
            if rows > limit:
                self.complain("never more than the quota", f"{name}: {rows} of {limit} {resource}")

    def _check_fence(self, task: Task | None, name: str, fences: Mapping[str, int]) -> None:
        for lb_id, fence in fences.items():
            if fence < self._fences.get(lb_id, 0):
                self.complain(
                    "the fence never falls", f"{name}: {lb_id} from {self._fences[lb_id]} to {fence}"
                )
        if task is None or task.fence is None or task.load_balancer_id not in self._fences:
            return
        newest = self._fences[task.load_balancer_id]
        if newest > task.fence:
            self.complain(
                "an old lease writes nothing",
                f"{task.name} committed {name} under fence {task.fence}, the newest is {newest}",
            )
        task.fence = fences.get(task.load_balancer_id, task.fence)  # it may have raised it itself

    def _check_transitions(self, name: str, after: Mapping[tuple[str, str], str]) -> None:
        for key, then in after.items():
            now = self._before.get(key)
            if now is None or now == then:
                continue
            if key[0] == "amphora":
                allowed = AmphoraStatus(then) in NEXT_AMPHORA[AmphoraStatus(now)]
            else:
                allowed = ProvisioningStatus(then) in NEXT[ProvisioningStatus(now)]
            if not allowed:
                self.complain("statuses move by the table", f"{name}: {' '.join(key)} from {now} to {then}")

    def _check_velocity(self, name: str, after: Mapping[tuple[str, str], str]) -> None:
        """Silence fails few load balancers at a time; what compute says is gone is not destroyed by it."""
        owners = dict(self._raw.execute("SELECT id, load_balancer_id FROM amphora"))
        for (kind, ident), then in after.items():
            now = self._before.get((kind, ident))
            if kind == "amphora" and now != then == AmphoraStatus.ERROR and self.exists(ident):
                self._failed.add(owners[ident])
        busy = {
            owners[ident]
            for (kind, ident), status in after.items()
            if kind == "amphora" and status not in _SETTLED
        }
        self._failed &= busy
        if len(self._failed) > _AT_A_TIME:
            self.complain("destructive actions stay under the limit", f"{name}: {sorted(self._failed)}")

    def _check_pending_is_queued(self, name: str) -> None:
        query = (
            "SELECT id FROM load_balancer WHERE provisioning_status LIKE 'PENDING%'"
            " AND id NOT IN (SELECT load_balancer_id FROM work)"
        )
        for (lb_id,) in self._raw.execute(query):
            self.complain("what is pending is queued", f"{name}: {lb_id} is pending and has no work row")

    def _check_active_is_live(self, name: str) -> None:
        for query in _ACTIVE_BUT_NOT_LIVE:
            for ident, generation, observed in self._raw.execute(query):
                self.complain(
                    "ACTIVE means live", f"{name}: {ident} is of generation {generation}, {observed} is live"
                )

    def _load_balancers(self, column: str) -> dict[str, int]:
        return dict(self._raw.execute(f"SELECT id, {column} FROM load_balancer").fetchall())

    def _statuses(self) -> dict[tuple[str, str], str]:
        found = {}
        for table in _TABLES:
            for ident, status in self._raw.execute(f"SELECT id, provisioning_status FROM {table}"):
                found[table, ident] = status
        for ident, status in self._raw.execute("SELECT id, status FROM amphora"):
            found["amphora", ident] = status
        return found


@dataclass
class EveryMoment:
    """Rules of what happens to the world; asked after each call and each heartbeat."""

    world: World
    store: Store
    complain: Complain
    _fences: dict[str, int] = field(default_factory=dict)
    _generations: dict[str, int] = field(default_factory=dict)
    _two_owners_since: dict[str, datetime] = field(default_factory=dict)
    _wounded: set[str] = field(default_factory=set)
    _wounds: dict[str, datetime] = field(default_factory=dict)
    _restored: set[str] = field(default_factory=set)
    _troubled: set[str] = field(default_factory=set)

    def start_anew(self) -> None:
        """The database is an older one now, and generations begin again there."""
        self._restored |= {one.amphora_id for one in self.world.compute.servers()}

    def wound(self, amphora_id: str) -> None:
        """An amphora is lost, and not by our own action."""
        for server in self.world.compute.servers():
            if server.amphora_id == amphora_id:
                lb_id = self.world.compute.load_balancer_of(server.compute_id)
                self._wounded.add(lb_id)
                self._wounds[lb_id] = self.world.clock.now()
                self._troubled.add(amphora_id)

    def before_loss(self, amphora_id: str) -> None:
        """An amphora is about to be taken away or to hand over its VIP, by the controller."""
        if amphora_id not in {one.amphora_id for one in self.world.compute.servers()}:
            return
        if self._restored and not self._is_known(amphora_id):
            self._check_replaced(amphora_id)
            return
        self._check_for_nothing(amphora_id)
        if not self.world.compute.is_one_of_a_pair(amphora_id):
            return
        lb_id = self.world.compute.load_balancer_of(amphora_id)
        if self._is_leaving(lb_id) or self.world.serving(lb_id) != [amphora_id]:
            return
        now = self.world.clock.now()
        doubtful = now < self.world.deaf.get(amphora_id, datetime.min) or self.world.gates.is_away("agent")
        unnoticed = now - self._wounds.get(lb_id, datetime.min) < _UNNOTICED
        if not (unnoticed or (doubtful and lb_id in self._wounded)):
            self.complain("never below one healthy amphora", f"{amphora_id} is the last of {lb_id}")

    def _check_replaced(self, amphora_id: str) -> None:
        """Made after the backup, so that the database knows nothing of it; it may serve all the same."""
        lb_id = self.world.compute.load_balancer_of(amphora_id)
        wanted = not self._is_leaving(lb_id) and lb_id not in self._wounded
        if wanted and self.world.serving(lb_id) == [amphora_id]:
            self.complain("a restored database costs no service", f"{amphora_id} is all that serves {lb_id}")

    def _check_for_nothing(self, amphora_id: str) -> None:
        """Who serves and answers is not taken away, unless somebody asked for it."""
        lb_id = self.world.compute.load_balancer_of(amphora_id)
        if self._is_leaving(lb_id) or amphora_id in self._restored | self._troubled:
            return
        query = "SELECT 1 FROM amphora WHERE id = ? AND replace_requested IS NOT NULL"
        asked = self.store.raw.execute(query, (amphora_id,)).fetchone()
        if not asked and amphora_id in self.world.serving(lb_id):
            self.complain("nobody is replaced for nothing", f"{amphora_id} of {lb_id} is well")

    def trouble(self, amphora_ids: Iterable[str]) -> None:
        """These could not be reached, or not be heard and reached, at some time."""
        self._troubled.update(amphora_ids)

    def forget(self, amphora_id: str) -> None:
        """Its machine is gone, and with it what its agent remembered."""
        self._fences.pop(amphora_id, None)
        self._generations.pop(amphora_id, None)

    def _is_known(self, amphora_id: str) -> bool:
        query = "SELECT 1 FROM amphora WHERE id = ? AND status != 'DELETED'"
        return self.store.raw.execute(query, (amphora_id,)).fetchone() is not None

    def _is_leaving(self, lb_id: str) -> bool:
        query = "SELECT 1 FROM load_balancer WHERE id = ? AND NOT delete_requested"
        return self.store.raw.execute(query, (lb_id,)).fetchone() is None

    def check_agents(self) -> None:
        """No agent took orders from somebody older."""
        for server in self.world.compute.servers():
            one = server.amphora_id
            state = self.world.agents.state(one)
            if state.fence is not None:
                if state.fence < self._fences.get(one, 0):
                    self.complain("a lower fence never overwrites a higher", f"{one}: {state.fence}")
                self._fences[one] = state.fence
            if state.configuration is not None:
                generation = state.configuration.generation
                if generation < self._generations.get(one, 0) and one in self._restored:
                    self._restored.remove(one)  # it may learn once what is the newest now
                elif generation < self._generations.get(one, 0):
                    self.complain(
                        "an agent's generation never falls",
                        f"{one}: {self._generations[one]} to {generation}",
                    )
                self._generations[one] = generation

    def check_owners(self) -> None:
        """Never two owners of a VIP: of a SINGLE at no moment, of a pair not for long."""
        now = self.world.clock.now()
        for lb_id in {
            self.world.compute.load_balancer_of(one.compute_id) for one in self.world.compute.servers()
        }:
            owners = self.world.owners(lb_id)
            if len(self.world.serving(lb_id)) > 1:
                self._wounded.discard(lb_id)
            if len(owners) < 2:
                self._two_owners_since.pop(lb_id, None)
                continue
            pair = all(self.world.compute.is_one_of_a_pair(one) for one in owners)
            cut_off = any(now < self.world.deaf.get(one, datetime.min) for one in owners)
            split = now < self.world.split.get(lb_id, datetime.min)
            since = self._two_owners_since.setdefault(lb_id, now)
            if self._restored and any(one in self._restored or not self._is_known(one) for one in owners):
                continue  # made after the backup: the sweep has to find it first
            if cut_off or split or self.world.gates.is_away("agent"):
                self._two_owners_since[lb_id] = now  # nobody could tell them
            elif not pair or now - since > _TWO_OWNERS:
                self.complain("never two owners of a VIP", f"{lb_id}: {', '.join(owners)} since {since}")


class Peace:
    """Rules of the end."""

    def __init__(self, controller: Controller, ledger: Ledger, limits: Mapping[str, int]) -> None:
        self._controller = controller
        self._limits = limits
        self._world = controller.world
        self._ledger = ledger

    def troubles(self) -> Iterator[tuple[str, str]]:
        """Rules that do not hold (yet)."""
        raw = self._controller.raw
        ids = [
            one
            for (one,) in raw.execute("SELECT id FROM load_balancer WHERE provisioning_status != 'DELETED'")
        ]
        orphans = list(self._orphans(set(ids)))
        # Before a database that knows nothing of so much, the sweep stops and calls a human.
        stopped = self._ledger.restored and len(orphans) > _STRANGE
        with self._controller.database.look() as tx:
            for lb_id in ids:
                lb = loading.load(tx, lb_id)
                assert lb is not None
                rows = amphorae.of_load_balancer(tx, lb_id)
                yield from self._settled(lb, {one.object_id for one in explain.reasons(tx, lb_id)})
                yield from self._live(lb, rows)
                owners = self._world.owners(lb_id)
                if len(owners) != 1 and not stopped:
                    yield "one owner of each VIP", f"{lb_id} has {owners}"
        yield from self._promises()
        yield from self._room()
        if not stopped:
            yield from orphans

    def _room(self) -> Iterator[tuple[str, str]]:
        """As much as the rows leave of the quota can be had, and not one more."""
        with self._controller.database.look() as tx:
            for resource, limit in self._limits.items():
                rows = _in_use(self._controller.raw, resource)
                for more in (limit - rows, limit - rows + 1):
                    try:
                        quotas.ensure_room(tx, PROJECT, {resource: more}, self._limits)
                        fits = True
                    except QuotaMet:
                        fits = False
                    if fits != (rows + more <= limit):
                        yield "quota equals rows", f"{more} more {resource} beside {rows} of {limit}: {fits}"
            tx.rollback()

    def _settled(self, lb: LoadBalancer, reasons: set[str]) -> Iterator[tuple[str, str]]:
        bad = {one.id for pool in lb.pools for one in pool.members if _is_bad(one)}
        queued = self._controller.raw.execute(
            "SELECT 1 FROM work WHERE load_balancer_id = ?", (lb.id,)
        ).fetchone()
        for one in lb.walk():
            status = one.provisioning_status
            if status.pending:
                yield "nothing stays pending", f"{type(one).__name__} {one.id} is {status}"
            elif one.id in bad:
                if status is not ProvisioningStatus.ERROR and self._is_rendered(lb, one):
                    yield "what is refused is in ERROR", f"{one.id} is {status}"
                if status is ProvisioningStatus.ERROR and (one.id not in reasons or not queued):
                    yield "an ERROR has a reason and a next try", one.id
            elif status is not ProvisioningStatus.ACTIVE:
                yield "one bad object spoils no other", f"{type(one).__name__} {one.id} is {status}"
        if lb.observed_generation != lb.generation:
            yield "the newest generation is observed", f"{lb.id}: {lb.observed_generation} of {lb.generation}"
        if queued and not bad:
            yield "no work without an end", f"{lb.id} is still queued"
        for measured, wanted in ((lb, OperatingStatus.ONLINE), *_measured(lb)):
            if measured.operating_status is not wanted:
                yield (
                    "all is well, and shown so",
                    f"{type(measured).__name__} {measured.id} is {measured.operating_status}",
                )

    def _last_good_weights(self, lb: LoadBalancer) -> dict[str, int]:
        """Of members that were changed for the worse."""
        found = self._controller.raw.execute(
            "SELECT object_id, form FROM settled_form WHERE load_balancer_id = ?", (lb.id,)
        ).fetchall()
        forms = {name: json.loads(form) for name, form in found}
        served = {one.default_pool_id for one in lb.listeners}
        return {
            one.id: forms[one.id]["weight"]
            for pool in lb.pools
            if pool.id in served
            for one in pool.members
            if one.weight == BAD_WEIGHT and one.address != BAD_ADDRESS and one.id in forms
        }

    @staticmethod
    def _is_rendered(lb: LoadBalancer, member: Resource) -> bool:
        return any(
            pool.id == listener.default_pool_id and member.id in {one.id for one in pool.members}
            for pool in lb.pools
            for listener in lb.listeners
        )

    def _live(self, lb: LoadBalancer, rows: tuple[Amphora, ...]) -> Iterator[tuple[str, str]]:
        roles = Counter(one.role for one in rows)
        if roles != Counter(ROLES[lb.topology]):
            yield "each role has one amphora", f"{lb.id}: {dict(roles)}"
        wanted = _wanted_weights(lb) | self._last_good_weights(lb)
        for row in rows:
            state = self._world.agents.state(row.id)
            if row.status is not AmphoraStatus.ALLOCATED or not self._world.compute.is_running(
                row.compute_id or ""
            ):
                yield "every amphora serves", f"{row.id} is {row.status}"
            elif state.configuration is None or state.configuration.generation != lb.generation:
                have = state.configuration and state.configuration.generation
                yield "what was written is live", f"{row.id} runs generation {have}, not {lb.generation}"
            elif running(state.configuration.haproxy).members != wanted:
                have_members = running(state.configuration.haproxy).members
                yield "what was written is live", f"{row.id} runs {have_members}, not {wanted}"
            elif running(state.configuration.haproxy).listeners != {one.id for one in lb.listeners}:
                yield "what was written is live", f"the listeners of {row.id} differ"
        ports = {one.id for one in self._world.network.list_ports()}
        for port_id in (lb.vip.port_id, *(row.vrrp_port_id for row in rows)):
            # What was deleted after the backup was made is gone, whatever a restored database says.
            if port_id not in ports and not self._ledger.restored:
                yield "every address has its port", f"port {port_id} of {lb.id} is gone"

    def _promises(self) -> Iterator[tuple[str, str]]:
        raw = self._controller.raw
        for thing in self._ledger.things.values():
            table = {"loadbalancer": "load_balancer", "healthmonitor": "health_monitor"}.get(
                thing.kind, thing.kind
            )
            row = raw.execute(f"SELECT * FROM {table} WHERE id = ?", (thing.id,))
            names = [one[0] for one in row.description]
            found = row.fetchone()
            there = found is not None and found[names.index("provisioning_status")] != "DELETED"
            expected = thing.may_be(EXISTS)
            parents = [self._ledger.things.get(one) for one in (thing.lb_id, thing.parent_id)]
            if any(one is not None and one is not thing and one.may_be(EXISTS) != {True} for one in parents):
                continue  # it may have gone with what it was in
            if expected and there not in expected:
                yield (
                    "every promise is kept",
                    f"{thing.kind} {thing.id} {'is there' if there else 'is not there'}",
                )
            for attribute in thing.promises:
                if attribute == EXISTS or not there:
                    continue
                value, allowed = found[names.index(attribute)], thing.may_be(attribute)
                if allowed and value not in allowed:
                    yield "every promise is kept", f"{attribute} of {thing.kind} {thing.id} is {value}"

    def _orphans(self, lb_ids: set[str]) -> Iterator[tuple[str, str]]:
        raw = self._controller.raw
        rows = dict(
            raw.execute("SELECT id, load_balancer_id FROM amphora WHERE status != 'DELETED'").fetchall()
        )
        for amphora_id, lb_id in rows.items():
            if lb_id not in lb_ids:
                yield "nothing without an owner", f"the row of amphora {amphora_id}"
        for server in self._world.compute.servers():
            if server.amphora_id not in rows:
                yield "nothing without an owner", f"server {server.compute_id}"
        for port in self._world.network.list_ports():
            if port.device_owner == OWNER and not (
                port.device_id in rows or port.device_id.removeprefix("lb-") in lb_ids
            ):
                yield "nothing without an owner", f"port {port.name}"
        for (ident,) in raw.execute("SELECT id FROM reservation"):
            yield "nothing without an owner", f"reservation {ident}"
        for (ident,) in raw.execute(
            "SELECT load_balancer_id FROM work WHERE load_balancer_id NOT IN (SELECT id FROM load_balancer)"
        ):
            yield "nothing without an owner", f"work row {ident}"


def _in_use(raw: Any, resource: str) -> int:
    """How many there are, reserved ones too."""
    if resource != "load_balancer":
        return int(raw.execute(f"SELECT COUNT(*) FROM {resource}").fetchone()[0])
    query = "SELECT (SELECT COUNT(*) FROM load_balancer WHERE provisioning_status != 'DELETED')"
    return int(raw.execute(f"{query} + (SELECT COUNT(*) FROM reservation)").fetchone()[0])


def _is_bad(member: Member) -> bool:
    return member.address == BAD_ADDRESS or member.weight == BAD_WEIGHT


def _measured(lb: LoadBalancer) -> Iterator[tuple[Resource, OperatingStatus]]:
    """What every member's being well comes to, as far as there is traffic to measure it by."""
    served = {one.default_pool_id for one in lb.listeners}
    yield from ((one, OperatingStatus.ONLINE) for one in lb.listeners)
    for pool in lb.pools:
        if pool.id in served:
            watched = OperatingStatus.ONLINE if pool.health_monitor else OperatingStatus.NO_MONITOR
            yield from ((one, watched) for one in pool.members if not _is_bad(one))


def _wanted_weights(lb: LoadBalancer) -> dict[str, int]:
    served = {one.default_pool_id for one in lb.listeners}
    return {
        member.id: member.weight
        for pool in lb.pools
        if pool.id in served
        for member in pool.members
        if not _is_bad(member)
    }
