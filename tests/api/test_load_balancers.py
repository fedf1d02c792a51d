# SPDX-License-Identifier: Apache-2.0
"""Creating, changing and deleting load balancers; where their VIPs go."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from octavia.domain.errors import Transient
from octavia.domain.tree import Topology
from tests.api.conftest import Api

UNKNOWN = "00000000-0000-0000-0000-00000000dead"


def test_a_load_balancer_is_stored_with_its_work_and_rings_once(api: Api) -> None:
    lb = api.load_balancer(name="one", description="d", tags=["t"])
    assert (lb["provisioning_status"], lb["operating_status"]) == ("PENDING_CREATE", "OFFLINE")
    (row,) = api.rows(sa.select(t.load_balancer))
    assert (row["generation"], row["observed_generation"], row["topology"]) == (1, 0, "SINGLE")
    assert [one["load_balancer_id"] for one in api.rows(sa.select(t.work))] == [lb["id"]]
    assert (api.rows(sa.select(t.reservation)), api.doorbell.rings) == ([], 1)
    assert api.rows(sa.select(t.vrrp_group)) == []


def test_a_pair_gets_its_vrrp_group(make_api: Callable[..., Api]) -> None:
    api = make_api(loadbalancer_topology=Topology.ACTIVE_STANDBY, vrrp_version=3, vrrp_advert_int=0.25)
    lb = api.load_balancer()
    (group,) = api.rows(sa.select(t.vrrp_group))
    assert group["vrrp_group_name"] == lb["id"].replace("-", "")
    assert (group["vrrp_version"], group["advert_int"]) == (3, 0.25)
    assert len(group["vrrp_auth_pass"]) == 7
    assert int(group["vrrp_auth_pass"], 16) >= 0


# Choosing the VIP


def vip(lb: Any) -> tuple[str, str, str]:
    return lb["vip_network_id"], lb["vip_subnet_id"], lb["vip_address"]


def network_of(api: Api, name: str = "demo") -> str:
    return next(one.id for one in api.network.list_networks() if one.name == name)


def subnet_of(api: Api, name: str) -> str:
    return next(one.id for one in api.network.list_subnets() if one.name == name)


def refused(api: Api, code: int = 400, **values: Any) -> str:
    before = api.network.list_ports()
    fault = api.fault("POST", "/loadbalancers", {"loadbalancer": values}, code=code)
    assert (api.rows(sa.select(t.load_balancer)), api.rows(sa.select(t.reservation))) == ([], [])
    assert api.network.list_ports() == before
    assert api.doorbell.rings == 0
    return fault


def test_a_vip_needs_a_source(api: Api, make_api: Callable[..., Api]) -> None:
    assert refused(api) == (
        "Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id."
    )
    assert "one of: vip_port_id, vip_network_id." in refused(make_api(allow_vip_subnet_id=False))


@pytest.mark.parametrize("source", ["vip_port_id", "vip_network_id", "vip_subnet_id"])
def test_sources_that_the_operator_forbids_are_named(make_api: Callable[..., Api], source: str) -> None:
    values: dict[str, Any] = {source: UNKNOWN}
    assert source in refused(make_api(**{f"allow_{source}": False}), **values)


def test_a_subnet_decides_its_network(api: Api) -> None:
    assert vip(api.load_balancer()) == (network_of(api), api.subnet, "198.18.64.2")


def test_an_address_can_be_asked_for(api: Api) -> None:
    assert api.load_balancer(vip_address="198.18.64.77")["vip_address"] == "198.18.64.77"


def test_a_network_decides_its_first_ipv4_subnet(api: Api) -> None:
    lb = api.load_balancer(vip_subnet_id=None, vip_network_id=network_of(api))
    assert vip(lb) == (network_of(api), api.subnet, "198.18.64.2")


def test_an_address_chooses_the_subnet_of_a_network(api: Api) -> None:
    address = "fd00:6f63:7461:64::99"
    lb = api.load_balancer(vip_subnet_id=None, vip_network_id=network_of(api), vip_address=address)
    assert (lb["vip_subnet_id"], lb["vip_address"]) == (subnet_of(api, "demo-6"), address)


def test_a_port_wins_over_network_and_subnet(api: Api) -> None:
    port = users_port(api)
    other = network_of(api, "members")
    lb = api.load_balancer(vip_port_id=port, vip_network_id=other, vip_subnet_id=None)
    assert (lb["vip_port_id"], lb["vip_network_id"]) == (port, network_of(api))
    lb = api.rows(sa.select(t.vip))[0]
    assert not lb["octavia_owned"]


def users_port(api: Api) -> str:
    """A port that nobody of ours owns, on the demo subnet."""
    return api.network.ensure_port("users", network_of(api), [(api.subnet, None)]).id


def test_unknown_networks_are_told_by_kind(api: Api) -> None:
    assert refused(api, vip_port_id=UNKNOWN) == f"Port {UNKNOWN} not found."
    assert refused(api, vip_network_id=UNKNOWN) == f"Network {UNKNOWN} not found."
    assert refused(api, vip_subnet_id=UNKNOWN) == f"Subnet {UNKNOWN} not found."
    other = api.member_subnet
    fault = refused(api, vip_network_id=network_of(api), vip_subnet_id=other)
    assert fault == f"Subnet {other} not found."
    policy = refused(api, vip_subnet_id=api.subnet, vip_qos_policy_id=UNKNOWN)
    assert policy == f"qos_policy {UNKNOWN} not found."
    groups = refused(api, vip_subnet_id=api.subnet, vip_sg_ids=[UNKNOWN])
    assert groups == f"Security Group {UNKNOWN} not found."


def test_addresses_outside_are_refused(api: Api) -> None:
    assert "outside" in refused(api, vip_subnet_id=api.subnet, vip_address="203.0.113.1")
    assert "No subnet" in refused(api, vip_network_id=network_of(api), vip_address="203.0.113.1")


def test_a_used_address_is_a_conflict(api: Api) -> None:
    api.load_balancer(vip_address="198.18.64.77")
    body = {"loadbalancer": {"vip_subnet_id": api.subnet, "vip_address": "198.18.64.77"}}
    assert "198.18.64.77" in api.fault("POST", "/loadbalancers", body, code=409)
    assert len(api.rows(sa.select(t.load_balancer))) == 1
    assert api.rows(sa.select(t.reservation)) == []


def test_a_used_port_is_refused(api: Api) -> None:
    port = api.load_balancer()["vip_port_id"]
    fault = api.fault("POST", "/loadbalancers", {"loadbalancer": {"vip_port_id": port}}, code=400)
    assert port in fault


def test_a_port_must_have_the_address_or_the_subnet(api: Api) -> None:
    port = users_port(api)
    assert "198.18.64.99" in refused(api, vip_port_id=port, vip_address="198.18.64.99")
    assert api.member_subnet in refused(api, vip_port_id=port, vip_subnet_id=api.member_subnet)


def test_additional_vips_are_on_other_subnets_of_the_same_network(api: Api) -> None:
    six = subnet_of(api, "demo-6")
    lb = api.load_balancer(additional_vips=[{"subnet_id": six}])
    (additional,) = lb["additional_vips"]
    assert list(additional) == ["subnet_id", "ip_address", "port_id"]
    assert (additional["subnet_id"], additional["ip_address"] is None) == (six, False)
    assert api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]["additional_vips"] == [additional]


def test_additional_vips_that_do_not_fit(api: Api) -> None:
    six, four = subnet_of(api, "demo-6"), api.subnet
    cases: list[tuple[list[dict[str, str]], str]] = [
        ([{"subnet_id": four}], "one address a subnet"),
        ([{"subnet_id": six}, {"subnet_id": six}], "one address a subnet"),
        ([{"subnet_id": UNKNOWN}], f"Subnet {UNKNOWN} not found"),
        ([{"subnet_id": api.member_subnet}], "network"),
        ([{"subnet_id": six, "ip_address": "203.0.113.1"}], "outside"),
        ([{"ip_address": "203.0.113.1"}], "Mandatory field missing"),
    ]
    for additional, fault in cases:
        assert fault in refused(api, vip_subnet_id=four, additional_vips=additional)


def test_networks_can_be_allowed_and_denied(make_api: Callable[..., Api]) -> None:
    api = make_api(valid_vip_networks=frozenset({UNKNOWN}))
    assert "does not allow" in refused(api, vip_subnet_id=api.subnet)
    api = make_api(denylist_vip_networks=frozenset({network_of(api).lower()}))
    assert "does not allow" in refused(api, vip_subnet_id=api.subnet)


def test_a_network_that_is_down_is_a_503_and_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any) -> None:
        raise Transient("The network is down")

    with monkeypatch.context() as patch:
        patch.setattr(api.network, "create_vip_port", down)
        assert refused(api, 503, vip_subnet_id=api.subnet) == "The network is down"
    assert api.load_balancer()


def test_a_broken_rule_after_the_port_was_made_frees_it(api: Api) -> None:
    listeners = [{"protocol": "HTTP", "protocol_port": 80}] * 2
    assert "already using" in refused(api, 409, vip_subnet_id=api.subnet, listeners=listeners)


def test_a_commit_that_nobody_heard_of_is_not_undone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks after a commit and the transaction runs again: load balancer and port stay."""
    write, lost = api.database.write, [True]

    def deaf(change: Callable[[sa.Connection], Any]) -> Any:
        found = write(change)
        if api.rows(sa.select(t.load_balancer)) and lost:
            lost.clear()
            return write(change)
        return found

    monkeypatch.setattr(api.database, "write", deaf)
    lb = api.load_balancer()
    assert not lost
    assert [one.id for one in api.network.list_ports()] == [lb["vip_port_id"]]
    assert len(api.rows(sa.select(t.load_balancer))) == 1


def test_providers_are_chosen_by_name(api: Api, make_api: Callable[..., Api]) -> None:
    assert api.load_balancer(provider="octavia")["provider"] == "octavia"
    body = {"loadbalancer": {"vip_subnet_id": api.subnet, "provider": "other"}}
    assert api.fault("POST", "/loadbalancers", body, code=400) == "Provider 'other' is not enabled."
    api = make_api(enabled_provider_drivers={"other": "…"})
    assert api.fault("POST", "/loadbalancers", body, code=501) == "Provider 'other' was not found."


# Deleting, failing over


def test_a_load_balancer_with_children_needs_cascade(api: Api) -> None:
    lb = api.load_balancer()
    api.pool(lb)
    fault = api.fault("DELETE", f"/loadbalancers/{lb['id']}", code=400)
    assert lb["id"] in fault
    assert "has children" in fault
    api.delete(f"/loadbalancers/{lb['id']}?cascade=True")
    tree = api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]
    assert tree["provisioning_status"] == "PENDING_DELETE"
    (pool,) = api.get("/pools")["pools"]
    assert pool["provisioning_status"] == "PENDING_CREATE"
    api.settle()
    api.get(f"/loadbalancers/{lb['id']}", 404)
    assert api.get("/loadbalancers")["loadbalancers"] == []
    api.fault("DELETE", f"/loadbalancers/{lb['id']}", code=404)


@pytest.mark.parametrize(
    ("text", "cascades"), [("true", True), ("1", True), ("no", False), ("perhaps", False)]
)
def test_cascade_is_a_lenient_boolean(api: Api, text: str, cascades: bool) -> None:
    lb = api.load_balancer()
    api.listener(lb)
    api.delete(f"/loadbalancers/{lb['id']}?cascade={text}", 204 if cascades else 400)


def amphora(api: Api, number: int, lb: Any, status: str = "ALLOCATED") -> str:
    identifier = f"00000000-0000-0000-0000-0000000000{number:02}"
    row = {"id": identifier, "load_balancer_id": lb["id"], "status": status, "role": "MASTER"}
    row |= {"created_at": api.clock.now(), "cert_busy": False}
    api.database.write(lambda tx: tx.execute(sa.insert(t.amphora).values(row)))
    return identifier


def test_failover_stamps_the_amphorae_that_are_there(api: Api) -> None:
    lb = api.load_balancer()
    first, second = amphora(api, 1, lb), amphora(api, 2, lb)
    gone = amphora(api, 3, lb, "DELETED")
    api.settle()
    assert api.put(f"/loadbalancers/{lb['id']}/failover", code=202) is None
    stamps = {row["id"]: row["replace_requested"] for row in api.rows(sa.select(t.amphora))}
    assert stamps[first] is not None
    assert stamps[first] == stamps[second]
    assert stamps[gone] is None
    (row,) = api.rows(sa.select(t.load_balancer))
    assert (row["provisioning_status"], row["generation"]) == ("PENDING_UPDATE", 2)
    assert len(api.rows(sa.select(t.work))) == 1
    assert api.put(f"/loadbalancers/{lb['id']}/failover", {}, code=202) is None
    again = {row["id"]: row["replace_requested"] for row in api.rows(sa.select(t.amphora))}
    assert again == stamps


def test_one_amphora_fails_over_alone(api: Api) -> None:
    lb = api.load_balancer()
    first, second = amphora(api, 1, lb), amphora(api, 2, lb)
    assert api.put(f"//v2/octavia/amphorae/{first}/failover", code=202) is None
    stamped = [row["id"] for row in api.rows(sa.select(t.amphora)) if row["replace_requested"]]
    assert stamped == [first]
    assert second not in stamped
    api.fault("PUT", "//v2/octavia/amphorae/nope/failover", code=404)


def test_an_agents_configuration_is_asked_for_and_no_status_moves(api: Api) -> None:
    lb = api.load_balancer()
    first, second = amphora(api, 1, lb), amphora(api, 2, lb)
    api.settle()
    before = api.rows(sa.select(t.load_balancer))
    rings = api.doorbell.rings
    assert api.put(f"//v2/octavia/amphorae/{first}/config", code=202) is None
    asked = {row["id"]: row["config_requested"] is not None for row in api.rows(sa.select(t.amphora))}
    assert asked == {first: True, second: False}
    assert api.rows(sa.select(t.load_balancer)) == before
    assert len(api.rows(sa.select(t.work))) == 1
    assert api.doorbell.rings == rings + 1
    api.fault("PUT", "//v2/octavia/amphorae/nope/config", code=404)
    api.fault("PUT", f"//v2/octavia/amphorae/{first}/config?x=1", code=400)
    api.delete(f"/loadbalancers/{lb['id']}")
    api.fault("PUT", f"//v2/octavia/amphorae/{first}/config", code=409)


def test_only_a_failed_amphora_can_be_deleted(api: Api) -> None:
    lb = api.load_balancer()
    well, failed = amphora(api, 1, lb), amphora(api, 2, lb, "ERROR")
    stray = amphora(api, 3, {"id": None}, "ERROR")
    api.settle()
    fault = api.fault("DELETE", f"//v2/octavia/amphorae/{well}", code=409)
    assert fault == f"amphora {well} is immutable and cannot be updated."
    assert api.rows(sa.select(t.work)) == []
    api.delete(f"//v2/octavia/amphorae/{failed}")
    assert len(api.rows(sa.select(t.work))) == 1
    api.delete(f"//v2/octavia/amphorae/{stray}")
    statuses = {row["id"]: row["status"] for row in api.rows(sa.select(t.amphora))}
    assert statuses == {well: "ALLOCATED", failed: "PENDING_DELETE", stray: "PENDING_DELETE"}
    api.fault("DELETE", f"//v2/octavia/amphorae/{failed}", code=409)
    assert api.fault("DELETE", "//v2/octavia/amphorae/nope", code=404) == "Amphora nope not found."


def test_amphorae_are_shown_and_filtered(api: Api) -> None:
    one, other = api.load_balancer(), api.load_balancer(project_id="other")
    first, second = amphora(api, 1, one), amphora(api, 2, other)
    amphora(api, 3, one, "DELETED")
    listed = api.get("//v2.0/octavia/amphorae")
    assert [row["id"] for row in listed["amphorae"]] == [first, second]
    assert listed["amphorae_links"] == []
    shown = api.get(f"//v2.0/octavia/amphorae/{first}")["amphora"]
    assert shown == listed["amphorae"][0]
    assert list(shown) == [
        *("id", "loadbalancer_id", "compute_id", "lb_network_ip", "vrrp_ip", "ha_ip", "vrrp_port_id"),
        *("ha_port_id", "cert_expiration", "cert_busy", "role", "status", "vrrp_interface", "vrrp_id"),
        *("vrrp_priority", "cached_zone", "created_at", "updated_at", "image_id", "compute_flavor"),
    ]
    for query in (f"loadbalancer_id={other['id']}", "project_id=other", f"id={second}"):
        assert [row["id"] for row in api.get(f"//v2/octavia/amphorae?{query}")["amphorae"]] == [second]
    api.fault("GET", "//v2/octavia/amphorae?tags=x", code=400)


# Statistics, the status tree, reasons


def count(api: Api, listener: str, of: str, number: int) -> None:
    names = ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors")
    row = {"listener_id": listener, "amphora_id": of} | dict.fromkeys(names, number)
    api.database.write(lambda tx: tx.execute(sa.insert(t.listener_statistics).values(row)))


def test_statistics_add_up_and_only_live_amphorae_have_connections(api: Api) -> None:
    lb = api.load_balancer()
    one, two = api.listener(lb), api.listener(lb, protocol_port=81)
    live, gone = amphora(api, 1, lb), amphora(api, 2, lb, "DELETED")
    zero = dict.fromkeys(
        ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors"), 0
    )
    assert api.get(f"/loadbalancers/{lb['id']}/stats") == {"stats": zero}
    for listener, of, number in ((one, live, 1), (one, gone, 10), (two, live, 100), (two, two["id"], 1000)):
        count(api, listener["id"], of if isinstance(of, str) else of["id"], number)
    stats = api.get(f"/loadbalancers/{lb['id']}/stats")["stats"]
    assert stats == dict.fromkeys(zero, 1111) | {"active_connections": 1101}
    stats = api.get(f"/listeners/{one['id']}/stats")["stats"]
    assert stats == dict.fromkeys(zero, 11) | {"active_connections": 1}
    rows = api.get(f"//v2/octavia/amphorae/{live}/stats")["amphora_stats"]
    assert {row["listener_id"]: row["bytes_in"] for row in rows} == {one["id"]: 1, two["id"]: 100}
    assert {row["loadbalancer_id"] for row in rows} == {lb["id"]}


def test_the_status_tree_has_exactly_the_keys_that_clients_compare(api: Api) -> None:
    lb = api.load_balancer(name="lb")
    bare, listener = api.listener(lb, name="bare", protocol_port=81), api.listener(lb)
    pool = api.pool(lb, listener_id=listener["id"])
    api.pool(lb, name="unused")
    monitor = api.monitor(pool)
    member = api.member(pool)
    common = {"name": "", "operating_status": "OFFLINE", "provisioning_status": "PENDING_CREATE"}
    for path in ("status", "statuses"):
        tree = api.get(f"/loadbalancers/{lb['id']}/{path}")
        assert tree == {
            "statuses": {
                "loadbalancer": common
                | {
                    "id": lb["id"],
                    "name": "lb",
                    "listeners": [
                        common | {"id": bare["id"], "name": "bare", "pools": []},
                        common
                        | {
                            "id": listener["id"],
                            "pools": [
                                common
                                | {
                                    "id": pool["id"],
                                    "health_monitor": common | {"id": monitor["id"], "type": "HTTP"},
                                    "members": [
                                        common
                                        | {
                                            "id": member["id"],
                                            "address": "192.0.2.10",
                                            "protocol_port": 8080,
                                        }
                                    ],
                                }
                            ],
                        },
                    ],
                }
            }
        }


def test_a_reason_is_told_on_show_and_nowhere_else(api: Api) -> None:
    lb = api.load_balancer()
    row = {"object_id": lb["id"], "load_balancer_id": lb["id"], "code": "no_host", "sentence": "No host."}
    row |= {"since": api.clock.now(), "attempts": 3, "next_try": None}
    api.database.write(lambda tx: tx.execute(sa.insert(t.status_reason).values(row)))
    shown = api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]
    assert shown["status_reason"] == {
        "code": "no_host",
        "sentence": "No host.",
        "since": "2026-05-04T12:00:00",
        "attempts": 3,
        "next_try": None,
    }
    assert "status_reason" not in api.get("/loadbalancers")["loadbalancers"][0]
    assert "status_reason" not in api.get(f"/loadbalancers/{lb['id']}/status")["statuses"]["loadbalancer"]
    assert api.get(f"/loadbalancers/{lb['id']}?fields=id")["loadbalancer"] == {"id": lb["id"]}
