# SPDX-License-Identifier: Apache-2.0
"""Rules that no request reaches yet, since amphorae of this release refuse what they are about."""

from datetime import datetime
from itertools import count
from typing import Any

import pytest

from octavia.domain import protocols, rules
from octavia.domain.errors import Conflict, Invalid
from octavia.domain.rules import Births, Deployment
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import (
    Algorithm,
    HealthMonitor,
    LoadBalancer,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    Vip,
)

LB = LoadBalancer(
    id="lb", generation=5, provisioning_status=ProvisioningStatus.ACTIVE, vip=Vip(ip_address="192.0.2.1")
)
ALLOWED = Deployment()


def births() -> Births:
    numbers = count(1)
    return Births(datetime(2026, 5, 4), lambda: str(next(numbers)))


def with_listener(lb: LoadBalancer, protocol: Protocol, port: int = 80, **values: Any) -> LoadBalancer:
    body = {"protocol": protocol, "protocol_port": port} | values
    return rules.create_listener(lb, body, Births(datetime(2026, 5, 4), lambda: protocol), ALLOWED)[0]


def with_pool(protocol: Protocol, **values: Any) -> tuple[LoadBalancer, Pool]:
    body = {"protocol": protocol, "lb_algorithm": Algorithm.ROUND_ROBIN} | values
    return rules.create_pool(LB, body, births(), ALLOWED, listener_id=None)


def with_monitor(
    pool_protocol: Protocol, type_: MonitorType, deployment: Deployment = ALLOWED, **values: Any
) -> HealthMonitor:
    lb, pool = with_pool(pool_protocol)
    body = {"type": type_, "delay": 5, "timeout": 1, "max_retries": 1} | values
    return rules.create_health_monitor(lb, pool.id, body, births(), deployment)[1]


def test_streams_datagrams_and_sctp_share_a_port() -> None:
    lb = with_listener(LB, Protocol.HTTP)
    lb = with_listener(lb, Protocol.UDP)
    lb = with_listener(lb, Protocol.SCTP)
    for protocol in (Protocol.TCP, Protocol.UDP, Protocol.SCTP, Protocol.PROMETHEUS):
        with pytest.raises(Conflict, match="protocol_port 80"):
            with_listener(lb, protocol)
    assert [one.protocol for one in lb.listeners] == ["HTTP", "UDP", "SCTP"]


@pytest.mark.parametrize("protocol", sorted(protocols.DATAGRAMS))
def test_datagrams_have_no_headers(protocol: Protocol) -> None:
    with pytest.raises(Invalid, match=f"{protocol} listeners have no TLS"):
        with_listener(LB, protocol, insert_headers={"X-Forwarded-For": "true"})


@pytest.mark.parametrize("protocol", sorted(protocols.DATAGRAMS))
def test_datagrams_stick_to_a_member_by_address_alone(protocol: Protocol) -> None:
    sticky = {"type": PersistenceType.SOURCE_IP, "persistence_timeout": 60}
    sticky["persistence_granularity"] = "255.255.0.0"
    _, pool = with_pool(protocol, session_persistence=sticky)
    assert pool.session_persistence
    assert pool.session_persistence.persistence_timeout == 60
    for values in (
        {"type": PersistenceType.HTTP_COOKIE},
        {"type": PersistenceType.APP_COOKIE, "cookie_name": "x"},
    ):
        with pytest.raises(Invalid, match="UDP and SCTP"):
            with_pool(protocol, session_persistence=values)


@pytest.mark.parametrize("type_", list(MonitorType))
@pytest.mark.parametrize("protocol", sorted(protocols.DATAGRAMS))
def test_monitors_of_datagrams(protocol: Protocol, type_: MonitorType) -> None:
    if type_ in (MonitorType.UDP_CONNECT, MonitorType.SCTP, MonitorType.TCP, MonitorType.HTTP):
        assert with_monitor(protocol, type_).type is type_
    else:
        with pytest.raises(Invalid, match=f"{protocol}.*UDP-CONNECT, SCTP, TCP, HTTP"):
            with_monitor(protocol, type_)


def test_udp_connect_needs_time_between_two_probes() -> None:
    assert with_monitor(Protocol.UDP, MonitorType.UDP_CONNECT, delay=3)
    with pytest.raises(Invalid, match="at least 3 seconds"):
        with_monitor(Protocol.UDP, MonitorType.UDP_CONNECT, delay=2)
    unbound = Deployment(udp_connect_min_interval_s=-1)
    assert with_monitor(Protocol.UDP, MonitorType.UDP_CONNECT, unbound, delay=0)
    lb, pool = with_pool(Protocol.UDP)
    body = {"type": MonitorType.UDP_CONNECT, "delay": 3, "timeout": 1, "max_retries": 1}
    lb, monitor = rules.create_health_monitor(lb, pool.id, body, births(), ALLOWED)
    with pytest.raises(Invalid, match="at least 3 seconds"):
        rules.update_health_monitor(lb, monitor.id, {"delay": 1}, ALLOWED)


def test_prometheus_has_no_children() -> None:
    lb, pool = with_pool(Protocol.HTTP)
    for pool_id in (pool.id, "nope"):
        with pytest.raises(Invalid, match="PROMETHEUS can have no children"):
            with_listener(lb, Protocol.PROMETHEUS, default_pool_id=pool_id)
    lb = with_listener(lb, Protocol.PROMETHEUS)
    body = {"protocol": Protocol.HTTP, "lb_algorithm": Algorithm.ROUND_ROBIN}
    with pytest.raises(Invalid, match="PROMETHEUS can have no children"):
        rules.create_pool(lb, body, births(), ALLOWED, listener_id=lb.listeners[0].id)


def test_a_rule_never_changes_the_tree_that_it_was_given() -> None:
    lb, pool = with_pool(Protocol.HTTP)
    before = repr(lb)
    after, _ = rules.create_member(
        lb, pool.id, {"address": "192.0.2.9", "protocol_port": 80}, births(), ALLOWED
    )
    assert repr(lb) == before
    assert after.generation == lb.generation + 1


def test_births_are_in_order() -> None:
    made = births()
    first, second = made.next(), made.next()
    assert first["created_at"] < second["created_at"]
    assert (first["id"], second["id"]) == ("1", "2")
