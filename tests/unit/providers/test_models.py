# SPDX-License-Identifier: Apache-2.0
"""Octavia-lib's models of a tree (contract: provider-drivers.md section 3)."""

import json
from typing import Any

import pytest
from octavia_lib.api.drivers import data_models as lib

from octavia.domain.tree import Listener, LoadBalancer, Pool, Resource
from octavia.providers.models import ID, Models
from tests.unit.providers.trees import full

# What has no counterpart in the database: there is no certificate to tell.
_UNSET = {
    "default_tls_container_data",
    "sni_container_data",
    "client_ca_tls_container_data",
    "client_crl_container_data",
    "tls_container_data",
    "ca_tls_container_data",
    "crl_container_data",
}


@pytest.fixture(scope="module")
def lb() -> LoadBalancer:
    return full()


@pytest.fixture(scope="module")
def models(lb: LoadBalancer) -> Models:
    return Models(lb, {"size": 1}, {})


def test_everything_but_certificates_has_a_value_in_a_whole_model(lb: LoadBalancer, models: Models) -> None:
    for one in lb.walk():
        unset = {name for name, value in vars(models.of(one)).items() if isinstance(value, lib.UnsetType)}
        assert unset <= _UNSET, one


def test_ids_and_parents_agree(lb: LoadBalancer, models: Models) -> None:
    parents = {"listener_id": lb.listeners[0].id, "pool_id": lb.pools[0].id, "loadbalancer_id": "lb"}
    parents["l7policy_id"] = lb.listeners[0].l7_policies[0].id
    for one in lb.walk():
        model = models.of(one)
        assert getattr(model, ID[type(one)]) == one.id
        for name in parents.keys() & vars(model).keys():
            assert getattr(model, name) == parents[name]


def test_drivers_see_no_type_of_ours(lb: LoadBalancer, models: Models) -> None:
    def bare(value: Any) -> bool:
        if isinstance(value, lib.BaseDataModel):
            return all(map(bare, vars(value).values()))
        if type(value) is list:
            return all(map(bare, value))
        if type(value) is dict:
            return all(map(bare, value.values()))
        return type(value) in (str, int, float, bool, type(None), lib.UnsetType)

    assert [one for one in lb.walk() if not bare(models.of(one))] == []


def test_what_the_get_socket_answers_makes_the_same_objects_again(lb: LoadBalancer, models: Models) -> None:
    told = json.loads(json.dumps(models.of(lb).to_dict(recurse=True, render_unsets=True)))
    again = lib.LoadBalancer.from_dict(told)
    assert again == models.of(lb)
    listener = lib.Listener.from_dict(told["listeners"][0])
    pool = lib.Pool.from_dict(told["pools"][0])
    assert (listener.protocol_port, pool.session_persistence["type"]) == (80, "HTTP_COOKIE")
    for one in (told["pools"][0]["members"][0], told["listeners"][0]["l7policies"][0]["rules"][0]):
        kind = lib.Member if "member_id" in one else lib.L7Rule
        assert kind.from_dict(one).admin_state_up is True


@pytest.mark.parametrize(
    ("type_", "written", "told"),
    [
        (Listener, ["name", "tags"], {"listener_id", "name"}),
        (Listener, ["default_tls_container_ref"], {"listener_id", "default_tls_container_ref"}),
        (Pool, ["session_persistence"], {"pool_id", "session_persistence"}),
        (LoadBalancer, [], {"loadbalancer_id"}),
    ],
)
def test_a_changed_model_has_what_was_written(
    lb: LoadBalancer, models: Models, type_: type[Resource], written: list[str], told: set[str]
) -> None:
    one = next(one for one in lb.walk() if type(one) is type_)
    values = vars(models.changed(one, written)).items()
    assert {name for name, value in values if not isinstance(value, lib.UnsetType)} == told
