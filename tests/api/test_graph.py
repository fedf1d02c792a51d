# SPDX-License-Identifier: Apache-2.0
"""The fully populated create."""

from typing import Any

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from tests.api.conftest import Api

POOL = {"name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
MONITOR = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
MEMBER = {"address": "192.0.2.1", "protocol_port": 80}
REJECT = {"action": "REJECT"}
TO_POOL = {"action": "REDIRECT_TO_POOL"}
RULE = {"type": "PATH", "compare_type": "REGEX", "value": "^/x"}


def listener(**values: Any) -> dict[str, Any]:
    return {"protocol": "HTTP", "protocol_port": 80} | values


def create(api: Api, code: int = 201, **values: Any) -> Any:
    body = {"loadbalancer": {"vip_subnet_id": api.subnet} | values}
    return api.post("/loadbalancers", body, code)


def test_everything_in_one_request_comes_back_whole(api: Api) -> None:
    lb = create(
        api,
        name="graph",
        tags=["x"],
        pools=[POOL | {"members": [MEMBER, MEMBER | {"protocol_port": 81, "weight": 0}]}],
        listeners=[
            listener(
                name="own",
                insert_headers={"X-Real-IP": "true"},
                allowed_cidrs=["10.0.0.1/8"],
                default_pool=POOL | {"name": "q", "healthmonitor": MONITOR, "members": [MEMBER]},
            ),
            listener(protocol_port=81, default_pool={"name": "p"}),
            listener(protocol_port=82, default_pool={"name": "p", "admin_state_up": True}, l7policies=[]),
            listener(protocol_port=83),
        ],
    )["loadbalancer"]
    assert [one["protocol_port"] for one in lb["listeners"]] == [80, 81, 82, 83]
    p, q = lb["pools"]
    assert [one["default_pool_id"] for one in lb["listeners"]] == [q["id"], p["id"], p["id"], None]
    assert p["listeners"] == [{"id": lb["listeners"][n]["id"]} for n in (1, 2)]
    assert (p["healthmonitor"], q["healthmonitor"]["type"]) == (None, "HTTP")
    assert [one["operating_status"] for one in (*p["members"], *q["members"])] == [
        *("NO_MONITOR", "NO_MONITOR"),
        "OFFLINE",
    ]
    assert lb["listeners"][0]["allowed_cidrs"] == ["10.0.0.0/8"]
    every = [lb, *lb["listeners"], p, q, *p["members"], *q["members"], q["healthmonitor"]]
    assert {one["provisioning_status"] for one in every} == {"PENDING_CREATE"}
    assert "loadbalancers" not in lb["listeners"][0]
    assert not {"loadbalancers", "healthmonitor_id"} & set(p)
    assert "pools" not in q["healthmonitor"]
    for table in (t.load_balancer, t.listener, t.pool, t.member, t.health_monitor):
        assert {row["generation"] for row in api.rows(sa.select(table))} == {1}
    assert api.doorbell.rings == 1

    shown = api.get(f"/loadbalancers/{lb['id']}")["loadbalancer"]
    assert shown["listeners"] == [{"id": one["id"]} for one in lb["listeners"]]
    assert shown["pools"] == [{"id": p["id"]}, {"id": q["id"]}]
    stored = api.get(f"/listeners/{lb['listeners'][0]['id']}")["listener"]
    assert stored == stored | lb["listeners"][0]
    members = api.get(f"/pools/{p['id']}/members")["members"]
    assert members == p["members"]
    monitor = api.get(f"/healthmonitors/{q['healthmonitor']['id']}")["healthmonitor"]
    assert monitor == monitor | q["healthmonitor"]


def test_policies_and_rules_come_with_their_listeners(api: Api) -> None:
    lb = create(
        api,
        pools=[POOL],
        listeners=[
            listener(
                l7policies=[
                    TO_POOL | {"redirect_pool": {"name": "p"}, "rules": [RULE, RULE | {"invert": True}]},
                    REJECT | {"position": 1, "name": "first", "tags": ["t"]},
                    TO_POOL | {"redirect_pool": POOL | {"name": "q", "members": [MEMBER]}, "rules": [RULE]},
                    TO_POOL | {"redirect_pool": POOL | {"name": "r"}},
                ]
            ),
            listener(protocol_port=81, l7policies=None),
        ],
    )["loadbalancer"]
    front, other = lb["listeners"]
    pools = {one["name"]: one for one in lb["pools"]}
    assert [(one["position"], one["name"], len(one["rules"])) for one in front["l7policies"]] == [
        *((1, "first", 0), (2, "", 2)),
        *((3, "", 1), (4, "", 0)),
    ]
    assert [one["redirect_pool_id"] for one in front["l7policies"]] == [
        *(None, pools["p"]["id"]),
        *(pools["q"]["id"], pools["r"]["id"]),
    ]
    assert other["l7policies"] == []
    used = [{"id": front["id"]}]
    assert [pools[name]["listeners"] for name in "pqr"] == [used, used, []]
    for policy in front["l7policies"]:
        shown = api.get(f"/l7policies/{policy['id']}")["l7policy"]
        rules = api.get(f"/l7policies/{policy['id']}/rules")["rules"]
        assert rules == policy["rules"]
        assert shown == shown | policy | {"rules": [{"id": one["id"]} for one in rules]}
        assert policy["provisioning_status"] == "PENDING_CREATE"
    listed = api.get(f"/listeners/{front['id']}")["listener"]["l7policies"]
    assert listed == [{"id": one["id"]} for one in front["l7policies"]]
    tree = api.get(f"/loadbalancers/{lb['id']}/status")["statuses"]["loadbalancer"]
    assert [one["name"] for one in tree["listeners"][0]["pools"]] == ["p", "q"]


def test_a_plain_create_has_empty_lists(api: Api) -> None:
    bodies: list[dict[str, Any]] = [{}, {"listeners": None, "pools": None}, {"listeners": [], "pools": []}]
    for values in bodies:
        lb = create(api, **values)["loadbalancer"]
        assert (lb["listeners"], lb["pools"]) == ([], [])


@pytest.mark.parametrize(
    ("values", "code", "fault"),
    [
        ({"pools": [{"protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}]}, 400, "name"),
        ({"pools": [POOL, POOL]}, 400, "'p'"),
        ({"pools": [POOL], "listeners": [listener(default_pool=POOL)]}, 400, "'p'"),
        ({"listeners": [listener(default_pool={"name": "nope"})]}, 400, "'nope'"),
        ({"listeners": [listener(default_pool={})]}, 400, "name"),
        ({"listeners": [listener(default_pool=5)]}, 400, "Value should be an object"),
        ({"pools": [{"name": "x", "protocol": "HTTP"}]}, 400, "lb_algorithm"),
        ({"pools": [{"name": "x", "members": [MEMBER]}]}, 400, "protocol"),
        ({"pools": [{"name": "x", "tags": ["y"]}]}, 400, "protocol"),
        ({"pools": [POOL | {"members": [MEMBER, MEMBER]}]}, 409, "already using ip"),
        ({"pools": [POOL | {"members": [MEMBER | {"address": "169.254.169.254"}]}]}, 400, "valid option"),
        ({"pools": [POOL | {"members": [MEMBER | {"project_id": "x"}]}]}, 400, "loadbalancer.pools.members"),
        ({"pools": [POOL | {"members": "x"}]}, 400, "Value should be a list"),
        ({"pools": [POOL | {"members": [MEMBER | {"subnet_id": "0" * 32}]}]}, 400, "Subnet"),
        ({"pools": [POOL | {"healthmonitor": MONITOR | {"type": "UDP-CONNECT"}}]}, 400, "UDP-CONNECT"),
        ({"pools": [POOL | {"healthmonitor": MONITOR | {"pool_id": "0" * 32}}]}, 400, "pool_id"),
        ({"pools": [POOL | {"healthmonitor": []}]}, 400, "Value should be an object"),
        ({"pools": [POOL | {"session_persistence": {"type": "APP_COOKIE"}}]}, 400, "cookie_name"),
        ({"pools": [POOL | {"lb_algorithm": "SOURCE_IP_PORT"}]}, 501, "SOURCE_IP_PORT"),
        ({"pools": [POOL | {"project_id": "x"}]}, 400, "project_id"),
        ({"pools": [POOL | {"listener_id": "0" * 32}]}, 400, "listener_id"),
        ({"pools": 5}, 400, "Value should be a list"),
        ({"pools": [5]}, 400, "Value should be an object"),
        ({"listeners": [listener(), listener()]}, 409, "protocol HTTP and protocol_port 80"),
        ({"listeners": [listener(loadbalancer_id="0" * 32)]}, 400, "loadbalancer_id"),
        ({"listeners": [listener(default_pool_id="0" * 32)]}, 404, "Pool"),
        ({"listeners": [listener(allowed_cidrs=["2001:db8::/32"])]}, 400, "2001:db8::/32"),
        ({"listeners": [listener(protocol="HTTPS", default_pool=POOL)]}, 400, "'HTTPS'"),
        ({"listeners": [listener(protocol="PROMETHEUS", default_pool=POOL)]}, 400, "PROMETHEUS"),
        ({"listeners": [listener(protocol="SCTP", default_pool=POOL)]}, 400, "SCTP"),
        ({"listeners": [listener(l7policies="x")]}, 400, "Value should be a list"),
        ({"listeners": [listener(l7policies=[5])]}, 400, "Value should be an object"),
        ({"listeners": [listener(l7policies=[{}])]}, 400, "Mandatory field missing"),
        ({"listeners": [listener(l7policies=[REJECT | {"listener_id": "0" * 32}])]}, 400, "listener_id"),
        ({"listeners": [listener(l7policies=[TO_POOL])]}, 400, "redirect_pool_id"),
        ({"listeners": [listener(l7policies=[TO_POOL | {"redirect_pool": {"name": "z"}}])]}, 400, "'z'"),
        (
            {"pools": [POOL], "listeners": [listener(l7policies=[TO_POOL | {"redirect_pool": POOL}])]},
            400,
            "'p'",
        ),
        (
            {"listeners": [listener(l7policies=[TO_POOL | {"redirect_pool": POOL | {"protocol": "TCP"}}])]},
            400,
            "'TCP'",
        ),
        ({"listeners": [listener(l7policies=[REJECT | {"rules": [RULE] * 51}])]}, 409, "Too many rules"),
        ({"listeners": [listener(l7policies=[REJECT | {"rules": [RULE | {"value": "("}]}])]}, 400, "L7Rule"),
        ({"listeners": [listener(l7policies=[REJECT | {"rules": 5}])]}, 400, "l7policies.rules"),
        ({"listeners": [listener(protocol="PROMETHEUS", l7policies=[REJECT])]}, 400, "PROMETHEUS"),
        ({"listeners": [listener(protocol="TCP", l7policies=[REJECT])]}, 501, "TCP"),
        ({"listeners": [{"protocol": "HTTP"}]}, 400, "Mandatory field missing"),
    ],
)
def test_one_broken_rule_and_nothing_at_all_is_created(
    api: Api, values: dict[str, Any], code: int, fault: str
) -> None:
    assert fault in create(api, code, **values)["faultstring"]
    tables = (t.load_balancer, t.vip, t.pool, t.listener, t.member, t.reservation, t.work)
    for table in (*tables, t.l7policy, t.l7rule):
        assert api.rows(sa.select(table)) == []
    assert list(api.network.list_ports()) == []
    assert api.doorbell.rings == 0


def test_a_thousand_members_fit_into_one_request(api: Api) -> None:
    members = [{"address": f"192.0.2.{n % 250}", "protocol_port": 1 + n // 250} for n in range(1000)]
    lb = create(api, pools=[POOL | {"members": members}])["loadbalancer"]
    listed = api.get(f"/pools/{lb['pools'][0]['id']}/members?limit=1000")["members"]
    assert [(one["address"], one["protocol_port"]) for one in listed] == [
        (one["address"], one["protocol_port"]) for one in members
    ]
