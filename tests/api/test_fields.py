# SPDX-License-Identifier: Apache-2.0
"""Each field of each resource, as the tables of the contract have it: default, update, null, bad values."""

from typing import Any

import pytest

from octavia.domain.tls import CIPHERS
from tests.api.conftest import Api

NEVER = object()  # the field cannot be updated, or not to null
KEEPS = object()  # null changes nothing
REFUSED = object()  # null is 400
LONG = "x" * 256
BAD_URLS = ("x", "/x", "ftp://a", "http://", "http://a b", "http://a\n", "http://" + LONG, 5, "", "http://[")

# field, default, (value, shown), null on update, bad values
Row = tuple[str, Any, tuple[Any, Any] | object, Any, tuple[Any, ...]]

COMMON: list[Row] = [
    ("name", "", ("n", "n"), "", (LONG, 5, {}, [], True, "nul\x00")),
    ("admin_state_up", True, ("no", False), False, ("perhaps", {}, [], 1.5)),
    ("tags", [], (["b", "a", "b"], ["a", "b"]), KEEPS, ("a", [1], [LONG], {}, [None])),
]
DESCRIBED: list[Row] = [*COMMON, ("description", "", ("d" * 255, "d" * 255), "", (LONG, 1))]

LOAD_BALANCER: list[Row] = [
    *DESCRIBED,
    ("vip_qos_policy_id", None, NEVER, NEVER, ("x", 5)),
    ("vip_sg_ids", [], ([], []), [], ("x", ["x"], [5])),
    ("additional_vips", [], NEVER, NEVER, ("x", [{}], [5], [{"subnet_id": 5}], [{"nope": 1}])),
    ("provider", "amphora", NEVER, NEVER, (5, "x" * 65)),
    ("vip_vnic_type", "normal", NEVER, NEVER, ()),
    ("flavor_id", None, NEVER, NEVER, ("x", None, "00000000-0000-0000-0000-000000000001")),
    ("availability_zone", None, NEVER, NEVER, (5, None, "nova")),
]
LISTENER: list[Row] = [
    *DESCRIBED,
    ("connection_limit", -1, ("5", 5), -1, (-2, "x", 2**31, [], True)),
    (
        "insert_headers",
        {},
        ({"X-Forwarded-For": "true"}, {"X-Forwarded-For": "true"}),
        {},
        ("x", [], {"X-Real-IP": 1}, {"X-Real-IP": True}, {"Nope": "true"}, {"X-SSL-Issuer": "true"}),
    ),
    ("timeout_client_data", 50000, (0, 0), 50000, (-1, 2_073_600_001, "x")),
    ("timeout_member_connect", 5000, (2_073_600_000, 2_073_600_000), 5000, (-1, [])),
    ("timeout_member_data", 50000, (1.9, 1), 50000, (-1, {})),
    ("timeout_tcp_inspect", 0, ("7", 7), 0, (-1, 1e400)),
    (
        "allowed_cidrs",
        None,
        (["10.0.0.5/8", "192.0.2.1"], ["10.0.0.0/8", "192.0.2.1/32"]),
        None,
        ("10.0.0.0/8", ["x"], [5], ["10.0.0.0/33"], ["2001:db8::/32"]),
    ),
    ("default_pool_id", None, NEVER, NEVER, ("", "x", 5)),
    ("default_tls_container_ref", None, ("", ""), None, ("https://secrets/1", 5)),
    ("sni_container_refs", [], ([], []), [], (["x"], "x", [5])),
    ("client_authentication", "NONE", ("NONE", "NONE"), NEVER, ("OPTIONAL", "MANDATORY", "x")),
    ("client_ca_tls_container_ref", None, ("", ""), None, ("x", 5)),
    ("client_crl_container_ref", None, ("", ""), None, ("x", 5)),
    (
        "tls_ciphers",
        None,
        ("AES128-SHA:!MD5", "AES128-SHA:!MD5"),
        CIPHERS,
        ("AES;MD5", "AES MD5", 5, "x" * 2049),
    ),
    ("tls_versions", None, (["TLSv1.3"], ["TLSv1.3"]), ["TLSv1.2", "TLSv1.3"], ("TLSv1.3", [5], ["a,b"])),
    ("alpn_protocols", None, (["h2"], ["h2"]), ["h2", "http/1.1", "http/1.0"], ([], ["spdy"], "h2")),
    ("hsts_max_age", None, NEVER, None, (5, -1, "x")),
    ("hsts_include_subdomains", False, (False, False), False, (True,)),
    ("hsts_preload", False, (False, False), False, (True,)),
]
POOL: list[Row] = [
    *DESCRIBED,
    ("lb_algorithm", "ROUND_ROBIN", ("SOURCE_IP", "SOURCE_IP"), REFUSED, ("x", 5, "source_ip")),
    (
        "session_persistence",
        None,
        (
            {"type": "APP_COOKIE", "cookie_name": "sid"},
            {
                "type": "APP_COOKIE",
                "cookie_name": "sid",
                "persistence_timeout": None,
                "persistence_granularity": None,
            },
        ),
        None,
        (
            "x",
            {},
            {"type": "x"},
            {"type": "APP_COOKIE"},
            {"type": "HTTP_COOKIE", "cookie_name": "x"},
            {"type": "SOURCE_IP", "persistence_timeout": 5},
            {"type": "SOURCE_IP", "persistence_granularity": "255.255.0.0"},
            {"type": "SOURCE_IP", "nope": 5},
            {"type": "APP_COOKIE", "cookie_name": "a b"},
            {"type": "APP_COOKIE", "cookie_name": "a=b"},
            {"type": "APP_COOKIE", "cookie_name": ""},
        ),
    ),
    ("tls_enabled", False, (True, True), REFUSED, ("x",)),
    ("tls_container_ref", None, ("", ""), None, ("x", 5)),
    ("ca_tls_container_ref", None, ("", ""), None, ("x", 5)),
    ("crl_container_ref", None, ("", ""), None, ("x", 5)),
    ("tls_ciphers", None, ("AES128-SHA", "AES128-SHA"), CIPHERS, ("a/b", 5)),
    ("tls_versions", None, (["TLSv1.3"], ["TLSv1.3"]), ["TLSv1.2", "TLSv1.3"], ("x", [5])),
    ("alpn_protocols", None, (["h2"], ["h2"]), None, (["spdy"],)),
]
MEMBER: list[Row] = [
    *COMMON,
    ("weight", 1, (0, 0), 1, (-1, 257, "x")),
    ("backup", False, ("on", True), False, ("x", [])),
    ("subnet_id", None, NEVER, NEVER, ("x", 5, "00000000-0000-0000-0000-000000000001")),
    (
        "monitor_address",
        None,
        ("2001:db8:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:1"),
        None,
        ("x", 5, "10.0.0.0/8", "fe80::1%eth0", ""),
    ),
    ("monitor_port", None, ("81", 81), None, (0, 65536, "x")),
    ("vnic_type", "normal", NEVER, NEVER, ()),
]
HEALTH_MONITOR: list[Row] = [
    *COMMON,
    ("delay", 5, (0, 0), REFUSED, (-1, "x")),
    ("timeout", 3, ("7", 7), REFUSED, (-1, "x")),
    ("max_retries", 2, (10, 10), REFUSED, (0, 11)),
    ("max_retries_down", 3, (1, 1), 3, (0, 11)),
    ("http_method", "GET", ("CONNECT", "CONNECT"), "GET", ("get", "x", 5)),
    (
        "url_path",
        "/",
        ("/a/b?c=d", "/a/b?c=d"),
        "/",
        ("x", "//host/x", "/a b", "/" + "x" * 255, 5, "/a\n", ""),
    ),
    (
        "expected_codes",
        "200",
        ("201, 202", "201, 202"),
        "200",
        ("2", "x", "200-", "200-204,205", 200, "200\n", ""),
    ),
    ("http_version", None, (1, 1.0), None, ("2", 1.2, [], True)),
]

L7_POLICY: list[Row] = [
    *(row for row in DESCRIBED if row[0] != "tags"),
    ("tags", [], (["b", "a", "b"], ["a", "b"]), [], ("a", [1], [LONG], {}, [None])),
    (
        "action",
        "REDIRECT_TO_URL",
        ("REJECT", "REJECT"),
        REFUSED,
        ("x", 5, "reject", "REDIRECT_TO_POOL", "REDIRECT_PREFIX"),
    ),
    ("redirect_url", "http://a.example", ("https://b/c?d#e", "https://b/c?d#e"), NEVER, (*BAD_URLS,)),
    ("redirect_prefix", None, NEVER, NEVER, (*BAD_URLS,)),
    ("redirect_http_code", 302, ("308", 308), None, (300, 304, 200, "x", 0)),
    ("position", 1, (1, 1), KEEPS, (0, -1, 2**31, "x")),
    ("redirect_pool_id", None, NEVER, NEVER, ("x", 5, "")),
]
L7_RULE: list[Row] = [
    *(row for row in COMMON if row[0] not in ("name", "tags")),
    ("tags", [], (["b", "a", "b"], ["a", "b"]), [], ("a", [1], [LONG], {}, [None])),
    ("type", "HEADER", ("COOKIE", "COOKIE"), REFUSED, ("x", 5, "header")),
    ("compare_type", "EQUAL_TO", ("ENDS_WITH", "ENDS_WITH"), REFUSED, ("x", 5, "regex")),
    ("key", "X-Key", ("a'b,c", "a'b,c"), NEVER, (LONG, 5, "a b", "a\n", "ä", "a:b", None)),
    ("value", "v", (';,\\"', ';,\\"'), REFUSED, (LONG, 5, "", "a\rb", "a\n", "a b", "ä", None)),
    ("invert", False, ("yes", True), False, ("x", [])),
]

OBJECTS: dict[str, tuple[str, list[Row]]] = {
    "loadbalancer": ("/loadbalancers", LOAD_BALANCER),
    "listener": ("/listeners", LISTENER),
    "pool": ("/pools", POOL),
    "member": ("/pools/{pool}/members", MEMBER),
    "healthmonitor": ("/healthmonitors", HEALTH_MONITOR),
    "l7policy": ("/l7policies", L7_POLICY),
    "rule": ("/l7policies/{policy}/rules", L7_RULE),
}
ROWS = [
    pytest.param(root, path, *row, id=f"{root}-{row[0]}")
    for root, (path, rows) in OBJECTS.items()
    for row in rows
]


class World:
    """One object of each kind, and a body that creates another."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.lb = api.load_balancer()
        self.pool = api.pool(self.lb)
        self.spare = api.pool(self.lb)
        self.objects = {
            "loadbalancer": self.lb,
            "listener": api.listener(self.lb),
            "pool": self.pool,
            "member": api.member(self.pool),
            "healthmonitor": api.monitor(self.pool),
        }
        self.front = api.listener(self.lb, protocol_port=8080)
        to_url = {"action": "REDIRECT_TO_URL", "redirect_url": "http://a.example"}
        equal = {"type": "HEADER", "compare_type": "EQUAL_TO", "key": "X-Key", "value": "v"}
        self.policy = api.policy(self.front, **to_url)
        self.objects |= {"l7policy": self.policy, "rule": api.rule(self.policy, **equal)}
        self.bodies: dict[str, dict[str, Any]] = {
            "loadbalancer": {"vip_subnet_id": api.subnet},
            "listener": {"loadbalancer_id": self.lb["id"], "protocol": "HTTP", "protocol_port": 81},
            "pool": {"loadbalancer_id": self.lb["id"], "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"},
            "member": {"address": "192.0.2.99", "protocol_port": 80},
            "healthmonitor": {
                "pool_id": self.spare["id"],
                "type": "HTTP",
                "delay": 5,
                "timeout": 3,
                "max_retries": 2,
            },
            "l7policy": {"listener_id": api.listener(self.lb, protocol_port=8081)["id"], **to_url},
            "rule": equal,
        }

    def path(self, path: str) -> str:
        return path.format(pool=self.pool["id"], policy=self.policy["id"])


@pytest.fixture
def world(api: Api) -> World:
    return World(api)


def test_the_tables_name_every_field_that_is_shown(world: World) -> None:
    elsewhere = {"id", "provisioning_status", "operating_status", "project_id", "tenant_id", "created_at"}
    elsewhere |= {"updated_at", "protocol", "protocol_port", "address", "type", "domain_name", "pools"}
    elsewhere |= {"listeners", "members", "loadbalancers", "l7policies"}
    elsewhere |= {"listener_id", "rules"}
    elsewhere |= {"vip_address", "vip_port_id", "vip_subnet_id", "vip_network_id"}
    for root, (_, rows) in OBJECTS.items():
        assert set(world.objects[root]) - elsewhere == {row[0] for row in rows} - elsewhere, root


@pytest.mark.parametrize(("root", "path", "field", "default", "update", "null", "bad"), ROWS)
def test_field(
    world: World, root: str, path: str, field: str, default: Any, update: Any, null: Any, bad: Any
) -> None:
    api, collection = world.api, world.path(path)
    item = f"{collection}/{world.objects[root]['id']}"
    assert world.objects[root][field] == default
    for value in bad:
        body = world.bodies[root] | {field: value}
        fault = api.fault("POST", collection, {root: body}, code=400)
        assert fault
    if update is not NEVER:
        written, shown = update
        for value in bad:
            api.fault("PUT", item, {root: {field: value}}, code=400)
        assert api.put(item, {root: {field: written}})[root][field] == shown
        assert api.get(item)[root][field] == shown
        created = api.post(collection, {root: world.bodies[root] | {field: written}})[root]
        assert created[field] == shown
        expected = shown if null is KEEPS else null
        if null is REFUSED:
            fault = api.fault("PUT", item, {root: {field: None}}, code=400)
            assert fault == f"None is not a valid option for {field}"
        elif null is NEVER:
            api.fault("PUT", item, {root: {field: None}}, code=400)
        else:
            assert api.put(item, {root: {field: None}})[root][field] == expected
            assert api.get(item)[root][field] == expected


@pytest.mark.parametrize(
    ("root", "field"),
    [
        ("listener", "protocol"),
        ("listener", "protocol_port"),
        ("listener", "loadbalancer_id"),
        ("pool", "protocol"),
        ("pool", "lb_algorithm"),
        ("member", "address"),
        ("member", "protocol_port"),
        ("healthmonitor", "pool_id"),
        ("healthmonitor", "type"),
        ("healthmonitor", "delay"),
        ("healthmonitor", "timeout"),
        ("healthmonitor", "max_retries"),
        ("l7policy", "listener_id"),
        ("l7policy", "action"),
        ("rule", "type"),
        ("rule", "compare_type"),
        ("rule", "value"),
    ],
)
def test_mandatory_field_cannot_be_left_out_or_null(world: World, root: str, field: str) -> None:
    path = world.path(OBJECTS[root][0])
    body = dict(world.bodies[root])
    del body[field]
    wanted = f"Invalid input for field/attribute {field}. Value: 'None'. Mandatory field missing."
    assert world.api.fault("POST", path, {root: body}, code=400) == wanted
    assert world.api.fault("POST", path, {root: body | {field: None}}, code=400) == wanted


IMMUTABLE = {
    "loadbalancer": [
        *("vip_address", "vip_port_id", "vip_subnet_id", "vip_network_id", "additional_vips", "listeners"),
        *("pools", "provider", "flavor_id", "availability_zone", "vip_vnic_type", "project_id", "tenant_id"),
    ],
    "listener": ["protocol", "protocol_port", "loadbalancer_id", "project_id", "l7policies", "tenant_id"],
    "pool": ["protocol", "loadbalancer_id", "listener_id", "project_id", "members", "healthmonitor_id"],
    "member": ["address", "protocol_port", "subnet_id", "vnic_type", "request_sriov", "project_id"],
    "healthmonitor": ["type", "pool_id", "project_id", "pools"],
    "l7policy": ["listener_id", "project_id", "rules", "redirect_pool"],
    "rule": ["name", "project_id", "l7policy_id"],
}


@pytest.mark.parametrize(
    ("root", "field"),
    [
        (root, field)
        for root, names in IMMUTABLE.items()
        for field in [*names, "id", "created_at", "provisioning_status", "nonsense"]
    ],
)
def test_an_update_does_not_know_what_cannot_change(world: World, root: str, field: str) -> None:
    item = f"{world.path(OBJECTS[root][0])}/{world.objects[root]['id']}"
    present = world.objects[root].get(field)
    fault = world.api.fault("PUT", item, {root: {field: present}}, code=400)
    assert fault == f"Unknown attribute for argument {root}: {field}"


@pytest.mark.parametrize("root", sorted(set(OBJECTS) - {"l7policy"}))
def test_an_empty_update_is_a_whole_update(world: World, root: str) -> None:
    world.api.settle()
    item = f"{world.path(OBJECTS[root][0])}/{world.objects[root]['id']}"
    assert world.api.put(item, {root: {}})[root]["provisioning_status"] == "PENDING_UPDATE"
    assert world.api.get(f"/loadbalancers/{world.lb['id']}")["loadbalancer"]["provisioning_status"] == (
        "PENDING_UPDATE"
    )


@pytest.mark.parametrize("root", OBJECTS)
def test_the_answer_to_a_write_is_what_a_show_tells_afterwards(world: World, root: str) -> None:
    collection = world.path(OBJECTS[root][0])
    created = world.api.post(collection, {root: world.bodies[root] | {"tags": ["b", "ä", "a"]}})[root]
    item = f"{collection}/{created['id']}"
    shown = world.api.get(item)[root]
    assert shown.pop("status_reason") is None
    assert shown == created
    assert list(shown) == list(created)
    world.api.settle()
    named = "value" if root == "rule" else "name"
    updated = world.api.put(item, {root: {named: "new"}})[root]
    shown = world.api.get(item)[root]
    del shown["status_reason"]
    assert shown == updated
    assert list(shown) == list(updated)
    (listed,) = next(iter(world.api.get(f"{collection}?{named}=new").values()))
    assert listed == updated


@pytest.mark.parametrize("root", OBJECTS)
def test_project_of_a_child_is_the_load_balancers_whatever_it_says(world: World, root: str) -> None:
    body = world.bodies[root] | {"project_id": "other", "tenant_id": "third"}
    created = world.api.post(world.path(OBJECTS[root][0]), {root: body})[root]
    wanted = "third" if root == "loadbalancer" else "demo"
    assert (created["project_id"], created["tenant_id"]) == (wanted, wanted)
    body["project_id"] = "x" * 37
    world.api.fault("POST", world.path(OBJECTS[root][0]), {root: body}, code=400)


def test_timestamps_have_whole_seconds_and_no_zone(api: Api) -> None:
    lb = api.load_balancer()
    assert (lb["created_at"], lb["updated_at"]) == ("2026-05-04T12:00:00", None)
    api.settle()
    assert api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]["updated_at"] == "2026-05-04T12:00:00"


def test_null_means_down_for_admin_state_up_on_create(api: Api) -> None:
    assert api.load_balancer(admin_state_up=None)["admin_state_up"] is False


def test_connection_limit_can_be_created_null(api: Api) -> None:
    assert api.listener(api.load_balancer(), connection_limit=None)["connection_limit"] is None


@pytest.mark.parametrize("field", ["weight", "backup"])
def test_null_weight_and_backup_are_refused_on_create(api: Api, field: str) -> None:
    pool = api.pool(api.load_balancer())
    body = {"member": {"address": "192.0.2.1", "protocol_port": 80, field: None}}
    assert api.fault("POST", f"/pools/{pool['id']}/members", body, code=400)


def test_enumerations_are_refused_in_the_words_that_clients_look_for(api: Api) -> None:
    lb = api.load_balancer()
    body = {"loadbalancer_id": lb["id"], "protocol": "SMTP", "protocol_port": 25}
    fault = api.fault("POST", "/listeners", {"listener": body}, code=400)
    assert fault.startswith(
        "Invalid input for field/attribute protocol. Value: 'SMTP'. Value should be one of: "
    )
    assert fault.endswith("HTTP, HTTPS, PROMETHEUS, SCTP, TCP, TERMINATED_HTTPS, UDP")


@pytest.mark.parametrize("spelling", ["{}", "{:upper}", "{:plain}"])
def test_uuids_are_taken_in_any_spelling(api: Api, spelling: str) -> None:
    subnet = api.subnet
    written = {"{}": subnet, "{:upper}": subnet.upper(), "{:plain}": subnet.replace("-", "")}[spelling]
    assert api.load_balancer(vip_subnet_id=written)["vip_subnet_id"] == subnet


def test_ports_are_taken_as_text(api: Api) -> None:
    assert api.listener(api.load_balancer(), protocol_port="8080")["protocol_port"] == 8080
