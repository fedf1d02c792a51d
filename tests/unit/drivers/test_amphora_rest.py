# SPDX-License-Identifier: Apache-2.0
"""The controller's client: which answer becomes which error."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from octavia.domain.errors import Fenced, OctaviaError, Refused, Terminal, Transient
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, Role
from octavia.drivers.amphora.contract import Machine
from octavia.drivers.amphora.rest import RestAmphoraDriver, RestSettings, answers, driver, payloads
from octavia.drivers.network.contract import FixedIp, Network, Port, Subnet

AMPHORA = Amphora(
    id="a",
    load_balancer_id="lb",
    status=AmphoraStatus.ALLOCATED,
    role=Role.STANDALONE,
    vrrp_port_id="vrrp",
    vrrp_ip="10.0.0.7",
    ha_ip="10.0.0.5",
)
OUTPUT = """\
[NOTICE]   (1) : haproxy version is 2.6.12
[WARNING]  (1) : config : parsing [/b/haproxy.cfg.new:3] : something old
[ALERT]    (1) : config : parsing [/b/haproxy.cfg.new:28] : unknown keyword 'x' in 'backend' section
[ALERT]    (1) : config : parsing [/b/haproxy.cfg.new:30] : unknown keyword 'y' in 'backend' section
"""


def test_a_refusal_has_haproxys_words_and_the_first_line_that_it_complains_about() -> None:
    refused = answers.refused(OUTPUT)
    assert refused.line == 28
    assert "unknown keyword 'x'" in refused.why
    assert "something old" not in refused.why


def test_a_refusal_without_a_line_is_a_refusal() -> None:
    refused = answers.refused("[ALERT] (1) : config : proxy 'x' has no server")
    assert refused.line is None


def answer(status: int, body: object = None) -> httpx.Response:
    return httpx.Response(status, json=body if body is not None else {})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Terminal) for status in (400, 405, 413)),
        *((status, Transient) for status in (401, 403, 404, 409, 500, 503)),
    ],
)
def test_every_other_answer_is_worth_another_try_or_not(status: int, kind: type[OctaviaError]) -> None:
    failure = answers.failure(AMPHORA, answer(status, {"details": "why"}), refusing=False)
    assert type(failure) is kind
    assert "why" in failure.why


def test_a_400_to_a_configuration_is_haproxys() -> None:
    assert type(answers.failure(AMPHORA, answer(400, {"details": OUTPUT}), refusing=True)) is Refused


def test_an_error_page_that_is_no_json_is_an_error_all_the_same() -> None:
    failure = answers.failure(AMPHORA, httpx.Response(502, text="<html>"), refusing=True)
    assert type(failure) is Transient


def test_a_409_with_a_fence_is_a_lost_lease_and_without_one_is_not() -> None:
    with pytest.raises(Fenced) as fenced:
        answers.check_fence(AMPHORA, answer(409, {"fence": 12}))
    assert fenced.value.highest == 12
    answers.check_fence(AMPHORA, answer(409, {"message": "Interface already exists"}))


def test_the_vips_own_port_stays_the_vips_when_members_share_it() -> None:
    subnet = Subnet(id="s", name="", network_id="n", cidr="10.0.0.0/24", ip_version=4, gateway_ip="10.0.0.1")
    network = Network(id="n", name="", subnet_ids=("s",))
    fixed = (FixedIp(subnet_id="s", ip_address="10.0.0.7"),)
    mac = "fa:16:3e:00:00:01"
    shared = Port(id="vrrp", name="", network_id="n", mac_address=mac, fixed_ips=fixed)
    body = payloads.member_network(AMPHORA, shared, network, [subnet])
    assert body.vip is not None
    assert body.vip.vips[0].ip_address == "10.0.0.5"
    other = Port(id="p", name="", network_id="n", mac_address=mac, fixed_ips=fixed)
    assert payloads.member_network(AMPHORA, other, network, [subnet]).vip is None


def details(**changes: Any) -> dict[str, Any]:
    """As amphorae answer that are pinned virtual machines; None takes a key out."""
    memory = {"total": 4030000, "free": 3000000, "buffers": 40000, "cached": 500000, "slab": 7}
    profiles = "virtual-guest optimize-serial-console amphora"
    whole = {"cpu_count": 4, "memory": memory, "active_tuned_profiles": profiles, **changes}
    return {key: value for key, value in whole.items() if value is not None}


def test_a_machine_is_known_by_its_free_memory_and_its_pinned_processors() -> None:
    assert answers.machine(details()) == Machine(memory_kb=3540000, isolated_cpus=3)


@pytest.mark.parametrize(
    "memory",
    [
        None,
        [],
        "much",
        {"free": 1, "buffers": 1},
        {"free": -1, "buffers": 0, "cached": 0},
        {"free": True, "buffers": 0, "cached": 0},
        {"free": 2**53, "buffers": 0, "cached": 0},
        {"free": "1", "buffers": 0, "cached": 0},
    ],
)
def test_memory_that_makes_no_sense_is_not_known(memory: object) -> None:
    assert answers.machine(details(memory=memory)) == Machine(isolated_cpus=3)


@pytest.mark.parametrize(
    "changes",
    [
        *({"active_tuned_profiles": one} for one in (None, "", "amphora-like", 7, "virtual-guest")),
        *({"cpu_count": one} for one in (None, 0, 1, -4, True, "4", 2**31)),
    ],
)
def test_processors_are_pinned_only_if_tuned_says_so_and_there_is_more_than_one(
    changes: dict[str, Any],
) -> None:
    assert answers.machine(details(**changes)).isolated_cpus is None


class Details:
    """An agent that is asked for its details alone."""

    def __init__(self, status: int, body: object) -> None:
        self._answer = httpx.Response(status, json=body)

    def send(self, amphora: Amphora, method: str, path: str, *, also_fine: tuple[int, ...]) -> httpx.Response:
        assert (method, path) == ("GET", "/1.0/details")
        if self._answer.is_success or self._answer.status_code in also_fine:
            return self._answer
        raise answers.failure(amphora, self._answer, refusing=False)


def asked(status: int, body: object, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(driver, "Http", lambda settings: Details(status, body))
    settings = RestSettings(client_cert=Path("x"), server_ca=Path("y"))
    return RestAmphoraDriver(settings).machine(AMPHORA)


def test_an_agent_that_has_no_details_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(200, details(), monkeypatch) == Machine(memory_kb=3540000, isolated_cpus=3)
    for status in (404, 500):
        assert asked(status, {"message": "no"}, monkeypatch) == Machine()
    with pytest.raises(Transient):
        asked(503, {}, monkeypatch)
