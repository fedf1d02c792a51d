# SPDX-License-Identifier: Apache-2.0
"""Paths, methods, headers and error bodies, whatever the resource."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from octavia.api.cors import Cors
from octavia.api.settings import ApiSettings, check_binding
from octavia.db import views
from octavia.domain.errors import Terminal, Transient
from tests.api.conftest import Api


def test_discovery_names_the_newest_version_last_and_current(api: Api) -> None:
    versions = api.get("//", headers={"Host": "lb.example:9876"})["versions"]
    assert (versions[0]["id"], versions[-1]["id"], len(versions)) == ("v2.0", "v2.30", 31)
    assert [one["id"] for one in versions if one["status"] == "CURRENT"] == ["v2.30"]
    assert {link["href"] for one in versions for link in one["links"]} == {"http://lb.example:9876/v2"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_any_method_discovers(api: Api, method: str) -> None:
    assert api.request(method, "//").status_code == 200


@pytest.mark.parametrize(
    "path", ["/v2", "/v2.0", "/v2/lbaas", "/v2.0/lbaas/", "/v2/octavia", "/v2.0/octavia"]
)
def test_roots_answer_their_name(api: Api, path: str) -> None:
    assert api.get("/" + path) == "v2"


@pytest.mark.parametrize("root", ["/v2/lbaas", "/v2.0/lbaas", "/v2", "/v2.0"])
@pytest.mark.parametrize("suffix", ["", "/", ".json"])
def test_both_trees_serve_with_and_without_lbaas(api: Api, root: str, suffix: str) -> None:
    lb = api.load_balancer()
    assert [one["id"] for one in api.get(f"/{root}/loadbalancers{suffix}")["loadbalancers"]] == [lb["id"]]
    assert api.get(f"/{root}/loadbalancers/{lb['id']}{suffix}")["loadbalancer"]["id"] == lb["id"]


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/v3/lbaas/loadbalancers",
        "/v2/lbaas/amphorae",
        "/v2/octavia/loadbalancers",
        "/v2/lbaas/loadbalancers/x/nope",
        "/v2/lbaas/pools/x/members/y/z",
        "/healthcheck",
        "/network",
    ],
)
def test_unknown_paths_are_404_in_both_shapes_at_once(api: Api, path: str) -> None:
    answer = api.get("/" + path, code=404)
    assert answer == answer | {"code": 404, "title": "Not Found", "description": "", "faultcode": "Client"}
    assert answer["faultstring"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/loadbalancers", "PUT, DELETE, GET, POST, OPTIONS"),
        ("PUT", "/providers/x/y", None),
        ("GET", "/providers/x", "OPTIONS"),
        ("POST", "/quotas", "PUT, DELETE, GET, OPTIONS"),
        ("HEAD", "/loadbalancers", "PUT, DELETE, GET, POST, OPTIONS"),
        ("POST", "/loadbalancers/x/status", "GET, OPTIONS"),
        ("GET", "/loadbalancers/x/failover", "PUT, OPTIONS"),
    ],
)
def test_methods_that_a_resource_lacks_are_405_and_name_the_others(
    api: Api, method: str, path: str, allowed: str | None
) -> None:
    result = api.request(method, path)
    if allowed is None:
        assert result.status_code == 404
        return
    assert result.status_code == 405
    assert set(result.headers["allow"].split(", ")) == set(allowed.split(", "))


@pytest.mark.parametrize(
    "path",
    [
        *("loadbalancers", "listeners", "pools", "healthmonitors", "l7policies", "flavors", "flavorprofiles"),
        *("availabilityzones", "availabilityzoneprofiles", "l7policies/x/rules"),
    ],
)
def test_a_collection_is_neither_changed_nor_deleted(api: Api, path: str) -> None:
    for method in ("PUT", "DELETE"):
        assert api.fault(method, f"/{path}", {}, code=400) == "Missing argument: id"
    assert api.fault("DELETE", "/pools/x/members", code=400) == "Missing argument: id"


# Health check


def test_health_is_told_where_it_is_enabled(make_api: Callable[..., Api]) -> None:
    api = make_api(healthcheck_enabled=True)
    for accept, media_type, text in (
        (None, "text/plain; charset=utf-8", "OK"),
        ("*/*", "text/plain; charset=utf-8", "OK"),
        ("image/png", "text/plain; charset=utf-8", "OK"),
        ("application/json", "application/json", '{"detailed": false, "reasons": ["OK"]}'),
    ):
        headers = {"Accept": accept} if accept else {}
        result = api.request("GET", "//healthcheck", headers=headers)
        assert (result.status_code, result.headers["content-type"], result.text) == (200, media_type, text)
    html = api.request("GET", "//healthcheck", headers={"Accept": "text/html"})
    assert "<p>OK</p>" in html.text
    head = api.request("HEAD", "//healthcheck")
    assert (head.status_code, head.content) == (200, b"")
    for method in ("POST", "PUT", "DELETE"):
        api.fault(method, "//healthcheck", code=405)


def test_health_is_bad_without_a_database_and_is_not_asked_for_all_the_time(
    make_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api(healthcheck_enabled=True, healthcheck_refresh_interval=5)

    def break_down(_tx: Any) -> None:
        raise Transient("secret")

    def health() -> tuple[int, str]:
        result = api.request("GET", "//healthcheck")
        return result.status_code, result.text

    assert health() == (200, "OK")
    monkeypatch.setattr(views, "ping", break_down)
    assert health() == (200, "OK")
    api.clock.time += timedelta(seconds=5)
    assert health() == (503, "UNAVAILABLE")
    monkeypatch.undo()
    assert health() == (503, "UNAVAILABLE")
    api.clock.time += timedelta(seconds=5)
    assert health() == (200, "OK")


# Browsers


PAGE = "https://horizon.example"


def cors(api: Api, method: str, path: str = "/pools", **headers: str) -> dict[str, str]:
    """What an answer tells the browser."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    result = api.request(method, path, headers=sent)
    known = ("access-control-", "vary")
    return {name: value for name, value in result.headers.items() if name.startswith(known)}


def test_no_page_may_call_unless_it_is_configured(api: Api, make_api: Callable[..., Api]) -> None:
    assert cors(api, "GET", Origin=PAGE) == {}
    allowing = make_api(cors=Cors(allowed_origin=(PAGE,)))
    assert cors(allowing, "GET", Origin="https://evil.example") == {"vary": "Origin"}
    assert cors(allowing, "GET") == {}


def test_a_configured_page_may_call_and_read_errors_too(make_api: Callable[..., Api]) -> None:
    api = make_api(cors=Cors(allowed_origin=(PAGE,)))
    wanted = {
        "vary": "Origin",
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "X-Auth-Token,X-Openstack-Request-Id",
    }
    for path in ("/pools", "/pools/nope", "//nope", "/pools?limit=x"):
        assert cors(api, "GET", path, Origin=PAGE) == wanted


def test_a_browser_may_ask_before_it_calls(make_api: Callable[..., Api]) -> None:
    api = make_api(cors=Cors(allowed_origin=(PAGE,)))

    def asked(method: str, headers: str = "") -> dict[str, str]:
        more = {"Access_Control_Request_Headers": headers} if headers else {}
        return cors(api, "OPTIONS", Origin=PAGE, Access_Control_Request_Method=method, **more)

    assert asked("PUT", "x-auth-token, Content-Type") == {
        "vary": "Origin",
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-max-age": "3600",
        "access-control-allow-methods": "PUT",
        "access-control-allow-headers": "x-auth-token,Content-Type",
    }
    assert asked("PATCH") == {"vary": "Origin"}
    assert asked("GET", "X-Other") == {"vary": "Origin"}


def test_every_page_may_be_allowed_but_without_credentials(make_api: Callable[..., Api]) -> None:
    found = cors(make_api(cors=Cors(allowed_origin=("*",))), "GET", Origin=PAGE)
    assert found["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in found


def test_options_need_nothing(api: Api) -> None:
    result = api.request("OPTIONS", "/loadbalancers")
    assert (result.status_code, result.content) == (200, b"")


def test_every_answer_carries_its_own_request_id(api: Api) -> None:
    ids = {
        api.request("GET", path).headers["x-openstack-request-id"]
        for path in ("/pools", "/pools/x", "//nope")
    }
    assert len(ids) == 3
    assert all(re.fullmatch(r"req-[0-9a-f-]{36}", one) for one in ids)


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "", "nonsense", "text/html, application/json;q=0.1", "application/*", ",,"],
)
def test_acceptable(api: Api, accept: str) -> None:
    assert api.get("/pools", headers={"Accept": accept}) == {"pools": [], "pools_links": []}


@pytest.mark.parametrize("accept", ["text/html", "application/xml, image/*", "application/json;q=0"])
def test_not_acceptable(api: Api, accept: str) -> None:
    answer = api.get("/pools", code=406, headers={"Accept": accept})
    assert (answer["title"], "application/json" in answer["description"]) == ("Not Acceptable", True)


BODY = json.dumps({"loadbalancer": {}}).encode()


@pytest.mark.parametrize(
    ("headers", "body", "code", "fault"),
    [
        ({"Content-Type": "text/xml"}, BODY, 415, "Unknown mimetype: text/xml"),
        ({}, BODY, 400, "Content-Type"),
        ({"Content-Type": "application/json"}, b"", 400, "Missing argument: loadbalancer"),
        ({"Content-Type": "application/json"}, b"{", 400, "Request is not in valid JSON format"),
        ({"Content-Type": "application/json"}, b"\xff\xfe", 400, "Request is not in valid JSON format"),
        ({"Content-Type": "application/json"}, b"[" * 100_000, 400, "Request is not in valid JSON format"),
        ({"Content-Type": "application/json"}, b'{"loadbalancer": ' + b"9" * 5000 + b"}", 400, "JSON"),
        ({"Content-Type": "application/json"}, b'{"loadbalancer": NaN}', 400, "JSON"),
        ({"Content-Type": "application/json"}, b"[]", 400, "it must be an object"),
        ({"Content-Type": "application/json"}, b"5", 400, "it must be an object"),
        ({"Content-Type": "application/json"}, b"{}", 400, "Validation failure"),
        ({"Content-Type": "application/json"}, b'{"loadbalancer": null}', 400, "Validation failure"),
        ({"Content-Type": "application/json"}, b'{"loadbalancer": []}', 400, "Value should be an object"),
        ({"Content-Type": "application/json"}, b'{"loadbalancer": "x"}', 400, "Value should be an object"),
        ({"Content-Type": "application/json"}, b'{"loadbalancer": {}, "x": 1}', 400, "Unknown argument: x"),
        ({"Content-Type": "application/json"}, b" " * 120_000, 413, "114688"),
    ],
)
def test_bodies_that_are_none(api: Api, headers: dict[str, str], body: bytes, code: int, fault: str) -> None:
    result = api.request("POST", "/loadbalancers", headers=headers, body=body)
    assert result.status_code == code, result.text
    assert fault in result.json["faultstring"]


def test_parameters_of_the_content_type_mean_nothing(api: Api) -> None:
    body = json.dumps({"loadbalancer": {"vip_subnet_id": api.subnet}}).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert api.request("POST", "/loadbalancers", headers=headers, body=body).status_code == 201


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/loadbalancers?x=1"),
        ("PUT", "/loadbalancers/{lb}?x=1"),
        ("DELETE", "/loadbalancers/{lb}?x=1"),
        ("GET", "/loadbalancers/{lb}/status?x=1"),
        ("GET", "/loadbalancers/{lb}/stats?x=1"),
        ("PUT", "/loadbalancers/{lb}/failover?x=1"),
        ("DELETE", "/listeners/{lb}?cascade=1"),
        ("PUT", "/pools/{lb}/members?x=1"),
    ],
)
def test_query_parameters_that_a_call_does_not_have(api: Api, method: str, path: str) -> None:
    path = path.format(lb=api.load_balancer()["id"])
    fault = api.fault(method, path, {"loadbalancer": {}}, code=400)
    assert fault.startswith("Unknown argument: ")


def test_query_parameters_of_a_show_are_ignored(api: Api) -> None:
    lb = api.load_balancer()
    assert api.get(f"/loadbalancers/{lb['id']}?nonsense=1")["loadbalancer"]["id"] == lb["id"]


@pytest.mark.parametrize(
    ("path", "noun"),
    [
        ("/loadbalancers/{}", "Load Balancer"),
        ("/loadbalancers/{}/status", "Load Balancer"),
        ("/loadbalancers/{}/stats", "Load Balancer"),
        ("/listeners/{}", "Listener"),
        ("/listeners/{}/stats", "Listener"),
        ("/pools/{}", "Pool"),
        ("/pools/{}/members", "Pool"),
        ("/pools/{}/members/x", "Pool"),
        ("/healthmonitors/{}", "Health Monitor"),
        ("/l7policies/{}", "L7 Policy"),
        ("/flavors/{}", "Flavor"),
        ("/flavorprofiles/{}", "Flavor Profile"),
        ("/availabilityzones/{}", "Availability Zone"),
        ("/availabilityzoneprofiles/{}", "Availability Zone Profile"),
        ("/l7policies/{}/rules", "L7 Policy"),
        ("/l7policies/{}/rules/x", "L7 Policy"),
        ("//v2/octavia/amphorae/{}", "Amphora"),
        ("//v2/octavia/amphorae/{}/stats", "Amphora stats for"),
    ],
)
@pytest.mark.parametrize("identifier", ["foo", "00000000-0000-0000-0000-000000000000", "%F0%9F%90%99"])
def test_what_is_not_there_is_named(api: Api, path: str, noun: str, identifier: str) -> None:
    wanted = {"%F0%9F%90%99": "🐙"}.get(identifier, identifier)
    assert api.fault("GET", path.format(identifier), code=404) == f"{noun} {wanted} not found."


@pytest.mark.parametrize("path", ["/loadbalancers/%00", "/listeners/a%00b", "/pools/%00/members"])
def test_an_identifier_that_no_database_can_hold_is_not_there(api: Api, path: str) -> None:
    api.fault("GET", path, code=404)


def test_an_unexpected_failure_is_a_500_that_tells_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(api.network, "get_subnet", break_down)
    body = {"loadbalancer": {"vip_subnet_id": api.subnet}}
    assert "secret" not in api.fault("POST", "/loadbalancers", body, code=500)
    assert "secret" in caplog.text


def test_noauth_is_for_this_machine_alone() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.10"):
        check_binding(ApiSettings(), host)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org", ""):
        with pytest.raises(Terminal, match="allow_noauth_beyond_loopback"):
            check_binding(ApiSettings(), host)
    check_binding(ApiSettings(allow_noauth_beyond_loopback=True), "0.0.0.0")


def test_an_application_that_was_not_told_how_to_tell_callers_apart_does_not_start(
    make_api: Callable[..., Api],
) -> None:
    with pytest.raises(Terminal, match="auth_strategy = keystone is not wired"):
        make_api(auth_strategy="keystone")


def test_project_comes_from_the_body_then_from_the_header_then_from_the_settings(api: Api) -> None:
    def project(headers: dict[str, str], **values: str) -> str:
        body = {"loadbalancer": {"vip_subnet_id": api.subnet} | values}
        result = api.request("POST", "/loadbalancers", body, headers=headers)
        assert result.status_code == 201
        return str(result.json["loadbalancer"]["project_id"])

    assert project({}) == "demo"
    assert project({"X-Project-Id": "one"}) == "one"
    assert project({"X-Project-Id": "one"}, project_id="two") == "two"
    assert project({}, project_id="two", tenant_id="three") == "three"
    assert api.request("GET", "/pools", headers={"X-Project-Id": "x" * 37}).status_code == 400


def test_providers_are_the_configured_ones(api: Api) -> None:
    wanted = [
        {"name": "amphora", "description": "The Octavia Amphora driver."},
        {"name": "octavia", "description": "Deprecated alias of the Octavia Amphora driver."},
    ]
    assert api.get("/providers") == {"providers": wanted}
    assert api.get("/providers?fields=name&x=1") == {"providers": [{"name": "amphora"}, {"name": "octavia"}]}


# Resolving names to ids, standalone


@pytest.fixture
def standalone(make_api: Callable[..., Api]) -> Api:
    return make_api(serve_network=True)


@pytest.mark.parametrize("path", ["//network", "//network/"])
def test_network_versions_are_absolute(standalone: Api, path: str) -> None:
    (version,) = standalone.get(path, headers={"Host": "127.0.0.1:9876"})["versions"]
    assert (version["id"], version["status"]) == ("v2.0", "CURRENT")
    assert version["links"] == [{"rel": "self", "href": "http://127.0.0.1:9876/network/v2.0/"}]


def test_subnets_are_found_by_name_and_by_id(standalone: Api) -> None:
    subnet = standalone.subnet
    (found,) = standalone.get("//network/v2.0/subnets?name=demo")["subnets"]
    assert (found["id"], found["cidr"], found["ip_version"]) == (subnet, "198.18.64.0/24", 4)
    assert standalone.get(f"//network/v2.0/subnets?id={subnet}")["subnets"] == [found]
    assert standalone.get(f"//network/v2.0/subnets/{subnet}") == {"subnet": found}
    assert standalone.get("//network/v2.0/subnets?name=nope") == {"subnets": []}
    assert len(standalone.get("//network/v2.0/subnets")["subnets"]) == 3
    assert len(standalone.get("//network/v2.0/subnets?ip_version=6")["subnets"]) == 1


def test_a_name_is_no_id_and_says_so_in_the_network_services_words(standalone: Api) -> None:
    for path, kind in (("subnets", "Subnet"), ("networks", "Network"), ("ports", "Port")):
        answer = standalone.get(f"//network/v2.0/{path}/demo", code=404)["NeutronError"]
        assert (answer["type"], answer["detail"]) == (f"{kind}NotFound", "")


def test_networks_and_ports_are_listed(standalone: Api) -> None:
    lb = standalone.load_balancer()
    network = standalone.get("//network/v2.0/networks?name=demo")["networks"][0]
    assert network["id"] == lb["vip_network_id"]
    assert lb["vip_subnet_id"] in network["subnets"]
    ports = standalone.get("//network/v2.0/ports?fields=id&fields=fixed_ips")["ports"]
    assert {
        "id": lb["vip_port_id"],
        "fixed_ips": [{"subnet_id": lb["vip_subnet_id"], "ip_address": lb["vip_address"]}],
    } in ports


def test_there_are_neither_policies_nor_security_groups(standalone: Api) -> None:
    assert standalone.get("//network/v2.0/qos/policies?name=x") == {"policies": []}
    assert standalone.get("//network/v2.0/security-groups?name=x") == {"security_groups": []}
