# SPDX-License-Identifier: Apache-2.0
"""A pass: load, observe, plan, run the steps, settle — until nothing is left or something waits.

Nothing is kept between passes but what is in the database, so a crash needs no undo: the next
pass finishes the work.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from octavia.db import events, explain, forms, reasons, statuses, work
from octavia.db.engine import Connection, Database
from octavia.db.reasons import REPLACING, Reason
from octavia.db.tree.mapping import kind_of
from octavia.db.work import Lease
from octavia.domain.errors import Transient
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import (
    LoadBalancer,
)
from octavia.worker import flow
from octavia.worker.observe import Desired, load, observe
from octavia.worker.outcome import Done, Failed, Outcome, Wait
from octavia.worker.plan import (
    ROLES,
    BranchPlan,
    PlanSettings,
    configuration_key,
    plan,
)
from octavia.worker.settings import WorkerSettings
from octavia.worker.trouble import Trouble, acknowledgement, marks
from octavia.worker.world import Branch, Known, World

LOG = logging.getLogger(__name__)

# A pass that goes on longer than this gives the lease back between two rounds.
_ROUNDS: Final = 50
_WAIT_GROWTH: Final = 1.15
_FAILURE_GROWTH: Final = 2.0
_LONGEST_WAIT_S: Final = 5.0
_LONGEST_RETRY_S: Final = 60.0
_REFUSED_RETRY_S: Final = 10.0


@dataclass(slots=True)
class Pass:
    """What one pass has learnt so far.

    :param generation: what this pass applies; a write that comes meanwhile is the next pass's.
    :param further: the load balancer got nearer to what is wanted.
    :param looked_again: an amphora turned out to be out of reach, and compute was asked about it.
    :param unanswering: amphorae that turned out to be.
    :param applied: the tree of that generation.
    :param troubles: objects that are not as wanted.
    """

    lease: Lease
    generation: int | None = None
    applied: LoadBalancer | None = None
    further: bool = False
    looked_again: bool = False
    unanswering: set[str] = field(default_factory=set)
    troubles: dict[str, Trouble] = field(default_factory=dict)


class Reconciler:
    """Brings load balancers to their desired state; safe to call at any moment, any number of times."""

    def __init__(
        self,
        database: Database,
        world: World,
        settings: WorkerSettings,
        executor: ThreadPoolExecutor,
    ) -> None:
        self._database = database
        self._world = world
        self._settings = settings
        self._executor = executor
        self._known = Known()
        self._plan_settings = PlanSettings(
            unreachable=settings.unreachable,
            fingerprint=repr((settings.haproxy, settings.keepalived)),
        )

    def reconcile(self, lease: Lease) -> None:
        """One pass; what is left to do afterwards is in the work row.

        :raises Fenced: another worker took over; it finishes the work.
        """
        this = Pass(lease)
        desired: Desired | None = None
        for _ in range(_ROUNDS):
            desired = load(self._database, lease.load_balancer_id, desired)
            if desired is None:
                self._write(this, lambda tx: work.finish(tx, this.lease))
                return
            if desired.overtaken:
                # Settle what is live before the next write, so that steady writes starve nobody.
                self._settle(this, (), desired)
                return
            this.generation = desired.lb.generation
            this.applied = desired.lb
            try:
                outcomes = self._round(this, desired)
            except Transient as error:
                outcomes = [Failed(error.why, code="TRANSIENT")]
            fence = max((one.fenced_by or 0 for one in outcomes if isinstance(one, Failed)), default=0)
            if fence > this.lease.fence:
                this.lease = self._database.write(
                    lambda tx, above=fence: work.raise_fence(tx, this.lease, above)  # type: ignore[misc]
                )
                continue
            unfinished = [one for one in outcomes if not isinstance(one, Done)]
            if outcomes and not unfinished and not self._delete_if_gone(this, desired):
                this.further = True
                self._renew_if_short(this)
                continue
            if desired.lb.leaving and outcomes and not unfinished:
                return
            if not this.looked_again and any(_is_unreachable(one) for one in unfinished):
                this.looked_again = True
                continue
            # Steps have written to rows of amphorae.
            current = load(self._database, lease.load_balancer_id, desired) if outcomes else desired
            self._settle(this, unfinished, current)
            return
        self._put_back(this, [Wait(0, "A long pass goes on")])

    def _round(self, this: Pass, desired: Desired) -> list[Outcome]:
        assert not desired.overtaken
        observed = replace(
            observe(desired, self._world, self._known),
            unanswering=frozenset(this.unanswering),
            troubles=marks(this.troubles),
        )
        branches = plan(desired, observed, self._plan_settings)
        if not branches:
            return []
        work_ = [(self._branch(this, desired, one), one.steps) for one in branches]
        outcomes = flow.run(work_, self._executor)
        this.further = this.further or any(isinstance(one, Done) and one.further for one in outcomes)
        for (branch, _), outcome in zip(work_, outcomes, strict=True):
            if branch.amphora is not None and _is_unreachable(outcome):
                this.unanswering.add(branch.amphora.id)
        return outcomes

    def _branch(self, this: Pass, desired: Desired, one: BranchPlan) -> Branch:
        row = next((row for row in desired.amphorae if row.id == one.amphora_id), None)
        return Branch(
            database=self._database,
            world=self._world,
            settings=self._settings,
            known=self._known,
            lease=this.lease,
            lb=desired.lb,
            amphora=row,
            peers=tuple(row for row in desired.amphorae if row.is_peer),
            troubles=this.troubles,
        )

    def _delete_if_gone(self, this: Pass, desired: Desired) -> bool:
        """Everything that a leaving load balancer owned is gone: so is it."""
        if not desired.lb.leaving or desired.amphorae:
            return False
        now = self._world.clock.now()

        def change(tx: Connection) -> None:
            statuses.delete_load_balancer(tx, desired.lb.id, now)
            events.record(tx, desired.lb.id, now, "Deleted")
            work.finish(tx, this.lease)

        self._write(this, change)
        return True

    # --- settling -----------------------------------------------------------------------------

    def _settle(self, this: Pass, unfinished: Sequence[Outcome], desired: Desired | None) -> None:
        """Write what has become true, then let go of the lease.

        :param desired: as it is now.
        """
        if desired is None:
            self._write(this, lambda tx: work.finish(tx, this.lease))
            return
        now = self._world.clock.now()
        lb = desired.lb
        live = self._live(desired)
        complete = not unfinished and self._is_complete(this, desired)

        def change(tx: Connection) -> None:
            generation = work.guard(tx, this.lease)
            if live is not None:
                statuses.settle_children(tx, lb.id, live, now, failed=this.troubles)
                statuses.observed(tx, lb.id, live)
                self._fail_refused(tx, this, desired, now)
                if generation != live == this.generation and this.applied is not None:
                    forms.applied(tx, this.applied, failed=this.troubles)
            if not complete or live is None:
                self._not_yet(tx, this, desired, unfinished, live, now, overtaken=generation != lb.generation)
            elif generation != live:
                # Written to meanwhile: it goes on at once, and steady writes starve nobody.
                work.put_back(tx, this.lease, now, further=True)
            else:
                self._complete(tx, this, lb, now)

        self._database.write(change)

    def _live(self, desired: Desired) -> int | None:
        """The generation that every amphora in reach acknowledged; None if there is none."""
        if desired.lb.leaving:
            return None
        acknowledged = [
            row.generation
            for row in desired.amphorae
            if row.is_serving and row.unreachable_since is None and row.config_digest
        ]
        return min(acknowledged, default=None)

    def _is_complete(self, this: Pass, desired: Desired) -> bool:
        """Every amphora that there should be serves the newest generation, and no other is there."""
        key = acknowledgement(
            configuration_key(desired.lb, desired.amphorae, self._plan_settings), marks(this.troubles)
        )
        return sorted(row.role for row in desired.amphorae) == sorted(ROLES[desired.lb.topology]) and all(
            row.is_serving
            and row.unreachable_since is None
            and row.replace_requested is None
            and row.config_digest == key
            for row in desired.amphorae
        )

    def _complete(self, tx: Connection, this: Pass, lb: LoadBalancer, now: datetime) -> None:
        standing = explain.reasons(tx, lb.id)
        shown_until = self._replacement_shown_until(lb, standing)
        if shown_until and now < shown_until:
            work.put_back(tx, this.lease, shown_until, further=True)
            return
        if lb.provisioning_status is not ProvisioningStatus.ACTIVE:
            events.record(tx, lb.id, now, f"Generation {lb.generation} is live")
        statuses.settle_load_balancer(tx, lb.id, now)
        if standing:
            reasons.clear(tx, lb.id, keep=this.troubles)
        if this.troubles:
            # Everything else is live; what was refused is tried again, ever more seldom.
            work.put_back(tx, this.lease, now + self._retry_delay(this, _REFUSED_RETRY_S), further=False)
        else:
            work.finish(tx, this.lease)

    def _replacement_shown_until(
        self, lb: LoadBalancer, standing: Sequence[explain.Standing]
    ) -> datetime | None:
        for reason in standing:
            if reason.object_id == lb.id and reason.code == REPLACING:
                return reason.since + self._settings.replacement_shown
        return None

    def _fail_refused(self, tx: Connection, this: Pass, desired: Desired, now: datetime) -> None:
        for resource in desired.lb.walk():
            if trouble := this.troubles.get(resource.id):
                reason = Reason(trouble.code, trouble.sentence)
                next_try = now + self._retry_delay(this, _REFUSED_RETRY_S)
                statuses.fail(tx, kind_of(resource), resource.id, desired.lb.id, reason, now, next_try)

    def _not_yet(
        self,
        tx: Connection,
        this: Pass,
        desired: Desired,
        unfinished: Sequence[Outcome],
        live: int | None,
        now: datetime,
        *,
        overtaken: bool,
    ) -> None:
        """Come again later, and say why.

        :param overtaken: it was written to meanwhile, so that the next pass may be about something else.
        """
        lb = desired.lb
        due_at = now + self._delay(this, unfinished)
        reason = _reason(unfinished)
        standing = explain.reason_of(tx, lb.id)
        replacing = standing is not None and standing.code == REPLACING
        if replacing and standing and live == lb.generation:
            if now - standing.since > self._settings.replacement_hidden:
                statuses.settle_load_balancer(tx, lb.id, now)
            reasons.next_try(tx, lb.id, due_at)
        elif (
            live != lb.generation
            and not overtaken
            and now - this.lease.wanted_since > self._settings.deadline
        ):
            statuses.fail_pending(tx, lb.id, reason, now, due_at)
        elif any(isinstance(one, Failed) for one in unfinished) or this.lease.attempts:
            reasons.explain(tx, lb.id, lb.id, reason, now, due_at)
        work.put_back(tx, this.lease, due_at, further=this.further)

    def _put_back(self, this: Pass, unfinished: Sequence[Outcome]) -> None:
        now = self._world.clock.now()
        delay = self._delay(this, unfinished)
        self._write(this, lambda tx: work.put_back(tx, this.lease, now + delay, further=this.further))

    # --- time ---------------------------------------------------------------------------------

    def _delay(self, this: Pass, unfinished: Sequence[Outcome]) -> timedelta:
        """Until the next pass: the soonest that an outcome asks for, longer with every attempt."""
        delays = [
            self._retry_delay(this, one.retry_after)
            if isinstance(one, Failed)
            else self._wait_delay(this, one.seconds)
            for one in unfinished
            if isinstance(one, Failed | Wait)
        ]
        return min(delays, default=timedelta(0))

    @staticmethod
    def _wait_delay(this: Pass, seconds: float) -> timedelta:
        attempts = 0 if this.further else this.lease.attempts
        return timedelta(seconds=min(seconds * _WAIT_GROWTH ** min(attempts, 60), _LONGEST_WAIT_S))

    @staticmethod
    def _retry_delay(this: Pass, seconds: float) -> timedelta:
        attempts = 0 if this.further else this.lease.attempts
        return timedelta(seconds=min(seconds * _FAILURE_GROWTH ** min(attempts, 20), _LONGEST_RETRY_S))

    def _renew_if_short(self, this: Pass) -> None:
        now = self._world.clock.now()
        if this.lease.until - now < self._settings.lease / 2:
            this.lease = self._database.write(
                lambda tx: work.renew(tx, this.lease, now, self._settings.lease)
            )

    def _write(self, this: Pass, change: Callable[[Connection], object]) -> None:
        @functools.wraps(change)  # transactions go by the name of what they change
        def guarded(tx: Connection) -> None:
            work.guard(tx, this.lease)
            change(tx)

        self._database.write(guarded)


def _is_unreachable(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.code == "UNREACHABLE"


def _reason(unfinished: Sequence[Outcome]) -> Reason:
    """What to tell the tenant: a failure before a wait."""
    for one in unfinished:
        if isinstance(one, Failed):
            return Reason(one.code, one.why)
    for one in unfinished:
        if isinstance(one, Wait):
            return Reason("WAITING", one.why)
    return Reason("WAITING", "Another pass is needed")
