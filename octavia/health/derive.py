# SPDX-License-Identifier: Apache-2.0
"""Operating statuses from what an amphora reports: pure functions.

Contract: heartbeat.md section 4.1, tables A and B; api.md section 4.3. Beyond these: what is absent
from a report counts only if the report is of a generation that has it, and of a pair the owner of
the VIP is believed. Reading reports and writing statuses are not here: see :mod:`octavia.health.receive`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from octavia.db.heartbeats import Parts, Seen, SeenLoadBalancer, SeenPool, Sender
from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus
from octavia.domain.statuses import OperatingStatus as O
from octavia.wire.heartbeat import Heartbeat, PoolReport

Changes: TypeAlias = dict[tuple[str, str], O]
"""(kind, id) to the status that differs from the one in the database."""

# Only who is in service speaks for its load balancer: what boots has no configuration yet, and what
# is marked failed is being replaced.
IN_SERVICE: Final = frozenset({AmphoraStatus.ALLOCATED, AmphoraStatus.FAILOVER_STOPPED})
_OWNER: Final = "MASTER"

_LISTENER: Final[Mapping[str, O]] = {"OPEN": O.ONLINE, "FULL": O.DEGRADED}
_MEMBER: Final[Mapping[str, O]] = {
    "UP": O.ONLINE,  # also "UP 1/3", on its way down
    "DOWN": O.ERROR,  # also "DOWN 1/2", on its way up
    "DRAIN": O.DRAINING,
    "MAINT": O.OFFLINE,
    "no check": O.NO_MONITOR,
}
# Of a member that two listeners see differently, the worst is shown: traffic of one does not arrive.
_WORST_MEMBER: Final = (O.ERROR, O.DRAINING, O.OFFLINE, O.ONLINE, O.NO_MONITOR)
_WORST_LOAD_BALANCER: Final = (O.ERROR, O.DEGRADED, O.ONLINE)


def believed(amphorae: Sequence[Sender], reports: Mapping[str, Heartbeat]) -> Heartbeat | None:
    """The report that speaks for a load balancer, of those that arrived; None if none does.

    :param amphorae: all that the load balancer has.
    :param reports: amphora to its newest report.
    """
    candidates = [reports[one.id] for one in amphorae if one.id in reports and one.status in IN_SERVICE]
    owners = [report for report in candidates if report.vrrp_state == _OWNER]
    if owners:
        return owners[-1]
    # Who owns no VIP sees the members as well, but nobody's traffic: it is asked when no owner is.
    elsewhere = any(
        one.id not in reports and one.fresh and one.vrrp_state == _OWNER and one.status in IN_SERVICE
        for one in amphorae
    )
    standing_by = [report for report in candidates if report.vrrp_state is not None]
    if elsewhere and len(standing_by) == len(candidates):
        return None
    return candidates[-1] if candidates else None


def is_redundant(amphorae: Sequence[Sender], reports: Mapping[str, Heartbeat]) -> bool:
    """Can the load balancer lose an amphora, or was it never meant to be able to?"""
    lb = amphorae[0].load_balancer
    if not lb.is_pair or lb.provisioning_status == ProvisioningStatus.PENDING_CREATE:
        return True
    well = [
        one for one in amphorae if one.status == AmphoraStatus.ALLOCATED and (one.fresh or one.id in reports)
    ]
    return len(well) >= 2


def derive(lb: SeenLoadBalancer, parts: Parts, report: Heartbeat, *, redundant: bool) -> Changes:
    """What differs from the database, as one report has it.

    :param redundant: see :func:`is_redundant`.
    """
    changes: Changes = {}
    found = [O.ONLINE if redundant else O.DEGRADED]
    for listener in parts.listeners:
        if not listener.leaving:
            status = _listener_status(lb, listener, report)
            _put(changes, "listener", listener, status)
            if status is O.DEGRADED:
                found.append(O.DEGRADED)
    by_pool: dict[str, list[PoolReport]] = defaultdict(list)
    for one in report.pools:
        by_pool[one.pool_id].append(one)
    for pool in parts.pools:
        if not pool.leaving:
            found.append(_derive_pool(changes, pool, by_pool.get(pool.id, ()), report))
    status = next(one for one in _WORST_LOAD_BALANCER if one in found) if lb.enabled else O.OFFLINE
    if status != lb.operating_status:
        changes["loadbalancer", lb.id] = status
    return changes


def differs_from_wanted(lb: SeenLoadBalancer, parts: Parts, report: Heartbeat) -> bool:
    """Does the amphora run other listeners than it should, so that it needs a repair?

    Only what has had the time to arrive is expected.
    """
    if lb.provisioning_status != ProvisioningStatus.ACTIVE:
        return False
    if report.generation is not None and report.generation > lb.version[0]:
        # It was told what the database does not know any more: an older database was restored.
        return True
    if not lb.enabled:
        return False
    if report.version == 0 or (report.generation is not None and report.generation < lb.version[0]):
        return False
    enabled = {one.id: one for one in parts.listeners if one.enabled and not one.leaving}
    # What HAProxy refused is in ERROR and nowhere; sending it again changes nothing.
    missing = any(one.settled for one in enabled.values() if one.id not in report.listeners)
    return missing or any(one not in enabled for one in report.listeners)


def _listener_status(lb: SeenLoadBalancer, listener: Seen, report: Heartbeat) -> O | None:
    reported = report.listeners.get(listener.id)
    if reported is not None:
        return _LISTENER.get(reported.status)
    if not listener.enabled or not lb.enabled:
        return O.OFFLINE
    if report.generation is not None:
        return O.ERROR if report.generation >= listener.generation else None
    return O.ERROR if lb.provisioning_status == ProvisioningStatus.ACTIVE else O.OFFLINE


def _derive_pool(changes: Changes, pool: SeenPool, reports: Sequence[PoolReport], report: Heartbeat) -> O:
    """Puts the changes of a pool and its members; what they mean for the load balancer."""
    if not reports or not pool.enabled:
        if not pool.enabled or _counts(report, pool):
            _put(changes, "pool", pool, O.OFFLINE)
        if not reports:
            return O.ONLINE
    effect = status = _pool_status(reports)
    for member in pool.members:
        if member.leaving:
            continue
        found = _member_status(member, [one.members.get(member.id) for one in reports], report)
        _put(changes, "member", member, found)
        if found is O.ERROR and status is O.ONLINE:
            status = effect = O.DEGRADED
    if not pool.enabled:
        return O.ONLINE
    _put(changes, "pool", pool, status)
    return effect if effect is not None else O.ONLINE


def _pool_status(reports: Iterable[PoolReport]) -> O | None:
    said = {one.status for one in reports}
    if said == {"UP", "DOWN"}:
        return O.DEGRADED  # one listener's clients are served, another's are not
    return {"UP": O.ONLINE, "DOWN": O.ERROR}.get(said.pop()) if len(said) == 1 else None


def _member_status(member: Seen, said: Sequence[str | None], report: Heartbeat) -> O | None:
    statuses = [_member_said(one) for one in said if one is not None]
    if statuses:
        return next((one for one in _WORST_MEMBER if one in statuses), None)
    if member.operating_status == O.NO_MONITOR or not _counts(report, member):
        return None
    return O.OFFLINE


def _member_said(said: str) -> O | None:
    exact = _MEMBER.get(said)
    return exact if exact is not None else _MEMBER.get(said.split(" ", 1)[0])


def _counts(report: Heartbeat, absent: Seen) -> bool:
    """Is the report new enough to know of something that it does not mention?"""
    return report.generation is None or report.generation >= absent.generation


def _put(changes: Changes, kind: str, seen: Seen, status: O | None) -> None:
    if status is not None and status != seen.operating_status:
        changes[kind, seen.id] = status
