# SPDX-License-Identifier: Apache-2.0
"""Tenants: they send requests to the real API, and remember what they were promised.

A promise is a value of an attribute of an object, asked for between two moments. Afterwards an
attribute may have any value whose request was not overtaken by a later one that was answered 2xx;
requests that overlapped may have been served in either order.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import falcon.testing

from octavia.api import app
from octavia.api.settings import ApiSettings
from octavia.domain.quota import NO_LIMITS
from octavia.domain.tree import Topology
from tests.simulation.controller import Controller
from tests.simulation.schedule import Process
from tests.simulation.world import BAD_ADDRESS, BAD_WEIGHT

EXISTS: Final = "exists"
PROJECT: Final = "0123456789abcdef0123456789abcdef"
# Narrow enough for histories to reach.
LIMITS: Final = {"load_balancer": 2, "listener": 4, "pool": 2, "member": 4, "health_monitor": 1}


@dataclass(frozen=True, slots=True)
class Promise:
    """One request's wish for one attribute.

    :param sure: it was answered 2xx.
    """

    value: object
    begun: datetime
    ended: datetime
    sure: bool


@dataclass
class Thing:
    """An object that a tenant knows of."""

    kind: str
    id: str
    lb_id: str
    parent_id: str = ""
    promises: dict[str, list[Promise]] = field(default_factory=dict)

    def may_be(self, attribute: str) -> set[object]:
        """Values that the attribute may have; empty where nothing is known for sure."""
        made = self.promises.get(attribute, [])
        if not any(one.sure for one in made):
            return set()
        return {
            one.value for one in made if not any(other.sure and other.begun > one.ended for other in made)
        }

    @property
    def wanted(self) -> bool:
        """May it exist, as far as its tenant knows?"""
        return self.may_be(EXISTS) != {False}


class Ledger:
    """All that tenants were promised.

    :ivar restored: the database was an older one for once.
    """

    def __init__(self) -> None:
        self.restored = False
        self.things: dict[str, Thing] = {}

    def wanted(self, kind: str, lb_id: str = "") -> list[Thing]:
        """What is there to be written to, the oldest first."""
        return [
            one
            for one in self.things.values()
            if one.kind == kind and lb_id in ("", one.lb_id) and one.wanted
        ]

    def below(self, thing: Thing) -> Iterator[Thing]:
        """What goes with a thing."""
        for one in self.things.values():
            if one is not thing and thing.id in (one.lb_id, one.parent_id):
                yield one

    def promise(self, thing: Thing, attribute: str, promise: Promise) -> None:
        """Remember it."""
        self.things.setdefault(thing.id, thing)
        self.things[thing.id].promises.setdefault(attribute, []).append(promise)

    def forget_since(self, moment: datetime) -> None:
        """The database is as it was then."""
        self.restored = True
        for thing in self.things.values():
            for attribute, made in thing.promises.items():
                thing.promises[attribute] = [
                    one if one.ended <= moment else replace(one, sure=False)
                    for one in made
                    if one.begun <= moment
                ]


@dataclass(frozen=True)
class _Answer:
    code: int
    body: Any


class Tenants:
    """Each request runs in a process of its own, so that the API can die in the middle of it."""

    def __init__(
        self,
        controller: Controller,
        say: Callable[[str, str], None],
        violate: Callable[[str, str], None],
        limits: Mapping[str, int],
    ) -> None:
        """:param limits: the project's quota, as far as it has one."""
        self.ledger = Ledger()
        self._controller = controller
        self._clock = controller.schedule.clock
        self._say = say
        self._violate = violate
        self._subnets = {one.name: one.id for one in controller.world.network.list_subnets()}
        self._apps = {
            topology: app.create(
                controller.database,
                controller.world.network,
                controller.bus,
                self._clock,
                ApiSettings(
                    loadbalancer_topology=topology,
                    vrrp_version=3,
                    vrrp_advert_int=0.25,
                    enforce_quotas=True,
                    quotas={**NO_LIMITS, **limits},
                ),
            )
            for topology in Topology
        }
        self.processes: list[Process] = []

    def send(self, what: str, choice: int) -> None:
        """One request, beside whatever else happens.

        :param what: name of a method below.
        :param choice: decides what it is about, among what there is then.
        """
        process = Process(f"api-{len(self.processes) + 1}")
        self.processes.append(process)
        self._controller.schedule.spawn(process, what, lambda: getattr(self, f"_{what}")(choice))

    # --- requests ------------------------------------------------------------------------------

    def _create(self, choice: int) -> None:
        members = [
            {"address": f"198.18.65.{10 + number}", "protocol_port": 80, "weight": 1 + number}
            for number in range(choice % 3)
        ]
        if choice % 4 == 1:
            members = [one | {"subnet_id": self._subnets["members"]} for one in members]
        pool: dict[str, object] = {
            "name": "pool",
            "protocol": "HTTP",
            "lb_algorithm": "ROUND_ROBIN",
            "members": members,
        }
        if choice % 5 == 1:
            pool["healthmonitor"] = {"type": "HTTP", "delay": 5, "timeout": 3, "max_retries": 2}
        listener = {"protocol": "HTTP", "protocol_port": 80, "default_pool": pool}
        topology = Topology.ACTIVE_STANDBY if choice % 3 else Topology.SINGLE
        body = {"name": f"lb-{choice}", "vip_subnet_id": self._subnets["demo"], "listeners": [listener]}
        begun = self._clock.now()
        answer = self._request("POST", "/loadbalancers", {"loadbalancer": body}, topology=topology)
        if answer.code != 201:
            return
        made = answer.body["loadbalancer"]
        things = [Thing("loadbalancer", made["id"], made["id"])]
        things += [Thing("listener", one["id"], made["id"]) for one in made["listeners"]]
        for one in made["pools"]:
            things.append(Thing("pool", one["id"], made["id"]))
            things += [Thing("member", each["id"], made["id"], one["id"]) for each in one["members"]]
            if one.get("healthmonitor"):
                monitor = one["healthmonitor"]["id"]
                things.append(Thing("healthmonitor", monitor, made["id"], one["id"]))
        for thing in things:
            self._promise(thing, EXISTS, True, begun, sure=True)

    def _delete(self, choice: int) -> None:
        lb = self._pick("loadbalancer", choice)
        if lb:
            self._delete_thing(lb, f"/loadbalancers/{lb.id}?cascade=true")

    def _fail_over(self, choice: int) -> None:
        lb = self._pick("loadbalancer", choice)
        if lb:
            self._request("PUT", f"/loadbalancers/{lb.id}/failover", None)

    def _rename(self, choice: int) -> None:
        lb = self._pick("loadbalancer", choice)
        if lb:
            self._update(lb, f"/loadbalancers/{lb.id}", name=f"renamed-{choice}")

    def _add_member(self, choice: int) -> None:
        self._new_member(choice, f"198.18.65.{100 + choice % 100}")

    def _add_bad_member(self, choice: int) -> None:
        self._new_member(choice, BAD_ADDRESS)

    def _new_member(self, choice: int, address: str) -> None:
        pool = self._pick("pool", choice)
        if pool:
            body = {"address": address, "protocol_port": 80}
            if choice % 3 == 1:
                body["subnet_id"] = self._subnets["members"]
            self._create_thing(pool, "member", f"/pools/{pool.id}/members", body)

    def _weigh_member(self, choice: int) -> None:
        member = self._pick("member", choice)
        if member:
            self._update(member, self._member_path(member), weight=choice % 200)

    def _spoil_member(self, choice: int) -> None:
        member = self._pick("member", choice)
        if member:
            self._update(member, self._member_path(member), weight=BAD_WEIGHT)

    def _remove_member(self, choice: int) -> None:
        member = self._pick("member", choice)
        if member:
            self._delete_thing(member, self._member_path(member))

    def _add_listener(self, choice: int) -> None:
        pool = self._pick("pool", choice)
        if pool:
            body = {
                "loadbalancer_id": pool.lb_id,
                "protocol": "HTTP",
                "protocol_port": 8000 + choice % 10,
                "default_pool_id": pool.id,
            }
            self._create_thing(pool, "listener", "/listeners", body)

    def _remove_listener(self, choice: int) -> None:
        listener = self._pick("listener", choice)
        if listener:
            self._delete_thing(listener, f"/listeners/{listener.id}")

    def _replace_listener(self, choice: int) -> None:
        """Delete, then create on the same port, as Terraform does."""
        listener = self._pick("listener", choice)
        if not listener:
            return
        shown = self._request("GET", f"/listeners/{listener.id}", None)
        if shown.code != 200:
            return
        port = shown.body["listener"]["protocol_port"]
        if self._delete_thing(listener, f"/listeners/{listener.id}"):
            body = {"loadbalancer_id": listener.lb_id, "protocol": "HTTP", "protocol_port": port}
            self._create_thing(
                Thing("loadbalancer", listener.lb_id, listener.lb_id), "listener", "/listeners", body
            )

    def _watch_pool(self, choice: int) -> None:
        pool = self._pick("pool", choice)
        if pool:
            body = {"pool_id": pool.id, "type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2}
            self._create_thing(pool, "healthmonitor", "/healthmonitors", body)

    def _unwatch_pool(self, choice: int) -> None:
        monitor = self._pick("healthmonitor", choice)
        if monitor:
            self._delete_thing(monitor, f"/healthmonitors/{monitor.id}")

    def _remove_pool(self, choice: int) -> None:
        pool = self._pick("pool", choice)
        if pool:
            self._delete_thing(pool, f"/pools/{pool.id}")

    # --- how a request is sent -----------------------------------------------------------------

    def _pick(self, kind: str, choice: int) -> Thing | None:
        there = self.ledger.wanted(kind)
        return there[choice % len(there)] if there else None

    @staticmethod
    def _member_path(member: Thing) -> str:
        return f"/pools/{member.parent_id}/members/{member.id}"

    def _create_thing(self, parent: Thing, kind: str, path: str, body: dict[str, Any]) -> None:
        begun = self._clock.now()
        answer = self._request("POST", path, {kind: body})
        if answer.code == 201:
            of_pool = parent.id if kind in ("member", "healthmonitor") else ""
            thing = Thing(kind, answer.body[kind]["id"], parent.lb_id, of_pool)
            self._promise(thing, EXISTS, True, begun, sure=True)

    def _update(self, thing: Thing, path: str, **values: object) -> None:
        begun = self._clock.now()
        self._write(
            "PUT", path, {thing.kind: values}, lambda sure: self._promise_all(thing, values, begun, sure)
        )

    def _delete_thing(self, thing: Thing, path: str) -> bool:
        begun = self._clock.now()

        def promise(sure: bool) -> None:
            for one in (thing, *self.ledger.below(thing)):
                self._promise(one, EXISTS, False, begun, sure)

        return self._write("DELETE", path, None, promise)

    def _write(self, method: str, path: str, body: Any, promise: Callable[[bool], None]) -> bool:
        """:param promise: called with whether it was answered 2xx, unless it was refused."""
        try:
            answer = self._request(method, path, body)
        except BaseException:
            promise(False)  # the API died: nobody knows
            raise
        if answer.code < 400 or answer.code >= 500:
            promise(answer.code < 400)
        return answer.code < 400

    def _promise_all(self, thing: Thing, values: dict[str, object], begun: datetime, sure: bool) -> None:
        for name, value in values.items():
            self._promise(thing, name, value, begun, sure)

    def _promise(self, thing: Thing, attribute: str, value: object, begun: datetime, sure: bool) -> None:
        self.ledger.promise(thing, attribute, Promise(value, begun, self._clock.now(), sure))

    def _request(self, method: str, path: str, body: Any, topology: Topology = Topology.SINGLE) -> _Answer:
        target, _, query = path.partition("?")
        environ = falcon.testing.create_environ(
            f"/v2.0/lbaas{target}",
            method=method,
            query_string=query,
            body=json.dumps(body) if body is not None else "",
            headers={"Content-Type": "application/json", "X-Project-Id": PROJECT},
        )
        codes: list[int] = []
        chunks = self._apps[topology](environ, lambda status, *_: codes.append(int(status[:3])))  # type: ignore[arg-type]
        text = b"".join(chunks)
        answer = _Answer(codes[0], json.loads(text) if text else None)
        task = self._controller.schedule.current
        assert task is not None
        fault = "" if answer.code < 400 else f": {answer.body}"
        self._say(task.name, f"{method} {path} {json.dumps(body) if body else ''} → {answer.code}{fault}")
        if answer.code == 500:
            self._violate("never a 500", f"{method} {path}: {answer.body}")
        return answer
