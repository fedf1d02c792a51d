# SPDX-License-Identifier: Apache-2.0
"""A small deployment in memory that any number of requests can meet, each as if it was the first."""

import re
import sqlite3
from typing import Any
from zlib import crc32

import sqlalchemy as sa

from octavia.api import app
from octavia.api.settings import ApiSettings
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from tests.api.conftest import START, Api

UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


class Deployment:
    """One of everything, in memory, and the way back to that."""

    def __init__(self, settings: ApiSettings | None = None) -> None:
        engine = create_engine("sqlite://")
        t.metadata.create_all(engine)
        self.api = Api(Database(engine), settings or ApiSettings())
        self.ids = self._fill()
        self._engine = engine
        connection: Any = engine.raw_connection().driver_connection
        self._database = connection
        self._saved: Any = sqlite3.connect(":memory:")
        self._database.backup(self._saved)
        self._ports = {port.id for port in self.api.network.list_ports()}

    def application(self) -> Any:
        api = self.api
        return app.create(api.database, api.network, api.doorbell, api.clock, api.settings)

    def aim(self, case: Any, *, always: bool = False) -> None:
        """Give a request ids of what exists.

        :param always: not only to most. To which lies in the request alone: Hypothesis plays cases again and
            wants the same answers, whatever was asked before.
        """
        names = re.findall(r"{(\w+)}", case.operation.path)
        if names and (always or crc32(repr(case.path_parameters).encode()) % 7):
            case.path_parameters = {
                name: self.key(case.operation.path) if name == "key" else self.ids[name] for name in names
            }
        case.body = self._known(case.body)

    def _known(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._known(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            name: self.ids[name] if name in self.ids and leads(one) else self._known(one)
            for name, one in value.items()
        }

    def contents(self) -> bytes:
        """All that is stored: nothing may differ after a request that failed."""
        return bytes(self._database.serialize())

    def close(self) -> None:
        self._saved.close()
        self._engine.dispose()

    def restore(self) -> None:
        self._saved.backup(self._database)
        for port in self.api.network.list_ports():
            if port.id not in self._ports:
                self.api.network.delete_port(port.id)

    def _fill(self) -> dict[str, str]:
        api = self.api
        lb = api.load_balancer(tags=["a"])
        listener, pool = api.listener(lb, tags=["b"]), api.pool(lb, session_persistence={"type": "SOURCE_IP"})
        policy = api.policy(listener)
        ids = {
            "load_balancer_id": lb["id"],
            "loadbalancer_id": lb["id"],
            "listener_id": listener["id"],
            "pool_id": pool["id"],
            "default_pool_id": pool["id"],
            "redirect_pool_id": pool["id"],
            "member_id": api.member(pool)["id"],
            "health_monitor_id": api.monitor(pool)["id"],
            "l7policy_id": policy["id"],
            "l7rule_id": api.rule(policy, type="HEADER", compare_type="EQUAL_TO", key="X-A", value="b")["id"],
            "vip_subnet_id": api.subnet,
            "vip_network_id": lb["vip_network_id"],
            "subnet_id": api.member_subnet,
            "project_id": lb["project_id"],
            "provider_name": "amphora",
        }
        profile = {"name": "p", "provider_name": "amphora", "flavor_data": "{}"}
        ids["flavor_profile_id"] = api.post("/flavorprofiles", {"flavorprofile": profile})["flavorprofile"][
            "id"
        ]
        profile = {"name": "p", "provider_name": "amphora", "availability_zone_data": "{}"}
        made = api.post("/availabilityzoneprofiles", {"availability_zone_profile": profile})
        ids["availability_zone_profile_id"] = made["availability_zone_profile"]["id"]
        flavor = {"name": "f", "flavor_profile_id": ids["flavor_profile_id"]}
        ids["flavor_id"] = api.post("/flavors", {"flavor": flavor})["flavor"]["id"]
        zone = {"name": "z", "availability_zone_profile_id": ids["availability_zone_profile_id"]}
        api.post("/availabilityzones", {"availability_zone": zone})
        api.settle()
        ids["amphora_id"] = self._amphora(lb["id"], listener["id"])
        return ids

    def _amphora(self, lb_id: str, listener_id: str) -> str:
        amphora_id = "11111111-2222-4333-8444-555555555555"
        row = {"id": amphora_id, "load_balancer_id": lb_id, "status": "ALLOCATED", "role": "STANDALONE"}
        names = ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors")
        counted = dict.fromkeys(names, 5) | {"amphora_id": amphora_id, "listener_id": listener_id}
        self.api.database.write(
            lambda tx: (
                tx.execute(sa.insert(t.amphora).values(row | {"created_at": START, "cert_busy": False})),
                tx.execute(sa.insert(t.listener_statistics).values(counted)),
            )
        )
        return amphora_id

    def key(self, path: str) -> str:
        """The id in the path of a flavor, a zone or a profile."""
        return {
            "flavors": self.ids["flavor_id"],
            "flavorprofiles": self.ids["flavor_profile_id"],
            "availabilityzones": "z",
            "availabilityzoneprofiles": self.ids["availability_zone_profile_id"],
        }[path.split("/")[3]]


def leads(value: Any) -> bool:
    return isinstance(value, str) and bool(UUID.fullmatch(value)) and value[-1] != "0"
