# SPDX-License-Identifier: Apache-2.0
"""Payloads of the agent's API: both ends agree, and nothing unparsed gets through."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.wire.agent import (
    Apply,
    BadPayload,
    CertificateFile,
    FixedAddress,
    MemberNetwork,
    Route,
    VipAddress,
    VipNetwork,
)

MAC = "fa:16:3e:00:00:01"
ROUTE = Route(destination=ip_network("10.1.0.0/16"), nexthop="10.0.0.9")
VIPS = (
    VipAddress(
        ip_address="10.0.0.5", subnet_cidr=ip_network("10.0.0.0/24"), gateway="10.0.0.1", host_routes=(ROUTE,)
    ),
    VipAddress(ip_address="2001:db8::5", subnet_cidr=ip_network("2001:db8::/64")),
)
VIP_NETWORK = VipNetwork(vips=VIPS, mac_address=MAC, vrrp_ip="10.0.0.7", mtu=1450)


def test_a_vip_network_survives_the_wire() -> None:
    assert VipNetwork.from_json("10.0.0.5", VIP_NETWORK.to_json()) == VIP_NETWORK


def test_a_member_network_survives_the_wire() -> None:
    fixed = FixedAddress(ip_address="10.2.0.3", subnet_cidr=ip_network("10.2.0.0/24"), host_routes=(ROUTE,))
    for vip in (None, VIP_NETWORK):
        network = MemberNetwork(mac_address=MAC, fixed_ips=(fixed,), mtu=9000, vip=vip)
        assert MemberNetwork.from_json(network.to_json()) == network


def test_an_apply_survives_the_wire() -> None:
    for apply in (
        Apply(generation=0, haproxy=None, keepalived=None),
        Apply(generation=7, haproxy="x", keepalived="y"),
        Apply(generation=7, haproxy=None, keepalived=None, l4={"vips": ["10.0.0.1"]}),
    ):
        assert Apply.from_json(apply.to_json()) == apply


GOOD: dict[str, Any] = {"subnet_cidr": "10.0.0.0/24", "gateway": None, "mac_address": MAC}


@pytest.mark.parametrize(
    "change",
    [
        {"subnet_cidr": "10.0.0.0/33"},
        {"subnet_cidr": None},
        {"subnet_cidr": "fe80::%eth0/64"},
        {"gateway": "10.0.0.1 dev lo"},
        {"gateway": "fe80::1%$(reboot)"},
        {"gateway": 1},
        {"mac_address": "fa:16:3e:00:00"},
        {"mac_address": "fa:16:3e:00:00:0g"},
        {"mac_address": None},
        {"mtu": "1500"},
        {"mtu": True},
        {"mtu": 10},
        {"vrrp_ip": "10.0.0.7\nlink del eth0"},
        {"host_routes": {}},
        {"host_routes": [{"destination": "10.0.0.0/8"}]},
        {"host_routes": ["10.0.0.0/8"]},
        {"additional_vips": [{"ip_address": "10.0.0.9"}]},
    ],
)
def test_a_bad_plug_is_refused(change: dict[str, Any]) -> None:
    VipNetwork.from_json("10.0.0.5", GOOD)
    with pytest.raises(BadPayload):
        VipNetwork.from_json("10.0.0.5", {**GOOD, **change})


@pytest.mark.parametrize(
    "body", [None, [], "x", {}, {"generation": -1}, {"generation": True}, {"generation": 1, "haproxy": 1}]
)
def test_a_bad_apply_is_refused(body: object) -> None:
    with pytest.raises(BadPayload):
        Apply.from_json(body)


DIGEST = "0" * 64


@pytest.mark.parametrize(
    "certificates",
    [
        [],
        "x",
        {"a.pem": None},
        {"a.pem": {"sha256": "short"}},
        {"a.pem": {"sha256": DIGEST.upper().replace("0", "A")}},
        {"a.pem": {"sha256": DIGEST, "content": 5}},
        {"../a.pem": {"sha256": DIGEST}},
        {"a/b.pem": {"sha256": DIGEST}},
        {"a..pem": {"sha256": DIGEST}},
        {".pem": {"sha256": DIGEST}},
        {"a.pem.key": {"sha256": DIGEST}},
        {"a.pem\n": {"sha256": DIGEST}},
    ],
)
def test_bad_certificates_of_an_apply_are_refused(certificates: object) -> None:
    good = Apply(
        generation=1, haproxy="", keepalived=None, certificates={"a.pem": CertificateFile(sha256=DIGEST)}
    )
    assert Apply.from_json(good.to_json()) == good
    with pytest.raises(BadPayload):
        Apply.from_json({"generation": 1, "certificates": certificates})


def test_a_certificates_content_is_not_shown() -> None:
    file = CertificateFile(sha256=DIGEST, content="-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE" not in repr(
        Apply(generation=1, haproxy=None, keepalived=None, certificates={"a.pem": file})
    )


@given(st.text())
def test_an_address_is_an_address_or_refused(text: str) -> None:
    try:
        vip = VipNetwork.from_json("10.0.0.5", {**GOOD, "vrrp_ip": text})
    except BadPayload:
        return
    assert vip.vrrp_ip is None or str(ip_address(vip.vrrp_ip)) == vip.vrrp_ip
