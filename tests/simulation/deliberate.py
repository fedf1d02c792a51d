# SPDX-License-Identifier: Apache-2.0
"""Faults put into the code on purpose, one at a time: does a rule notice?

Each is a patch of the code under test, so that the table in ``docs/contributor/simulator.md`` can be
made again with ``./dev bench simulation --faults``.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from unittest import mock

import sqlalchemy as sa

from octavia.dataplane.haproxy.render import Rendered
from octavia.db import forms, quotas, reservations, statuses, work
from octavia.db import tables as t
from octavia.domain.tree import Amphora, Role
from octavia.drivers.amphora.memory import MemoryAmphorae
from octavia.health import stale
from octavia.health.receive import Receiver
from octavia.health.witness import Testimony, Witness
from octavia.housekeeping.sweep import Sweep
from octavia.worker import plan, reconcile
from octavia.worker.observe import Desired, Observed
from octavia.worker.reconcile import Reconciler
from octavia.worker.steps import configuration
from octavia.worker.steps.amphora import (
    Allocate,
    AwaitAgent,
    AwaitServer,
    CreateServer,
    CreateVrrpPort,
    PlugNetworks,
    PlugVip,
    RecordAmphora,
)
from octavia.worker.world import Branch
from tests.simulation.history import play

Patch = tuple[object, str, Any]


@dataclass(frozen=True)
class DeliberateFault:
    """A name for people, and what is replaced by what."""

    name: str
    patches: Sequence[Patch]


def catch(fault: DeliberateFault, limit: int) -> tuple[str | None, int]:
    """The rule that noticed, and after how many histories; None if ``limit`` did not suffice."""
    with ExitStack() as stack:
        for target, name, replacement in fault.patches:
            stack.enter_context(mock.patch.object(target, name, replacement))
        for count in range(1, limit + 1):
            violation = play(count).violation
            if violation is not None:
                return violation.rule, count
    return None, limit


def _unguarded(tx: sa.Connection, lease: work.Lease) -> int:
    query = sa.select(t.load_balancer.c.generation).where(t.load_balancer.c.id == lease.load_balancer_id)
    return int(tx.execute(query).scalar() or 0)


_take = work.take


def _take_without_a_new_number(
    tx: sa.Connection, load_balancer_id: str, *arguments: Any
) -> work.Lease | None:
    lease = _take(tx, load_balancer_id, *arguments)
    if lease is None:
        return None
    mine = t.load_balancer.c.id == load_balancer_id
    tx.execute(sa.update(t.load_balancer).where(mine).values(fence=max(1, lease.fence - 1)))
    return replace(lease, fence=max(1, lease.fence - 1))


_settle_children = statuses.settle_children


def _settle_everything(tx: sa.Connection, lb_id: str, _live: int, *rest: Any, **more: Any) -> None:
    _settle_children(tx, lb_id, 2**60, *rest, **more)


def _obey(self: MemoryAmphorae, amphora: Amphora, fence: int) -> Any:
    state = replace(self._reach(amphora), fence=fence)
    self._states[amphora.id] = state
    return state


def _remembered_parts(self: Receiver, tx: sa.Connection, lbs: Any) -> Any:
    known = {lb.id: self._remembered[lb.id][1] for lb in lbs if lb.id in self._remembered}
    return known | _parts(self, tx, [lb for lb in lbs if lb.id not in known])


_parts = Receiver._parts


def _known_without_reservations(tx: sa.Connection) -> set[str]:
    rows = sa.select(t.load_balancer.c.id).where(t.load_balancer.c.provisioning_status != "DELETED")
    return set(tx.execute(rows).scalars())


def _count_without_reservations(names: Sequence[str]) -> sa.Select[Any]:
    def counted(name: str) -> Any:
        table = t.load_balancer if name == "load_balancer" else quotas._TABLES[name]
        mine = sa.select(sa.func.count()).where(table.c.project_id == quotas._PROJECT)
        return mine.where(table.c.provisioning_status != "DELETED").scalar_subquery()

    return sa.select(*(counted(name).label(name) for name in names))


def _lost_at_once(desired: Desired, observed: Observed, settings: plan.PlanSettings) -> Any:
    return [
        (row, "out of reach")
        for row in desired.amphorae
        if row.is_serving
        and (row.id in observed.gone or row.unreachable_since)
        and (row.id in observed.gone or observed.now - row.unreachable_since > settings.unreachable)  # type: ignore[operator]
    ]


def _build_without_waiting(_lb: object, role: Role, row: Amphora | None, *_rest: object) -> plan.BranchPlan:
    steps: list[Any] = [] if row else [RecordAmphora(role)]
    steps += [CreateVrrpPort(), CreateServer(), AwaitServer(), AwaitAgent()]
    steps += [PlugVip(), PlugNetworks(), Allocate()]
    return plan.BranchPlan(row.id if row else None, tuple(steps))


def _record_all_but_contact(self: Branch, text: str | None = None, **values: Any) -> None:
    if values.get("unreachable_since", ...) is None:
        del values["unreachable_since"]
    _record(self, text, **values)


_record = Branch.record


def _both(value: Any) -> Callable[..., Any]:
    return lambda *_arguments, **_more: value


FAULTS: Final = (
    DeliberateFault("the worker writes without looking at its fence", [(work, "guard", _unguarded)]),
    DeliberateFault("a lease comes with the old fence", [(work, "take", _take_without_a_new_number)]),
    DeliberateFault("agents obey whoever speaks", [(MemoryAmphorae, "_fenced", _obey)]),
    DeliberateFault("a change is not announced", [(work, "announce", _both(None))]),
    DeliberateFault("later writes settle as well", [(statuses, "settle_children", _settle_everything)]),
    DeliberateFault("what was deleted stays in its table", [(statuses, "_remove", _both(None))]),
    DeliberateFault(
        "the health manager trusts its memory over the database", [(Receiver, "_parts", _remembered_parts)]
    ),
    DeliberateFault(
        "silence is death, without a second witness", [(Witness, "__call__", _both(Testimony.UNREACHABLE))]
    ),
    DeliberateFault(
        "the sweep does not know of reservations",
        [(reservations, "known_load_balancers", _known_without_reservations)],
    ),
    DeliberateFault("there is no sweep", [(Sweep, "once", _both([]))]),
    DeliberateFault("there is no velocity limit", [(stale, "slots", _both(99))]),
    DeliberateFault("what is reserved does not count", [(quotas, "_count", _count_without_reservations)]),
    DeliberateFault("strangers are swept away at once", [(Sweep, "_spares", _both(False))]),
    DeliberateFault(
        "both of a pair are given up at once",
        [(plan, "_lost", _lost_at_once), (plan, "_may_be_the_last", _both(False))],
    ),
    DeliberateFault(
        "a single's VIP does not wait for the old one's end", [(plan, "_build", _build_without_waiting)]
    ),
    DeliberateFault("contact regained is not noted", [(Branch, "record", _record_all_but_contact)]),
    DeliberateFault(
        "failures are tried again tomorrow",
        [(Reconciler, "_retry_delay", staticmethod(_both(timedelta(days=1))))],
    ),
    DeliberateFault(
        "what was refused is forgotten",
        [(one, "acknowledgement", lambda key, _excluded: key) for one in (plan, reconcile, configuration)],
    ),
    DeliberateFault("last good forms are forgotten", [(forms, "of_load_balancer", _both({}))]),
    DeliberateFault("nobody is blamed for what HAProxy refuses", [(Rendered, "blame", _both(None))]),
)
