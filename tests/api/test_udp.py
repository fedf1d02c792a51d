# SPDX-License-Identifier: Apache-2.0
"""UDP listeners and pools of the amphora provider (contract: api.md sections 7.4, 8.4, 10.4 and 22)."""

from typing import Any

import pytest

from tests.api.conftest import Api

PERSISTENCE = {"type": "SOURCE_IP", "persistence_timeout": 60, "persistence_granularity": "255.255.0.0"}


@pytest.fixture
def lb(api: Api) -> Any:
    return api.load_balancer()


def udp(api: Api, lb: Any) -> Any:
    return api.pool(lb, protocol="UDP", session_persistence=PERSISTENCE)


def test_a_udp_listener_takes_a_udp_pool_with_members_and_a_monitor(api: Api, lb: Any) -> None:
    api.listener(lb, protocol="TCP", protocol_port=53)
    pool = udp(api, lb)
    listener = api.listener(lb, protocol="UDP", protocol_port=53, default_pool_id=pool["id"])
    assert (listener["protocol"], listener["default_pool_id"]) == ("UDP", pool["id"])
    assert pool["session_persistence"] == PERSISTENCE | {"cookie_name": None}
    assert api.member(pool, protocol_port=53)["operating_status"] == "NO_MONITOR"
    monitor = api.monitor(pool, type="UDP-CONNECT")
    assert (monitor["type"], monitor["http_method"], monitor["expected_codes"]) == ("UDP-CONNECT", None, None)


@pytest.mark.parametrize("type_", ["TCP", "HTTP"])
def test_members_of_udp_pools_can_be_asked_over_tcp(api: Api, lb: Any, type_: str) -> None:
    assert api.monitor(udp(api, lb), type=type_)["type"] == type_


@pytest.mark.parametrize("type_", ["PING", "HTTPS", "TLS-HELLO"])
def test_other_monitors_are_not_for_udp(api: Api, lb: Any, type_: str) -> None:
    body = {"pool_id": udp(api, lb)["id"], "type": type_, "delay": 5, "timeout": 3, "max_retries": 2}
    fault = api.fault("POST", "/healthmonitors", {"healthmonitor": body}, code=400)
    assert "UDP" in fault
    assert "UDP-CONNECT" in fault


def test_asking_members_by_sctp_is_501(api: Api, lb: Any) -> None:
    body = {"pool_id": udp(api, lb)["id"], "type": "SCTP", "delay": 5, "timeout": 3, "max_retries": 2}
    assert "SCTP" in api.fault("POST", "/healthmonitors", {"healthmonitor": body}, code=501)
    assert api.get("/healthmonitors")["healthmonitors"] == []


def test_only_udp_pools_go_with_udp_listeners(api: Api, lb: Any) -> None:
    tcp, udp_pool = api.pool(lb, protocol="TCP"), udp(api, lb)
    for protocol, pool in (("UDP", tcp), ("TCP", udp_pool)):
        body = {"loadbalancer_id": lb["id"], "protocol": protocol, "protocol_port": 53}
        fault = api.fault(
            "POST", "/listeners", {"listener": body | {"default_pool_id": pool["id"]}}, code=400
        )
        assert "UDP" in fault
        assert "TCP" in fault


def test_a_second_udp_listener_on_the_port_is_409(api: Api, lb: Any) -> None:
    api.listener(lb, protocol="UDP", protocol_port=53)
    body = {"loadbalancer_id": lb["id"], "protocol": "UDP", "protocol_port": 53}
    assert "UDP" in api.fault("POST", "/listeners", {"listener": body}, code=409)


def test_a_member_of_another_ip_version_is_501_once_a_listener_uses_the_pool(api: Api, lb: Any) -> None:
    pool = udp(api, lb)
    six = {"address": "2001:db8::5", "protocol_port": 53}
    api.member(pool, **six)
    body = {"loadbalancer_id": lb["id"], "protocol": "UDP", "protocol_port": 53}
    fault = api.fault("POST", "/listeners", {"listener": body | {"default_pool_id": pool["id"]}}, code=501)
    assert "2001:db8::5" in fault
    used = api.pool(lb, protocol="UDP", listener_id=api.listener(lb, **body)["id"])
    path = f"/pools/{used['id']}/members"
    assert "mixing versions" in api.fault("POST", path, {"member": six}, code=501)
    assert "mixing versions" in api.fault("PUT", path, {"members": [six]}, code=501)
    assert api.get(path)["members"] == []
    api.member(used, protocol_port=53)


def test_l7_policies_are_not_for_udp(api: Api, lb: Any) -> None:
    listener = api.listener(lb, protocol="UDP", protocol_port=53)
    body = {"listener_id": listener["id"], "action": "REJECT"}
    assert "UDP" in api.fault("POST", "/l7policies", {"l7policy": body}, code=501)
