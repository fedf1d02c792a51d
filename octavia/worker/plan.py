# SPDX-License-Identifier: Apache-2.0
"""From (desired, observed) to steps: a pure function, and mostly an empty answer.

Roles first: a SINGLE needs a STANDALONE amphora, a pair a MASTER and a BACKUP. For each role the
plan builds what is missing, replaces what is to be replaced (make before break, one role at a
time), gives up what has failed, and takes away what is too much. Then everything that serves gets
the newest configuration.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, LoadBalancer, Role, Topology
from octavia.worker.observe import Desired, Observed
from octavia.worker.steps.amphora import (
    Allocate,
    AwaitAgent,
    AwaitServer,
    CreateServer,
    CreateVrrpPort,
    GiveUp,
    PlugNetworks,
    PlugVip,
    RecordAmphora,
    Retire,
    UnplugNetworks,
)
from octavia.worker.steps.configuration import Push, UpdateAgentConfiguration
from octavia.worker.steps.contract import Step
from octavia.worker.steps.load_balancer import ReleaseVip
from octavia.worker.trouble import acknowledgement

ROLES: Final = {
    Topology.SINGLE: (Role.STANDALONE,),
    Topology.ACTIVE_STANDBY: (Role.MASTER, Role.BACKUP),
}
_A = AmphoraStatus
_SPARED: Final = timedelta(minutes=5)
_BUILDING: Final = frozenset({_A.PENDING_CREATE, _A.BOOTING})


@dataclass(frozen=True, slots=True)
class BranchPlan:
    """Steps for one amphora, in their order; ``amphora_id`` is None for one to be recorded."""

    amphora_id: str | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What the plan has to know of configuration.

    :param fingerprint: changes when rendering would change for every load balancer.
    """

    unreachable: timedelta
    fingerprint: str = ""


def plan(desired: Desired, observed: Observed, settings: PlanSettings) -> tuple[BranchPlan, ...]:
    """The branches of the next pass; empty when the world is as wanted."""
    if desired.lb.leaving:
        return _taken_down(desired)
    lost = _lost(desired, observed, settings)
    if lost:
        return tuple(BranchPlan(row.id, (GiveUp(why),)) for row, why in lost)
    failed = [row for row in desired.amphorae if row.is_given_up]
    retired = [_retire(row) for row in failed if not _may_be_the_last(row, desired, observed)]
    present = [row for row in desired.amphorae if not row.is_given_up]
    branches = [*retired, *_by_role(desired, present, observed, settings)]
    wanted = _wanted_networks(desired.lb, observed)
    for row in present:
        if row.is_serving:
            steps = _configured(desired, row, wanted, observed, settings)
            if steps:
                branches.append(BranchPlan(row.id, steps))
    return tuple(branches)


def configuration_key(lb: LoadBalancer, amphorae: Iterable[Amphora], settings: PlanSettings) -> str:
    """Changes exactly when some amphora's rendered configuration may change."""
    peers = sorted((row.id, row.vrrp_ip, row.role) for row in amphorae if row.is_peer)
    # A SINGLE talks to nobody: what comes and goes beside it does not concern it.
    shared = peers if lb.topology is Topology.ACTIVE_STANDBY else ()
    parts = repr((lb.generation, shared, settings.fingerprint))
    return hashlib.sha256(parts.encode()).hexdigest()


def _taken_down(desired: Desired) -> tuple[BranchPlan, ...]:
    if desired.amphorae:
        return tuple(_retire(row) for row in desired.amphorae)
    return (BranchPlan(None, (ReleaseVip(),)),)


def _retire(row: Amphora) -> BranchPlan:
    return BranchPlan(row.id, (Retire(),))


def _lost(desired: Desired, observed: Observed, settings: PlanSettings) -> list[tuple[Amphora, str]]:
    """Serving amphorae that are to be given up, with the reason."""
    serving = [row for row in desired.amphorae if row.is_serving]
    lost = [(row, observed.gone[row.id]) for row in serving if row.id in observed.gone]
    there = [row for row in serving if row.id not in observed.gone]
    silent = [row for row in there if _is_lost(row, desired, observed, settings)]
    pair = desired.lb.topology is Topology.ACTIVE_STANDBY
    if pair and not any(row.unreachable_since is None and row.config_digest for row in there):
        # The network between us may be what is broken. One is replaced, and the other, the owner of
        # the VIP, stays until the replacement has been reached and serves.
        both = len(there) == len(ROLES[desired.lb.topology]) and all(row.unreachable_since for row in there)
        first = min(there, key=lambda row: _likely_to_serve(row, desired), default=None)
        silent = [row for row in silent if both and row is first]
    for row in silent:
        assert row.unreachable_since
        seconds = (observed.now - row.unreachable_since).total_seconds()
        lost.append((row, f"its agent has not answered for {seconds:.0f} seconds"))
    return lost


def _may_be_the_last(row: Amphora, desired: Desired, observed: Observed) -> bool:
    """Of a pair: it may be back and serve, and nobody else does. It goes when its replacement serves.

    But not for ever: what it holds in the cloud may be what the replacement lacks.
    """
    if desired.lb.topology is not Topology.ACTIVE_STANDBY:
        return False
    if any(
        one.is_serving and one.unreachable_since is None and one.config_digest for one in desired.amphorae
    ):
        return False
    heard = desired.heard.get(row.id)
    signs = [at for at in (row.unreachable_since, heard and heard.at) if at]
    return bool(signs) and observed.now - max(signs) < _SPARED


def _is_lost(row: Amphora, desired: Desired, observed: Observed, settings: PlanSettings) -> bool:
    """Was its agent out of reach for too long, and is it still?"""
    # What was found long ago may have healed since: the agent is called before it is given up.
    if row.unreachable_since is None or row.id not in observed.unanswering:
        return False
    silence = observed.now - row.unreachable_since
    heard = desired.heard.get(row.id)
    # Alive but deaf: its heartbeats say that traffic flows, so it gets more time.
    alive = heard is not None and heard.at > row.unreachable_since
    return silence > settings.unreachable * (4 if alive else 1)


def _likely_to_serve(row: Amphora, desired: Desired) -> tuple[bool, bool]:
    """More than another, by what was last heard of it and what it acknowledged."""
    return _owns_vip(row, desired), row.config_digest is not None


def _owns_vip(row: Amphora, desired: Desired) -> bool:
    heard = desired.heard.get(row.id)
    return heard is not None and heard.vrrp_state == "MASTER"


def _by_role(
    desired: Desired, present: Sequence[Amphora], observed: Observed, settings: PlanSettings
) -> list[BranchPlan]:
    lb = desired.lb
    branches: list[BranchPlan] = []
    replacing = False
    key = acknowledgement(configuration_key(lb, present, settings), observed.troubles)
    for role in _replacement_order(desired):
        of_role = [row for row in present if row.role is role]
        kept = [row for row in of_role if row.replace_requested is None]
        outgoing = [row for row in of_role if row.replace_requested is not None]
        if not kept:
            # Both amphorae of a pair are never replaced at the same time.
            if not (outgoing and replacing):
                branches.append(_build(lb, role, None, outgoing, present, desired))
            replacing = replacing or bool(outgoing)
            continue
        newest, *surplus = sorted(kept, key=lambda row: row.status in _BUILDING)
        branches += [_retire(row) for row in surplus]
        if newest.status in _BUILDING:
            branches.append(_build(lb, role, newest, outgoing, present, desired))
            replacing = replacing or bool(outgoing)
        elif outgoing:
            replacing = True
            if newest.config_digest == key:
                branches += [_retire(row) for row in outgoing]
    return branches


def _replacement_order(desired: Desired) -> tuple[Role, ...]:
    """The role of the amphora that holds the VIP comes last: the other is replaced first."""
    roles = ROLES[desired.lb.topology]
    owners = {row.role for row in desired.amphorae if _owns_vip(row, desired)}
    return tuple(sorted(roles, key=lambda role: role in owners))


def _build(
    lb: LoadBalancer,
    role: Role,
    row: Amphora | None,
    outgoing: Sequence[Amphora],
    present: Sequence[Amphora],
    desired: Desired,
) -> BranchPlan:
    """The whole chain; each step passes by what is made already."""
    steps: list[Step] = [] if row else [RecordAmphora(role)]
    steps += [CreateVrrpPort(), CreateServer(), AwaitServer(), AwaitAgent()]
    if role is Role.STANDALONE:
        # A SINGLE's VIP is configured on the amphora: never on two. The new one has booted and is on the
        # members' networks when the old one goes. Its HAProxy is not started before it has the VIP: most
        # members are on the VIP's subnet, and checks that cannot reach them would find all of them DOWN.
        failed = [one for one in desired.amphorae if one.is_given_up]
        if failed:
            return BranchPlan(row.id if row else None, tuple(steps))
        if outgoing:
            steps += [PlugNetworks(), *(Retire(one) for one in outgoing)]
    steps += [PlugVip(), PlugNetworks(), Allocate()]
    return BranchPlan(row.id if row else None, tuple(steps))


def _configured(
    desired: Desired, row: Amphora, wanted: frozenset[str], observed: Observed, settings: PlanSettings
) -> tuple[Step, ...]:
    """Newest configuration, between the networks that it needs and those that it needs no more."""
    steps: list[Step] = []
    plugged = frozenset(row.plugged_networks)
    if wanted - plugged:
        steps.append(PlugNetworks())
    key = configuration_key(desired.lb, desired.amphorae, settings)
    behind = row.generation != desired.lb.generation or row.config_digest is None
    # Who serves learns of a replacement once, when that has its address: a keepalived that is left
    # without any peer in between forgets that it owns the VIP.
    differs = row.config_digest != acknowledgement(key, observed.troubles)
    new_peers = differs and _peers_known(desired)
    if behind or new_peers or steps or row.unreachable_since:
        steps.append(Push(key))
    if plugged - wanted:
        steps.append(UnplugNetworks())
    if row.config_requested:
        steps.append(UpdateAgentConfiguration())
    return tuple(steps)


def _peers_known(desired: Desired) -> bool:
    """Has every role an amphora with an address?"""
    return {row.role for row in desired.amphorae if row.is_peer} >= set(ROLES[desired.lb.topology])


def _wanted_networks(lb: LoadBalancer, observed: Observed) -> frozenset[str]:
    return frozenset(observed.member_networks.values()) - {lb.vip.network_id or ""}
