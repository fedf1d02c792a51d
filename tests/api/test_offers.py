# SPDX-License-Identifier: Apache-2.0
"""Flavors, availability zones, their profiles, and what they make of load balancers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from tests.api.conftest import Api

NIL = t.PLACEHOLDER
TOPOLOGY = (
    "The load balancer topology. One of: SINGLE - One amphora per load balancer. "
    "ACTIVE_STANDBY - Two amphora per load balancer."
)


class Pair:
    """Flavors with flavor profiles, or availability zones with theirs."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        flavors = name == "flavor"
        self.root, self.path = (
            ("flavor", "/flavors") if flavors else ("availability_zone", "/availabilityzones")
        )
        self.profile_root = "flavorprofile" if flavors else "availability_zone_profile"
        self.profile_path = "/flavorprofiles" if flavors else "/availabilityzoneprofiles"
        self.data_name = "flavor_data" if flavors else "availability_zone_data"
        self.profile_id = f"{self.root}_profile_id"
        self.key = "id" if flavors else "name"
        self.option = "flavor_id" if flavors else "availability_zone"
        self.plural = "flavors" if flavors else "availability_zones"
        self.profile_plural = "flavorprofiles" if flavors else "availability_zone_profiles"
        self.noun = "Flavor" if flavors else "Availability Zone"
        self.good = {"loadbalancer_topology": "SINGLE"} if flavors else {"compute_zone": "nova"}

    def profile(self, data: Any = None, **values: Any) -> Any:
        text = json.dumps(self.good if data is None else data)
        body = {"name": "p", "provider_name": "amphora", self.data_name: text} | values
        return self.api.post(self.profile_path, {self.profile_root: body})[self.profile_root]

    def offer(self, profile: Any, name: str = "one", **values: Any) -> Any:
        body = {"name": name, self.profile_id: profile["id"]} | values
        return self.api.post(self.path, {self.root: body})[self.root]

    def item(self, offer: Any) -> str:
        return f"{self.path}/{offer[self.key]}"


@pytest.fixture(params=["flavor", "availability_zone"])
def pair(api: Api, request: pytest.FixtureRequest) -> Pair:
    return Pair(api, request.param)


def test_create_show_list_update_delete(pair: Pair) -> None:
    api = pair.api
    profile = pair.profile(name="gold")
    assert set(profile) == {"id", "name", "provider_name", pair.data_name}
    assert profile[pair.data_name] == json.dumps(pair.good)
    offer = pair.offer(profile)
    wanted = {"name": "one", "description": "", "enabled": True, pair.profile_id: profile["id"]}
    assert offer == offer | wanted
    assert list(offer) == (["id"] if pair.key == "id" else []) + list(wanted)
    assert api.get(pair.item(offer)) == {pair.root: offer}
    assert api.get(f"{pair.profile_path}/{profile['id']}") == {pair.profile_root: profile}
    assert api.get(pair.path) == {pair.plural: [offer], f"{pair.plural}_links": []}
    links = f"{pair.profile_root}_links"
    assert api.get(pair.profile_path) == {pair.profile_plural: [profile], links: []}

    changed = api.put(pair.item(offer), {pair.root: {"description": "d", "enabled": "no"}})[pair.root]
    assert changed == offer | {"description": "d", "enabled": False}
    assert api.put(pair.item(offer), {pair.root: {}})[pair.root] == changed
    assert api.put(pair.item(offer), {pair.root: {"description": None}})[pair.root]["description"] == ""
    api.delete(pair.item(offer))
    fault = api.fault("GET", pair.item(offer), code=404)
    assert fault == f"{pair.noun} {offer[pair.key]} not found."
    api.delete(f"{pair.profile_path}/{profile['id']}")
    fault = api.fault("DELETE", f"{pair.profile_path}/{profile['id']}", code=404)
    assert fault == f"{pair.noun} Profile {profile['id']} not found."


def test_names_are_taken_once(pair: Pair) -> None:
    profile = pair.profile()
    pair.offer(profile)
    body = {pair.root: {"name": "one", pair.profile_id: profile["id"]}}
    wanted = f"A {pair.noun.lower()} of one already exists."
    assert pair.api.fault("POST", pair.path, body, code=409) == wanted
    if pair.key == "id":
        other = pair.offer(profile, "two")
        assert pair.api.fault("PUT", pair.item(other), {pair.root: {"name": "one"}}, code=409) == wanted
        assert pair.api.put(pair.item(other), {pair.root: {"name": None}})[pair.root]["name"] == ""
    pair.profile()
    pair.profile()  # names of profiles are not unique


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"name": None}, "Mandatory field missing"),
        ({"enabled": None}, "None is not a valid option for enabled"),
        ({"enabled": "perhaps"}, "unambiguous boolean"),
        ({"name": "x" * 256}, "maximum character requirement"),
        ({"PROFILE": "x"}, "UUID format"),
        ({"PROFILE": "0" * 31 + "1"}, "not found"),
        ({"nope": 1}, "Unknown attribute"),
    ],
)
def test_an_offer_that_cannot_be(pair: Pair, values: dict[str, Any], fault: str) -> None:
    values = {pair.profile_id if name == "PROFILE" else name: one for name, one in values.items()}
    body = {"name": "x", pair.profile_id: pair.profile()["id"]} | values
    assert fault in pair.api.fault("POST", pair.path, {pair.root: body}, code=400)
    assert pair.api.get(pair.path)[pair.plural] == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", 400),
        ("[]", 400),
        ("5", 400),
        ("null", 400),
        ("[" * 4000, 400),
        ("x" * 4097, 400),
        ('{"nope": 1}', 501),
        ('{"loadbalancer_topology": "TRIPLE"}', 501),
        ('{"compute_flavor": 5}', 501),
        ('{"sriov_vip": "true"}', 501),
        ('{"compute_zone": []}', 501),
        ('{"valid_vip_networks": "x"}', 501),
        ('{"valid_vip_networks": ["00000000-0000-0000-0000-000000000001"]}', 501),
        ('{"management_network": "00000000-0000-0000-0000-000000000001"}', 501),
    ],
)
def test_a_profile_that_the_provider_refuses(pair: Pair, text: str, code: int) -> None:
    body = {"name": "p", "provider_name": "amphora", pair.data_name: text}
    fault = pair.api.fault("POST", pair.profile_path, {pair.profile_root: body}, code=code)
    if code == 501:
        assert fault.startswith("Provider 'amphora' does not support a requested option: ")
    profile = pair.profile()
    item = f"{pair.profile_path}/{profile['id']}"
    assert pair.api.fault("PUT", item, {pair.profile_root: {pair.data_name: text}}, code=code) == fault
    assert pair.api.get(item)[pair.profile_root] == profile


def test_a_profile_of_no_provider(pair: Pair) -> None:
    body = {"name": "p", "provider_name": "nope", pair.data_name: "{}"}
    fault = pair.api.fault("POST", pair.profile_path, {pair.profile_root: body}, code=400)
    assert fault == "Provider 'nope' is not enabled."
    item = f"{pair.profile_path}/{pair.profile()['id']}"
    for name in ("name", "provider_name", pair.data_name):
        fault = pair.api.fault("PUT", item, {pair.profile_root: {name: None}}, code=400)
        assert fault == f"None is not a valid option for {name}"


def test_a_profile_in_use_can_only_be_renamed(pair: Pair) -> None:
    profile = pair.profile()
    offer = pair.offer(profile)
    item = f"{pair.profile_path}/{profile['id']}"
    noun = "Flavor profile" if pair.key == "id" else "Availability Zone Profile"
    wanted = f"{noun} {profile['id']} is in use and cannot be modified."
    for values in ({pair.data_name: profile[pair.data_name]}, {"provider_name": "octavia", "name": "x"}):
        assert pair.api.fault("PUT", item, {pair.profile_root: values}, code=409) == wanted
    assert pair.api.fault("DELETE", item, code=409) == wanted
    assert pair.api.put(item, {pair.profile_root: {"name": "x"}})[pair.profile_root] == profile | {
        "name": "x"
    }
    assert pair.api.put(item, {pair.profile_root: {}})[pair.profile_root]["name"] == "x"
    pair.api.delete(pair.item(offer))
    changed = pair.api.put(item, {pair.profile_root: {pair.data_name: " {} "}})[pair.profile_root]
    assert changed[pair.data_name] == " {} "  # as it was written


def test_lists_can_be_sorted_filtered_and_cut(pair: Pair) -> None:
    profile = pair.profile()
    made = [pair.offer(profile, name, enabled=name != "c") for name in ("b", "a", "c")]
    made.sort(key=lambda one: str(one[pair.key]))

    def found(query: str) -> list[Any]:
        return list(pair.api.get(f"{pair.path}?{query}")[pair.plural])

    assert found("") == made
    assert [one["name"] for one in found("sort=name:desc")] == ["c", "b", "a"]
    assert [one["name"] for one in found("enabled=false")] == ["c"]
    assert [one["name"] for one in found("name=b&description=")] == ["b"]
    assert len(found(f"{pair.profile_id}={profile['id']}")) == 3
    assert found("name=b&fields=name&fields=enabled") == [{"name": "b", "enabled": True}]
    assert found(f"limit=2&marker={made[0][pair.key]}") == made[1:]
    pair.api.fault("GET", f"{pair.path}?tags=x", code=400)
    pair.api.fault("GET", f"{pair.path}?nope=x", code=400)
    assert pair.api.get(f"{pair.profile_path}?name=p&provider_name=amphora")[pair.profile_plural] == [profile]


def test_the_placeholder_is_not_there(pair: Pair) -> None:
    for method, body in (("GET", None), ("PUT", {pair.root: {}}), ("DELETE", None)):
        assert pair.api.fault(method, f"{pair.path}/{NIL}", body, code=404) == f"{pair.noun} {NIL} not found."
    lb = {"loadbalancer": {"vip_subnet_id": pair.api.subnet, pair.option: NIL}}
    pair.api.fault("POST", "/loadbalancers", lb, code=400)


def test_what_a_load_balancer_uses_stays(pair: Pair) -> None:
    api = pair.api
    offer = pair.offer(pair.profile())
    lb = api.load_balancer(**{pair.option: offer[pair.key]})
    assert lb[pair.option] == offer[pair.key]
    assert api.get(f"/loadbalancers?{pair.option}={offer[pair.key]}")["loadbalancers"] == [
        lb | {"listeners": [], "pools": []}
    ]
    wanted = f"{pair.noun} {offer[pair.key]} is in use and cannot be modified."
    assert api.fault("DELETE", pair.item(offer), code=409) == wanted
    api.delete(f"/loadbalancers/{lb['id']}")
    assert api.fault("DELETE", pair.item(offer), code=409) == wanted
    api.settle()
    api.delete(pair.item(offer))
    (row,) = api.rows(sa.select(t.load_balancer))
    assert row[pair.option] == NIL


def test_what_is_switched_off_is_for_nobody_new(pair: Pair) -> None:
    offer = pair.offer(pair.profile(), enabled=False)
    body = {"loadbalancer": {"vip_subnet_id": pair.api.subnet, pair.option: offer[pair.key]}}
    fault = pair.api.fault("POST", "/loadbalancers", body, code=400)
    option = pair.option.removesuffix("_id")
    assert fault == f"The selected {option} is not allowed in this deployment: {offer[pair.key]}"


# What they do


def test_a_flavor_decides_over_the_topology_and_the_provider(api: Api) -> None:
    pair = Pair(api, "flavor")
    data = {"loadbalancer_topology": "ACTIVE_STANDBY", "sriov_vip": True}
    flavor = pair.offer(pair.profile(data, provider_name="octavia"))
    lb = api.load_balancer(flavor_id=flavor["id"])
    assert (lb["provider"], lb["vip_vnic_type"]) == ("octavia", "direct")
    (row,) = api.rows(sa.select(t.load_balancer))
    assert row["topology"] == "ACTIVE_STANDBY"
    assert len(api.rows(sa.select(t.vrrp_group))) == 1
    body = {"vip_subnet_id": api.subnet, "flavor_id": flavor["id"], "provider": "amphora"}
    fault = api.fault("POST", "/loadbalancers", {"loadbalancer": body}, code=400)
    assert "octavia" in fault
    assert flavor["id"] in fault


def test_a_zone_decides_over_the_networks_for_vips(make_api: Callable[..., Api]) -> None:
    api = make_api(valid_vip_networks=frozenset({NIL}))
    pair = Pair(api, "availability_zone")
    (network,) = (one.id for one in api.network.list_networks() if one.name == "demo")
    api.fault("POST", "/loadbalancers", {"loadbalancer": {"vip_subnet_id": api.subnet}}, code=400)
    zone = pair.offer(pair.profile({"valid_vip_networks": [network.upper()], "compute_zone": "z"}))
    assert api.load_balancer(availability_zone=zone["name"])["availability_zone"] == "one"


def test_a_choice_is_checked_again_when_it_is_made(pair: Pair) -> None:
    offer = pair.offer(pair.profile())
    table = t.flavor_profile if pair.key == "id" else t.availability_zone_profile
    pair.api.database.write(lambda tx: tx.execute(sa.update(table).values({pair.data_name: '{"old": 1}'})))
    body = {"loadbalancer": {"vip_subnet_id": pair.api.subnet, pair.option: offer[pair.key]}}
    assert "'old'" in pair.api.fault("POST", "/loadbalancers", body, code=501)
    assert list(pair.api.network.list_ports()) == []


def test_a_choice_that_is_deleted_meanwhile_leaves_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pair.api
    offer = pair.offer(pair.profile())
    make_port = api.network.create_vip_port

    def slow(*arguments: Any) -> Any:
        api.delete(pair.item(offer))
        return make_port(*arguments)

    monkeypatch.setattr(api.network, "create_vip_port", slow)
    body = {"loadbalancer": {"vip_subnet_id": api.subnet, pair.option: offer[pair.key]}}
    api.fault("POST", "/loadbalancers", body, code=400)
    assert list(api.network.list_ports()) == []
    assert api.rows(sa.select(t.reservation)) == []


# Capabilities


@pytest.mark.parametrize("provider", ["amphora", "octavia"])
def test_capabilities_of_the_amphora_provider(api: Api, provider: str) -> None:
    flavor = api.get(f"/providers/{provider}/flavor_capabilities")["flavor_capabilities"]
    assert flavor[0] == {"name": "loadbalancer_topology", "description": TOPOLOGY}
    assert [one["name"] for one in flavor[1:]] == [
        *("compute_flavor", "amp_image_tag", "sriov_vip", "allow_member_sriov"),
    ]
    path = f"/providers/{provider}/availability_zone_capabilities"
    zone = api.get(path)["availability_zone_capabilities"]
    assert zone[0] == {"name": "compute_zone", "description": "The compute availability zone."}
    assert [one["name"] for one in zone[1:]] == ["volume_zone", "management_network", "valid_vip_networks"]
    assert list(api.get(path)) == ["availability_zone_capabilities"]
    assert api.get(f"{path}?name=compute_zone&fields=name") == {
        "availability_zone_capabilities": [{"name": "compute_zone"}]
    }
    assert api.get(f"{path}?description=x")["availability_zone_capabilities"] == []
    api.fault("GET", f"{path}?nope=x", code=400)


def test_capabilities_of_others(make_api: Callable[..., Api]) -> None:
    api = make_api(enabled_provider_drivers={"amphora": "x", "third": "y"})
    for kind in ("flavor", "availability_zone"):
        fault = api.fault("GET", f"/providers/nope/{kind}_capabilities", code=400)
        assert fault == "Provider 'nope' is not enabled."
        api.fault("GET", f"/providers/third/{kind}_capabilities", code=501)
    api.fault("GET", "/providers/amphora", code=405)
