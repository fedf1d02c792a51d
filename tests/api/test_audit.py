# SPDX-License-Identifier: Apache-2.0
"""Audit events: who asked for what, and how it went."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from octavia import config
from octavia.api import access, app
from octavia.api.audit import Audited
from octavia.api.settings import from_config
from octavia.db.engine import Database, create_engine
from octavia.db.tables import metadata
from octavia.domain.clock import SystemClock
from octavia.domain.errors import Terminal
from octavia.drivers.bus.local import LocalDoorbell
from octavia.drivers.network.memory import MemoryNetwork

MAP = Path(__file__).parents[2] / "etc" / "octavia" / "octavia_api_audit_map.conf"
PROJECT, USER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
MEMBER = {"X-Project-Id": PROJECT, "X-User-Id": USER, "X-Roles": "member,reader", "X-User-Name": "Ada"}

# Without a catalogue the target's id is "unknown", of which pycadf thinks little.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid uuid:UserWarning")

Make = Callable[..., falcon.testing.TestClient]


@pytest.fixture
def audited(tmp_path: Path) -> Make:
    def made(map_file: Path = MAP, ignored: str = "") -> falcon.testing.TestClient:
        file = tmp_path / "octavia.conf"
        file.write_text(
            "[api_settings]\nauth_strategy = testing\n"
            f"[audit]\nenabled = True\naudit_map_file = {map_file}\nignore_req_list = {ignored}\n"
            "[audit_middleware_notifications]\nuse_oslo_messaging = False\n"
        )
        conf = config.load([], program="octavia-api", files=[str(file)])
        database = Database(create_engine(f"sqlite:///{tmp_path}/octavia.sqlite"))
        metadata.create_all(database.engine)
        application = app.create(
            database,
            MemoryNetwork(),
            LocalDoorbell(),
            SystemClock(),
            from_config(conf),
            access.from_config(conf),
        )
        return falcon.testing.TestClient(Audited(application, conf))

    return made


def events(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    """Event type and payload of each."""
    found = (re.search(r"Event type: (\S+), .*Payload: (.*)", one.getMessage()) for one in caplog.records)
    return [(one[1], ast.literal_eval(one[2])) for one in found if one]


@pytest.fixture(autouse=True)
def _hear(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="keystonemiddleware.audit")


def test_a_request_and_its_answer_are_told_with_who_asked(
    audited: Make, caplog: pytest.LogCaptureFixture
) -> None:
    answer = audited().simulate_get("/v2.0/lbaas/loadbalancers", headers=MEMBER)
    assert answer.json == {"loadbalancers": [], "loadbalancers_links": []}
    request, response = events(caplog)
    assert [request[0], response[0]] == ["audit.http.request", "audit.http.response"]
    for _, payload in (request, response):
        assert payload["initiator"]["id"].endswith(USER)
        assert payload["initiator"]["project_id"].endswith(PROJECT)
        assert payload["action"] == "read/list"
        assert payload["typeURI"].startswith("http://schemas.dmtf.org/cloud/audit")
    assert response[1]["outcome"] == "success"
    assert response[1]["reason"]["reasonCode"] == "200"


def test_a_refusal_is_a_failure(audited: Make, caplog: pytest.LogCaptureFixture) -> None:
    answer = audited().simulate_put("/v2.0/lbaas/loadbalancers/none/failover", headers=MEMBER)
    assert answer.status_code in (403, 404)
    _, (_, payload) = events(caplog)
    assert payload["outcome"] == "failure"
    assert payload["action"] == "update/failover"


def test_some_methods_are_nobodys_business(audited: Make, caplog: pytest.LogCaptureFixture) -> None:
    client = audited(ignored="get, delete")
    client.simulate_get("/v2.0/lbaas/pools", headers=MEMBER)
    assert events(caplog) == []
    client.simulate_post("/v2.0/lbaas/pools", headers=MEMBER, json={"pool": {}})
    assert [payload["action"] for _, payload in events(caplog)] == ["create", "create"]


def test_what_a_tenant_writes_is_answered_as_without_it(audited: Make) -> None:
    answer = audited().simulate_post("/v2.0/lbaas/pools", headers=MEMBER, json={"pool": {"name": "x"}})
    assert answer.status_code == 400
    assert answer.json["faultcode"] == "Client"
    assert answer.headers["x-openstack-request-id"].startswith("req-")


def test_without_its_map_the_api_does_not_start(audited: Make, tmp_path: Path) -> None:
    with pytest.raises(Terminal, match=r"missing\.conf"):
        audited(map_file=tmp_path / "missing.conf")
