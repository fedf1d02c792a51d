# SPDX-License-Identifier: Apache-2.0
"""Members of a pool, one by one and as a batch (contract: api.md section 9)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final

from octavia.domain.errors import Conflict, Invalid, NotFound
from octavia.domain.rules.ground import Births, Deployment, Values, invalid
from octavia.domain.rules.marks import (
    born,
    leaving,
    lock_pool,
    may_leave,
    stays,
    touched,
    touched_pool,
    written,
)
from octavia.domain.rules.pools import pool_of
from octavia.domain.statuses import OperatingStatus as O
from octavia.domain.tree import LoadBalancer, Member, Pool


def create_member(
    lb: LoadBalancer, pool_id: str, values: Values, births: Births, deployment: Deployment
) -> tuple[LoadBalancer, Member]:
    """:raises RequestError: a rule of contract api.md section 9 is broken."""
    check_members([values], deployment)
    pool = pool_of(lb, pool_id)
    lock_pool(lb, pool, deployment)
    lb = written(lb)
    (member,) = new_members(lb, pool, [values], births)
    return touched_pool(lb, replace(pool, members=(*pool.members, member))), member


def check_members(items: Iterable[Values], deployment: Deployment) -> None:
    """:raises Invalid: an address is reserved."""
    reserved = {_exploded(address) for address in deployment.reserved_ips}
    for values in items:
        if _exploded(values["address"]) in reserved:
            raise Invalid(f"{values['address']} is not a valid option for member address")


def check_ports(items: Iterable[Values], *, sriov: bool) -> None:
    """:param sriov: does the load balancer's flavor allow members on SR-IOV ports?
    :raises Invalid: a member asks for one nevertheless.
    """
    if not sriov and any(values["vnic_type"] != "normal" for values in items):
        raise invalid(
            "The flavor of this load balancer does not allow members on SR-IOV ports: request_sriov."
        )


def _exploded(address: str) -> str:
    return ip_address(address).exploded.upper()


def new_members(lb: LoadBalancer, pool: Pool, items: Iterable[Values], births: Births) -> tuple[Member, ...]:
    """Members that fit into the pool, which they are not part of yet.

    :raises Conflict: two share an address and a port.
    """
    taken = {(one.address, one.protocol_port) for one in pool.members if not one.leaving}
    watched = pool.health_monitor is not None and not pool.health_monitor.leaving
    status = O.OFFLINE if watched else O.NO_MONITOR
    members = []
    for values in items:
        place = (values["address"], values["protocol_port"])
        if place in taken:
            raise Conflict(
                f"Another member on this pool is already using ip {place[0]} on protocol_port {place[1]}"
            )
        taken.add(place)
        members.append(Member(**born(lb, births), **values, operating_status=status))
    return tuple(members)


def update_member(
    lb: LoadBalancer, pool_id: str, member_id: str, values: Values, deployment: Deployment
) -> LoadBalancer:
    """:raises RequestError: a rule of contract api.md section 9 is broken."""
    pool = pool_of(lb, pool_id)
    member = member_of(pool, member_id)
    lock_pool(lb, pool, deployment)
    stays("Member", member)
    lb = written(lb)
    return touched_pool(lb, _with_member(pool, replace(touched(lb, member), **values)))


def delete_member(lb: LoadBalancer, pool_id: str, member_id: str, deployment: Deployment) -> LoadBalancer:
    """:raises Conflict: the state of the tree takes no delete."""
    pool = pool_of(lb, pool_id)
    member = member_of(pool, member_id)
    lock_pool(lb, pool, deployment)
    may_leave("Member", member)
    lb = written(lb)
    return touched_pool(lb, _with_member(pool, leaving(lb, member)))


def member_of(pool: Pool, member_id: str) -> Member:
    """:raises NotFound: it is not in this pool."""
    member = next((one for one in pool.members if one.id == member_id), None)
    if member is None:
        raise NotFound("Member", member_id)
    return member


def _with_member(pool: Pool, member: Member) -> Pool:
    return replace(pool, members=tuple(member if one.id == member.id else one for one in pool.members))


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One member of a batch: all its fields, and the names of those that the request wrote."""

    values: Values
    written: frozenset[str]


_KEPT_IN_BATCH: Final = frozenset({"name", "tags", "subnet_id"})


def replace_members(
    lb: LoadBalancer,
    pool_id: str,
    items: Sequence[BatchItem],
    births: Births,
    deployment: Deployment,
    *,
    additive_only: bool,
) -> LoadBalancer:
    """Make the members of a pool the ones of the list; the same tree if there is nothing to do.

    :raises RequestError: a rule of contract api.md section 9.3 is broken.
    """
    pool = pool_of(lb, pool_id)
    lock_pool(lb, pool, deployment)
    batch = _sorted(pool, items, additive_only=additive_only)
    check_members(batch.new, deployment)
    if not (batch.new or batch.matching or batch.gone):
        return lb
    lb = written(lb)
    added = new_members(lb, pool, batch.new, births)
    kept = []
    for member in pool.members:
        if member.id in batch.matching:
            kept.append(replace(touched(lb, member), **_batch_changes(batch.matching[member.id])))
        else:
            kept.append(leaving(lb, member) if member.id in batch.gone else member)
    return touched_pool(lb, replace(pool, members=(*kept, *added)))


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch against the members that a pool has: ids to items, ids, and what is left."""

    new: Sequence[Values]
    matching: Mapping[str, BatchItem]
    gone: frozenset[str]


def _sorted(pool: Pool, items: Sequence[BatchItem], *, additive_only: bool) -> _Batch:
    present = {(one.address, one.protocol_port): one for one in pool.members if not one.leaving}
    new: list[Values] = []
    matching: dict[str, BatchItem] = {}
    for item in items:
        member = present.get(_place(item))
        if member is None:
            new.append(item.values)
        elif member.id in matching:
            raise invalid(f"Member {member.address} port {member.protocol_port} is listed twice.")
        else:
            matching[member.id] = item
    ids = (one.id for one in present.values())
    gone = frozenset() if additive_only else frozenset(id_ for id_ in ids if id_ not in matching)
    return _Batch(new, matching, gone)


def new_in_batch(lb: LoadBalancer, pool_id: str, items: Sequence[BatchItem]) -> Sequence[Values]:
    """Those of a batch that the pool does not have yet.

    :raises Invalid: one that it has is listed twice.
    """
    return _sorted(pool_of(lb, pool_id), items, additive_only=True).new


def growth(lb: LoadBalancer, pool_id: str, items: Sequence[BatchItem], *, additive_only: bool) -> int:
    """By how many members a batch makes the pool larger; what it deletes makes room for what is new."""
    batch = _sorted(pool_of(lb, pool_id), items, additive_only=additive_only)
    return max(0, len(batch.new) - len(batch.gone))


def _place(item: BatchItem) -> tuple[str, int]:
    return item.values["address"], item.values["protocol_port"]


def _batch_changes(item: BatchItem) -> dict[str, Any]:
    """What is not written goes back to its default, except for a few that stay."""
    stay = (_KEPT_IN_BATCH - item.written) | {"vnic_type"}  # which is settled when a member is made
    return {name: value for name, value in item.values.items() if name not in stay}
