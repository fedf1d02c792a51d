# SPDX-License-Identifier: Apache-2.0
"""The built-in server, on loopback."""

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from octavia.api import app
from octavia.api.settings import ApiSettings
from octavia.cmd import api as command
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.domain.clock import SystemClock
from octavia.domain.errors import Terminal
from octavia.drivers.bus.local import LocalDoorbell
from octavia.drivers.network.memory import MemoryNetwork


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[HTTPConnection]:
    engine = create_engine(f"sqlite:///{tmp_path}/octavia.sqlite")
    t.metadata.create_all(engine)
    settings = ApiSettings()
    application = app.create(Database(engine), MemoryNetwork(), LocalDoorbell(), SystemClock(), settings)
    server = command.server(application, settings, "127.0.0.1", 0)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = HTTPConnection("127.0.0.1", server.bind_addr[1], timeout=10)
    yield client
    client.close()
    server.stop()
    thread.join(10)
    engine.dispose()


def ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, object]:
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, json.loads(content) if content else None


def test_one_connection_serves_many_requests_whatever_they_were(connection: HTTPConnection) -> None:
    for _ in range(2):
        assert ask(connection, "GET", "/v2.0/lbaas/pools") == (200, {"pools": [], "pools_links": []})
        assert ask(connection, "POST", "/v2.0/lbaas/pools", b"{")[0] == 400
        assert ask(connection, "POST", "/v2.0/lbaas/pools", b" " * 120_000)[0] == 413
        assert ask(connection, "DELETE", "/v2.0/lbaas/pools/x")[0] == 404


def test_it_does_not_listen_where_others_would_be_admin() -> None:
    with pytest.raises(Terminal, match="make everybody who can reach it admin"):
        command.server(lambda *_: [], ApiSettings(), "0.0.0.0", 0)


def test_a_configuration_that_contradicts_itself_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "octavia.conf"
    file.write_text("[keepalived_vrrp]\nvrrp_version = 2\nvrrp_advert_int = 0.25\n")
    assert command.main(["--config-file", str(file)]) == 1
    assert capsys.readouterr().err.startswith("octavia-api: [keepalived_vrrp] vrrp_advert_int = 0.25 needs")
