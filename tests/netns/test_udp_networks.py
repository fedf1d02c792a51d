# SPDX-License-Identifier: Apache-2.0
"""UDP where the network is more than one bridge: a takeover, two IP versions, members behind a leg."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from octavia.domain.tree import AdditionalVip, Algorithm, Listener, LoadBalancer, Protocol
from octavia.drivers.network.contract import FixedIp, Network, Port, Subnet
from tests.netns.agent_lab import (
    VIP,
    AgentProcess,
    Lab,
    eventually,
    ip,
    needs_keepalived,
    needs_root,
    opened_lab,
)
from tests.netns.test_agent_pair import Pair
from tests.netns.test_udp import sources
from tests.netns.udp_lab import (
    Servers,
    answered,
    ask,
    asked,
    asks,
    client,
    member,
    monitor,
    needs_programs,
    push,
    tree,
)

pytestmark = [pytest.mark.netns, needs_root, *needs_programs]

VIP6 = "fd88::100"


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with opened_lab() as lab:
        yield lab


@pytest.fixture(name="servers")
def _servers(lab: Lab) -> Iterator[Servers]:
    del lab  # is open by now
    with contextlib.closing(Servers()) as servers:
        yield servers


def _pair(lab: Lab) -> Pair:
    both = []
    for _ in range(2):
        one = lab.amphora(topology="ACTIVE_STANDBY")
        one.attach_vip()
        lab.driver.plug_vip(one.amphora, one.plug, fence=1)
        both.append(one)
    return Pair(lab, *both)


def begin(pair: Pair, lb: LoadBalancer) -> None:
    """The master first: of two that begin together either may be the first to miss one."""
    push(pair.lab, pair.master, lb, keepalived=pair.keepalived(pair.master))
    assert eventually(lambda: pair.state(pair.master) == "MASTER", within=20)
    push(pair.lab, pair.backup, lb, keepalived=pair.keepalived(pair.backup))


@needs_keepalived
def test_a_takeover_keeps_serving_and_sources_keep_their_members(lab: Lab, servers: Servers) -> None:
    pair = _pair(lab)
    members = [member(servers.start(number)) for number in (1, 2, 3)]
    lb = tree(lab, *members, lb_algorithm=Algorithm.SOURCE_IP, health_monitor=monitor())
    begin(pair, lb)
    assert eventually(answered, within=20)
    clients = sources(48)  # so many that each member has some, whatever its id
    before = {source: ask(source) for source in clients}
    assert set(before.values()) == {"1", "2", "3"}
    with client(clients[0]) as flow:
        assert asked(flow) == before[clients[0]]
        pair.master.kill()
        assert eventually(lambda: pair.state(pair.backup) == "MASTER", within=20)
        assert eventually(answered, within=20)
        assert asked(flow) == before[clients[0]]  # the same port, at another amphora
    assert {source: ask(source) for source in clients} == before
    assert eventually(lambda: (beat := lab.latest(pair.backup)) and beat.vrrp_state == "MASTER", within=20)


@needs_keepalived
def test_an_amphora_that_cannot_bring_its_listeners_back_leaves_the_vip_to_its_peer(
    lab: Lab, servers: Servers
) -> None:
    pair = _pair(lab)
    lb = tree(lab, member(servers.start(1)))
    begin(pair, lb)
    pair.master.kill()
    assert eventually(lambda: pair.state(pair.backup) == "MASTER", within=20)
    (pair.master.base / "l4.json").write_text("{damaged")
    pair.master.start(with_vip=True)
    pair.master.await_listening()
    assert eventually(lambda: pair.state(pair.master) == "FAULT", within=20)
    assert eventually(answered, within=20)
    push(lab, pair.master, lb.bumped(), keepalived=pair.keepalived(pair.master))
    assert eventually(lambda: pair.state(pair.master) == "BACKUP", within=20)


def _single(lab: Lab, *more: tuple[str, Subnet]) -> AgentProcess:
    one = lab.amphora()
    one.attach_vip()
    lab.driver.plug_vip(one.amphora, replace(one.plug, additional=more), fence=1)
    return one


def test_clients_of_both_ip_versions_reach_members_of_their_own(lab: Lab, servers: Servers) -> None:
    ip("addr", "add", "fd88::1/64", "dev", "vip", "nodad")
    subnet6 = Subnet(
        id="s6", name="vip6", network_id="n", cidr="fd88::/64", ip_version=6, gateway_ip="fd88::1"
    )
    amphora = _single(lab, (VIP6, subnet6))
    with contextlib.closing(Servers("fd88::{}/64")) as servers6:
        members = [member(servers.start(1)), member(servers.start(2))]
        members6 = [member(servers6.start(3)), member(servers6.start(4), weight=2)]
        lb = tree(lab, *members, *members6, health_monitor=monitor())
        second = AdditionalVip(ip_address=VIP6, subnet_id="s6")
        push(lab, amphora, replace(lb, additional_vips=(second,)))
        assert asks(4) == {"1": 2, "2": 2}
        assert eventually(
            lambda: answered(vip=VIP6), within=5
        )  # until its address is no tentative one any more
        found = [ask(vip=VIP6) for _ in range(6)]
        assert sorted(found) == ["3", "3", "4", "4", "4", "4"]
        with client(vip=VIP6) as flow:
            who = asked(flow)
            servers6.stop(int(who))
            gone = members6[int(who) - 3].id

            def is_down() -> bool:
                report = lab.latest(amphora)
                return bool(report and report.pools and report.pools[0].members.get(gone) == "DOWN")

            assert eventually(is_down, within=10)
            assert asked(flow) == {"3": "4", "4": "3"}[who]
        report = lab.latest(amphora)
        assert report
        assert report.pools[0].status == "UP"


def test_members_behind_a_leg_answer_through_the_amphora(lab: Lab, servers: Servers) -> None:
    del servers
    amphora = _single(lab)
    mac = "02:00:00:77:00:05"
    ip("link", "add", "leg", "type", "veth", "peer", "name", "x1", "address", mac, "netns", str(amphora.pid))
    ip("addr", "add", "10.77.0.1/24", "dev", "leg")
    ip("link", "set", "leg", "up")
    port = Port(
        id="p",
        name="",
        network_id="n2",
        mac_address=mac,
        fixed_ips=(FixedIp(subnet_id="s2", ip_address="10.77.0.5"),),
    )
    network = Network(id="n2", name="members", subnet_ids=("s2",), mtu=1500)
    subnet = Subnet(id="s2", name="s2", network_id="n2", cidr="10.77.0.0/24", ip_version=4)
    lab.driver.plug_network(amphora.amphora, port, network, [subnet], fence=1)
    with contextlib.closing(Servers("10.77.0.{}/24", "leg")) as behind:
        members = [member(behind.start(number)) for number in (1, 2)]
        push(lab, amphora, tree(lab, *members))
        assert asks(4) == {"1": 2, "2": 2}
        with client() as flow:
            flow.send(b"who?")
            assert flow.recv(100).split()[1] == b"10.77.0.5"


def test_two_listeners_can_share_a_pool_and_a_port_is_free_beside_tcp(lab: Lab, servers: Servers) -> None:
    amphora = _single(lab)
    lb = tree(lab, member(servers.start(1)))
    other = Listener(
        id="66666666-6666-4666-8666-666666666666",
        protocol=Protocol.UDP,
        protocol_port=5300,
        default_pool_id=lb.pools[0].id,
    )
    push(lab, amphora, lb.with_listener(other))
    with client(vip=VIP, port=5300) as one, client() as two:
        assert (asked(one), asked(two)) == ("1", "1")
        push(lab, amphora, replace(lb.bumped(), listeners=lb.listeners))
        assert asked(two) == "1"
        with pytest.raises(ConnectionRefusedError):
            asked(one)
