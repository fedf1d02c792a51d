# SPDX-License-Identifier: Apache-2.0
"""What the network service's old client sends for its ``lbaas-*`` commands works here where paths coincide.

``lbaas_v2_requests.json`` is what python-neutronclient put on the wire, one command after another; ids are
placeholders. The differences that the test names stand in ``docs/user/lbaas-v2.md`` too.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.api.conftest import Api

RECORDED = json.loads((Path(__file__).parent / "lbaas_v2_requests.json").read_text())
DOCUMENTED = Path(__file__).parents[2] / "docs" / "user" / "lbaas-v2.md"

# The last request of a command, where it is not answered with success: its code, and a word of the reason.
DIFFERENT = {
    # No deployment of these tests has a secret store.
    "lbaas-listener-create --name tls": (400, "certificate"),
    # An option that the command does not have; the client sends it as it stands.
    "lbaas-l7policy-update {l7policy} --admin-state-down": (400, "admin_state_down"),
    "lbaas-loadbalancer-list-on-agent": (404, ""),
    "lbaas-agent-hosting-loadbalancer": (404, ""),
}
SUCCESS = {"GET": 200, "POST": 201, "PUT": 200, "DELETE": 204}


def different(command: str) -> tuple[int, str] | None:
    return next((how for start, how in DIFFERENT.items() if command.startswith(start)), None)


def replay(api: Api, ids: dict[str, str], request: dict[str, Any]) -> Any:
    text = json.dumps(request)
    for name, identifier in ids.items():
        text = text.replace(f"{{{name}}}", identifier)
    request = json.loads(text)
    path = request["path"]
    if path.startswith("/v2.0/subnets"):  # the network service's own
        path = f"/network{path}"
    headers = {"Accept": "application/json"}
    return api.request(request["method"], f"/{path}", request.get("body"), headers=headers)


def test_every_command_that_was_recorded_works_or_differs_as_documented(
    make_api: Callable[..., Api],
) -> None:
    api = make_api(serve_network=True)
    ids = {"subnet": api.subnet, "agent": "8f3f8b1c-6b0a-4c0e-8d38-d0b1f1b8a1d5"}
    for entry in RECORDED["commands"]:
        *lookups, last = entry["requests"]
        for request in lookups:
            found = replay(api, ids, request)
            assert found.status_code == 200, (entry["command"], request, found.text)
            (objects,) = [one for name, one in found.json.items() if not name.endswith("_links")]
            assert [set(one) for one in objects] == [{"id"}], entry["command"]
        result = replay(api, ids, last)
        how = different(entry["command"])
        if how:
            assert result.status_code == how[0], (entry["command"], result.text)
            assert how[1] in result.json["faultstring"]
            continue
        assert result.status_code == SUCCESS[last["method"]], (entry["command"], result.text)
        if "makes" in entry:
            (made,) = result.json.values()
            ids[entry["makes"]] = made["id"]
        api.settle()


def test_every_command_is_recorded_and_every_difference_is_documented() -> None:
    verbs = {entry["command"].split()[0] for entry in RECORDED["commands"]}
    crud = {
        f"lbaas-{what}-{verb}"
        for what in ("loadbalancer", "listener", "pool", "member", "healthmonitor", "l7policy", "l7rule")
        for verb in ("create", "list", "show", "update", "delete")
    }
    agents = {"lbaas-loadbalancer-list-on-agent", "lbaas-agent-hosting-loadbalancer"}
    assert verbs == crud | agents | {"lbaas-loadbalancer-stats", "lbaas-loadbalancer-status"}
    page = DOCUMENTED.read_text()
    assert [start for start in DIFFERENT if start.split()[0] not in page] == []
