# SPDX-License-Identifier: Apache-2.0
"""Who stands back in the first election of a pair, and how it says so."""

import struct
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from octavia.amphora_agent.announce import checksum
from octavia.amphora_agent.vrrp import lesser
from octavia.dataplane.keepalived.render import KeepalivedSettings, render
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, LoadBalancer, Role, Topology, Vip, VrrpGroup

MASTER = Amphora(
    id="a0000000-0000-4000-8000-000000000001",
    load_balancer_id=None,
    status=AmphoraStatus.ALLOCATED,
    role=Role.MASTER,
    vrrp_ip="192.0.2.3",
    vrrp_interface="eth1",
    vrrp_id=1,
    vrrp_priority=100,
)
BACKUP = replace(
    MASTER,
    id="b0000000-0000-4000-8000-000000000002",
    role=Role.BACKUP,
    vrrp_ip="192.0.2.4",
    vrrp_priority=90,
)
GROUP = VrrpGroup(name="x", version=3, advert_int=0.25)
PAIR = LoadBalancer(
    id="c0000000-0000-4000-8000-000000000003",
    topology=Topology.ACTIVE_STANDBY,
    vip=Vip(ip_address="192.0.2.2"),
    vrrp_group=GROUP,
)


def text(amphora: Amphora, group: VrrpGroup = GROUP) -> str:
    rendered = render(replace(PAIR, vrrp_group=group), amphora, (MASTER, BACKUP), KeepalivedSettings(), [])
    assert rendered is not None
    return rendered


def test_the_backup_stands_back_with_a_valid_advertisement_of_priority_0() -> None:
    instance = lesser(text(BACKUP))
    assert instance is not None
    assert instance.peers == (IPv4Address("192.0.2.3"),)
    packet = instance.resignation(instance.peers[0])
    version_and_type, router, priority, count, interval = struct.unpack("!BBBBH", packet[:6])
    assert (version_and_type, router, priority, count, interval) == (0x31, 1, 0, 1, 25)
    assert packet[8:] == IPv4Address("192.0.2.2").packed
    pseudo = IPv4Address("192.0.2.4").packed + IPv4Address("192.0.2.3").packed
    pseudo += struct.pack("!BBH", 0, 112, len(packet))
    assert checksum(pseudo + packet) == 0


@pytest.mark.parametrize(
    "config",
    [
        text(MASTER),
        text(BACKUP, VrrpGroup(name="x", version=2, advert_int=1, auth_pass="abcdefg")),
        text(BACKUP).replace("unicast_src_ip 192.0.2.4", "unicast_src_ip 2001:db8::4"),
        text(BACKUP).replace("advert_int 0.25", "advert_int soon"),
        "",
    ],
    ids=["the one of higher priority", "version 2", "IPv6", "nonsense", "nothing"],
)
def test_nobody_else_does(config: str) -> None:
    assert lesser(config) is None
