# SPDX-License-Identifier: Apache-2.0
"""Third-party providers behind the API (contract: provider-drivers.md)."""

import importlib
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from octavia_lib.api.drivers import data_models as lib
from octavia_lib.api.drivers import exceptions
from stevedore.extension import ExtensionManager

from octavia.db import tables as t
from octavia.drivers.network.contract import vip_port_name
from octavia.housekeeping.purge import Ages, Purge
from octavia.providers.updates import Updates
from tests import pki
from tests.api.conftest import Api
from tests.third_party import FOLDER

ENABLED = {
    "amphora": "ours",
    "noop_driver": "does nothing",
    "noop_driver-alt": "as well",
    "recording": "theirs",
    "mute": "theirs, with nothing in it",
}


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    # What an earlier test has found, stevedore remembers.
    monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})
    module = importlib.import_module("recording_provider")
    yield module
    module.CALLS.clear()
    module.ANSWERS.clear()
    sys.modules.pop("recording_provider")


@pytest.fixture
def api(make_api: Callable[..., Api], third_party: ModuleType) -> Api:
    return make_api(enabled_provider_drivers=ENABLED)


class Provider:
    """What the provider ``recording`` is told, and what it says."""

    def __init__(self, api: Api, module: ModuleType) -> None:
        self._module = module
        self.updates = Updates(api.database, api.network, api.clock, api.certificates)

    def refuses(self, method: str, error: Exception) -> None:
        def refuse(*_arguments: Any) -> None:
            raise error

        self._module.ANSWERS[method] = refuse

    def answers(self, method: str, answer: Callable[..., Any]) -> None:
        self._module.ANSWERS[method] = answer

    def calls(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Since the last time that somebody looked."""
        found = list(self._module.CALLS)
        self._module.CALLS.clear()
        return found

    def told(self) -> tuple[str, Any]:
        """The only call, with its last argument."""
        ((method, arguments),) = self.calls()
        return method, arguments[-1]

    def says(self, **update: Any) -> None:
        assert self.updates.statuses(update) == {"status_code": 200}


@pytest.fixture
def provider(api: Api, third_party: ModuleType) -> Provider:
    return Provider(api, third_party)


def active(*objects: Any) -> list[dict[str, str]]:
    return [{"id": one["id"], "provisioning_status": "ACTIVE"} for one in objects]


def made(api: Api, provider: Provider, **values: Any) -> Any:
    """A load balancer of the recording provider that is ACTIVE."""
    lb = api.load_balancer(provider="recording", **values)
    provider.says(loadbalancers=active(lb))
    provider.calls()
    return lb


def pending(api: Api, lb: Any) -> set[str]:
    """The ids of all that is not ACTIVE."""

    def walk(node: Any) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(walk, node))
        if not isinstance(node, dict):
            return set()
        own = {node["id"]} if node.get("provisioning_status", "ACTIVE") != "ACTIVE" else set()
        return own.union(*map(walk, node.values()))

    return walk(api.get(f"/loadbalancers/{lb['id']}/status"))


def count(api: Api, table: sa.Table) -> int:
    return len(api.rows(sa.select(table)))


def set_names(model: Any) -> set[str]:
    return {name for name, value in vars(model).items() if not isinstance(value, lib.UnsetType)}


# Which there are


def test_providers_that_cannot_be_loaded_leave_the_list(
    make_api: Callable[..., Api], third_party: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    api = make_api(enabled_provider_drivers=ENABLED | {"broken": "b", "absent": "a", "unheard-of": "u"})
    names = {one["name"] for one in api.get("/providers")["providers"]}
    assert names == set(ENABLED)
    assert {"broken is not enabled" in caplog.text, "absent is not enabled" in caplog.text} == {True}
    body = {"loadbalancer": {"vip_subnet_id": api.subnet, "provider": "broken"}}
    assert api.fault("POST", "/loadbalancers", body, code=501) == "Provider 'broken' was not found."
    body["loadbalancer"]["provider"] = "stranger"
    assert api.fault("POST", "/loadbalancers", body, code=400) == "Provider 'stranger' is not enabled."


def test_capabilities_are_the_providers_own(api: Api) -> None:
    path = "/providers/{}/flavor_capabilities"
    assert api.get(path.format("recording"))["flavor_capabilities"] == [
        {"name": "size", "description": "How large."}
    ]
    assert "requested action" in api.fault("GET", path.format("mute"), code=501)
    zones = api.fault("GET", "/providers/recording/availability_zone_capabilities", code=501)
    assert zones.startswith("Provider 'recording' does not support a requested action: ")


def test_a_flavor_is_shown_to_its_provider_and_chooses_it(api: Api, provider: Provider) -> None:
    profile = {"name": "p", "provider_name": "recording", "flavor_data": '{"colour": 1}'}
    fault = api.fault("POST", "/flavorprofiles", {"flavorprofile": profile}, code=501)
    assert fault == "Provider 'recording' does not support a requested option: only size"
    profile["flavor_data"] = '{"size": "large"}'
    profile_id = api.post("/flavorprofiles", {"flavorprofile": profile})["flavorprofile"]["id"]
    flavor = api.post("/flavors", {"flavor": {"name": "f", "flavor_profile_id": profile_id}})["flavor"]

    lb = api.load_balancer(flavor_id=flavor["id"])
    assert lb["provider"] == "recording"
    assert provider.calls()[-1][1][0].flavor == {"size": "large"}
    body = {
        "loadbalancer": {"vip_subnet_id": api.subnet, "provider": "noop_driver", "flavor_id": flavor["id"]}
    }
    assert "is of provider 'recording'" in api.fault("POST", "/loadbalancers", body, code=400)


def test_a_flavor_that_says_nothing_needs_no_provider_that_has_flavors(api: Api) -> None:
    for kind, plural in (("flavor", "flavors"), ("availability_zone", "availabilityzones")):
        profile_id = str(uuid4())
        table = t.metadata.tables[f"{kind}_profile"]
        row = {"id": profile_id, "name": "p", "provider_name": "recording", f"{kind}_data": "{}"}
        api.database.write(lambda tx: tx.execute(sa.insert(table).values(row)))  # noqa: B023
        api.post(f"/{plural}", {kind: {"name": "n", f"{kind}_profile_id": profile_id}})
    flavor_id = api.get("/flavors")["flavors"][0]["id"]
    lb = api.load_balancer(flavor_id=flavor_id, availability_zone="n")
    assert (lb["flavor_id"], lb["availability_zone"]) == (flavor_id, "n")


# What they are told


def test_a_creation_tells_everything_that_is_stored(api: Api, provider: Provider) -> None:
    lb = api.load_balancer(provider="recording", name="n", tags=["t"])
    (port, _), (method, (model,)) = provider.calls()
    assert (port, method) == ("create_vip_port", "loadbalancer_create")
    assert isinstance(model, lib.LoadBalancer)
    assert set_names(model) == set(vars(model))
    assert (model.loadbalancer_id, model.name, model.project_id) == (lb["id"], "n", lb["project_id"])
    assert (model.vip_address, model.vip_port_id) == (lb["vip_address"], lb["vip_port_id"])
    assert (model.listeners, model.pools, model.additional_vips, model.vip_sg_ids) == ([], [], [], [])
    assert lb["provisioning_status"] == "PENDING_CREATE"
    assert count(api, t.work) == count(api, t.provider_call) == count(api, t.reservation) == 0
    assert api.doorbell.rings == 0


def test_a_populated_creation_is_one_call_with_models_all_the_way_down(api: Api, provider: Provider) -> None:
    monitor = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
    pool = {
        "name": "p",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": "192.0.2.1", "protocol_port": 80}],
        "healthmonitor": monitor,
        "session_persistence": {"type": "HTTP_COOKIE"},
    }
    policy = {"action": "REJECT", "rules": [{"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}]}
    listener = {"protocol": "HTTP", "protocol_port": 80, "default_pool": pool, "l7policies": [policy]}
    lb = api.load_balancer(provider="recording", listeners=[listener])
    _, (method, (model,)) = provider.calls()
    assert method == "loadbalancer_create"
    told = model.listeners[0]
    assert [
        type(one) for one in (told, told.default_pool, told.l7policies[0], told.l7policies[0].rules[0])
    ] == [
        lib.Listener,
        lib.Pool,
        lib.L7Policy,
        lib.L7Rule,
    ]
    (in_pool,) = model.pools
    assert (in_pool.members[0].address, in_pool.healthmonitor.type) == ("192.0.2.1", "HTTP")
    assert in_pool.session_persistence["type"] == "HTTP_COOKIE"
    assert type(in_pool.session_persistence["type"]) is type(told.protocol) is str
    assert (in_pool.listener_id, in_pool.loadbalancer_id) == (told.listener_id, lb["id"])
    assert told.allowed_cidrs == told.sni_container_refs == []


def test_an_update_tells_what_the_request_has_written_and_nothing_else(api: Api, provider: Provider) -> None:
    lb = made(api, provider)
    listener = api.listener(lb, name="old", connection_limit=7)
    provider.says(listeners=active(listener), loadbalancers=active(lb))
    provider.calls()
    api.put(f"/listeners/{listener['id']}", {"listener": {"name": "old", "connection_limit": None}})
    ((method, (old, new)),) = provider.calls()
    assert method == "listener_update"
    assert (old.connection_limit, old.protocol_port, old.loadbalancer_id) == (7, 80, lb["id"])
    assert set_names(new) == {"listener_id", "name", "connection_limit"}
    assert (new.listener_id, new.name, new.connection_limit) == (listener["id"], "old", -1)
    assert new.protocol == lib.Unset


def test_an_update_of_a_load_balancer_carries_its_policy_and_groups(api: Api, provider: Provider) -> None:
    lb = made(api, provider, description="d")
    api.put(f"/loadbalancers/{lb['id']}", {"loadbalancer": {"vip_sg_ids": [], "description": None}})
    ((_, (old, new)),) = provider.calls()
    assert (old.description, new.description, new.vip_sg_ids) == ("d", "", [])
    assert set_names(new) == {"loadbalancer_id", "description", "vip_sg_ids"}


def test_every_write_is_one_call(api: Api, provider: Provider) -> None:
    lb = made(api, provider)
    listener, told = api.listener(lb), provider.told
    assert told()[0] == "listener_create"

    def settled(**update: Any) -> None:
        provider.says(**update, loadbalancers=active(lb))

    settled(listeners=active(listener))
    pool = api.post(
        "/pools",
        {"pool": {"listener_id": listener["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}},
    )["pool"]
    method, model = told()
    assert (method, model.listener_id, model.members, model.healthmonitor) == (
        "pool_create",
        listener["id"],
        [],
        None,
    )
    settled(pools=active(pool), listeners=active(listener))
    member = api.member(pool)
    method, model = told()
    assert (method, model.pool_id, model.member_id) == ("member_create", pool["id"], member["id"])
    settled(members=active(member), pools=active(pool), listeners=active(listener))
    monitor = api.monitor(pool)
    method, model = told()
    assert (method, model.max_retries, model.pool_id) == ("health_monitor_create", 2, pool["id"])
    settled(healthmonitors=active(monitor), pools=active(pool), listeners=active(listener))
    policy = api.policy(listener)
    method, model = told()
    assert (method, model.listener_id, model.rules) == ("l7policy_create", listener["id"], [])
    settled(l7policies=active(policy), listeners=active(listener))
    rule = api.rule(policy)
    method, model = told()
    assert (method, model.l7policy_id, model.l7rule_id) == ("l7rule_create", policy["id"], rule["id"])
    settled(l7rules=active(rule), l7policies=active(policy), listeners=active(listener))

    everything = {
        "l7rules": active(rule),
        "l7policies": active(policy),
        "members": active(member),
        "healthmonitors": active(monitor),
        "pools": active(pool),
        "listeners": active(listener),
    }
    name = {"name": "new"}
    for path, body, expected in (
        (f"/listeners/{listener['id']}", {"listener": name}, "listener_update"),
        (f"/pools/{pool['id']}", {"pool": name}, "pool_update"),
        (f"/pools/{pool['id']}/members/{member['id']}", {"member": name}, "member_update"),
        (f"/healthmonitors/{monitor['id']}", {"healthmonitor": name}, "health_monitor_update"),
        (f"/l7policies/{policy['id']}", {"l7policy": name}, "l7policy_update"),
        (f"/l7policies/{policy['id']}/rules/{rule['id']}", {"rule": {"value": "/y"}}, "l7rule_update"),
        (f"/loadbalancers/{lb['id']}", {"loadbalancer": name}, "loadbalancer_update"),
    ):
        api.put(path, body)
        assert told()[0] == expected
        settled(**everything)
    api.put(f"/loadbalancers/{lb['id']}/failover", code=202)
    assert told() == ("loadbalancer_failover", lb["id"])
    settled()
    for path, plural, one, expected in (
        (f"/l7policies/{policy['id']}/rules/{rule['id']}", "l7rules", rule, "l7rule_delete"),
        (f"/l7policies/{policy['id']}", "l7policies", policy, "l7policy_delete"),
        (f"/healthmonitors/{monitor['id']}", "healthmonitors", monitor, "health_monitor_delete"),
        (f"/pools/{pool['id']}/members/{member['id']}", "members", member, "member_delete"),
        (f"/pools/{pool['id']}", "pools", pool, "pool_delete"),
        (f"/listeners/{listener['id']}", "listeners", listener, "listener_delete"),
    ):
        api.delete(path)
        assert told()[0] == expected
        del everything[plural]
        settled(**{plural: [{"id": one["id"], "provisioning_status": "DELETED"}]}, **everything)
        api.get(path, code=404)
    api.delete(f"/loadbalancers/{lb['id']}")
    ((method, (model, cascade)),) = provider.calls()
    assert (method, model.loadbalancer_id, cascade) == ("loadbalancer_delete", lb["id"], False)
    provider.says(loadbalancers=[{"id": lb["id"], "provisioning_status": "DELETED"}])
    api.get(f"/loadbalancers/{lb['id']}", code=404)
    assert vip_port_name(lb["id"]) not in {port.name for port in api.network.list_ports()}
    assert count(api, t.work) == count(api, t.amphora) == count(api, t.provider_call) == 0


def test_a_batch_lists_what_the_pool_is_to_have(api: Api, provider: Provider) -> None:
    lb = made(api, provider)
    pool = api.pool(lb)
    provider.says(pools=active(pool), loadbalancers=active(lb))
    stays, goes = ({"address": f"192.0.2.{n}", "protocol_port": 80} for n in (1, 2))
    path = f"/pools/{pool['id']}/members"
    api.put(path, {"members": [stays, goes]}, code=202)
    members = {one["address"]: one for one in api.get(path)["members"]}
    provider.says(members=active(*members.values()), pools=active(pool), loadbalancers=active(lb))
    provider.calls()
    new = {"address": "192.0.2.3", "protocol_port": 80}

    api.put(path, {"members": [{**stays, "weight": 9}, new]}, code=202)
    ((method, (pool_id, listed)),) = provider.calls()
    assert (method, pool_id) == ("member_batch_update", pool["id"])
    assert {one.address: one.weight for one in listed} == {"192.0.2.1": 9, "192.0.2.3": 1}
    assert members["192.0.2.1"]["id"] in {one.member_id for one in listed}
    gone = api.get(f"{path}/{members['192.0.2.2']['id']}")["member"]
    assert gone["provisioning_status"] == "PENDING_DELETE"

    provider.says(
        members=[{"id": gone["id"], "provisioning_status": "DELETED"}, *active(*api.get(path)["members"])],
        pools=active(pool),
        loadbalancers=active(lb),
    )
    api.put(f"{path}?additive_only=true", {"members": [goes]}, code=202)
    ((_, (_, listed)),) = provider.calls()
    assert {one.address for one in listed} == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}


def test_certificates_come_with_a_listener_and_are_not_needed_to_delete_it(
    api: Api, provider: Provider
) -> None:
    ca = pki.Ca("CA")
    leaf = pki.tenant(ca.issue("www.example.org"))
    api.certificates.keep(leaf, "site")
    api.certificates.keep(ca.pem, "ca")
    lb = made(api, provider)
    body = {"protocol": "TERMINATED_HTTPS", "protocol_port": 443, "default_tls_container_ref": "site"}
    listener = api.listener(lb, **body, sni_container_refs=["site"], client_ca_tls_container_ref="ca")
    _, model = provider.told()
    data = model.default_tls_container_data
    assert set(data) == {"id", "primary_cn", "certificate", "private_key", "passphrase", "intermediates"}
    assert (data["primary_cn"], data["private_key"]) == ("www.example.org", leaf.private_key.decode())
    assert (model.sni_container_data, model.client_ca_tls_container_data) == ([data], ca.pem.decode())
    assert isinstance(model.client_crl_container_data, lib.UnsetType)
    provider.says(listeners=active(listener), loadbalancers=active(lb))

    api.put(f"/listeners/{listener['id']}", {"listener": {"client_ca_tls_container_ref": "ca"}})
    _, new = provider.told()
    assert set_names(new) == {"listener_id", "client_ca_tls_container_ref", "client_ca_tls_container_data"}
    provider.says(listeners=active(listener), loadbalancers=active(lb))

    for ref in ("site", "ca"):
        api.certificates.forget(ref)
    api.delete(f"/listeners/{listener['id']}")
    method, model = provider.told()
    assert (method, model.default_tls_container_ref) == ("listener_delete", "site")
    assert isinstance(model.default_tls_container_data, lib.UnsetType)


# When they refuse


@pytest.mark.parametrize(
    ("error", "code", "fault"),
    [
        (exceptions.Conflict(user_fault_string="u"), 409, "The VIP IP address is already in use: u"),
        (exceptions.DriverError(user_fault_string="u"), 500, "Provider 'recording' reports error: u"),
        (exceptions.NotFound(user_fault_string="u"), 500, "Provider 'recording' reports error: u"),
        (
            exceptions.NotImplementedError(user_fault_string="u"),
            501,
            "Provider 'recording' does not support a requested action: u",
        ),
        (
            NotImplementedError("secret"),
            501,
            "Provider 'recording' does not support a requested action:"
            " This is not implemented by the provider.",
        ),
        (
            exceptions.UnsupportedOptionError(user_fault_string="u"),
            501,
            "Provider 'recording' does not support a requested option: u",
        ),
        (
            ValueError("secret"),
            500,
            "Provider 'recording' reports error: an unknown error; the log of the API says which.",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_refused_change_is_taken_back(
    api: Api, provider: Provider, error: Exception, code: int, fault: str
) -> None:
    lb = made(api, provider)
    listener = api.listener(lb, name="old", allowed_cidrs=["192.0.2.0/24"])
    provider.says(listeners=active(listener), loadbalancers=active(lb))
    before = api.get(f"/listeners/{listener['id']}")
    provider.refuses("listener_update", error)
    provider.refuses("listener_create", error)
    provider.refuses("listener_delete", error)
    changes = {"listener": {"name": "new", "allowed_cidrs": [], "tags": ["t"]}}
    path = f"/listeners/{listener['id']}"
    assert api.fault("PUT", path, changes, code=code) == fault
    assert api.fault("DELETE", path, code=code) == fault
    another = {"listener": {"loadbalancer_id": lb["id"], "protocol": "TCP", "protocol_port": 81}}
    assert api.fault("POST", "/listeners", another, code=code) == fault
    assert api.get(path) == before
    assert len(api.get("/listeners")["listeners"]) == 1
    assert pending(api, lb) == set()
    assert count(api, t.provider_call) == 0
    # Nothing stands in the way of the next try.
    provider.answers("listener_update", lambda *_: None)
    assert api.put(path, changes)["listener"]["name"] == "new"


def test_a_refused_creation_leaves_no_trace(api: Api, provider: Provider) -> None:
    provider.refuses("loadbalancer_create", exceptions.DriverError(user_fault_string="no"))
    ports = len(api.network.list_ports())
    listeners = [
        {
            "protocol": "HTTP",
            "protocol_port": 80,
            "default_pool": {"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"},
        }
    ]
    body = {"vip_subnet_id": api.subnet, "provider": "recording", "listeners": listeners, "tags": ["t"]}
    api.fault("POST", "/loadbalancers", {"loadbalancer": body}, code=500)
    tables = (t.load_balancer, t.listener, t.pool, t.vip, t.tags, t.provider_call, t.reservation, t.work)
    assert [count(api, table) for table in tables] == [0] * len(tables)
    assert len(api.network.list_ports()) == ports


def test_a_refused_batch_restores_the_members(api: Api, provider: Provider) -> None:
    lb = made(api, provider)
    pool = api.pool(lb)
    provider.says(pools=active(pool), loadbalancers=active(lb))
    member = api.member(pool)
    provider.says(members=active(member), pools=active(pool), loadbalancers=active(lb))
    provider.refuses("member_batch_update", exceptions.UnsupportedOptionError())
    path = f"/pools/{pool['id']}/members"
    api.fault("PUT", path, {"members": [{"address": "192.0.2.77", "protocol_port": 1}]}, code=501)
    assert [one["id"] for one in api.get(path)["members"]] == [member["id"]]
    assert pending(api, lb) == set()


def test_a_provider_without_failover_says_so_and_stays_active(api: Api, provider: Provider) -> None:
    lb = made(api, provider)
    provider.refuses("loadbalancer_failover", exceptions.NotImplementedError())
    api.fault("PUT", f"/loadbalancers/{lb['id']}/failover", code=501)
    assert api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]["provisioning_status"] == "ACTIVE"


def test_what_a_provider_reported_before_it_refused_stays(api: Api, provider: Provider) -> None:
    lb = made(api, provider)

    def report_and_refuse(*_models: Any) -> None:
        provider.says(loadbalancers=[{"id": lb["id"], "provisioning_status": "ERROR"}])
        raise exceptions.DriverError

    provider.answers("loadbalancer_update", report_and_refuse)
    path = f"/loadbalancers/{lb['id']}"
    api.fault("PUT", path, {"loadbalancer": {"name": "new"}}, code=500)
    shown = api.get(path)["loadbalancer"]
    assert (shown["name"], shown["provisioning_status"]) == ("", "ERROR")


def test_a_refusal_after_the_report_of_the_end_is_told_all_the_same(api: Api, provider: Provider) -> None:
    lb = made(api, provider)

    def report_and_refuse(*_models: Any) -> None:
        provider.says(loadbalancers=[{"id": lb["id"], "provisioning_status": "DELETED"}])
        raise exceptions.DriverError(user_fault_string="odd")

    provider.answers("loadbalancer_delete", report_and_refuse)
    assert "odd" in api.fault("DELETE", f"/loadbalancers/{lb['id']}", code=500)
    api.get(f"/loadbalancers/{lb['id']}", code=404)
    assert count(api, t.provider_call) == 0


def test_a_provider_that_is_no_longer_enabled_is_named(
    api: Api, provider: Provider, make_api: Callable[..., Api]
) -> None:
    lb = made(api, provider)
    without = make_api()
    path, name = f"/loadbalancers/{lb['id']}", {"loadbalancer": {"name": "n"}}
    assert without.fault("PUT", path, name, code=400) == "Provider 'recording' is not enabled."
    assert without.get(path)["loadbalancer"]["provisioning_status"] == "ACTIVE"


def test_a_status_that_is_reported_during_the_call_wins(api: Api, provider: Provider) -> None:
    lb = made(api, provider)
    provider.answers("loadbalancer_update", lambda *_: provider.says(loadbalancers=active(lb)))
    api.put(f"/loadbalancers/{lb['id']}", {"loadbalancer": {"name": "new"}})
    shown = api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]
    assert (shown["name"], shown["provisioning_status"]) == ("new", "ACTIVE")


# Statuses are theirs


def test_writes_are_rejected_while_the_provider_is_at_work(api: Api, provider: Provider) -> None:
    lb = api.load_balancer(provider="recording")
    path = f"/loadbalancers/{lb['id']}"
    fault = api.fault("PUT", path, {"loadbalancer": {"name": "x"}}, code=409)
    assert fault == f"Invalid state PENDING_CREATE of loadbalancer resource {lb['id']}"
    api.fault("DELETE", path, code=409)
    api.fault(
        "POST",
        "/listeners",
        {"listener": {"loadbalancer_id": lb["id"], "protocol": "HTTP", "protocol_port": 80}},
        code=409,
    )
    provider.says(loadbalancers=[{"id": lb["id"], "provisioning_status": "ERROR"}])
    api.fault("PUT", path, {"loadbalancer": {"name": "x"}}, code=409)
    api.delete(path)


def test_nobody_else_looks_after_their_load_balancers(api: Api, provider: Provider) -> None:
    lb = api.load_balancer(provider="recording")
    Purge(api.database, api.doorbell, Ages()).once(api.clock.now())
    assert (count(api, t.work), count(api, t.amphora), api.doorbell.rings) == (0, 0, 0)
    assert api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]["provisioning_status"] == "PENDING_CREATE"


def test_a_call_that_is_never_answered_becomes_an_error_with_a_reason(api: Api, provider: Provider) -> None:
    lb = made(api, provider)

    def die(*_models: Any) -> None:
        raise KeyboardInterrupt

    provider.answers("listener_create", die)
    body = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "protocol_port": 80}
    with pytest.raises(KeyboardInterrupt):
        api.post("/listeners", {"listener": body})
    keeper = Purge(api.database, api.doorbell, Ages())
    keeper.once(api.clock.now() + timedelta(minutes=2))
    assert api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]["provisioning_status"] == "PENDING_UPDATE"
    keeper.once(api.clock.now() + timedelta(minutes=11))
    shown = api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]
    assert shown["provisioning_status"] == "ERROR"
    assert "did not answer listener_create" in str(shown)
    assert count(api, t.provider_call) == 0
    # It may have been done after all: then the provider says so.
    listener_id = api.get("/listeners")["listeners"][0]["id"]
    provider.says(listeners=active({"id": listener_id}), loadbalancers=active(lb))
    assert pending(api, lb) == set()


# Ports


def test_a_provider_may_make_the_vips_port_itself(api: Api, provider: Provider) -> None:
    port_id = "11111111-1111-4111-8111-111111111111"

    def make(_lb_id: str, _project: str, vip: dict[str, Any], more: list[Any]) -> Any:
        return {**vip, "vip_port_id": port_id, "vip_address": "198.51.100.77"}, more

    provider.answers("create_vip_port", make)
    ports = len(api.network.list_ports())
    lb = api.load_balancer(provider="recording")
    assert (lb["vip_port_id"], lb["vip_address"]) == (port_id, "198.51.100.77")
    assert len(api.network.list_ports()) == ports
    assert [bool(row["octavia_owned"]) for row in api.rows(sa.select(t.vip))] == [False]


def test_a_vip_that_the_provider_finds_in_use_is_a_conflict(api: Api, provider: Provider) -> None:
    provider.refuses("create_vip_port", exceptions.Conflict(user_fault_string="taken"))
    body = {"loadbalancer": {"vip_subnet_id": api.subnet, "provider": "recording"}}
    fault = api.fault("POST", "/loadbalancers", body, code=409)
    assert fault == "The VIP IP address is already in use: taken"
    assert count(api, t.reservation) == count(api, t.load_balancer) == 0


# The one that does nothing


@pytest.mark.parametrize("name", ["noop_driver", "noop_driver-alt"])
def test_noop_driver_is_done_at_once(api: Api, name: str) -> None:
    lb = api.load_balancer(provider=name)
    listener = api.listener(lb)
    pool = api.pool(lb)
    api.member(pool)
    api.monitor(pool)
    api.rule(api.policy(listener))
    api.put(f"/pools/{pool['id']}/members", {"members": []}, code=202)
    api.put(f"/loadbalancers/{lb['id']}/failover", code=202)
    assert pending(api, lb) == set()
    shown = api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]
    assert (shown["operating_status"], shown["provider"]) == ("ONLINE", name)
    assert api.get(f"/pools/{pool['id']}/members")["members"] == []
    api.delete(f"/pools/{pool['id']}")
    api.get(f"/pools/{pool['id']}", code=404)
    api.delete(f"/loadbalancers/{lb['id']}?cascade=true")
    api.get(f"/loadbalancers/{lb['id']}", code=404)
    assert count(api, t.work) == count(api, t.amphora) == count(api, t.provider_call) == 0
