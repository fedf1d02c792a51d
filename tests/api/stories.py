# SPDX-License-Identifier: Apache-2.0
"""What the stories of the endpoints have in common: the contract's fields in their order, refusals as tables.

A story plays one endpoint as api.md tells it: the good path with every field, then each way in which it
refuses, after each of which the database is as it was. ``test_story_table`` sees to it that every endpoint of
the route table has one.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from octavia.db import tables as t
from tests.api.conftest import Api

_F = TypeVar("_F", bound=Callable[..., None])

TOLD: Final[set[str]] = set()
"""Endpoints that have a story, such as ``GET /pools/{pool_id}``."""

GONE: Final = object()
"""In place of a value: without that field."""

UNKNOWN: Final = "99999999-9999-4999-8999-999999999999"

FIELDS: Final = {
    "loadbalancer": "id name description provisioning_status operating_status admin_state_up project_id"
    " created_at updated_at vip_address vip_port_id vip_subnet_id vip_network_id vip_sg_ids additional_vips"
    " listeners pools provider flavor_id vip_qos_policy_id tags availability_zone vip_vnic_type tenant_id",
    "listener": "id name description provisioning_status operating_status admin_state_up protocol"
    " protocol_port connection_limit default_tls_container_ref sni_container_refs project_id default_pool_id"
    " l7policies insert_headers created_at updated_at loadbalancers timeout_client_data"
    " timeout_member_connect timeout_member_data timeout_tcp_inspect tags client_ca_tls_container_ref"
    " client_authentication client_crl_container_ref allowed_cidrs tls_ciphers tls_versions alpn_protocols"
    " hsts_max_age hsts_include_subdomains hsts_preload tenant_id",
    "pool": "id name description provisioning_status operating_status admin_state_up protocol lb_algorithm"
    " session_persistence project_id loadbalancers listeners created_at updated_at healthmonitor_id members"
    " tags tls_container_ref ca_tls_container_ref crl_container_ref tls_enabled tls_ciphers tls_versions"
    " alpn_protocols tenant_id",
    "member": "id name operating_status provisioning_status admin_state_up address protocol_port weight"
    " backup subnet_id project_id created_at updated_at monitor_address monitor_port tags vnic_type"
    " tenant_id",
    "healthmonitor": "id name type delay timeout max_retries max_retries_down http_method url_path"
    " expected_codes admin_state_up project_id pools provisioning_status operating_status created_at"
    " updated_at tags http_version domain_name tenant_id",
    "l7policy": "id name description provisioning_status operating_status admin_state_up project_id action"
    " listener_id redirect_pool_id redirect_url redirect_prefix position rules created_at updated_at tags"
    " redirect_http_code tenant_id",
    "rule": "id type compare_type key value invert provisioning_status operating_status created_at"
    " updated_at project_id admin_state_up tags tenant_id",
    "quota": "project_id loadbalancer load_balancer listener member pool healthmonitor health_monitor"
    " l7policy l7rule tenant_id",
    "flavor": "id name description enabled flavor_profile_id",
    "flavorprofile": "id name provider_name flavor_data",
    "availability_zone": "name description enabled availability_zone_profile_id",
    "availability_zone_profile": "id name provider_name availability_zone_data",
    "amphora": "id loadbalancer_id compute_id lb_network_ip vrrp_ip ha_ip vrrp_port_id ha_port_id"
    " cert_expiration cert_busy role status vrrp_interface vrrp_id vrrp_priority cached_zone created_at"
    " updated_at image_id compute_flavor",
}


def story(*endpoints: str) -> Callable[[_F], _F]:
    """The test plays these endpoints."""
    TOLD.update(endpoints)
    return lambda test: test


def words(text: str) -> list[str]:
    """Names, as they stand in a table of the contract."""
    return text.split()


def check_fields(root: str, shown: dict[str, Any], *, without: str = "", also: str = "") -> None:
    """The fields of the contract, all of them, in its order; why it is as it is may come after them."""
    expected = [name for name in FIELDS[root].split() if name not in without.split()]
    found = [name for name in shown if name != "status_reason"]
    assert found == expected + also.split()


def check_shows(
    api: Api, path: str, root: str, created: dict[str, Any], *, links: str = "", **filters: Any
) -> None:
    """The object of a create is what show and list say, whole and field by field."""
    plural = links.removesuffix("_links") or f"{root}s"
    key = created.get("id", created.get("name"))
    collection, _, parameters = path.partition("?")
    shown = api.get(f"{collection}/{key}")[root]
    shown.pop("status_reason", None)
    assert shown == created
    answer = api.get(f"{collection}?{parameters}")
    assert list(answer) == [plural, links or f"{plural}_links"]
    (row,) = [one for one in answer[plural] if one.get("id", one.get("name")) == key]
    assert row == created
    for name, value in created.items():
        if name == "tenant_id":
            assert api.get(f"{collection}/{key}?fields=tenant_id")[root] == {}
            continue
        assert api.get(f"{collection}/{key}?fields={name}")[root] == {name: value}
        chosen = api.get(f"{collection}?fields={name}&fields=nonsense")[plural]
        assert {name: value} in chosen
        assert all(list(one) == [name] for one in chosen)
    assert api.request("GET", f"{collection}/{key}?nonsense=1").status_code == 200
    assert "duplicate or invalid" in api.fault("GET", f"{collection}?nonsense=1", code=400)
    for name, value in filters.items():
        found = api.get(f"{collection}?{name}={value}")[plural]
        assert created in found, f"{name}={value}"
        if not isinstance(created.get(name, True), bool):
            assert api.get(f"{collection}?{name}=nothing-like-it")[plural] == []
        if name != "tags":  # which are lists that add up
            assert "duplicate" in api.fault("GET", f"{collection}?{name}={value}&{name}={value}", code=400)


@contextmanager
def unchanged(api: Api) -> Iterator[None]:
    """Whatever was refused, nothing of it is stored and no status has moved."""
    before = _everything(api)
    rings = api.doorbell.rings
    yield
    assert _everything(api) == before
    assert api.doorbell.rings == rings


def _everything(api: Api) -> dict[str, list[tuple[Any, ...]]]:
    with api.database.read() as tx:
        return {
            name: sorted(map(tuple, tx.execute(sa.select(table)).all()), key=repr)
            for name, table in t.metadata.tables.items()
        }


Refusal = tuple[dict[str, Any], int, str]
"""What differs from a good body, the code, and what the fault string has to contain."""


def check_refusals(
    api: Api, method: str, path: str, root: str, good: dict[str, Any], refusals: Iterable[Refusal]
) -> None:
    """Each row is refused in its words, and nothing has changed afterwards."""
    with unchanged(api):
        for changes, code, fragment in refusals:
            body = {name: value for name, value in (good | changes).items() if value is not GONE}
            fault = api.fault(method, path, {root: body}, code=code)
            assert fragment in fault, (changes, fault)


def check_body(api: Api, method: str, path: str, root: str) -> None:
    """What every call that takes a body says to one that is none."""
    with unchanged(api):
        assert "Missing argument" in api.fault(method, path, code=400)
        assert api.fault(method, path, {}, code=400)
        assert api.fault(method, path, {root: None}, code=400)
        assert api.fault(method, path, {root: 5}, code=400)
        assert api.fault(method, path, [1], code=400)
        assert "Unknown argument" in api.fault(method, f"{path}?nonsense=1", {root: {}}, code=400)
        fault = api.fault(method, path, {root: {"nonsense": 1}}, code=400)
        assert fault.startswith("Unknown attribute for argument")
        assert "nonsense" in fault


def missing(api: Api, method: str, path: str, noun: str, body: Any = None) -> None:
    """An id that is none, and one that nothing has."""
    with unchanged(api):
        for identifier in ("foo", UNKNOWN):
            fault = api.fault(method, path.format(identifier), body, code=404)
            assert fault == f"{noun} {identifier} not found."


def locked(
    api: Api, table: sa.Table, object_id: str, calls: Iterable[tuple[str, str, Any]], fragment: str
) -> None:
    """In no state but ACTIVE does it take these calls."""
    for status in ("PENDING_CREATE", "PENDING_UPDATE", "PENDING_DELETE", "ERROR"):
        api.set_status(table, object_id, status)
        with unchanged(api):
            for method, path, body in calls:
                assert fragment.format(status) in api.fault(method, path, body, code=409)
    api.set_status(table, object_id, "ACTIVE")
