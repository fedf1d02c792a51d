# SPDX-License-Identifier: Apache-2.0
"""What a write marks, and what it meets while an earlier one is on its way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.api.settings import ApiSettings
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.domain.rules import Concurrency, Deployment
from tests.api.conftest import Api

STRICT = Deployment(concurrent_updates=Concurrency.REJECT)
TABLES = (t.load_balancer, t.listener, t.pool, t.member, t.health_monitor, t.l7policy, t.l7rule)


class Tree:
    """A settled load balancer with one of everything, and a listener and a pool that stand apart."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.lb = api.load_balancer()
        api.settle()
        self.listener = self._after(api.listener(self.lb))
        self.apart = self._after(api.listener(self.lb, protocol_port=8080))
        self.pool = self._after(api.pool(self.lb, listener_id=self.listener["id"]))
        self.unused = self._after(api.pool(self.lb))
        self.member = self._after(api.member(self.pool))
        self.monitor = self._after(api.monitor(self.pool))
        self.target = self._after(api.pool(self.lb))
        self.policy = self._after(
            api.policy(self.apart, action="REDIRECT_TO_POOL", redirect_pool_id=self.target["id"])
        )
        self.rule = self._after(api.rule(self.policy))
        self.paths = {
            "policy": f"/l7policies/{self.policy['id']}",
            "rule": f"/l7policies/{self.policy['id']}/rules/{self.rule['id']}",
            "lb": f"/loadbalancers/{self.lb['id']}",
            "listener": f"/listeners/{self.listener['id']}",
            "pool": f"/pools/{self.pool['id']}",
            "member": f"/pools/{self.pool['id']}/members/{self.member['id']}",
            "monitor": f"/healthmonitors/{self.monitor['id']}",
            "members": f"/pools/{self.pool['id']}/members",
            "failover": f"/loadbalancers/{self.lb['id']}/failover",
        }

    def _after(self, made: Any) -> Any:
        self.api.settle()
        return made

    def names(self) -> dict[str, str]:
        every = ("lb", "listener", "apart", "pool", "unused", "member", "monitor", "target", "policy", "rule")
        return {getattr(self, name)["id"]: name for name in every}

    def marks(self) -> dict[str, str]:
        """What is not ACTIVE: name to status; what is new is called so. Each has the newest generation."""
        names, found = self.names(), {}
        (generation,) = {row["generation"] for row in self.api.rows(sa.select(t.load_balancer))}
        for table in TABLES:
            for row in self.api.rows(sa.select(table)):
                if row["provisioning_status"] == "ACTIVE":
                    assert row["generation"] < generation
                else:
                    assert row["generation"] == generation
                    found[names.get(row["id"], "new")] = row["provisioning_status"]
        return found

    def write(self, what: str, code: int | None = None) -> Any:
        method, path, body = self.writes()[what]
        result = self.api.request(method, path, body)
        wanted = {"POST": 201, "PUT": 200, "DELETE": 204}[method]
        if what in ("batch", "failover"):
            wanted = 202
        assert result.status_code == (code or wanted), result.text
        return result.json if result.content else None

    def writes(self) -> dict[str, tuple[str, str, Any]]:
        lb, pool = self.lb["id"], self.pool["id"]
        new_pool = {"loadbalancer_id": lb, "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN"}
        new_monitor = {"type": "TCP", "delay": 5, "timeout": 1, "max_retries": 1}
        return {
            "update lb": ("PUT", self.paths["lb"], {"loadbalancer": {"name": "x"}}),
            "failover": ("PUT", self.paths["failover"], None),
            "create listener": (
                "POST",
                "/listeners",
                {"listener": {"loadbalancer_id": lb, "protocol": "TCP", "protocol_port": 99}},
            ),
            "update listener": ("PUT", self.paths["listener"], {"listener": {"name": "x"}}),
            "delete listener": ("DELETE", self.paths["listener"], None),
            "create pool": ("POST", "/pools", {"pool": new_pool}),
            "create pool of listener": (
                "POST",
                "/pools",
                {"pool": new_pool | {"listener_id": self.apart["id"]}},
            ),
            "update pool": ("PUT", self.paths["pool"], {"pool": {"name": "x"}}),
            "delete pool": ("DELETE", self.paths["pool"], None),
            "create member": (
                "POST",
                self.paths["members"],
                {"member": {"address": "192.0.2.77", "protocol_port": 1}},
            ),
            "update member": ("PUT", self.paths["member"], {"member": {"weight": 5}}),
            "delete member": ("DELETE", self.paths["member"], None),
            "batch": ("PUT", self.paths["members"], {"members": []}),
            "create monitor": (
                "POST",
                "/healthmonitors",
                {"healthmonitor": new_monitor | {"pool_id": self.unused["id"]}},
            ),
            "update monitor": ("PUT", self.paths["monitor"], {"healthmonitor": {"delay": 9}}),
            "delete monitor": ("DELETE", self.paths["monitor"], None),
            "create member of redirect pool": (
                "POST",
                f"/pools/{self.target['id']}/members",
                {"member": {"address": "192.0.2.78", "protocol_port": 1}},
            ),
            "create policy": (
                "POST",
                "/l7policies",
                {"l7policy": {"listener_id": self.apart["id"], "action": "REJECT", "position": 1}},
            ),
            "update policy": ("PUT", self.paths["policy"], {"l7policy": {"name": "x"}}),
            "delete policy": ("DELETE", self.paths["policy"], None),
            "create rule": (
                "POST",
                f"{self.paths['policy']}/rules",
                {"rule": {"type": "PATH", "compare_type": "EQUAL_TO", "value": "/"}},
            ),
            "update rule": ("PUT", self.paths["rule"], {"rule": {"invert": True}}),
            "delete rule": ("DELETE", self.paths["rule"], None),
            "create monitor again": (
                "POST",
                "/healthmonitors",
                {"healthmonitor": new_monitor | {"pool_id": pool}},
            ),
        }


@pytest.fixture
def tree(api: Api) -> Tree:
    return Tree(api)


U, C, D = "PENDING_UPDATE", "PENDING_CREATE", "PENDING_DELETE"

MARKS: dict[str, dict[str, str]] = {
    "update lb": {"lb": U},
    "failover": {"lb": U},
    "create listener": {"lb": U, "new": C},
    "update listener": {"lb": U, "listener": U},
    "delete listener": {"lb": U, "listener": D},
    "create pool": {"lb": U, "new": C},
    "create pool of listener": {"lb": U, "apart": U, "new": C},
    "update pool": {"lb": U, "listener": U, "pool": U},
    "delete pool": {"lb": U, "listener": U, "pool": D},
    "create member": {"lb": U, "listener": U, "pool": U, "new": C},
    "update member": {"lb": U, "listener": U, "pool": U, "member": U},
    "delete member": {"lb": U, "listener": U, "pool": U, "member": D},
    "batch": {"lb": U, "listener": U, "pool": U, "member": D},
    "create monitor": {"lb": U, "unused": U, "new": C},
    "update monitor": {"lb": U, "listener": U, "pool": U, "monitor": U},
    "delete monitor": {"lb": U, "listener": U, "pool": U, "monitor": D},
    "create member of redirect pool": {"lb": U, "apart": U, "target": U, "new": C},
    "create policy": {"lb": U, "apart": U, "new": C},
    "update policy": {"lb": U, "apart": U, "policy": U},
    "delete policy": {"lb": U, "apart": U, "policy": D},
    "create rule": {"lb": U, "apart": U, "policy": U, "new": C},
    "update rule": {"lb": U, "apart": U, "policy": U, "rule": U},
    "delete rule": {"lb": U, "apart": U, "policy": U, "rule": D},
}


@pytest.mark.parametrize("what", MARKS)
def test_a_write_marks_what_the_contract_says_and_all_under_one_generation(tree: Tree, what: str) -> None:
    rings = tree.api.doorbell.rings
    tree.write(what)
    assert tree.marks() == MARKS[what]
    assert len(tree.api.rows(sa.select(t.work))) == 1
    assert tree.api.doorbell.rings == rings + 1


WRITES = list(MARKS)


# Queue: nothing pending excludes a write


@pytest.mark.parametrize("status", ["PENDING_UPDATE", "PENDING_CREATE", "ERROR"])
@pytest.mark.parametrize("what", WRITES)
def test_writes_queue_behind_one_another(tree: Tree, what: str, status: str) -> None:
    for table in TABLES:
        for row in tree.api.rows(sa.select(table)):
            tree.api.set_status(table, row["id"], status)
    tree.write(what)
    (lb,) = tree.api.rows(sa.select(t.load_balancer))
    assert lb["provisioning_status"] == ("PENDING_CREATE" if status == "PENDING_CREATE" else "PENDING_UPDATE")


def test_an_update_of_something_that_was_never_live_stays_a_creation(api: Api) -> None:
    lb = api.load_balancer()
    listener = api.listener(lb)
    path = f"/listeners/{listener['id']}"
    updated = api.put(path, {"listener": {"name": "x"}})["listener"]
    assert updated["provisioning_status"] == "PENDING_CREATE"
    (row,) = api.rows(sa.select(t.listener))
    assert row["generation"] == 3
    api.delete(path)
    assert api.get(path)["listener"]["provisioning_status"] == "PENDING_DELETE"


def test_a_write_to_something_in_error_starts_its_deadline_anew(tree: Tree) -> None:
    api = tree.api

    def wanted_since() -> Any:
        (row,) = api.rows(sa.select(t.work))
        return row["wanted_since"]

    tree.write("update pool")
    first = wanted_since()
    tree.write("update member")
    assert wanted_since() == first
    api.set_status(t.member, tree.member["id"], "ERROR")
    tree.write("update listener")
    assert wanted_since() == first
    tree.write("update member")
    assert wanted_since() > first


def test_what_is_being_deleted_takes_no_other_write(tree: Tree) -> None:
    for name, noun in (("listener", "Listener"), ("member", "Member"), ("monitor", "Health Monitor")):
        tree.write(f"delete {name}")
        wanted = f"{noun} {getattr(tree, name)['id']} is immutable and cannot be updated."
        for again in (f"update {name}", f"delete {name}"):
            assert tree.write(again, 409)["faultstring"] == wanted
    for name, noun, others in (
        ("rule", "L7 Rule", ()),
        ("policy", "L7Policy", ("create rule", "update rule", "delete rule")),
    ):
        tree.write(f"delete {name}")
        wanted = f"{noun} {getattr(tree, name)['id']} is immutable and cannot be updated."
        for again in (f"update {name}", f"delete {name}", *others):
            assert tree.write(again, 409)["faultstring"] == wanted
    tree.api.delete(f"/listeners/{tree.apart['id']}")
    wanted = f"Listener {tree.apart['id']} is immutable and cannot be updated."
    for what in ("create policy", "update policy", "delete policy", "create rule"):
        assert tree.write(what, 409)["faultstring"] == wanted
    tree.write("delete pool")
    wanted = f"Pool {tree.pool['id']} is immutable and cannot be updated."
    for what in ("update pool", "delete pool", "create member", "batch", "create monitor again"):
        assert tree.write(what, 409)["faultstring"] == wanted
    tree.api.delete(tree.paths["lb"] + "?cascade=true")
    for what in ("create listener", "create pool"):
        fault = tree.write(what, 409)["faultstring"]
        assert fault == f"Load Balancer {tree.lb['id']} is immutable and cannot be updated."
    for what in ("update lb", "failover"):
        fault = tree.write(what, 409)["faultstring"]
        assert fault == f"Invalid state PENDING_DELETE of loadbalancer resource {tree.lb['id']}"
    assert tree.api.delete(tree.paths["lb"] + "?cascade=true", 409)


def test_a_failed_delete_takes_nothing_but_another_delete(tree: Tree) -> None:
    api = tree.api
    tree.write("delete member")
    api.set_status(t.member, tree.member["id"], "ERROR")
    tree.write("update member", 409)
    tree.write("delete member")
    api.delete(tree.paths["lb"] + "?cascade=true")
    api.set_status(t.load_balancer, tree.lb["id"], "ERROR")
    for what in ("update lb", "failover", "create listener"):
        tree.write(what, 409)
    api.delete(tree.paths["lb"] + "?cascade=true")


def test_what_is_on_its_way_out_leaves_its_place_to_another(tree: Tree) -> None:
    api = tree.api
    for what in ("delete member", "delete monitor", "delete listener"):
        tree.write(what)
    new = api.member(tree.pool)
    monitor = api.monitor(tree.pool, type="TCP")
    listener = api.listener(tree.lb)
    shown = api.get(tree.paths["pool"])["pool"]
    assert shown["members"] == [{"id": tree.member["id"]}, {"id": new["id"]}]
    assert shown["healthmonitor_id"] == monitor["id"]
    ids = [one["id"] for one in api.get(tree.paths["lb"])["loadbalancer"]["listeners"]]
    assert ids == [tree.listener["id"], tree.apart["id"], listener["id"]]
    assert tree.write("update monitor", 409)
    assert api.put(f"/healthmonitors/{monitor['id']}", {"healthmonitor": {"delay": 1}})
    api.settle()
    assert api.get(f"/healthmonitors/{monitor['id']}")["healthmonitor"]["delay"] == 1
    api.get(tree.paths["monitor"], 404)
    assert [one["id"] for one in api.get("/healthmonitors")["healthmonitors"]] == [monitor["id"]]


def test_children_on_their_way_out_do_not_keep_a_load_balancer(tree: Tree) -> None:
    tree.write("delete policy")
    for path in ("listeners", "pools"):
        for one in tree.api.get(f"/{path}")[path]:
            tree.api.delete(f"/{path}/{one['id']}")
    tree.api.delete(tree.paths["lb"])


def test_a_batch_does_not_see_what_is_on_its_way_out(tree: Tree) -> None:
    tree.write("delete member")
    place = {"address": "192.0.2.10", "protocol_port": 8080}
    tree.api.put(tree.paths["members"], {"members": [place]}, code=202)
    statuses = [one["provisioning_status"] for one in tree.api.get(tree.paths["members"])["members"]]
    assert statuses == ["PENDING_DELETE", "PENDING_CREATE"]


# Reject: the strict table of the API reference


@pytest.fixture
def strict(make_api: Callable[..., Api]) -> Tree:
    return Tree(make_api(deployment=STRICT))


@pytest.mark.parametrize("status", ["PENDING_UPDATE", "PENDING_CREATE", "PENDING_DELETE", "ERROR"])
@pytest.mark.parametrize("what", WRITES)
def test_strictly_only_an_active_load_balancer_takes_writes(strict: Tree, what: str, status: str) -> None:
    strict.api.set_status(t.load_balancer, strict.lb["id"], status)
    if what == "failover" and status == "ERROR":
        strict.write(what)
        return
    fault = strict.write(what, 409)["faultstring"]
    if what in ("update lb", "failover"):
        assert fault == f"Invalid state {status} of loadbalancer resource {strict.lb['id']}"
    else:
        assert fault == f"Load Balancer {strict.lb['id']} is immutable and cannot be updated."
    assert strict.api.get(strict.paths["lb"])["loadbalancer"]["provisioning_status"] == status


@pytest.mark.parametrize(
    "what", ["create member", "update member", "delete member", "batch", "update monitor", "delete monitor"]
)
def test_strictly_members_and_monitors_need_an_active_pool(strict: Tree, what: str) -> None:
    strict.api.set_status(t.pool, strict.pool["id"], "ERROR")
    fault = strict.write(what, 409)["faultstring"]
    assert fault == f"Pool {strict.pool['id']} is immutable and cannot be updated."


@pytest.mark.parametrize("what", ["create rule", "update rule", "delete rule"])
def test_strictly_rules_need_an_active_policy(strict: Tree, what: str) -> None:
    strict.api.set_status(t.l7policy, strict.policy["id"], "ERROR")
    fault = strict.write(what, 409)["faultstring"]
    assert fault == f"L7Policy {strict.policy['id']} is immutable and cannot be updated."


@pytest.mark.parametrize(
    "what", ["update listener", "delete listener", "update pool", "delete pool", "update policy"]
)
def test_strictly_children_in_error_may_be_changed(strict: Tree, what: str) -> None:
    for table in (t.listener, t.pool):
        for row in strict.api.rows(sa.select(table)):
            strict.api.set_status(table, row["id"], "ERROR")
    strict.write(what)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("ACTIVE", 204),
        ("ERROR", 204),
        ("PENDING_UPDATE", 409),
        ("PENDING_CREATE", 409),
        ("PENDING_DELETE", 409),
    ],
)
def test_strictly_deleting_needs_active_or_error(strict: Tree, status: str, code: int) -> None:
    strict.api.set_status(t.load_balancer, strict.lb["id"], status)
    strict.api.delete(strict.paths["lb"] + "?cascade=true", code)


def test_children_are_told_before_the_state(strict: Tree) -> None:
    strict.api.set_status(t.load_balancer, strict.lb["id"], "PENDING_UPDATE")
    assert "has children" in strict.api.delete(strict.paths["lb"], 400)["faultstring"]


# Together


def file_api(tmp_path: Path, deployment: Deployment) -> Api:
    engine = create_engine(f"sqlite:///{tmp_path}/octavia.sqlite")
    t.metadata.create_all(engine)
    return Api(Database(engine), ApiSettings(deployment=deployment))


def test_strictly_one_of_many_simultaneous_writes_wins(tmp_path: Path) -> None:
    api = file_api(tmp_path, STRICT)
    lb = api.load_balancer()
    api.settle()
    path = f"/loadbalancers/{lb['id']}"
    with ThreadPoolExecutor(8) as pool:
        results = list(
            pool.map(lambda n: api.request("PUT", path, {"loadbalancer": {"name": str(n)}}), range(16))
        )
    assert sorted(one.status_code for one in results) == [200] + [409] * 15
    api.database.engine.dispose()


def test_queued_simultaneous_writes_all_count(tmp_path: Path) -> None:
    api = file_api(tmp_path, Deployment())
    pool_ = api.pool(api.load_balancer())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: api.member(pool_, protocol_port=n), range(1, 17)))
        taken = list(
            pool.map(
                lambda _: (
                    api.request(
                        "POST",
                        f"/pools/{pool_['id']}/members",
                        {"member": {"address": "192.0.2.10", "protocol_port": 99}},
                    ).status_code
                ),
                range(8),
            )
        )
    assert len(api.get(f"/pools/{pool_['id']}/members")["members"]) == 17
    assert sorted(taken) == [201] + [409] * 7
    (row,) = api.rows(sa.select(t.load_balancer))
    assert row["generation"] == 1 + 1 + 16 + 1
    api.database.engine.dispose()
