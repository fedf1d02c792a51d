# SPDX-License-Identifier: Apache-2.0
"""A small cloud for tests: Keystone, an ``octavia-api`` that asks it, and a worker without hardware."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.keystone import Keystone, keystone
from tests.scenario.daemons import LBAAS, Deployment, deployment, wait_for

ORIGIN: Final = "https://horizon.example.org"
PROJECT: Final = "demo"


@dataclass
class Cloud:
    """What a test asks of it."""

    keystone: Keystone
    octavia: Deployment

    def token(self, user: str, project: str = PROJECT) -> str:
        """Scoped to a project."""
        return self.keystone.token(user, {"project": {"id": self.keystone.project_id(project)}})

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """A request to the API; a path that starts with // is below nothing."""
        url = self.octavia.url + (path[1:] if path.startswith("//") else LBAAS + path)
        sent = dict(headers or {}) | ({"X-Auth-Token": token} if token is not None else {})
        return httpx.request(method, url, json=body, headers=sent, timeout=60)


class _Networks(BaseHTTPRequestHandler):
    """The little that clients ask Neutron for before they ask us: is there such a network?"""

    def do_GET(self) -> None:
        found: dict[str, Any]
        asked = urlsplit(self.path)
        kind, _, identifier = asked.path.removeprefix("/v2.0").strip("/").partition("/")
        if not kind:
            link = {"rel": "self", "href": f"http://{self.headers['Host']}/v2.0/"}
            found = {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}
        elif identifier:
            found = {kind.rstrip("s"): {"id": identifier}}
        else:  # every id that is asked for, and no name
            found = {kind: [{"id": one} for one in parse_qs(asked.query).get("id", [])]}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _networks() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Networks)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """With users ``operator`` (admin), ``member``, ``reader`` and ``stranger`` (no role that matters)."""
    identity, octavia = folder / "keystone", folder / "octavia"
    identity.mkdir()
    octavia.mkdir()
    with keystone(identity) as asked, _networks() as networks:
        # Nobody waits for an identity service that has stopped.
        quick: dict[str, object] = {"http_connect_timeout": 15, "http_request_max_retries": 0}
        with deployment(
            octavia,
            f"sqlite:///{octavia}/octavia.db",
            api_settings={"auth_strategy": "keystone", "allow_noauth_beyond_loopback": False},
            keystone_authtoken=dict(asked.authtoken()) | quick,
            cors={"allowed_origin": ORIGIN},
        ) as processes:
            api = processes.start("octavia-api")
            processes.start("octavia-worker")
            asked.register("network", "neutron", networks)
            asked.register("load-balancer", "octavia", processes.url)
            asked.ensure_user("operator", PROJECT, "admin", "member", "reader")
            asked.ensure_user("member", PROJECT, "member", "reader")
            asked.ensure_user("reader", PROJECT, "reader")
            asked.ensure_user("stranger", PROJECT, "something")

            def answers() -> bool:
                assert api.poll() is None, processes.log("octavia-api")
                try:
                    return httpx.get(f"{processes.url}/", timeout=10).status_code == 200
                except httpx.TransportError:
                    return False

            wait_for(answers, "octavia-api does not answer")
            yield Cloud(asked, processes)
