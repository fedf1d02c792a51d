# SPDX-License-Identifier: Apache-2.0
"""TLS of listeners and pools over REST (contract: api.md sections 7.7, 7.8 and 8.2)."""

from collections.abc import Callable
from typing import Any

import pytest

from octavia.api.settings import ApiSettings
from octavia.db.engine import Database
from octavia.domain.errors import Transient
from octavia.domain.rules import Deployment
from octavia.domain.tls import CIPHERS, TlsPolicy
from octavia.drivers.certificates.noop import NoopTenantCertificates
from tests import pki
from tests.api.conftest import Api

CA = pki.Ca("CA")
LEAF = CA.issue("www.example.org")


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return with_secrets(make_api())


def with_secrets(api: Api) -> Api:
    api.certificates.keep(pki.tenant(LEAF), "site")
    api.certificates.keep(pki.tenant(LEAF), "shop")
    api.certificates.keep(CA.pem, "ca")
    api.certificates.keep(CA.revoke(), "crl")
    api.certificates.keep(pki.Ca("other").revoke(), "foreign")
    api.certificates.keep(b"nothing", "rubbish")
    return api


@pytest.fixture
def lb(api: Api) -> Any:
    return api.load_balancer()


def https(lb: Any, **values: Any) -> dict[str, Any]:
    given = {"protocol": "TERMINATED_HTTPS", "protocol_port": 443, "default_tls_container_ref": "site"}
    return {"listener": {"loadbalancer_id": lb["id"], **given, **values}}


def test_a_site_gets_the_operators_defaults_and_is_shown_whole(api: Api, lb: Any) -> None:
    created = api.post("/listeners", https(lb))["listener"]
    wanted = {
        "default_tls_container_ref": "site",
        "sni_container_refs": [],
        "client_ca_tls_container_ref": None,
        "client_authentication": "NONE",
        "client_crl_container_ref": None,
        "tls_ciphers": CIPHERS,
        "tls_versions": ["TLSv1.2", "TLSv1.3"],
        "alpn_protocols": ["h2", "http/1.1", "http/1.0"],
        "hsts_max_age": None,
        "hsts_include_subdomains": False,
        "hsts_preload": False,
    }
    shown = api.get(f"/listeners/{created['id']}")["listener"]
    (listed,) = api.get("/listeners")["listeners"]
    for answer in (created, shown, listed):
        assert {name: answer[name] for name in wanted} == wanted


def test_everything_at_once_is_kept_in_its_order(api: Api, lb: Any) -> None:
    values = {
        "sni_container_refs": ["shop", "site"],
        "client_ca_tls_container_ref": "ca",
        "client_authentication": "OPTIONAL",
        "client_crl_container_ref": "crl",
        "tls_ciphers": "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1",
        "tls_versions": ["TLSv1.3", "TLSv1.2"],
        "alpn_protocols": ["http/1.1"],
        "hsts_max_age": 0,
        "hsts_include_subdomains": True,
        "hsts_preload": True,
    }
    created = api.post("/listeners", https(lb, **values))["listener"]
    assert {name: created[name] for name in values} == values
    shown = api.get(f"/listeners/{created['id']}")["listener"]
    assert {name: shown[name] for name in values} == values
    assert api.get("/listeners?client_authentication=OPTIONAL&default_tls_container_ref=site")["listeners"]
    assert not api.get("/listeners?client_authentication=NONE")["listeners"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"default_tls_container_ref": None}, "default_tls_container_ref or sni_container_refs"),
    ({"default_tls_container_ref": ""}, "default_tls_container_ref or sni_container_refs"),
    ({"default_tls_container_ref": "gone"}, "Could not retrieve certificate: gone"),
    (
        {"sni_container_refs": ["gone", "site", "lost"], "client_ca_tls_container_ref": "nowhere"},
        "Could not retrieve certificate: gone, lost, nowhere",
    ),
    ({"default_tls_container_ref": "rubbish"}, "rubbish"),
    ({"client_authentication": "MANDATORY"}, "client_ca_tls_container_ref"),
    ({"client_crl_container_ref": "crl"}, "client_crl_container_ref needs a client_ca_tls_container_ref"),
    ({"client_ca_tls_container_ref": "rubbish"}, "client_ca_tls_container_ref holds no CA"),
    (
        {"client_ca_tls_container_ref": "ca", "client_crl_container_ref": "rubbish"},
        "client_crl_container_ref holds no CRL",
    ),
    (
        {"client_ca_tls_container_ref": "ca", "client_crl_container_ref": "foreign"},
        "client_crl_container_ref holds a CRL that is not signed by the CA",
    ),
    ({"tls_ciphers": "AES128-SHA\nserver evil"}, "characters"),
    ({"tls_ciphers": "AES128-SHA:RC4-MD5:NULL"}, "NULL, RC4-MD5"),
    ({"tls_versions": []}, "empty"),
    ({"tls_versions": ["TLSv1.2", "TLSv9"]}, "TLSv9"),
    ({"tls_versions": ["TLSv1", "TLSv1.2"]}, "TLSv1.1"),
    ({"alpn_protocols": []}, "empty"),
    ({"hsts_preload": True}, "hsts_max_age"),
    ({"hsts_include_subdomains": True}, "hsts_max_age"),
]


@pytest.mark.parametrize(("values", "said"), REFUSED)
def test_what_makes_no_sense_is_refused_by_name_and_nothing_is_stored(
    make_api: Callable[..., Api], values: dict[str, Any], said: str
) -> None:
    policy = TlsPolicy(prohibited_ciphers=frozenset({"RC4-MD5", "NULL"}), minimum_version="TLSv1.1")
    api = with_secrets(make_api(deployment=Deployment(tls=policy)))
    lb = api.load_balancer()
    assert said in api.fault("POST", "/listeners", https(lb, **values), code=400)
    assert api.get("/listeners")["listeners"] == []
    created = api.post("/listeners", https(lb))["listener"]
    item = f"/listeners/{created['id']}"
    before = api.get(item)
    assert said in api.fault("PUT", item, {"listener": values}, code=400)
    assert api.get(item) == before


@pytest.mark.parametrize("protocol", ["HTTP", "HTTPS", "TCP", "UDP", "SCTP"])
@pytest.mark.parametrize(
    "field",
    ["default_tls_container_ref", "sni_container_refs", "client_ca_tls_container_ref", "hsts_max_age"],
)
def test_who_does_not_terminate_tls_has_no_certificates(api: Api, lb: Any, protocol: str, field: str) -> None:
    value: Any = {"sni_container_refs": ["site"], "hsts_max_age": 5}.get(field, "site")
    body = https(lb, protocol=protocol, default_tls_container_ref=None) | {}
    body["listener"][field] = value
    fault = api.fault("POST", "/listeners", body, code=400)
    assert "TLS" in fault or field in fault
    if field != "hsts_max_age":
        assert protocol in fault


def test_prometheus_may_have_tls_unless_the_operator_says_no(make_api: Callable[..., Api]) -> None:
    api = with_secrets(make_api())
    lb = api.load_balancer()
    made = api.post("/listeners", https(lb, protocol="PROMETHEUS"))["listener"]
    assert made["protocol"] == "PROMETHEUS"
    api = with_secrets(make_api(deployment=Deployment(allow_tls_terminated_listeners=False)))
    wanted = "The selected protocol is not allowed in this deployment: "
    body = https(lb, protocol="PROMETHEUS", protocol_port=444)
    assert api.fault("POST", "/listeners", body, code=400) == f"{wanted}PROMETHEUS with TLS"
    assert api.fault("POST", "/listeners", https(lb), code=400) == f"{wanted}TERMINATED_HTTPS"


def test_what_clients_send_to_clear_a_field_clears_it(api: Api, lb: Any) -> None:
    values = {
        "sni_container_refs": ["shop"],
        "client_ca_tls_container_ref": "ca",
        "client_crl_container_ref": "crl",
    }
    created = api.post("/listeners", https(lb, client_authentication="OPTIONAL", hsts_max_age=5, **values))
    item = f"/listeners/{created['listener']['id']}"

    def put(**changes: Any) -> Any:
        return api.put(item, {"listener": changes})["listener"]

    assert put(client_authentication=None)["client_authentication"] == "NONE"
    assert put(client_authentication="MANDATORY")["client_authentication"] == "MANDATORY"
    assert "client_crl" in api.fault(
        "PUT", item, {"listener": {"client_ca_tls_container_ref": None}}, code=400
    )
    cleared = put(client_ca_tls_container_ref="", client_crl_container_ref=None, sni_container_refs=None)
    assert (cleared["client_ca_tls_container_ref"], cleared["client_crl_container_ref"]) == ("", None)
    assert cleared["sni_container_refs"] == []
    assert "client_ca" in api.fault("PUT", item, {"listener": {"client_authentication": None}}, code=400)
    assert put(hsts_preload=True)["hsts_preload"] is True
    assert put(hsts_max_age=None, hsts_preload=None)["hsts_max_age"] is None
    assert put(tls_ciphers="", tls_versions=None)["tls_ciphers"] == ""
    fault = api.fault("PUT", item, {"listener": {"default_tls_container_ref": None}}, code=400)
    assert "default_tls_container_ref or sni_container_refs" in fault
    swapped = put(default_tls_container_ref=None, sni_container_refs=["shop", "site"])
    assert swapped["sni_container_refs"] == ["shop", "site"]
    assert api.get(item)["listener"]["default_tls_container_ref"] is None


def test_writes_that_name_no_secret_ask_no_store(api: Api, lb: Any) -> None:
    created = api.post("/listeners", https(lb))["listener"]
    asked = len(api.certificates.faults.calls)
    api.put(f"/listeners/{created['id']}", {"listener": {"name": "renamed"}})
    pool = api.pool(lb)
    api.member(pool)
    assert len(api.certificates.faults.calls) == asked
    api.put(f"/listeners/{created['id']}", {"listener": {"default_tls_container_ref": "site"}})
    assert len(api.certificates.faults.calls) > asked


def test_a_store_that_is_away_is_nobodys_fault_and_nothing_is_stored(api: Api, lb: Any) -> None:
    api.certificates.faults.fail("get_certificate", Transient("the store is away"))
    answer = api.request("POST", "/listeners", https(lb))
    assert answer.status_code >= 500
    assert api.get("/listeners")["listeners"] == []
    api.post("/listeners", https(lb))


def test_nobody_learns_of_secrets_before_the_rules_have_passed(api: Api, lb: Any) -> None:
    api.post("/listeners", https(lb))
    asked = len(api.certificates.faults.calls)
    body = https(lb, default_tls_container_ref="gone")
    assert "already using" in api.fault("POST", "/listeners", body, code=409)
    missing = https({"id": "00000000-0000-0000-0000-00000000dead"})
    api.fault("POST", "/listeners", missing, code=404)
    assert len(api.certificates.faults.calls) == asked


def test_a_graph_with_tls_is_checked_as_a_whole(api: Api) -> None:
    listener = https({"id": ""})["listener"]
    del listener["loadbalancer_id"]
    pool = {
        "name": "secure",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "tls_enabled": True,
        "ca_tls_container_ref": "ca",
    }
    whole = {"vip_subnet_id": api.subnet, "listeners": [listener | {"default_pool": pool}]}
    created = api.post("/loadbalancers", {"loadbalancer": whole})["loadbalancer"]
    (shown,) = created["listeners"]
    assert (shown["default_tls_container_ref"], shown["tls_ciphers"]) == ("site", CIPHERS)
    (made,) = created["pools"]
    assert (made["tls_enabled"], made["ca_tls_container_ref"], made["tls_ciphers"]) == (True, "ca", CIPHERS)
    listener["default_tls_container_ref"] = "gone"
    whole["listeners"] = [listener]
    fault = api.fault("POST", "/loadbalancers", {"loadbalancer": whole}, code=400)
    assert fault == "Could not retrieve certificate: gone"
    assert len(api.get("/loadbalancers")["loadbalancers"]) == 1


POOL_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"crl_container_ref": "crl"}, "crl_container_ref needs a ca_tls_container_ref"),
    (
        {"ca_tls_container_ref": "gone", "tls_container_ref": "lost"},
        "Could not retrieve certificate: lost, gone",
    ),
    ({"ca_tls_container_ref": "rubbish"}, "ca_tls_container_ref holds no CA"),
    ({"ca_tls_container_ref": "ca", "crl_container_ref": "foreign"}, "crl_container_ref holds a CRL"),
    ({"tls_ciphers": "a b"}, "characters"),
    ({"tls_enabled": True, "tls_versions": ["TLSv9"]}, "TLSv9"),
    ({"tls_enabled": True, "alpn_protocols": []}, "empty"),
]


@pytest.mark.parametrize(("values", "said"), POOL_REFUSED)
def test_what_makes_no_sense_of_a_pool_is_refused_by_name(
    api: Api, lb: Any, values: dict[str, Any], said: str
) -> None:
    body = {"loadbalancer_id": lb["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"} | values
    assert said in api.fault("POST", "/pools", {"pool": body}, code=400)
    created = api.pool(lb)
    assert said in api.fault("PUT", f"/pools/{created['id']}", {"pool": values}, code=400)


def test_a_pool_that_speaks_tls_gets_the_operators_defaults(api: Api, lb: Any) -> None:
    plain = api.pool(lb, tls_container_ref="site")
    assert (plain["tls_enabled"], plain["tls_container_ref"], plain["tls_ciphers"]) == (False, "site", None)
    secure = api.pool(lb, tls_enabled=True, ca_tls_container_ref="ca", crl_container_ref="crl")
    shown = api.get(f"/pools/{secure['id']}")["pool"]
    assert shown["tls_ciphers"] == CIPHERS
    assert shown["tls_versions"] == ["TLSv1.2", "TLSv1.3"]
    assert shown["alpn_protocols"] == ["h2", "http/1.1", "http/1.0"]
    item = f"/pools/{secure['id']}"
    assert "crl_container_ref" in api.fault("PUT", item, {"pool": {"ca_tls_container_ref": None}}, code=400)
    both = {"ca_tls_container_ref": None, "crl_container_ref": None, "alpn_protocols": None}
    cleared = api.put(item, {"pool": both})["pool"]
    assert {name: cleared[name] for name in both} == both


def test_deleting_a_site_takes_its_names_along(api: Api, lb: Any) -> None:
    created = api.post("/listeners", https(lb, sni_container_refs=["shop"]))["listener"]
    api.settle()
    api.delete(f"/listeners/{created['id']}")
    api.settle()
    api.get(f"/listeners/{created['id']}", code=404)
    api.post("/listeners", https(lb))


def test_without_a_cloud_any_reference_will_do(database: Database) -> None:
    api = Api(database, ApiSettings(), certificates=NoopTenantCertificates())  # type: ignore[arg-type]
    values = {
        "default_tls_container_ref": "3f5d5a0e-6f0b-4c0b-9e06-0d3a54b1cd3f",
        "sni_container_refs": ["https://barbican/v1/containers/1", "x"],
        "client_ca_tls_container_ref": "y",
        "client_crl_container_ref": "z",
        "client_authentication": "MANDATORY",
    }
    created = api.post("/listeners", https(api.load_balancer(), **values))["listener"]
    assert {name: created[name] for name in values} == values
