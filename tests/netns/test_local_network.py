# SPDX-License-Identifier: Apache-2.0
"""Bridges and routes of an installation: complete, repeatable, and nobody else's."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from octavia.domain.errors import Terminal
from octavia.drivers.local import links
from octavia.drivers.local.addresses import NetworkSettings, SubnetSettings, Topology
from octavia.drivers.local.installation import Installation
from octavia.drivers.network.local import LocalNetwork
from tests.netns.own_network import own_network

pytestmark = pytest.mark.netns


def networks(third_octet: int) -> Topology:
    return Topology(
        (
            NetworkSettings(
                name="one",
                mtu=1400,
                subnets=(
                    SubnetSettings(
                        name="four",
                        cidr=f"198.18.{third_octet}.0/24",
                        gateway_ip=f"198.18.{third_octet}.1",
                    ),
                    SubnetSettings(
                        name="six",
                        cidr=f"fd00:6f63:7461:{third_octet}::/64",
                        gateway_ip=f"fd00:6f63:7461:{third_octet}::1",
                    ),
                ),
            ),
            NetworkSettings(
                name="two", subnets=(SubnetSettings(name="bare", cidr=f"198.18.{third_octet + 1}.0/24"),)
            ),
        )
    )


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with own_network():
        run("ip link set lo up")
        # A way out, as a machine on the internet has it.
        run("ip link add out type veth peer name in")
        run("ip address add 203.0.113.2/24 dev out")
        run("ip link set out up")
        run("ip link set in up")
        run("ip route add default via 203.0.113.1")
        yield


@pytest.fixture
def network(tmp_path: Path) -> LocalNetwork:
    return LocalNetwork(networks(64), Installation(tmp_path / "state"))


def run(command: str) -> str:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def is_refused(address: str) -> bool:
    return "No route to host" in run(f"ip route get {address}")


def everything() -> str:
    """Links, addresses and routes; without the carrier, which comes and goes by itself."""
    views = ("-br link", "-br -4 address", "-4 route", "-6 route show scope global")
    text = "\n".join(run(f"ip {view}") for view in views)
    return re.sub(r" linkdown|NO-CARRIER,|,LOWER_UP|\b(UP|DOWN|LOWERLAYERDOWN|UNKNOWN) +", "", text)


def test_bringing_up_twice_is_bringing_up_once(network: LocalNetwork) -> None:
    network.ensure()
    once = everything()
    assert once.count("198.18.64.1/24") == 1
    network.ensure()
    assert everything() == once


def test_a_bridge_has_the_networks_mtu_and_keeps_its_mac_address(network: LocalNetwork) -> None:
    network.ensure()
    bridge = network.bridge(network.list_networks()[0].id)
    before = run(f"ip -br link show {bridge}")
    assert "mtu 1400" in run(f"ip link show {bridge}")
    run(f"ip link add name low address 00:00:00:00:00:02 type veth peer name far master {bridge}")
    run("ip link set low up")
    run("ip link set far up")
    assert before.split()[2] == run(f"ip -br link show {bridge}").split()[2]


@pytest.mark.parametrize("address", ["198.18.64.9", "198.18.65.9", "fd00:6f63:7461:64::9"])
def test_no_packet_leaves_by_the_default_route(network: LocalNetwork, address: str) -> None:
    network.ensure()
    bridges = [network.bridge(one.id) for one in network.list_networks()]
    assert "dev out" not in run(f"ip route get {address}")
    for bridge in bridges:
        run(f"ip link set {bridge} down")
    assert is_refused(address)
    for bridge in bridges:
        run(f"ip link delete {bridge}")
    assert is_refused(address)
    network.ensure()  # and back
    assert "dev out" not in run(f"ip route get {address}")


def test_what_somebody_took_away_is_brought_back(network: LocalNetwork) -> None:
    network.ensure()
    good = everything()
    bridge = network.bridge(network.list_networks()[0].id)
    run(f"ip link set {bridge} down")
    run(f"ip address flush dev {bridge}")
    run("ip route flush type unreachable")
    network.ensure()
    assert sorted(everything().splitlines()) == sorted(good.splitlines())


def test_removing_all_leaves_the_machine_as_it_was(network: LocalNetwork) -> None:
    before = everything()
    network.ensure()
    network.remove_all()
    assert everything() == before
    network.remove_all()


def test_removing_one_installation_leaves_the_other_alone(network: LocalNetwork, tmp_path: Path) -> None:
    other = LocalNetwork(networks(80), Installation(tmp_path / "other"))
    other.ensure()
    alone = everything()
    network.ensure()
    assert everything() != alone
    network.remove_all()
    assert everything() == alone


def test_bridges_of_networks_no_longer_configured_go_too(network: LocalNetwork, tmp_path: Path) -> None:
    before = everything()
    network.ensure()
    LocalNetwork(Topology(()), Installation(tmp_path / "state")).remove_all()
    assert everything() == before


def test_a_range_that_the_machine_already_uses_is_refused(network: LocalNetwork) -> None:
    run("ip address add 198.18.64.77/25 dev out")
    before = everything()
    with pytest.raises(Terminal, match=r"four.*198\.18\.64\.77/25 of out"):
        network.ensure()
    assert everything() == before


def test_links_are_known_by_name(network: LocalNetwork) -> None:
    network.ensure()
    assert {network.bridge(one.id) for one in network.list_networks()} <= links.names()
    links.remove("no-such-link")


def test_what_stands_in_the_way_is_named_with_a_remedy(
    network: LocalNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(links, "has_ipv6", lambda: False)
    monkeypatch.setattr(links, "bridges_are_filtered", lambda: True)
    network.ensure()
    assert "no IPv6" in caplog.text
    assert "sysctl -w net.bridge.bridge-nf-call-iptables=0" in caplog.text
    assert "fd00:" not in run("ip -6 route")


@pytest.mark.parametrize(("policy", "filtered"), [("accept", False), ("drop", True)])
def test_a_firewall_that_drops_what_is_forwarded_is_noticed(policy: str, filtered: bool) -> None:
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not switch.exists():
        pytest.skip("needs the kernel's br_netfilter")
    if not shutil.which("nft"):
        pytest.skip("needs the nft program")
    switch.write_text("1")
    assert not links.bridges_are_filtered()
    chain = f"{{ type filter hook forward priority 0; policy {policy}; }}"
    subprocess.run(["nft", f"add table ip t; add chain ip t f {chain}"], check=True)
    assert links.bridges_are_filtered() is filtered
    for each in switch.parent.glob("bridge-nf-call-ip*tables"):
        each.write_text("0")
    assert not links.bridges_are_filtered()
