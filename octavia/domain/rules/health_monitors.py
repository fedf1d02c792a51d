# SPDX-License-Identifier: Apache-2.0
"""Health monitors of pools (contract: api.md section 10)."""

from dataclasses import replace
from typing import Final

from octavia.domain import protocols
from octavia.domain.errors import Conflict, Invalid
from octavia.domain.rules.ground import Births, Deployment, Values, invalid, not_allowed
from octavia.domain.rules.marks import (
    born,
    immutable,
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
from octavia.domain.tree import HealthMonitor, LoadBalancer, MonitorType, Pool


def create_health_monitor(
    lb: LoadBalancer, pool_id: str, values: Values, births: Births, deployment: Deployment
) -> tuple[LoadBalancer, HealthMonitor]:
    """:raises RequestError: a rule of contract api.md section 10 is broken."""
    pool = pool_of(lb, pool_id)
    check_monitor_allowed(values, deployment)
    lock_pool(lb, pool, deployment)
    lb = written(lb)
    monitor = new_health_monitor(lb, pool, values, births)
    return touched_pool(lb, watched(replace(pool, health_monitor=monitor))), monitor


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
    _check_codes(monitor)
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
    lock_pool(lb, pool, deployment)
    stays("Health Monitor", monitor)
    lb = written(lb)
    monitor = replace(touched(lb, monitor), **values)
    if {"domain_name", "http_version"} & set(values):
        _check_host(monitor)
    if "expected_codes" in values:
        _check_codes(monitor)
    return touched_pool(lb, replace(pool, health_monitor=monitor))


def delete_health_monitor(lb: LoadBalancer, monitor_id: str, deployment: Deployment) -> LoadBalancer:
    """The pool's members are not watched any more.

    :raises Conflict: the state of the tree takes no delete.
    """
    pool, monitor = monitor_of(lb, monitor_id)
    lock_pool(lb, pool, deployment)
    may_leave("Health Monitor", monitor)
    lb = written(lb)
    pool = replace(pool, health_monitor=leaving(lb, monitor))
    return touched_pool(lb, _members_become(pool, frozenset(O), O.NO_MONITOR))


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


def _check_codes(monitor: HealthMonitor) -> None:
    first, _, last = (monitor.expected_codes or "").partition("-")
    if last and first > last:
        raise invalid("expected_codes should be a range from the lower code to the higher one.")
