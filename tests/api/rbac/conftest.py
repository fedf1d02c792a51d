# SPDX-License-Identifier: Apache-2.0
"""Two projects with a tree each, and a client that may be anybody."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa

from octavia import config
from octavia.api import access
from octavia.api.settings import ApiSettings
from octavia.db import amphorae
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, Role
from octavia.drivers.network.memory import MemoryNetwork
from tests.api.conftest import Api
from tests.api.rbac.requests import FOREIGN, OWN, Tree

_TESTING = "[api_settings]\nauth_strategy = testing\n[oslo_policy]\n"
SYSTEM = "system:"
SHIPPED = Path(__file__).parents[3] / "etc" / "octavia"


class Network(MemoryNetwork):
    """Knows every security group."""

    def has_security_group(self, group_id: str) -> bool:
        return bool(group_id)


@dataclass
class World:
    """The database as it was filled, behind an application of each set of policies."""

    database: Database
    network: Network
    trees: dict[str, Tree]
    folder: Path

    def __post_init__(self) -> None:
        self._filled = sqlite3.connect(":memory:")
        self.connection.backup(self._filled)
        self._apis: dict[tuple[str, bool, str], Api] = {}

    @property
    def connection(self) -> sqlite3.Connection:
        found = self.database.engine.raw_connection().driver_connection
        assert isinstance(found, sqlite3.Connection)
        return found

    def restore(self) -> None:
        """As if nothing had been asked."""
        self._filled.backup(self.connection)

    def api(self, policy: str = "", *, new_defaults: bool = True, text: str = "") -> Api:
        """An application under ``testing``, with a shipped policy file, or with that text."""
        key = (policy, new_defaults, text)
        if key not in self._apis:
            folder = self.folder / str(len(self._apis))
            folder.mkdir()
            (folder / "policy.yaml").write_text(
                text or (SHIPPED / policy).read_text() if policy or text else ""
            )
            file = folder / "octavia.conf"
            file.write_text(f"{_TESTING}enforce_new_defaults = {new_defaults}\n")
            conf = config.load([], program="octavia-api", files=[str(file)])
            settings = ApiSettings(auth_strategy="testing", default_project_id=None, enforce_quotas=True)
            self._apis[key] = Api(
                self.database, settings, network=self.network, access=access.from_config(conf)
            )
        return self._apis[key]


def ask(
    api: Api,
    method: str,
    path: str,
    body: Any = None,
    *,
    roles: str,
    project_id: str | None = OWN,
    **more: str,
) -> falcon.testing.Result:
    """A request of somebody with these roles, in the own project; of the whole system, after ``system:``."""
    headers = {"X-Roles": roles.removeprefix(SYSTEM), "X-User-Id": "somebody", **more}
    if roles.startswith(SYSTEM):
        headers["OpenStack-System-Scope"] = "all"
    elif project_id is not None:
        headers["X-Project-Id"] = project_id
    return api.request(method, path, body, headers=headers)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    engine = create_engine("sqlite://")
    t.metadata.create_all(engine)
    database, network = Database(engine), Network()
    api = Api(database, ApiSettings(), network=network)
    offers = _offers(api)
    trees = {project: _tree(api, project, offers) for project in (OWN, FOREIGN)}
    yield World(database, network, trees, tmp_path_factory.mktemp("rbac"))
    engine.dispose()


def _offers(api: Api) -> dict[str, str]:
    """Flavors and zones; ``unused-…`` can be deleted."""
    ids: dict[str, str] = {}
    for kind, path, root, data, text in (
        ("flavor", "/flavors", "flavor", "flavor_data", '{"loadbalancer_topology": "SINGLE"}'),
        (
            "availability-zone",
            "/availabilityzones",
            "availability_zone",
            "availability_zone_data",
            '{"compute_zone": "nova"}',
        ),
    ):
        profile_root = "flavorprofile" if kind == "flavor" else "availability_zone_profile"
        for name in (kind, f"unused-{kind}"):
            body = {"name": "p", "provider_name": "amphora", data: text}
            profile = api.post(path.rstrip("s") + "profiles", {profile_root: body})[profile_root]
            ids[f"{name}-profile"] = profile["id"]
        for name in (kind, f"unused-{kind}"):
            values = {"name": name, f"{root}_profile_id": ids[f"{kind}-profile"]}
            offer = api.post(path, {root: values})[root]
            ids[name] = offer.get("id", offer["name"])
    return ids


def _tree(api: Api, project: str, offers: dict[str, str]) -> Tree:
    lb = api.load_balancer(project_id=project)
    pool = api.pool(lb)
    listener = api.listener(lb, default_pool_id=pool["id"])
    policy = api.policy(listener)
    api.put(f"/quotas/{project}", {"quota": {}}, code=202)
    ids = offers | {
        "subnet": api.subnet,
        "loadbalancer": lb["id"],
        "listener": listener["id"],
        "pool": pool["id"],
        "bare-pool": api.pool(lb)["id"],
        "member": api.member(pool)["id"],
        "healthmonitor": api.monitor(pool)["id"],
        "l7policy": policy["id"],
        "l7rule": api.rule(policy)["id"],
        "amphora": f"{project}-amphora",
        "failed-amphora": f"{project}-failed",
    }
    api.settle()

    def store(tx: sa.Connection) -> None:
        for name, status in (("amphora", AmphoraStatus.ALLOCATED), ("failed-amphora", AmphoraStatus.ERROR)):
            amphorae.insert(
                tx,
                Amphora(id=ids[name], load_balancer_id=lb["id"], status=status, role=Role.STANDALONE),
                api.clock.now(),
            )
        counters = dict.fromkeys(
            ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors"), 0
        )
        tx.execute(
            sa.insert(t.listener_statistics).values(
                listener_id=listener["id"], amphora_id=ids["amphora"], **counters
            )
        )

    api.database.write(store)
    return Tree(project, ids)
