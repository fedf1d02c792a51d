# SPDX-License-Identifier: Apache-2.0
"""Stories of fully populated creates (contract: api.md section 6)."""

from typing import Any

from tests.api.conftest import Api
from tests.api.stories import FIELDS, GONE, UNKNOWN, check_fields, check_refusals

LB = "/loadbalancers"
RULE = {"type": "PATH", "compare_type": "STARTS_WITH", "value": "/x"}
MONITOR = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
MEMBER = {"address": "192.0.2.1", "protocol_port": 80}


def graph(api: Api) -> dict[str, Any]:
    pool = {"name": "web", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
    return {
        "vip_subnet_id": api.subnet,
        "pools": [pool | {"members": [MEMBER], "healthmonitor": MONITOR}],
        "listeners": [
            {
                "name": "l",
                "protocol": "HTTP",
                "protocol_port": "80",
                "default_pool": {"name": "web"},
                "l7policies": [
                    {
                        "action": "REDIRECT_TO_POOL",
                        "redirect_pool": pool | {"name": "other", "members": [MEMBER]},
                        "rules": [RULE],
                    },
                    {"action": "REJECT", "position": 1},
                ],
            }
        ],
    }


def test_a_graph_is_answered_with_whole_children(api: Api) -> None:
    lb = api.post(LB, {"loadbalancer": graph(api)})["loadbalancer"]
    check_fields("loadbalancer", lb)
    (listener,) = lb["listeners"]
    check_fields("listener", listener, without="loadbalancers")
    reject, redirect = listener["l7policies"]
    check_fields("l7policy", redirect)
    (rule,) = redirect["rules"]
    check_fields("rule", rule)
    pools = {pool["name"]: pool for pool in lb["pools"]}
    web, other = pools["web"], pools["other"]
    for pool in (web, other):
        shape = [name.replace("healthmonitor_id", "healthmonitor") for name in FIELDS["pool"].split()]
        assert list(pool) == [name for name in shape if name != "loadbalancers"]
        (member,) = pool["members"]
        check_fields("member", member)
        assert pool["listeners"] == [{"id": listener["id"]}]
    check_fields("healthmonitor", web["healthmonitor"], without="pools")
    assert other["healthmonitor"] is None
    assert (web["members"][0]["operating_status"], other["members"][0]["operating_status"]) == (
        "OFFLINE",
        "NO_MONITOR",
    )
    assert (listener["default_pool_id"], redirect["redirect_pool_id"]) == (web["id"], other["id"])
    assert [reject["position"], redirect["position"]] == [1, 2]
    every = [lb, listener, reject, redirect, rule, web, other, web["healthmonitor"], *web["members"]]
    assert {one["provisioning_status"] for one in every} == {"PENDING_CREATE"}
    assert {one["project_id"] for one in every} == {lb["project_id"]}


def test_what_a_graph_cannot_say(api: Api) -> None:
    good = graph(api)
    (pool,) = good["pools"]
    (listener,) = good["listeners"]

    def of_listener(**changes: Any) -> dict[str, Any]:
        return {"listeners": [listener | changes]}

    def of_pool(**changes: Any) -> dict[str, Any]:
        return {"pools": [{name: one for name, one in (pool | changes).items() if one is not GONE}]}

    twice = {"listeners": [listener, listener | {"l7policies": []}]}
    bare = {"name": "x", "protocol": "TCP", "protocol_port": 1}
    redirect = {"action": "REDIRECT_TO_POOL"}
    check_refusals(
        api,
        "POST",
        LB,
        "loadbalancer",
        good,
        [
            (of_pool(name=GONE), 400, "name"),
            (of_pool(name="other"), 400, "other"),
            (of_pool(protocol=GONE), 400, "'web' needs the attribute protocol"),
            (of_pool(lb_algorithm=GONE), 400, "'web' needs the attribute lb_algorithm"),
            (of_pool(protocol="TCP"), 400, "'TCP'"),
            (of_pool(project_id="x"), 400, "Unknown attribute"),
            (of_pool(members=[MEMBER, MEMBER]), 409, "ip 192.0.2.1 on protocol_port 80"),
            (of_pool(members=[MEMBER | {"address": "169.254.169.254"}]), 400, "for member address"),
            (of_pool(members=[MEMBER | {"subnet_id": UNKNOWN}]), 400, f"Subnet {UNKNOWN} not found."),
            (of_pool(members=[MEMBER | {"request_sriov": True}]), 400, "SR-IOV"),
            (of_pool(members=[MEMBER | {"project_id": "x"}]), 400, "Unknown attribute"),
            (of_pool(healthmonitor=MONITOR | {"type": "SCTP"}), 400, "SCTP"),
            (of_pool(healthmonitor=MONITOR | {"pool_id": UNKNOWN}), 400, "Unknown attribute"),
            (of_pool(session_persistence={"type": "APP_COOKIE"}), 400, "cookie_name"),
            (of_pool(lb_algorithm="SOURCE_IP_PORT"), 501, "SOURCE_IP_PORT"),
            (of_listener(default_pool={"name": "nobody"}), 400, "nobody"),
            (of_listener(insert_headers={"X-Nonsense": "true"}), 400, "X-Nonsense"),
            (of_listener(allowed_cidrs=["2001:db8::/32"]), 400, "2001:db8::/32"),
            (of_listener(loadbalancer_id=UNKNOWN), 400, "Unknown attribute"),
            (of_listener(l7policies=[{"action": "REDIRECT_TO_URL"}]), 400, "redirect_url"),
            (of_listener(l7policies=[redirect]), 400, "redirect_pool_id"),
            (of_listener(l7policies=[{"action": "REJECT", "rules": [RULE] * 51}]), 409, "Too many rules"),
            (of_listener(l7policies=[{"action": "REJECT", "listener_id": UNKNOWN}]), 400, "Unknown attr"),
            (of_listener(protocol="PROMETHEUS"), 400, "PROMETHEUS"),
            (twice, 409, "Another Listener on this Load Balancer is already using protocol HTTP"),
            ({"listeners": [bare | {"l7policies": [{"action": "REJECT"}]}]}, 501, "TCP"),
            ({"listeners": {}}, 400, "listeners"),
            ({"listeners": [5]}, 400, "listeners"),
        ],
    )
    assert api.load_balancer(listeners=[bare | {"l7policies": None}])["listeners"][0]["l7policies"] == []
    assert api.load_balancer(pools=[pool | {"members": None}])["pools"][0]["members"] == []
    assert len(list(api.network.list_ports())) == 2
