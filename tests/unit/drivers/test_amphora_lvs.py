# SPDX-License-Identifier: Apache-2.0
"""UDP listeners and agents that know REST 1.0 alone: a file each for keepalived's LVS."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from octavia.dataplane.l4 import lvs
from octavia.domain.tree import Amphora
from octavia.drivers.amphora.contract import Configuration
from octavia.drivers.amphora.rest import RestAmphoraDriver, RestSettings
from octavia.drivers.amphora.rest import driver as rest_driver
from tests.unit.dataplane.l4_samples import EVERYTHING, uuid
from tests.unit.drivers.test_amphora_rest import AMPHORA


class Agent:
    """An agent, as its endpoints show it."""

    def __init__(self, *extensions: str) -> None:
        self.extensions = extensions
        self.files: dict[str, str] = {}
        self.calls: list[str] = []
        self.applied: Any = None

    def send(self, amphora: Amphora, method: str, path: str, **more: Any) -> httpx.Response:
        del amphora
        self.calls.append(f"{method} {path}")
        words = path.split("/")
        if path == "/1.0/info":
            body = {"haproxy_version": "2.6", "api_version": "1.0", "extensions": list(self.extensions)}
            return httpx.Response(200, json=body)
        if path == "/1.0/listeners":
            found = [{"status": "ACTIVE", "uuid": one, "type": "UDP"} for one in self.files]
            return httpx.Response(200, json=found)
        if path.endswith("/udp_listener") and method == "GET":
            text = self.files.get(words[3])
            return httpx.Response(404, json={}) if text is None else httpx.Response(200, text=text)
        if path.endswith("/udp_listener"):
            self.files[words[4]] = more["content"].decode()
        if method == "DELETE":
            self.files.pop(words[3], None)
        if path.endswith("/apply"):
            self.applied = json.loads(json.dumps(more["json"]))
        return httpx.Response(200, json={})


def steered(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> RestAmphoraDriver:
    monkeypatch.setattr(rest_driver, "Http", lambda settings: agent)
    return RestAmphoraDriver(RestSettings(client_cert=Path("x"), server_ca=Path("y")))


def test_files_are_put_restarted_left_alone_and_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent()
    driver = steered(agent, monkeypatch)
    configuration = Configuration(load_balancer_id="lb", generation=1, haproxy=None, l4=EVERYTHING)
    driver.apply(AMPHORA, configuration, fence=1)
    assert agent.files == lvs.render(EVERYTHING)
    assert [call for call in agent.calls if "reload" in call] == [
        f"PUT /1.0/loadbalancer/{uuid(number)}/reload" for number in (700, 701)
    ]
    agent.calls.clear()
    driver.apply(AMPHORA, configuration, fence=1)
    assert not [call for call in agent.calls if "reload" in call]
    less = replace(EVERYTHING, listeners=EVERYTHING.listeners[:1])
    driver.apply(AMPHORA, replace(configuration, l4=less), fence=1)
    assert list(agent.files) == [uuid(700)]
    driver.apply(AMPHORA, replace(configuration, l4=None), fence=1)
    assert agent.files == {}


def test_our_agent_gets_them_with_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent("apply", "certificates", "l4")
    driver = steered(agent, monkeypatch)
    driver.apply(
        AMPHORA, Configuration(load_balancer_id="lb", generation=1, haproxy=None, l4=EVERYTHING), fence=1
    )
    assert agent.applied["l4"] == json.loads(json.dumps(EVERYTHING.to_json()))
    assert [call.split()[1] for call in agent.calls] == ["/1.0/info", "/1.0/loadbalancer/a/lb/apply"]
