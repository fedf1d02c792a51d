# SPDX-License-Identifier: Apache-2.0
"""CPU of telling callers apart: a known token's check, a decision of the policies, and a GET with all of it.

Budget: a GET of one load balancer 1.5 ms, the check of its token included. The identity service itself is not
asked: its answer is known already, as it is for every request but a token's first in five minutes.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import falcon
import falcon.testing

from benchmarks._in_process import Api, backend
from benchmarks._report import Row, show
from octavia import config
from octavia.api import checked, tokens
from octavia.api.settings import ApiSettings
from octavia.db.engine import Connection
from octavia.domain.clock import SystemClock
from octavia.drivers.bus.local import LocalDoorbell
from tests.fleet import load_balancer, store, uuid

BATCH: Final = 100
TOKEN: Final = "g" * 200
SERVICES: Final = 12  # in the catalogue, with three endpoints each
_CONF: Final = """
[api_settings]
auth_strategy = keystone
[keystone_authtoken]
auth_type = password
auth_url = http://127.0.0.1:9/v3
www_authenticate_uri = http://127.0.0.1:9/v3
"""


def _said() -> dict[str, Any]:
    """What Keystone says about a token."""
    domain = {"id": "default", "name": "Default"}
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    endpoints = [
        {
            "id": uuid(n),
            "interface": one,
            "region": "R",
            "region_id": "R",
            "url": f"http://127.0.0.1/{uuid(n)}",
        }
        for n, one in enumerate(("public", "internal", "admin"))
    ]
    catalogue = [
        {"id": uuid(n), "type": f"t{n}", "name": f"n{n}", "endpoints": endpoints} for n in range(SERVICES)
    ]
    return {
        "methods": ["password"],
        "user": {"id": uuid(1), "name": "somebody", "domain": domain},
        "project": {"id": "demo", "name": "demo", "domain": domain},
        "roles": [{"id": one, "name": one} for one in ("member", "reader")],
        "issued_at": ends,
        "expires_at": ends,
        "catalog": catalogue,
    }


def _access(folder: str) -> checked.Checked:
    file = Path(folder) / "octavia.conf"
    file.write_text(_CONF)
    cache = tokens.TokenCache()
    key = f"tokens/{hashlib.sha256(TOKEN.encode()).hexdigest()}"
    cache.set(key, json.dumps({"token": _said()}).encode(), 3600)
    tokens.TokenCache = lambda: cache  # type: ignore[assignment,misc]
    made = checked.from_config(config.load([], program="octavia-api", files=[str(file)]))
    assert isinstance(made, checked.Checked)
    return made


def _batches(runs: int, call: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(runs):
        before = time.process_time()
        for _ in range(BATCH):
            call()
        found.append((time.process_time() - before) / BATCH * 1e3)
    return found


def _fill(tx: Connection) -> None:
    store(tx, load_balancer(1, project_id="demo", name="lb"), since=SystemClock().now())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, backend("sqlite") as behind:
        access = _access(folder)
        behind.database.write(_fill)
        path = f"/loadbalancers/{uuid(1000)}"
        everybody = Api(behind.database, LocalDoorbell(), ApiSettings())
        callers = Api(behind.database, LocalDoorbell(), ApiSettings(auth_strategy="keystone"), access)
        environ = callers.environ("GET", path) | {"HTTP_X_AUTH_TOKEN": TOKEN}
        assert callers.call(dict(environ))[0] == "200 OK"
        req, resp = falcon.Request(dict(environ)), falcon.Response()
        caller = access.admit(req, resp)
        assert caller.project_id == "demo"
        denied = dict(caller.credentials) | {"roles": ["somebody"]}
        policy = access.policy
        rows = [
            Row("token check, credentials", _batches(options.runs, lambda: access.admit(req, resp)), None),
            Row(
                "decision: yes",
                _batches(options.runs, lambda: access.allows("pool:get_one", caller, "demo")),
                0.1,
            ),
            Row(
                "decision: no, every check asked",
                _batches(options.runs, lambda: policy.allows("pool:get_one", denied, "demo")),
                0.1,
            ),
            Row("GET, noauth", _batches(options.runs, lambda: everybody.call(dict(environ))), None),
            Row("GET, keystone", _batches(options.runs, lambda: callers.call(dict(environ))), 1.5),
        ]
    show(f"CPU of identity (a run: the mean of {BATCH})", "ms", rows)


if __name__ == "__main__":
    main()
