# SPDX-License-Identifier: Apache-2.0
"""The controller's client: which answer becomes which error."""

import httpx
import pytest

from octavia.domain.errors import Fenced, OctaviaError, Refused, Terminal, Transient
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, Role
from octavia.drivers.amphora import rest
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
    refused = rest.refused(OUTPUT)
    assert refused.line == 28
    assert "unknown keyword 'x'" in refused.why
    assert "something old" not in refused.why


def test_a_refusal_without_a_line_is_a_refusal() -> None:
    refused = rest.refused("[ALERT] (1) : config : proxy 'x' has no server")
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
    failure = rest._failure(AMPHORA, answer(status, {"details": "why"}), refusing=False)
    assert type(failure) is kind
    assert "why" in failure.why


def test_a_400_to_a_configuration_is_haproxys() -> None:
    assert type(rest._failure(AMPHORA, answer(400, {"details": OUTPUT}), refusing=True)) is Refused


def test_an_error_page_that_is_no_json_is_an_error_all_the_same() -> None:
    failure = rest._failure(AMPHORA, httpx.Response(502, text="<html>"), refusing=True)
    assert type(failure) is Transient


def test_a_409_with_a_fence_is_a_lost_lease_and_without_one_is_not() -> None:
    with pytest.raises(Fenced) as fenced:
        rest._check_fence(AMPHORA, answer(409, {"fence": 12}))
    assert fenced.value.highest == 12
    rest._check_fence(AMPHORA, answer(409, {"message": "Interface already exists"}))


def test_the_vips_own_port_stays_the_vips_when_members_share_it() -> None:
    subnet = Subnet(id="s", name="", network_id="n", cidr="10.0.0.0/24", ip_version=4, gateway_ip="10.0.0.1")
    network = Network(id="n", name="", subnet_ids=("s",))
    fixed = (FixedIp(subnet_id="s", ip_address="10.0.0.7"),)
    mac = "fa:16:3e:00:00:01"
    shared = Port(id="vrrp", name="", network_id="n", mac_address=mac, fixed_ips=fixed)
    body = rest._member_network(AMPHORA, shared, network, [subnet])
    assert body.vip is not None
    assert body.vip.vips[0].ip_address == "10.0.0.5"
    other = Port(id="p", name="", network_id="n", mac_address=mac, fixed_ips=fixed)
    assert rest._member_network(AMPHORA, other, network, [subnet]).vip is None
