# SPDX-License-Identifier: Apache-2.0
"""UDP and SCTP listeners and pools of the amphora provider (contract: api.md sections 7 to 10, 22)."""

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


def sctp(api: Api, lb: Any) -> Any:
    return api.pool(lb, protocol="SCTP", session_persistence=PERSISTENCE)


def test_an_sctp_listener_takes_an_sctp_pool_beside_tcp_and_udp_on_its_port(api: Api, lb: Any) -> None:
    for protocol in ("TCP", "UDP"):
        api.listener(lb, protocol=protocol, protocol_port=36412)
    pool = sctp(api, lb)
    assert (pool["protocol"], pool["session_persistence"]) == ("SCTP", PERSISTENCE | {"cookie_name": None})
    listener = api.listener(
        lb, protocol="SCTP", protocol_port=36412, default_pool_id=pool["id"], allowed_cidrs=["198.18.0.0/15"]
    )
    assert (listener["protocol"], listener["default_pool_id"]) == ("SCTP", pool["id"])
    assert api.member(pool, protocol_port=36412)["operating_status"] == "NO_MONITOR"
    monitor = api.monitor(pool, type="SCTP")
    assert (monitor["type"], monitor["http_method"], monitor["expected_codes"]) == ("SCTP", None, None)
    body = {"loadbalancer_id": lb["id"], "protocol": "SCTP", "protocol_port": 36412}
    assert "SCTP" in api.fault("POST", "/listeners", {"listener": body}, code=409)


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
@pytest.mark.parametrize("type_", ["UDP-CONNECT", "SCTP", "TCP", "HTTP"])
def test_each_monitor_of_datagrams_goes_with_both_protocols(
    api: Api, lb: Any, protocol: str, type_: str
) -> None:
    pool = api.pool(lb, protocol=protocol)
    assert api.monitor(pool, type=type_)["type"] == type_


@pytest.mark.parametrize("type_", ["PING", "HTTPS", "TLS-HELLO"])
def test_other_monitors_are_not_for_sctp(api: Api, lb: Any, type_: str) -> None:
    body = {"pool_id": sctp(api, lb)["id"], "type": type_, "delay": 5, "timeout": 3, "max_retries": 2}
    fault = api.fault("POST", "/healthmonitors", {"healthmonitor": body}, code=400)
    assert "SCTP" in fault
    assert "UDP-CONNECT" in fault


@pytest.mark.parametrize("other", ["TCP", "UDP", "HTTP"])
def test_only_sctp_pools_go_with_sctp_listeners(api: Api, lb: Any, other: str) -> None:
    for protocol, pool in (("SCTP", api.pool(lb, protocol=other)), (other, sctp(api, lb))):
        body = {"loadbalancer_id": lb["id"], "protocol": protocol, "protocol_port": 36412}
        fault = api.fault(
            "POST", "/listeners", {"listener": body | {"default_pool_id": pool["id"]}}, code=400
        )
        assert "SCTP" in fault
        assert other in fault


@pytest.mark.parametrize(
    "persistence",
    [
        {"type": "HTTP_COOKIE"},
        {"type": "APP_COOKIE", "cookie_name": "c"},
    ],
)
def test_sctp_clients_stick_by_their_address_alone(api: Api, lb: Any, persistence: dict[str, str]) -> None:
    body = {
        "loadbalancer_id": lb["id"],
        "protocol": "SCTP",
        "lb_algorithm": "ROUND_ROBIN",
        "session_persistence": persistence,
    }
    assert "SCTP" in api.fault("POST", "/pools", {"pool": body}, code=400)


@pytest.mark.parametrize(
    "option",
    [
        {"insert_headers": {"X-Forwarded-For": "true"}},
        {"default_tls_container_ref": "http://127.0.0.1/v1/secrets/x"},
        {"client_ca_tls_container_ref": "http://127.0.0.1/v1/secrets/x"},
    ],
)
def test_sctp_listeners_have_neither_headers_nor_tls(api: Api, lb: Any, option: dict[str, Any]) -> None:
    body = {"loadbalancer_id": lb["id"], "protocol": "SCTP", "protocol_port": 36412}
    assert "SCTP" in api.fault("POST", "/listeners", {"listener": body | option}, code=400)
    listener = api.listener(lb, **body)
    fault = api.fault("PUT", f"/listeners/{listener['id']}", {"listener": option}, code=400)
    assert "SCTP" in fault


def test_an_sctp_pool_balanced_by_port_is_501(api: Api, lb: Any) -> None:
    body = {"loadbalancer_id": lb["id"], "protocol": "SCTP", "lb_algorithm": "SOURCE_IP_PORT"}
    assert "SOURCE_IP_PORT" in api.fault("POST", "/pools", {"pool": body}, code=501)


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


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
def test_a_member_of_another_ip_version_is_501_once_a_listener_uses_the_pool(
    api: Api, lb: Any, protocol: str
) -> None:
    pool = api.pool(lb, protocol=protocol)
    six = {"address": "2001:db8::5", "protocol_port": 53}
    api.member(pool, **six)
    body = {"loadbalancer_id": lb["id"], "protocol": protocol, "protocol_port": 53}
    fault = api.fault("POST", "/listeners", {"listener": body | {"default_pool_id": pool["id"]}}, code=501)
    assert "2001:db8::5" in fault
    used = api.pool(lb, protocol=protocol, listener_id=api.listener(lb, **body)["id"])
    path = f"/pools/{used['id']}/members"
    assert "mixing versions" in api.fault("POST", path, {"member": six}, code=501)
    assert "mixing versions" in api.fault("PUT", path, {"members": [six]}, code=501)
    assert api.get(path)["members"] == []
    api.member(used, protocol_port=53)


@pytest.mark.parametrize("protocol", ["UDP", "SCTP"])
def test_l7_policies_are_not_for_datagrams(api: Api, lb: Any, protocol: str) -> None:
    listener = api.listener(lb, protocol=protocol, protocol_port=53)
    body = {"listener_id": listener["id"], "action": "REJECT"}
    assert protocol in api.fault("POST", "/l7policies", {"l7policy": body}, code=501)
