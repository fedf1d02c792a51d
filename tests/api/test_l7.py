# SPDX-License-Identifier: Apache-2.0
"""L7 policies and rules: actions, positions, what goes with what (contract: api.md sections 11 and 12)."""

from typing import Any

import pytest

from tests.api.conftest import Api

URL, PREFIX, OTHER_URL = "http://a.example/x", "https://p.example", "http://b.example"
TARGETS = ("action", "redirect_pool_id", "redirect_url", "redirect_prefix", "redirect_http_code")


class Ground:
    """A listener with two pools beside it, and one of another protocol."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.lb = api.load_balancer()
        self.listener = api.listener(self.lb)
        self.pool, self.other_pool = api.pool(self.lb), api.pool(self.lb)
        self.tcp_pool = api.pool(self.lb, protocol="TCP")

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        ids = {"POOL": self.pool["id"], "OTHER": self.other_pool["id"], "TCP": self.tcp_pool["id"]}
        return {name: ids.get(value, value) for name, value in values.items()}

    def targets(self, policy: Any) -> tuple[Any, ...]:
        names = {self.pool["id"]: "POOL", self.other_pool["id"]: "OTHER"}
        action, pool, *others = (policy[name] for name in TARGETS)
        return (action, names.get(pool, pool), *others)


@pytest.fixture
def ground(api: Api) -> Ground:
    return Ground(api)


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ({"action": "REJECT"}, ("REJECT", None, None, None, None)),
        ({"action": "REJECT", "redirect_url": URL}, ("REJECT", None, None, None, None)),
        ({"action": "REJECT", "redirect_pool_id": "POOL"}, ("REJECT", None, None, None, None)),
        ({"action": "REJECT", "redirect_http_code": 301}, ("REJECT", None, None, None, 301)),
        ({"action": "REJECT", "redirect_prefix": PREFIX}, ("REDIRECT_PREFIX", None, None, PREFIX, 302)),
        ({"action": "REDIRECT_TO_URL", "redirect_url": URL}, ("REDIRECT_TO_URL", None, URL, None, 302)),
        (
            {"action": "REDIRECT_TO_URL", "redirect_url": URL, "redirect_http_code": 308},
            ("REDIRECT_TO_URL", None, URL, None, 308),
        ),
        (
            {"action": "REDIRECT_TO_URL", "redirect_url": URL, "redirect_pool_id": "POOL"},
            ("REDIRECT_TO_URL", None, URL, None, 302),
        ),
        (
            {"action": "REDIRECT_PREFIX", "redirect_url": URL, "redirect_prefix": PREFIX},
            ("REDIRECT_TO_URL", None, URL, None, 302),
        ),
        (
            {"action": "REDIRECT_TO_POOL", "redirect_url": URL, "redirect_prefix": PREFIX},
            ("REDIRECT_TO_URL", None, URL, None, 302),
        ),
        (
            {"action": "REDIRECT_TO_POOL", "redirect_pool_id": "POOL", "redirect_url": URL},
            ("REDIRECT_TO_POOL", "POOL", None, None, None),
        ),
        (
            {"action": "REDIRECT_TO_POOL", "redirect_pool_id": "POOL", "redirect_http_code": 301},
            ("REDIRECT_TO_POOL", "POOL", None, None, None),
        ),
        (
            {"action": "REDIRECT_PREFIX", "redirect_prefix": PREFIX},
            ("REDIRECT_PREFIX", None, None, PREFIX, 302),
        ),
    ],
)
def test_a_new_policy_keeps_what_belongs_to_its_action(
    ground: Ground, values: dict[str, Any], stored: tuple[Any, ...]
) -> None:
    made = ground.api.policy(ground.listener, **ground.filled(values))
    assert ground.targets(made) == stored
    shown = ground.api.get(f"/l7policies/{made['id']}")["l7policy"]
    assert ground.targets(shown) == stored


@pytest.mark.parametrize(
    ("values", "code", "fault"),
    [
        ({"action": "REDIRECT_TO_URL"}, 400, "needs redirect_url"),
        ({"action": "REDIRECT_TO_URL", "redirect_pool_id": "POOL"}, 400, "needs redirect_url"),
        ({"action": "REDIRECT_TO_POOL"}, 400, "needs redirect_pool_id"),
        ({"action": "REDIRECT_PREFIX"}, 400, "needs redirect_prefix"),
        (
            {"action": "REDIRECT_PREFIX", "redirect_prefix": PREFIX, "redirect_pool_id": "POOL"},
            400,
            "redirect_pool_id is not for",
        ),
        ({"action": "REDIRECT_TO_POOL", "redirect_pool_id": "0" * 32}, 404, "Pool 00000000-"),
        ({"action": "REDIRECT_TO_POOL", "redirect_pool_id": "TCP"}, 400, "'TCP' is invalid"),
        ({"action": "REJECT", "listener_id": "0" * 32}, 404, "Listener 00000000-"),
        ({"action": "REJECT", "rules": "x"}, 400, "Unknown attribute for argument l7policy: rules"),
    ],
)
def test_a_policy_that_does_not_make_sense(
    ground: Ground, values: dict[str, Any], code: int, fault: str
) -> None:
    body = {"listener_id": ground.listener["id"]} | ground.filled(values)
    said = ground.api.fault("POST", "/l7policies", {"l7policy": body}, code=code)
    assert fault in said
    if code == 400 and "needs" in fault:
        assert said.startswith("Invalid L7 Policy arguments: ")


def test_a_pool_of_another_load_balancer_is_no_target(ground: Ground) -> None:
    elsewhere = ground.api.pool(ground.api.load_balancer())
    body = {"action": "REDIRECT_TO_POOL", "redirect_pool_id": elsewhere["id"]}
    body |= {"listener_id": ground.listener["id"]}
    fault = ground.api.fault("POST", "/l7policies", {"l7policy": body}, code=404)
    assert fault == f"Pool {elsewhere['id']} not found."


@pytest.mark.parametrize("protocol", ["TCP", "HTTPS"])
def test_amphorae_read_no_requests_of_other_protocols(ground: Ground, protocol: str) -> None:
    listener = ground.api.listener(ground.lb, protocol=protocol, protocol_port=443)
    body = {"listener_id": listener["id"], "action": "REJECT"}
    fault = ground.api.fault("POST", "/l7policies", {"l7policy": body}, code=501)
    assert fault.startswith("Provider 'amphora' does not support a requested option: ")
    assert protocol in fault
    assert ground.api.get("/l7policies")["l7policies"] == []


START = {"action": "REDIRECT_TO_URL", "redirect_url": URL, "redirect_http_code": 308}


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ({"redirect_pool_id": "POOL"}, ("REDIRECT_TO_POOL", "POOL", None, None, None)),
        (
            {"redirect_pool_id": "OTHER", "redirect_http_code": 301},
            ("REDIRECT_TO_POOL", "OTHER", *[None] * 3),
        ),
        ({"redirect_prefix": PREFIX}, ("REDIRECT_PREFIX", None, None, PREFIX, 302)),
        ({"redirect_url": OTHER_URL}, ("REDIRECT_TO_URL", None, OTHER_URL, None, 302)),
        (
            {"redirect_url": OTHER_URL, "redirect_http_code": 307},
            ("REDIRECT_TO_URL", None, OTHER_URL, None, 307),
        ),
        ({"action": "REJECT"}, ("REJECT", None, None, None, None)),
        ({"action": "REJECT", "redirect_prefix": PREFIX}, ("REJECT", None, None, None, None)),
        (
            {"action": "REDIRECT_TO_POOL", "redirect_pool_id": "POOL", "redirect_url": OTHER_URL},
            ("REDIRECT_TO_POOL", "POOL", None, None, None),
        ),
        (
            {"action": "REDIRECT_PREFIX", "redirect_prefix": PREFIX, "redirect_pool_id": "POOL"},
            ("REDIRECT_PREFIX", None, None, PREFIX, 302),
        ),
        ({"redirect_http_code": 301}, ("REDIRECT_TO_URL", None, URL, None, 301)),
        ({"redirect_http_code": None}, ("REDIRECT_TO_URL", None, URL, None, None)),
        ({"redirect_prefix": None}, ("REDIRECT_TO_URL", None, URL, None, 308)),
        ({"redirect_pool_id": None, "name": "x"}, ("REDIRECT_TO_URL", None, URL, None, 308)),
        ({"name": "x"}, ("REDIRECT_TO_URL", None, URL, None, 308)),
        ({"position": None}, ("REDIRECT_TO_URL", None, URL, None, 308)),
    ],
)
def test_an_update_may_change_the_action_without_saying_so(
    ground: Ground, values: dict[str, Any], stored: tuple[Any, ...]
) -> None:
    made = ground.api.policy(ground.listener, **START)
    path = f"/l7policies/{made['id']}"
    updated = ground.api.put(path, {"l7policy": ground.filled(values)})["l7policy"]
    assert ground.targets(updated) == stored
    assert ground.targets(ground.api.get(path)["l7policy"]) == stored


@pytest.mark.parametrize(
    ("values", "code", "fault"),
    [
        ({}, 400, "changes nothing"),
        ({"action": None}, 400, "None is not a valid option for action"),
        ({"action": "REDIRECT_TO_URL"}, 400, "needs redirect_url"),
        ({"action": "REDIRECT_TO_POOL"}, 400, "needs redirect_pool_id"),
        ({"redirect_url": None}, 400, "needs redirect_url"),
        ({"redirect_url": OTHER_URL, "redirect_pool_id": "POOL"}, 400, "excludes"),
        ({"redirect_prefix": PREFIX, "redirect_pool_id": "POOL"}, 400, "excludes"),
        ({"redirect_pool_id": "TCP"}, 400, "'TCP' is invalid"),
        ({"redirect_pool_id": "0" * 32}, 404, "not found"),
        ({"listener_id": "0" * 32}, 400, "Unknown attribute"),
    ],
)
def test_an_update_that_does_not_make_sense(
    ground: Ground, values: dict[str, Any], code: int, fault: str
) -> None:
    made = ground.api.policy(ground.listener, **START)
    body = {"l7policy": ground.filled(values)}
    assert fault in ground.api.fault("PUT", f"/l7policies/{made['id']}", body, code=code)


def positions(ground: Ground) -> list[str]:
    """Names of the policies in order of position, which are 1, 2, 3 without a gap."""
    listed = ground.api.get("/l7policies?sort=position")["l7policies"]
    assert [one["position"] for one in listed] == list(range(1, len(listed) + 1))
    ids = ground.api.get(f"/listeners/{ground.listener['id']}")["listener"]["l7policies"]
    assert ids == [{"id": one["id"]} for one in listed]
    return [one["name"] for one in listed]


def named(ground: Ground, name: str, **values: Any) -> Any:
    return ground.api.policy(ground.listener, name=name, **values)


def test_three_policies_at_the_first_position_end_in_reverse_order(ground: Ground) -> None:
    for name in "abc":
        assert named(ground, name, position=1)["position"] == 1
    assert positions(ground) == ["c", "b", "a"]
    assert named(ground, "d", position=2)["position"] == 2
    assert named(ground, "e", position=99)["position"] == 5
    assert named(ground, "f", position=2**31 - 1)["position"] == 6
    assert named(ground, "g")["position"] == 7
    assert positions(ground) == ["c", "d", "b", "a", "e", "f", "g"]
    assert [one["name"] for one in ground.api.get("/l7policies")["l7policies"]] == list("abcdefg")


def test_a_moved_policy_pushes_the_others_and_touches_none_of_them(ground: Ground) -> None:
    made = {name: named(ground, name) for name in "abcd"}
    ground.api.settle()

    def move(name: str, position: int) -> int:
        path = f"/l7policies/{made[name]['id']}"
        return int(ground.api.put(path, {"l7policy": {"position": position}})["l7policy"]["position"])

    assert move("d", 2) == 2
    assert positions(ground) == ["a", "d", "b", "c"]
    assert move("a", 100) == 4
    assert positions(ground) == ["d", "b", "c", "a"]
    statuses = {
        one["name"]: one["provisioning_status"] for one in ground.api.get("/l7policies")["l7policies"]
    }
    assert statuses == dict.fromkeys("ad", "PENDING_UPDATE") | dict.fromkeys("bc", "ACTIVE")


def test_the_only_policy_cannot_be_moved(ground: Ground) -> None:
    path = f"/l7policies/{named(ground, 'a')['id']}"
    assert ground.api.put(path, {"l7policy": {"position": 2}})["l7policy"]["position"] == 1


def test_positions_close_up_when_a_policy_is_really_gone(ground: Ground) -> None:
    made = {name: named(ground, name) for name in "abcd"}
    ground.api.settle()
    ground.api.delete(f"/l7policies/{made['b']['id']}")
    assert positions(ground) == ["a", "b", "c", "d"]
    assert named(ground, "e", position=3)["position"] == 3
    assert positions(ground) == ["a", "b", "e", "c", "d"]
    ground.api.settle()
    assert positions(ground) == ["a", "e", "c", "d"]


def test_positions_are_of_one_listener(ground: Ground) -> None:
    named(ground, "a")
    other = ground.api.listener(ground.lb, protocol_port=81)
    assert ground.api.policy(other)["position"] == 1


def test_a_pool_that_a_policy_leads_to_stays(ground: Ground) -> None:
    made = named(ground, "a", action="REDIRECT_TO_POOL", redirect_pool_id=ground.pool["id"])
    path = f"/pools/{ground.pool['id']}"
    fault = ground.api.fault("DELETE", path, code=409)
    assert fault == f"Pool {ground.pool['id']} is in use by L7 policy {made['id']}"
    ground.api.delete(f"/l7policies/{made['id']}")
    ground.api.delete(path)
    ground.api.settle()
    ground.api.get(path, 404)


def test_a_deleted_listener_takes_policies_and_rules_along(ground: Ground) -> None:
    made = named(ground, "a", action="REDIRECT_TO_POOL", redirect_pool_id=ground.pool["id"], tags=["t"])
    ground.api.rule(made, tags=["u"])
    ground.api.delete(f"/listeners/{ground.listener['id']}")
    ground.api.delete(f"/pools/{ground.pool['id']}")
    ground.api.settle()
    assert ground.api.get("/l7policies")["l7policies"] == []
    ground.api.get(f"/l7policies/{made['id']}/rules", 404)


def test_a_pool_knows_the_listeners_whose_policies_can_lead_to_it(ground: Ground) -> None:
    made = named(ground, "a", action="REDIRECT_TO_POOL", redirect_pool_id=ground.pool["id"])
    path = f"/l7policies/{made['id']}"

    def used() -> bool:
        shown = ground.api.get(f"/pools/{ground.pool['id']}")["pool"]["listeners"]
        updated = ground.api.put(f"/pools/{ground.pool['id']}", {"pool": {}})["pool"]["listeners"]
        tree = ground.api.get(f"/loadbalancers/{ground.lb['id']}/status")["statuses"]["loadbalancer"]
        ids = [str(one["id"]) for one in tree["listeners"][0]["pools"]]
        in_tree = ids == [str(ground.pool["id"])]
        assert bool(shown == [{"id": ground.listener["id"]}]) == in_tree
        assert shown == updated
        return in_tree

    assert not used()  # without rules it leads nowhere
    rule = ground.api.rule(made)
    assert used()
    ground.api.put(path, {"l7policy": {"admin_state_up": False}})
    assert not used()
    ground.api.put(path, {"l7policy": {"admin_state_up": True}})
    assert used()
    ground.api.put(
        f"/listeners/{ground.listener['id']}", {"listener": {"default_pool_id": ground.pool["id"]}}
    )
    assert used()  # once
    ground.api.put(f"/listeners/{ground.listener['id']}", {"listener": {"default_pool_id": None}})
    ground.api.delete(f"{path}/rules/{rule['id']}")
    assert not used()


def test_policies_and_rules_work_as_soon_as_they_are_live(ground: Ground) -> None:
    up, down = named(ground, "up"), named(ground, "down", admin_state_up=False)
    rules = [ground.api.rule(up), ground.api.rule(up, admin_state_up=False)]
    assert {one["operating_status"] for one in (up, down, *rules)} == {"OFFLINE"}
    ground.api.settle()
    found = [ground.api.get(f"/l7policies/{one['id']}")["l7policy"] for one in (up, down)]
    found += ground.api.get(f"/l7policies/{up['id']}/rules")["rules"]
    assert [one["operating_status"] for one in found] == ["ONLINE", "OFFLINE", "ONLINE", "OFFLINE"]
    assert {one["provisioning_status"] for one in found} == {"ACTIVE"}


# Rules

Q = '"a b\t"'
GOOD = [
    *(("HOST_NAME", compare, None, "www.example.com") for compare in ("CONTAINS", "ENDS_WITH", "EQUAL_TO")),
    ("HOST_NAME", "REGEX", None, r"^(a|b)\.example\.com$"),
    ("PATH", "STARTS_WITH", "ignored", '/a;b,c"d\\e'),
    ("PATH", "STARTS_WITH", None, Q),
    ("PATH", "REGEX", None, "any thing, ä 🐙"),
    ("PATH", "REGEX", None, "[[:alpha:]]+"),
    ("FILE_TYPE", "EQUAL_TO", None, "jpg"),
    ("FILE_TYPE", "REGEX", None, "jpe?g"),
    ("HEADER", "CONTAINS", "X!#$%&'*+,-.^_~`|1", Q),
    ("COOKIE", "EQUAL_TO", "sid", "a=b,c"),
    ("COOKIE", "REGEX", "sid", "a;b"),
    ("SSL_CONN_HAS_CERT", "EQUAL_TO", None, "TRUE"),
    ("SSL_VERIFY_RESULT", "EQUAL_TO", None, "0"),
    ("SSL_DN_FIELD", "STARTS_WITH", "CN", "any thing"),
    ("SSL_DN_FIELD", "REGEX", "STREET", "^x"),
]


@pytest.mark.parametrize(("type_", "compare", "key", "value"), GOOD)
def test_a_rule_can_be(ground: Ground, type_: str, compare: str, key: str | None, value: str) -> None:
    made = named(ground, "a")
    body = {"type": type_, "compare_type": compare, "key": key, "value": value}
    rule = ground.api.rule(made, **body)
    assert rule == rule | body | {"invert": False, "admin_state_up": True, "tags": []}


@pytest.mark.parametrize(
    ("type_", "compare", "key", "value"),
    [
        ("PATH", "EQUAL_TO", None, "a b"),
        ("PATH", "EQUAL_TO", None, "ä"),
        ("PATH", "REGEX", None, "("),
        ("PATH", "REGEX", None, "a{99999999999}"),
        ("FILE_TYPE", "STARTS_WITH", None, "jpg"),
        ("FILE_TYPE", "CONTAINS", None, "jpg"),
        ("HEADER", "EQUAL_TO", None, "x"),
        ("HEADER", "EQUAL_TO", "", "x"),
        ("HEADER", "EQUAL_TO", "a b", "x"),
        ("HEADER", "EQUAL_TO", "a(b", "x"),
        ("COOKIE", "EQUAL_TO", "x", "a;b"),
        ("COOKIE", "EQUAL_TO", "x", 'a"b'),
        ("COOKIE", "EQUAL_TO", "x", "a\\b"),
        ("COOKIE", "EQUAL_TO", "x", Q),
        ("COOKIE", "EQUAL_TO", None, "x"),
        ("SSL_CONN_HAS_CERT", "EQUAL_TO", None, "false"),
        ("SSL_CONN_HAS_CERT", "EQUAL_TO", "x", "true"),
        ("SSL_CONN_HAS_CERT", "REGEX", None, "true"),
        ("SSL_VERIFY_RESULT", "EQUAL_TO", None, "-1"),
        ("SSL_VERIFY_RESULT", "EQUAL_TO", None, "٣"),
        ("SSL_VERIFY_RESULT", "EQUAL_TO", "x", "1"),
        ("SSL_VERIFY_RESULT", "CONTAINS", None, "1"),
        ("SSL_DN_FIELD", "EQUAL_TO", None, "x"),
        ("SSL_DN_FIELD", "EQUAL_TO", "1a", "x"),
        ("SSL_DN_FIELD", "EQUAL_TO", "a_b", "x"),
        ("SSL_DN_FIELD", "REGEX", "CN", "["),
    ],
)
def test_a_rule_cannot_be(ground: Ground, type_: str, compare: str, key: str | None, value: str) -> None:
    made = named(ground, "a")
    body = {"type": type_, "compare_type": compare, "key": key, "value": value}
    fault = ground.api.fault("POST", f"/l7policies/{made['id']}/rules", {"rule": body}, code=400)
    assert fault.startswith("Error parsing L7Rule: ")


def test_an_update_is_checked_together_with_what_is_stored(ground: Ground) -> None:
    made = named(ground, "a")
    rule = ground.api.rule(made, type="HEADER", compare_type="CONTAINS", key="X-A", value='"a b"')
    path = f"/l7policies/{made['id']}/rules/{rule['id']}"

    def put(**values: Any) -> Any:
        return ground.api.put(path, {"rule": values})["rule"]

    def refused(**values: Any) -> None:
        ground.api.fault("PUT", path, {"rule": values}, code=400)

    refused(type="COOKIE")
    refused(key=None)
    refused(type="FILE_TYPE")
    refused(type="SSL_CONN_HAS_CERT", compare_type="EQUAL_TO", value="true")
    assert put(type="COOKIE", value="v")["key"] == "X-A"
    changed = put(type="HOST_NAME", key="ignored")
    assert (changed["type"], changed["key"], changed["value"]) == ("HOST_NAME", None, "v")
    assert put(key="ignored")["key"] is None
    refused(compare_type="REGEX", value="(")
    assert put(compare_type="REGEX", value="(x)", invert=1)["invert"] is True


def test_a_policy_has_fifty_rules_and_not_one_more(ground: Ground) -> None:
    made = named(ground, "a")
    rules = [ground.api.rule(made) for _ in range(50)]
    path = f"/l7policies/{made['id']}/rules"
    body = {"rule": {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}}
    fault = ground.api.fault("POST", path, body, code=409)
    assert fault == f"Too many rules on L7 policy {made['id']}"
    assert ground.api.get(f"/l7policies/{made['id']}")["l7policy"]["rules"] == [
        {"id": one["id"]} for one in rules
    ]
    ground.api.delete(f"{path}/{rules[0]['id']}")
    ground.api.rule(made)


def test_a_rule_is_found_below_its_own_policy_alone(ground: Ground) -> None:
    one, other = named(ground, "a"), named(ground, "b")
    rule = ground.api.rule(one)
    path = f"/l7policies/{other['id']}/rules/{rule['id']}"
    for method, body in (("GET", None), ("PUT", {"rule": {}}), ("DELETE", None)):
        assert ground.api.fault(method, path, body, code=404) == f"L7 Rule {rule['id']} not found."
    assert ground.api.get(f"/l7policies/{other['id']}/rules")["rules"] == []
    missing = "/l7policies/nope/rules"
    for path in (missing, f"{missing}/{rule['id']}"):
        assert ground.api.fault("GET", path, code=404) == "L7 Policy nope not found."
