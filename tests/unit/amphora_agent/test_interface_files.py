# SPDX-License-Identifier: Apache-2.0
"""Interface files against the contract's table (amphora-agent.md section 11)."""

from ipaddress import ip_network

from octavia.amphora_agent.interface_files import (
    backend_file,
    loopback_file,
    owned_addresses,
    vip_addresses,
    vip_file,
)
from octavia.wire.agent import FixedAddress, MemberNetwork, Route, VipAddress, VipNetwork

MAC = "fa:16:3e:00:00:01"
ROUTE = Route(destination=ip_network("10.9.0.0/16"), nexthop="10.0.0.9")
VIP4 = VipAddress(
    ip_address="10.0.0.5", subnet_cidr=ip_network("10.0.0.0/24"), gateway="10.0.0.1", host_routes=(ROUTE,)
)
VIP6 = VipAddress(ip_address="2001:db8::5", subnet_cidr=ip_network("2001:db8::/64"))
NETWORK = VipNetwork(vips=(VIP4, VIP6), mac_address=MAC, vrrp_ip="10.0.0.7", mtu=1450)


def test_a_single_amphora_owns_its_vips_with_a_routing_table_for_them() -> None:
    document = vip_file("eth1", NETWORK, is_single=True)
    assert document["addresses"] == [
        {"address": "10.0.0.7", "prefixlen": 24},
        {"address": "10.0.0.5", "prefixlen": 32, "octavia_owned": True},
        {"address": "2001:db8::5", "prefixlen": 128, "octavia_owned": True},
    ]
    assert document["routes"] == [
        {"dst": "0.0.0.0/0", "gateway": "10.0.0.1", "flags": ["onlink"]},
        {"dst": "0.0.0.0/0", "gateway": "10.0.0.1", "flags": ["onlink"], "table": 1},
        {"dst": "10.0.0.0/24", "scope": "link"},
        {"dst": "10.0.0.0/24", "scope": "link", "prefsrc": "10.0.0.5", "table": 1},
        {"dst": "10.9.0.0/16", "gateway": "10.0.0.9", "flags": ["onlink"]},
        {"dst": "10.9.0.0/16", "gateway": "10.0.0.9", "flags": ["onlink"], "table": 1},
        {"dst": "2001:db8::/64", "scope": "link"},
        {"dst": "2001:db8::/64", "scope": "link", "prefsrc": "2001:db8::5", "table": 1},
    ]
    assert document["rules"] == [
        {"src": "10.0.0.5", "src_len": 32, "table": 1},
        {"src": "2001:db8::5", "src_len": 128, "table": 1},
    ]
    assert (document["name"], document["if_type"], document["mtu"]) == ("eth1", "vip", 1450)
    assert owned_addresses(document) == ["10.0.0.7", "10.0.0.5", "2001:db8::5"]


def test_in_a_pair_keepalived_owns_the_vips_and_their_table() -> None:
    document = vip_file("eth1", NETWORK, is_single=False)
    assert [one.get("octavia_owned") for one in document["addresses"]] == [None, False, False]
    assert all("table" not in route for route in document["routes"])
    assert document["rules"] == []
    assert owned_addresses(document) == ["10.0.0.7"]
    assert vip_addresses(document) == ["10.0.0.5", "2001:db8::5"]


def test_without_an_address_of_its_own_it_asks_for_one() -> None:
    four = VipNetwork(vips=(VIP4,), mac_address=MAC)
    six = VipNetwork(vips=(VIP6,), mac_address=MAC)
    assert vip_file("eth1", four, is_single=True)["addresses"][0] == {"dhcp": True}
    assert vip_file("eth1", six, is_single=True)["addresses"][0] == {"ipv6auto": True}


def test_members_on_the_vips_network_share_its_interface() -> None:
    fixed = (
        FixedAddress(ip_address="10.0.0.7", subnet_cidr=ip_network("10.0.0.0/24")),
        FixedAddress(ip_address="10.5.0.3", subnet_cidr=ip_network("10.5.0.0/24"), gateway="10.5.0.1"),
    )
    document = vip_file("eth1", NETWORK, fixed, is_single=True)
    assert owned_addresses(document) == ["10.0.0.7", "10.0.0.5", "2001:db8::5", "10.5.0.3"]


def test_a_member_interface_has_no_default_route() -> None:
    fixed = FixedAddress(
        ip_address="10.2.0.3", subnet_cidr=ip_network("10.2.0.0/24"), gateway="10.2.0.1", host_routes=(ROUTE,)
    )
    document = backend_file("eth2", MemberNetwork(mac_address=MAC, fixed_ips=(fixed,)))
    assert document["addresses"] == [{"address": "10.2.0.3", "prefixlen": 24}]
    assert document["routes"] == [{"dst": "10.9.0.0/16", "gateway": "10.0.0.9", "flags": ["onlink"]}]
    assert (document["if_type"], document["rules"]) == ("backend", [])
    assert "mtu" not in document
    assert document["scripts"]["down"][1]["command"] == "/usr/local/bin/lvs-masquerade.sh delete ipv6 eth2"


def test_a_member_interface_without_addresses_asks_for_them() -> None:
    document = backend_file("eth2", MemberNetwork(mac_address=MAC))
    assert document["addresses"] == [{"dhcp": True}, {"ipv6auto": True}]


def test_the_loopback_is_described_too() -> None:
    assert loopback_file()["addresses"] == [{"address": "127.0.0.1", "prefixlen": 8}]
