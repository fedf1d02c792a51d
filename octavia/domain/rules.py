# SPDX-License-Identifier: Apache-2.0
"""What a request may do to a load balancer tree.

Policies and rules of layer 7 are in :mod:`octavia.domain.l7`.

Each public function takes a tree and the typed fields of a request and returns the tree as it is then, or
raises; it reads no clock and no database. What a write marks (contract: api.md section 4.2) and which writes
exclude each other (section 4.1, SEMANTICS "Statuses") is here too. Types and ranges of fields are not: see
:mod:`octavia.api.schemas`. What one provider cannot do is in :mod:`octavia.providers`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeVar

from octavia.domain import protocols
from octavia.domain.errors import Conflict, Invalid, NotFound
from octavia.domain.statuses import OperatingStatus as O
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import (
    HealthMonitor,
    L7Policy,
    Listener,
    LoadBalancer,
    Member,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    Resource,
    SessionPersistence,
)

Values = Mapping[str, Any]
"""Typed fields of a request, by the names of the tree's attributes."""

_R = TypeVar("_R", bound=Resource)


class Concurrency(StrEnum):
    """What a write meets while an earlier one is still on its way to the amphorae."""

    QUEUE = "queue"  # it is accepted, the two coalesce
    REJECT = "reject"  # 409


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What the operator allows.

    :param reserved_ips: no members at these addresses (the metadata service's, by default).
    :param udp_connect_min_interval_s: smallest delay of UDP-CONNECT monitors; negative is no bound.
    """

    concurrent_updates: Concurrency = Concurrency.QUEUE
    allow_tls_terminated_listeners: bool = True
    allow_prometheus_listeners: bool = True
    allow_ping_health_monitors: bool = True
    udp_connect_min_interval_s: int = 3
    reserved_ips: tuple[str, ...] = ("169.254.169.254",)

    @property
    def strict(self) -> bool:
        """Does anything pending exclude further writes?"""
        return self.concurrent_updates is Concurrency.REJECT


class Births:
    """Ids and times of creation for new objects.

    Each is a microsecond younger than the one before, so that objects of one request keep their order.
    """

    def __init__(self, now: datetime, new_id: Callable[[], str]) -> None:
        self._next = now
        self._new_id = new_id

    def next(self) -> dict[str, Any]:
        """The two fields that a new object gets first."""
        at = self._next
        self._next += timedelta(microseconds=1)
        return {"id": self._new_id(), "created_at": at}


def invalid(detail: str) -> Invalid:
    """A rule is broken; ``detail`` names the field."""
    return Invalid(f"Validation failure: {detail}")


def retries(before: LoadBalancer, after: LoadBalancer) -> bool:
    """Did the write touch something in ERROR? Then its deadline starts anew."""
    failed = {one.id: one.generation for one in before.walk() if one.provisioning_status is P.ERROR}
    return bool(failed) and any(failed.get(one.id, one.generation) != one.generation for one in after.walk())


# Who may write now


def lock(lb: LoadBalancer, deployment: Deployment) -> None:
    """For writes below a load balancer."""
    if lb.leaving or (deployment.strict and lb.provisioning_status is not P.ACTIVE):
        raise immutable("Load Balancer", lb.id)


def lock_policy(lb: LoadBalancer, listener: Listener, policy: L7Policy, deployment: Deployment) -> None:
    """For writes to L7 rules."""
    lock(lb, deployment)
    stays("Listener", listener)
    if policy.leaving or (deployment.strict and policy.provisioning_status is not P.ACTIVE):
        raise immutable("L7Policy", policy.id)


def _lock_pool(lb: LoadBalancer, pool: Pool, deployment: Deployment) -> None:
    """For writes to members and monitors."""
    lock(lb, deployment)
    if pool.leaving or (deployment.strict and pool.provisioning_status is not P.ACTIVE):
        raise immutable("Pool", pool.id)


def stays(noun: str, resource: Resource) -> None:
    """What is being deleted takes no other write."""
    if resource.leaving:
        raise immutable(noun, resource.id)


def may_leave(noun: str, resource: Resource) -> None:
    """A failed delete may be asked for again, one that is under way not."""
    if resource.provisioning_status is P.PENDING_DELETE:
        raise immutable(noun, resource.id)


def immutable(noun: str, identifier: str) -> Conflict:
    """Something is changing or going and takes no other write now."""
    return Conflict(f"{noun} {identifier} is immutable and cannot be updated.")


def _wrong_state(lb: LoadBalancer) -> Conflict:
    return Conflict(f"Invalid state {lb.provisioning_status} of loadbalancer resource {lb.id}")


# What a write marks


def _pending(status: P) -> P:
    # Not live for the first time yet: it stays a creation, with a newer generation.
    return P.PENDING_CREATE if status is P.PENDING_CREATE else P.PENDING_UPDATE


def written(lb: LoadBalancer) -> LoadBalancer:
    """The tree under its next generation; every write begins here."""
    return replace(lb.bumped(), provisioning_status=_pending(lb.provisioning_status))


def touched(lb: LoadBalancer, resource: _R) -> _R:
    """Something that the write changes, under the tree's generation."""
    if resource.leaving:
        return resource
    status = _pending(resource.provisioning_status)
    return replace(resource, generation=lb.generation, provisioning_status=status)


def leaving(lb: LoadBalancer, resource: _R) -> _R:
    """Something that the write deletes; it stays until that is live."""
    return replace(
        resource,
        generation=lb.generation,
        provisioning_status=P.PENDING_DELETE,
        delete_requested=True,
    )


def _touched_listeners(lb: LoadBalancer, pool_id: str) -> LoadBalancer:
    for listener in lb.listeners_using(pool_id):
        lb = lb.with_listener(touched(lb, listener))
    return lb


def _touched_pool(lb: LoadBalancer, pool: Pool) -> LoadBalancer:
    """After a change of a member or a monitor: the pool, and the listeners that use it."""
    return _touched_listeners(lb.with_pool(touched(lb, pool)), pool.id)


def born(lb: LoadBalancer, births: Births) -> dict[str, Any]:
    """What every new child has first."""
    return births.next() | {"project_id": lb.project_id, "generation": lb.generation}


# Load balancer


def update_load_balancer(lb: LoadBalancer, values: Values, deployment: Deployment) -> LoadBalancer:
    """:raises Conflict: its state takes no write."""
    if lb.leaving or (deployment.strict and lb.provisioning_status is not P.ACTIVE):
        raise _wrong_state(lb)
    return replace(written(lb), **values)


def delete_load_balancer(lb: LoadBalancer, *, cascade: bool, deployment: Deployment) -> LoadBalancer:
    """Only the root is marked: what is below goes with it.

    :raises Invalid: it has children, and they were not to be deleted too.
    :raises Conflict: its state takes no delete.
    """
    children = [*lb.listeners, *lb.pools]
    if not cascade and any(deployment.strict or not one.leaving for one in children):
        raise invalid(
            f"Cannot delete load balancer {lb.id}: it has children. Delete its listeners and pools first,"
            " or ask for a cascading delete."
        )
    if deployment.strict and lb.provisioning_status not in (P.ACTIVE, P.ERROR):
        raise _wrong_state(lb)
    if lb.provisioning_status is P.PENDING_DELETE:
        raise _wrong_state(lb)
    return leaving(lb.bumped(), lb.bumped())


def fail_over(lb: LoadBalancer, deployment: Deployment) -> LoadBalancer:
    """All its amphorae are to be replaced; stamping them is the caller's part.

    :raises Conflict: its state takes no failover.
    """
    if lb.leaving or (deployment.strict and lb.provisioning_status not in (P.ACTIVE, P.ERROR)):
        raise _wrong_state(lb)
    return written(lb)


def fail_over_amphora(lb: LoadBalancer, deployment: Deployment) -> LoadBalancer:
    """One of its amphorae is to be replaced.

    :raises Conflict: the load balancer's state takes no failover.
    """
    lock(lb, deployment)
    return written(lb)


# Listeners


def create_listener(
    lb: LoadBalancer, values: Values, births: Births, deployment: Deployment
) -> tuple[LoadBalancer, Listener]:
    """:raises RequestError: a rule of contract api.md section 7 is broken."""
    _check_listener_protocol(values, deployment)
    _check_default_pool(lb, values["protocol"], values.get("default_pool_id"))
    lock(lb, deployment)
    lb = written(lb)
    listener = new_listener(lb, values, births)
    return lb.with_listener(listener), listener


def new_listener(lb: LoadBalancer, values: Values, births: Births) -> Listener:
    """A listener that fits into the tree, which it is not part of yet."""
    listener = Listener(**born(lb, births), **values)
    _check_headers(listener.protocol, listener.insert_headers)
    if listener.protocol is Protocol.TERMINATED_HTTPS:
        raise invalid(
            "A TERMINATED_HTTPS listener needs default_tls_container_ref or sni_container_refs to name a"
            " certificate."
        )
    _check_port(lb, listener)
    _check_cidrs(lb, listener.allowed_cidrs)
    return listener


def update_listener(
    lb: LoadBalancer, listener_id: str, values: Values, deployment: Deployment
) -> LoadBalancer:
    """:raises RequestError: a rule of contract api.md section 7 is broken."""
    listener = listener_of(lb, listener_id)
    _check_default_pool(lb, listener.protocol, values.get("default_pool_id"))
    lock(lb, deployment)
    stays("Listener", listener)
    if "insert_headers" in values:
        _check_headers(listener.protocol, values["insert_headers"])
    _check_cidrs(lb, values.get("allowed_cidrs", ()))
    lb = written(lb)
    return lb.with_listener(replace(touched(lb, listener), **values))


def delete_listener(lb: LoadBalancer, listener_id: str, deployment: Deployment) -> LoadBalancer:
    """Its default pool stays.

    :raises Conflict: the state of the tree takes no delete.
    """
    listener = listener_of(lb, listener_id)
    lock(lb, deployment)
    may_leave("Listener", listener)
    lb = written(lb)
    return lb.with_listener(leaving(lb, listener))


def listener_of(lb: LoadBalancer, listener_id: str) -> Listener:
    """:raises NotFound: it is not in this tree."""
    listener = lb.listener(listener_id)
    if listener is None:
        raise NotFound("Listener", listener_id)
    return listener


def check_listener_allowed(values: Values, deployment: Deployment) -> None:
    """:raises Invalid: the operator has switched the protocol off."""
    _check_listener_protocol(values, deployment)


def _check_listener_protocol(values: Values, deployment: Deployment) -> None:
    protocol = values["protocol"]
    allowed = {
        Protocol.TERMINATED_HTTPS: deployment.allow_tls_terminated_listeners,
        Protocol.PROMETHEUS: deployment.allow_prometheus_listeners,
    }
    if not allowed.get(protocol, True):
        raise not_allowed("protocol", protocol)


def not_allowed(option: str, value: str) -> Invalid:
    """The operator has switched something off."""
    return Invalid(f"The selected {option} is not allowed in this deployment: {value}")


def _check_default_pool(lb: LoadBalancer, protocol: Protocol, pool_id: str | None) -> None:
    if pool_id is None:
        return
    if protocol is Protocol.PROMETHEUS:
        raise childless(protocol)
    check_target(lb, protocol, pool_id)


def check_target(lb: LoadBalancer, protocol: Protocol, pool_id: str) -> None:
    """:raises RequestError: a listener of that protocol cannot send traffic to the pool."""
    pool = lb.pool(pool_id)
    if pool is None or pool.leaving:
        raise NotFound("Pool", pool_id)
    check_pair(protocol, pool.protocol)


def childless(protocol: Protocol) -> Invalid:
    """The listener answers by itself: it sends no traffic anywhere."""
    return invalid(f"Listeners of protocol {protocol} can have no children: no default pool, no L7 policies.")


def check_pair(listener: Protocol, pool: Protocol) -> None:
    """:raises Invalid: a listener of one protocol cannot use a pool of the other."""
    if listener is Protocol.PROMETHEUS:
        raise childless(listener)
    if pool not in protocols.POOLS_OF_LISTENER[listener]:
        raise invalid(f"The pool protocol '{pool}' is invalid while the listener protocol is '{listener}'.")


def _check_headers(protocol: Protocol, headers: Mapping[str, str]) -> None:
    if not headers:
        return
    if protocol in protocols.DATAGRAMS:
        raise invalid(f"{protocol} listeners have no TLS and no header insertion.")
    allowed = protocols.HEADERS_OF_LISTENER.get(protocol)
    if allowed is None:
        raise invalid(f"insert-headers is not valid for protocol {protocol}.")
    unknown = sorted(set(headers) - protocols.HEADERS - protocols.TLS_HEADERS)
    if unknown:
        raise Invalid(f"{', '.join(unknown)} is not a valid option for insert_headers")
    refused = sorted(set(headers) - allowed)
    if refused:
        raise Invalid(
            f"{', '.join(refused)} is not a valid option for insert_headers of a listener of protocol"
            f" {protocol}: it needs TERMINATED_HTTPS"
        )


def _check_port(lb: LoadBalancer, listener: Listener) -> None:
    for other in lb.listeners:
        if (
            not other.leaving
            and other.protocol_port == listener.protocol_port
            and protocols.family(other.protocol) == protocols.family(listener.protocol)
        ):
            raise Conflict(
                "Another Listener on this Load Balancer is already using protocol"
                f" {other.protocol} and protocol_port {other.protocol_port}"
            )


def _check_cidrs(lb: LoadBalancer, cidrs: Sequence[str]) -> None:
    if not cidrs:
        return
    versions = {ip_address(address).version for address in lb.vip_addresses}
    for cidr in cidrs:
        if ip_network(cidr).version not in versions:
            raise invalid(
                f"allowed_cidrs {cidr} has another IP version than every VIP: {', '.join(lb.vip_addresses)}"
            )


# Pools


def create_pool(
    lb: LoadBalancer, values: Values, births: Births, deployment: Deployment, *, listener_id: str | None
) -> tuple[LoadBalancer, Pool]:
    """A pool, as the default pool of a listener if one is named.

    :raises RequestError: a rule of contract api.md section 8 is broken.
    """
    listener = None
    if listener_id is not None:
        listener = lb.listener(listener_id)
        if listener is None or listener.leaving:
            raise NotFound("Listener", listener_id)
        check_pair(listener.protocol, values["protocol"])
        if listener.default_pool_id:
            raise Conflict("This listener already has a default pool")
    lock(lb, deployment)
    lb = written(lb)
    pool = new_pool(lb, values, births)
    lb = lb.with_pool(pool)
    if listener:
        lb = lb.with_listener(replace(touched(lb, listener), default_pool_id=pool.id))
    return lb, pool


def new_pool(lb: LoadBalancer, values: Values, births: Births) -> Pool:
    """A pool without members that fits into the tree, which it is not part of yet."""
    persistence = _persistence(values["protocol"], values.get("session_persistence"), None)
    return Pool(**born(lb, births), **dict(values) | {"session_persistence": persistence})


def update_pool(lb: LoadBalancer, pool_id: str, values: Values, deployment: Deployment) -> LoadBalancer:
    """:raises RequestError: a rule of contract api.md section 8 is broken."""
    pool = pool_of(lb, pool_id)
    lock(lb, deployment)
    stays("Pool", pool)
    changes = dict(values)
    if "session_persistence" in changes:
        changes["session_persistence"] = _persistence(
            pool.protocol, changes["session_persistence"], pool.session_persistence
        )
    lb = written(lb)
    lb = lb.with_pool(replace(touched(lb, pool), **changes))
    return _touched_listeners(lb, pool_id)


def delete_pool(lb: LoadBalancer, pool_id: str, deployment: Deployment) -> LoadBalancer:
    """Members and monitor go with it; listeners lose it as their default pool at once.

    :raises Conflict: the state of the tree takes no delete, or a policy redirects to it.
    """
    pool = pool_of(lb, pool_id)
    lock(lb, deployment)
    may_leave("Pool", pool)
    _check_unreferenced(lb, pool)
    lb = written(lb)
    for listener in lb.listeners:
        if listener.default_pool_id == pool_id:
            lb = lb.with_listener(replace(touched(lb, listener), default_pool_id=None))
    return lb.with_pool(leaving(lb, pool))


def _check_unreferenced(lb: LoadBalancer, pool: Pool) -> None:
    for listener in lb.listeners:
        for policy in listener.l7_policies:
            if policy.redirect_pool_id == pool.id and not (policy.leaving or listener.leaving):
                raise Conflict(f"Pool {pool.id} is in use by L7 policy {policy.id}")


def pool_of(lb: LoadBalancer, pool_id: str) -> Pool:
    """:raises NotFound: it is not in this tree."""
    pool = lb.pool(pool_id)
    if pool is None:
        raise NotFound("Pool", pool_id)
    return pool


_COOKIE_NAME_REFUSED: Final = frozenset('"(),/:;<=>?@[\\]{} \x7f') | {chr(code) for code in range(0x20)}


def _persistence(
    protocol: Protocol, values: Values | None, stored: SessionPersistence | None
) -> SessionPersistence | None:
    if values is None:
        return None
    type_ = values.get("type") or (stored.type if stored else None)
    if type_ is None:
        raise invalid("session_persistence needs a type.")
    persistence = SessionPersistence(**dict(values) | {"type": type_})
    _check_cookie(persistence)
    _check_datagram_persistence(protocol, persistence)
    return persistence


def _check_cookie(persistence: SessionPersistence) -> None:
    cookie = persistence.cookie_name
    if cookie is not None and persistence.type is not PersistenceType.APP_COOKIE:
        raise invalid(f"cookie_name needs session persistence of type APP_COOKIE, not {persistence.type}.")
    if cookie is None and persistence.type is PersistenceType.APP_COOKIE:
        raise invalid("Session persistence of type APP_COOKIE needs a cookie_name.")
    if cookie and _COOKIE_NAME_REFUSED & set(cookie):
        raise invalid("cookie_name has characters that the name of a cookie cannot have.")


def _check_datagram_persistence(protocol: Protocol, persistence: SessionPersistence) -> None:
    if protocol in protocols.DATAGRAMS:
        if persistence.type is not PersistenceType.SOURCE_IP:
            raise invalid(f"Session persistence of type {persistence.type} is not for UDP and SCTP pools.")
    elif persistence.persistence_timeout is not None or persistence.persistence_granularity is not None:
        raise invalid("persistence_timeout and persistence_granularity are for UDP and SCTP pools only.")


# Members


def create_member(
    lb: LoadBalancer, pool_id: str, values: Values, births: Births, deployment: Deployment
) -> tuple[LoadBalancer, Member]:
    """:raises RequestError: a rule of contract api.md section 9 is broken."""
    check_members([values], deployment)
    pool = pool_of(lb, pool_id)
    _lock_pool(lb, pool, deployment)
    lb = written(lb)
    (member,) = new_members(lb, pool, [values], births)
    return _touched_pool(lb, replace(pool, members=(*pool.members, member))), member


def check_members(items: Iterable[Values], deployment: Deployment) -> None:
    """:raises Invalid: an address is reserved."""
    reserved = {_exploded(address) for address in deployment.reserved_ips}
    for values in items:
        if _exploded(values["address"]) in reserved:
            raise Invalid(f"{values['address']} is not a valid option for member address")


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
    _lock_pool(lb, pool, deployment)
    stays("Member", member)
    lb = written(lb)
    return _touched_pool(lb, _with_member(pool, replace(touched(lb, member), **values)))


def delete_member(lb: LoadBalancer, pool_id: str, member_id: str, deployment: Deployment) -> LoadBalancer:
    """:raises Conflict: the state of the tree takes no delete."""
    pool = pool_of(lb, pool_id)
    member = member_of(pool, member_id)
    _lock_pool(lb, pool, deployment)
    may_leave("Member", member)
    lb = written(lb)
    return _touched_pool(lb, _with_member(pool, leaving(lb, member)))


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
    _lock_pool(lb, pool, deployment)
    present = {(one.address, one.protocol_port): one for one in pool.members if not one.leaving}
    new = [item.values for item in items if _place(item) not in present]
    matching: dict[str, BatchItem] = {}
    for item in items:
        member = present.get(_place(item))
        if member is None:
            continue
        if member.id in matching:
            raise invalid(f"Member {member.address} port {member.protocol_port} is listed twice.")
        matching[member.id] = item
    check_members(new, deployment)
    gone = {one.id for one in present.values() if one.id not in matching and not additive_only}
    if not (new or matching or gone):
        return lb
    lb = written(lb)
    added = new_members(lb, pool, new, births)
    kept = []
    for member in pool.members:
        if member.id in matching:
            kept.append(replace(touched(lb, member), **_batch_changes(matching[member.id])))
        else:
            kept.append(leaving(lb, member) if member.id in gone else member)
    return _touched_pool(lb, replace(pool, members=(*kept, *added)))


def _place(item: BatchItem) -> tuple[str, int]:
    return item.values["address"], item.values["protocol_port"]


def _batch_changes(item: BatchItem) -> dict[str, Any]:
    """What is not written goes back to its default, except for a few that stay."""
    stay = _KEPT_IN_BATCH - item.written
    return {name: value for name, value in item.values.items() if name not in stay}


# Health monitors


def create_health_monitor(
    lb: LoadBalancer, pool_id: str, values: Values, births: Births, deployment: Deployment
) -> tuple[LoadBalancer, HealthMonitor]:
    """:raises RequestError: a rule of contract api.md section 10 is broken."""
    pool = pool_of(lb, pool_id)
    check_monitor_allowed(values, deployment)
    _lock_pool(lb, pool, deployment)
    lb = written(lb)
    monitor = new_health_monitor(lb, pool, values, births)
    return _touched_pool(lb, watched(replace(pool, health_monitor=monitor))), monitor


def check_monitor_allowed(values: Values, deployment: Deployment) -> None:
    """:raises Invalid: the operator has switched the type off, or the delay is too short for him."""
    if values["type"] is MonitorType.PING and not deployment.allow_ping_health_monitors:
        raise not_allowed("type", values["type"])
    _check_delay(values["type"], values["delay"], deployment)


_HTTP_DEFAULTS: Final[Values] = {"http_method": "GET", "url_path": "/", "expected_codes": "200"}


def new_health_monitor(lb: LoadBalancer, pool: Pool, values: Values, births: Births) -> HealthMonitor:
    """A monitor that fits the pool, which does not have it yet.

    :raises Conflict: the pool has one that stays.
    """
    type_: MonitorType = values["type"]
    allowed = protocols.monitors_of_pool(pool.protocol)
    if type_ not in allowed:
        raise invalid(
            f"A health monitor of type {type_} is not for pools of protocol {pool.protocol}; they take"
            f" {', '.join(allowed)}."
        )
    if pool.health_monitor and not pool.health_monitor.leaving:
        raise Conflict("This pool already has a health monitor")
    completed = dict(values)
    for name, default in _HTTP_DEFAULTS.items():
        if type_ in protocols.HTTP_MONITORS:
            completed[name] = default if values.get(name) is None else values[name]
        elif values.get(name) is not None:
            raise _only_http(name, type_)
    monitor = HealthMonitor(**born(lb, births), **completed)
    _check_host(monitor)
    return monitor


def update_health_monitor(
    lb: LoadBalancer, monitor_id: str, values: Values, deployment: Deployment
) -> LoadBalancer:
    """:raises RequestError: a rule of contract api.md section 10 is broken."""
    pool, monitor = monitor_of(lb, monitor_id)
    for name in _HTTP_DEFAULTS:
        if name in values and monitor.type not in protocols.HTTP_MONITORS:
            raise _only_http(name, monitor.type)
    if "delay" in values:
        _check_delay(monitor.type, values["delay"], deployment)
    _lock_pool(lb, pool, deployment)
    stays("Health Monitor", monitor)
    lb = written(lb)
    monitor = replace(touched(lb, monitor), **values)
    if {"domain_name", "http_version"} & set(values):
        _check_host(monitor)
    return _touched_pool(lb, replace(pool, health_monitor=monitor))


def delete_health_monitor(lb: LoadBalancer, monitor_id: str, deployment: Deployment) -> LoadBalancer:
    """The pool's members are not watched any more.

    :raises Conflict: the state of the tree takes no delete.
    """
    pool, monitor = monitor_of(lb, monitor_id)
    _lock_pool(lb, pool, deployment)
    may_leave("Health Monitor", monitor)
    lb = written(lb)
    pool = replace(pool, health_monitor=leaving(lb, monitor))
    return _touched_pool(lb, _members_become(pool, frozenset(O), O.NO_MONITOR))


def monitor_of(lb: LoadBalancer, monitor_id: str) -> tuple[Pool, HealthMonitor]:
    """The monitor and its pool, in a tree that is known to have it.

    :raises Conflict: another one has taken its place: it is on its way out.
    """
    for pool in lb.pools:
        if pool.health_monitor and pool.health_monitor.id == monitor_id:
            return pool, pool.health_monitor
    raise immutable("Health Monitor", monitor_id)


def watched(pool: Pool) -> Pool:
    """With a monitor, members are OFFLINE until they have answered it."""
    return _members_become(pool, frozenset({O.NO_MONITOR}), O.OFFLINE)


def _members_become(pool: Pool, before: frozenset[O], after: O) -> Pool:
    members = tuple(
        replace(one, operating_status=after) if one.operating_status in before else one
        for one in pool.members
    )
    return replace(pool, members=members)


def _check_delay(type_: MonitorType, delay: int, deployment: Deployment) -> None:
    if type_ is MonitorType.UDP_CONNECT and delay < deployment.udp_connect_min_interval_s:
        raise invalid(
            f"The delay of a UDP-CONNECT health monitor must be at least"
            f" {deployment.udp_connect_min_interval_s} seconds."
        )


def _only_http(name: str, type_: MonitorType) -> Invalid:
    return Invalid(f"{name} is not a valid option for health monitors of type {type_}")


def _check_host(monitor: HealthMonitor) -> None:
    if monitor.domain_name and monitor.http_version != 1.1:
        raise invalid("domain_name needs http_version 1.1.")
