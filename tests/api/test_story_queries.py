# SPDX-License-Identifier: Apache-2.0
"""Reads take a fixed number of SQL queries, whatever there is to read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from tests.api.conftest import Api
from tests.api.test_story_graph import graph

FEW, MANY = 2, 1_000
LISTS = {
    "/loadbalancers": "loadbalancers",
    "/listeners": "listeners",
    "/pools": "pools",
    "/healthmonitors": "healthmonitors",
    "/l7policies": "l7policies",
    "//v2.0/octavia/amphorae": "amphorae",
    "/flavors": "flavors",
    "/flavorprofiles": "flavorprofiles",
    "/availabilityzones": "availability_zones",
    "/availabilityzoneprofiles": "availability_zone_profiles",
    "/quotas": "quotas",
}
_WHOLE = tuple(
    table for table in t.metadata.sorted_tables if table.name not in ("work", "status_reason", "event")
)


@contextmanager
def statements(api: Api) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    sa.event.listen(api.database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(api.database.engine, "before_cursor_execute", note)


def queries(api: Api, path: str, **more: Any) -> int:
    with statements(api) as sent:
        api.get(path, **more)
    assert sent
    return len(sent)


def template(api: Api) -> Any:
    """Two listeners, two pools, five members, and everything else that a tree can have."""
    tree = graph(api)
    (listener,) = tree["listeners"]
    members = [{"address": f"192.0.2.{n}", "protocol_port": 80, "tags": ["m"]} for n in (1, 2, 3, 4)]
    tree["pools"][0]["members"] = members
    tree["pools"][0]["session_persistence"] = {"type": "SOURCE_IP"}
    second = {"protocol": "TCP", "protocol_port": 81, "allowed_cidrs": ["10.0.0.0/8"], "tags": ["l"]}
    tree["listeners"] = [listener | {"insert_headers": {"X-Real-IP": "true"}}, second]
    six = next(one for one in api.network.list_subnets() if one.name == "demo-6")
    more = {"tags": ["a", "b"], "additional_vips": [{"subnet_id": six.id}]}
    return api.post("/loadbalancers", {"loadbalancer": tree | more})["loadbalancer"]


def multiply(api: Api, count: int) -> None:
    """So many copies of everything that is there, each with ids of its own."""

    def change(tx: sa.Connection) -> None:
        stored = {table: [dict(row) for row in tx.execute(sa.select(table)).mappings()] for table in _WHOLE}
        known = {row["id"] for rows in stored.values() for row in rows if "id" in row}

        def copied(value: Any, number: int) -> Any:
            mine = isinstance(value, str) and value in known
            return str(uuid5(NAMESPACE_OID, f"{value} {number}")) if mine else value

        for table, rows in stored.items():
            if not rows or not any(copied(value, 0) != value for value in rows[0].values()):
                continue
            copies = [
                {name: copied(value, number) for name, value in row.items()}
                for number in range(count)
                for row in rows
            ]
            tx.execute(sa.insert(table), copies)

    api.database.write(change)


def operators_part(api: Api) -> None:
    """One of each of what operators write."""
    data = {"name": "p", "provider_name": "amphora"}
    flavor = api.post("/flavorprofiles", {"flavorprofile": data | {"flavor_data": "{}"}})["flavorprofile"]
    zone = data | {"availability_zone_data": "{}"}
    zone = api.post("/availabilityzoneprofiles", {"availability_zone_profile": zone})
    profile_id = zone["availability_zone_profile"]["id"]

    def change(tx: sa.Connection) -> None:
        numbers = range(MANY)
        tx.execute(
            sa.insert(t.flavor),
            [
                {"id": str(n), "name": str(n), "flavor_profile_id": flavor["id"], "enabled": True}
                for n in numbers
            ],
        )
        zones = [
            {"name": str(n), "availability_zone_profile_id": profile_id, "enabled": True} for n in numbers
        ]
        tx.execute(sa.insert(t.availability_zone), zones)
        tx.execute(sa.insert(t.quotas), [{"project_id": str(n), "pool": n} for n in numbers])
        amphorae = [
            {"id": str(n), "status": "ALLOCATED", "load_balancer_id": None, "cert_busy": False}
            for n in numbers
        ]
        tx.execute(sa.insert(t.amphora), amphorae)

    api.database.write(change)


def test_a_list_of_a_thousand_takes_as_many_queries_as_one_of_two(api: Api) -> None:
    template(api)
    multiply(api, MANY)
    operators_part(api)
    for path, plural in LISTS.items():
        found = api.get(path)[plural]
        few = queries(api, f"{path}?limit={FEW}")
        if plural.endswith("profiles"):  # of which there are as many as anybody has written
            assert few == queries(api, path)
            continue
        assert len(found) == MANY, path
        assert few == queries(api, path) == queries(api, f"{path}?fields=id")
        marker = found[-3].get("id") or found[-3].get("name") or found[-3]["project_id"]
        after = f"{path}?limit={MANY}&marker={marker}"
        assert queries(api, after) == queries(api, f"{path}?limit=1&marker={marker}") == few + 1
    assert [len(one["listeners"]) for one in api.get("/loadbalancers?limit=3")["loadbalancers"]] == [2] * 3


@pytest.mark.parametrize("limit", [None, 1000])
def test_the_unpaged_list_is_whole(make_api: Any, limit: int | None) -> None:
    api = make_api(pagination_max_limit=limit)
    template(api)
    multiply(api, MANY)
    answer = api.get("/loadbalancers")
    assert len(answer["loadbalancers"]) == (MANY if limit else MANY + 1)
    links = answer["loadbalancers_links"]
    assert [one["rel"] for one in links] == (["next"] if limit else [])


def test_below_a_large_load_balancer_reads_take_as_many_queries_as_below_a_small_one(api: Api) -> None:
    small, large = template(api), api.load_balancer()
    members = [{"address": f"10.0.{n // 250}.{n % 250 + 1}", "protocol_port": 80} for n in range(500)]
    for port in range(1, 31):
        pool = api.pool(large)
        listener = api.listener(large, protocol_port=port, default_pool_id=pool["id"], tags=["x"])
        api.policy(listener)
    policy = api.policy(listener, action="REDIRECT_TO_POOL", redirect_pool_id=pool["id"])
    api.put(f"/pools/{pool['id']}/members", {"members": members}, code=202)
    api.monitor(pool)
    for n in range(50):
        api.rule(policy, value=f"/{n}", tags=["x"])
    small_pool = small["pools"][0]
    small_listener = small["listeners"][0]
    small_redirect = next(one for one in small_listener["l7policies"] if one["redirect_pool_id"])
    pairs = [
        (f"/loadbalancers/{lb['id']}{suffix}", f"/loadbalancers/{large['id']}{suffix}")
        for lb in (small,)
        for suffix in ("", "/status", "/stats")
    ]
    pairs += [
        (f"/listeners/{small_listener['id']}{suffix}", f"/listeners/{listener['id']}{suffix}")
        for suffix in ("", "/stats")
    ]
    pairs += [
        (f"/pools/{small_pool['id']}{suffix}", f"/pools/{pool['id']}{suffix}") for suffix in ("", "/members")
    ]
    pairs += [
        (f"/l7policies/{small_redirect['id']}{suffix}", f"/l7policies/{policy['id']}{suffix}")
        for suffix in ("", "/rules")
    ]
    for few, many in pairs:
        assert queries(api, few) == queries(api, many), many
    assert len(api.get(f"/pools/{pool['id']}/members")["members"]) == 500
