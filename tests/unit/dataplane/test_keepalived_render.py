# SPDX-License-Identifier: Apache-2.0
"""Who of a pair owns the VIP."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.dataplane.keepalived.render import KeepalivedSettings, VipSubnet, render
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import AdditionalVip, Amphora, LoadBalancer, Vip, VrrpGroup
from tests.unit.dataplane.samples import amphorae, pair, simple

SUBNET = VipSubnet(
    vip_address="10.0.0.5", cidr="10.0.0.0/24", gateway="10.0.0.1", host_routes=(("10.8.0.0/16", "10.0.0.9"),)
)
MASTER, BACKUP = amphorae()


def load_balancer(**fields: Any) -> LoadBalancer:
    return replace(pair(simple()), vip=Vip(ip_address="10.0.0.5"), **fields)


def text(lb: LoadBalancer, amphora: Amphora = MASTER, **kwargs: Any) -> str:
    given = {"amphorae": amphorae(), "settings": KeepalivedSettings(), "vip_subnets": [SUBNET], **kwargs}
    made = render(lb, amphora, **given)
    assert made is not None
    return made


def lines(lb: LoadBalancer, amphora: Amphora = MASTER, **kwargs: Any) -> list[str]:
    return [line.strip() for line in text(lb, amphora, **kwargs).splitlines()]


def block(found: list[str], head: str) -> list[str]:
    start = found.index(f"{head} {{")
    return found[start + 1 : found.index("}", start)]


def test_a_pair_whole() -> None:
    assert (
        text(load_balancer(), settings=KeepalivedSettings(track_file=True))
        == """\
global_defs {
    router_id a0000000-0000-4000-8000-000000000001
    script_user root
    enable_script_security
}

vrrp_script octavia_check_script {
    script "/var/lib/octavia/vrrp/check_script.sh"
    interval 5
    fall 2
    rise 2
}

track_file octavia_haproxy_down {
    file "/var/lib/octavia/vrrp/haproxy_down"
    weight 0
    init_file 0
}

vrrp_instance 11111111111141118111111111111111 {
    interface eth1
    version 3
    virtual_router_id 1
    priority 100
    advert_int 0.25
    nopreempt
    accept
    garp_master_refresh 5
    garp_master_refresh_repeat 2
    unicast_src_ip 10.0.0.2
    unicast_peer {
        10.0.0.3
    }
    virtual_ipaddress {
        10.0.0.5
    }
    virtual_routes {
        10.0.0.0/24 src 10.0.0.5 scope link dev eth1 table 1
        0.0.0.0/0 via 10.0.0.1 onlink dev eth1 table 1
        10.8.0.0/16 via 10.0.0.9 onlink dev eth1 table 1
    }
    virtual_rules {
        from 10.0.0.5/32 table 1 priority 100
    }
    track_script {
        octavia_check_script
    }
    track_file {
        octavia_haproxy_down
    }
}
"""
    )


def test_a_single_amphora_shares_nothing() -> None:
    assert render(simple(), MASTER, amphorae(), KeepalivedSettings(), [SUBNET]) is None


def test_both_halves_of_a_pair_speak_alike() -> None:
    found, other = lines(load_balancer()), lines(load_balancer(), BACKUP)
    assert [line for line in found if line not in other] == [
        f"router_id {MASTER.id}",
        "priority 100",
        "unicast_src_ip 10.0.0.2",
        "10.0.0.3",
    ]
    assert [line for line in other if line not in found] == [
        f"router_id {BACKUP.id}",
        "priority 90",
        "unicast_src_ip 10.0.0.3",
        "10.0.0.2",
    ]


def test_version_2_has_a_password_and_whole_seconds() -> None:
    group = VrrpGroup(name="x", version=2, advert_int=1.0, auth_pass="abcdef1")
    found = lines(load_balancer(vrrp_group=group))
    assert block(found, "authentication") == ["auth_type PASS", "auth_pass abcdef1"]
    assert {"version 2", "advert_int 1"} <= set(found)
    assert "authentication {" not in lines(load_balancer())


def test_ipv6_is_always_version_3() -> None:
    group = VrrpGroup(name="x", version=2, advert_int=1.0, auth_pass="abcdef1")
    lb = load_balancer(vrrp_group=group)
    lb = replace(lb, vip=Vip(ip_address="2001:db8::5"))
    mine = replace(MASTER, vrrp_ip="2001:db8::2")
    subnet = VipSubnet(vip_address="2001:db8::5", cidr="2001:db8::/64", gateway="2001:db8::1")
    found = lines(lb, mine, vip_subnets=[subnet])
    assert {"version 3", "from 2001:db8::5/128 table 1 priority 100"} <= set(found)
    assert "authentication {" not in found


def test_vips_of_the_other_family_travel_apart() -> None:
    others = ("2001:db8::9", "2001:db8::5", "10.0.0.7", "10.0.0.10")
    lb = load_balancer(additional_vips=tuple(AdditionalVip(ip_address=one, subnet_id="s") for one in others))
    found = lines(lb)
    assert block(found, "virtual_ipaddress") == ["10.0.0.5", "10.0.0.7", "10.0.0.10"]
    assert block(found, "virtual_ipaddress_excluded") == ["2001:db8::5", "2001:db8::9"]


@pytest.mark.parametrize(
    ("other", "peers"),
    [
        (BACKUP, ["10.0.0.3"]),
        (replace(BACKUP, status=AmphoraStatus.BOOTING), ["10.0.0.3"]),
        (replace(BACKUP, status=AmphoraStatus.ERROR), None),
        (replace(BACKUP, vrrp_ip=None), None),
    ],
)
def test_who_has_an_address_and_is_not_given_up_is_a_peer(other: Amphora, peers: list[str] | None) -> None:
    found = lines(load_balancer(), amphorae=(MASTER, other))
    assert ("unicast_peer {" in found) is (peers is not None)
    assert peers is None or block(found, "unicast_peer") == peers


@pytest.mark.parametrize(
    ("amphora", "subnets", "group"),
    [
        (replace(MASTER, vrrp_interface="eth1\n}"), [SUBNET], None),
        (replace(MASTER, vrrp_interface=None), [SUBNET], None),
        (replace(MASTER, vrrp_ip=None), [SUBNET], None),
        (replace(MASTER, vrrp_ip="fe80::1%eth1"), [SUBNET], None),
        (replace(MASTER, vrrp_id=256), [SUBNET], None),
        (replace(MASTER, vrrp_priority=255), [SUBNET], None),
        (MASTER, [replace(SUBNET, cidr="10.0.0.0/24 }")], None),
        (MASTER, [replace(SUBNET, gateway="gateway")], None),
        (MASTER, [replace(SUBNET, host_routes=(("0/0", "10.0.0.1"),))], None),
        (MASTER, [SUBNET], VrrpGroup(name="x", version=2, advert_int=0.25)),
        (MASTER, [SUBNET], VrrpGroup(name="x", version=3, advert_int=41.0)),
        (MASTER, [SUBNET], VrrpGroup(name="x", version=2, auth_pass="a b")),
    ],
)
def test_a_value_that_is_none_of_keepalived_is_refused(
    amphora: Amphora, subnets: list[VipSubnet], group: VrrpGroup | None
) -> None:
    lb = load_balancer() if group is None else load_balancer(vrrp_group=group)
    with pytest.raises(ValueError, match=r"."):
        render(lb, amphora, amphorae(), KeepalivedSettings(), subnets)


def test_a_bad_password_is_not_repeated() -> None:
    group = VrrpGroup(name="x", version=2, auth_pass="hush hush")
    with pytest.raises(ValueError, match="VRRP password") as caught:
        text(load_balancer(vrrp_group=group))
    assert "hush" not in str(caught.value)


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_no_string_of_a_tenant_gets_in(name: str, description: str, tag: str) -> None:
    lb = load_balancer()
    assert text(replace(lb, name=name, description=description, tags=(tag,), project_id=name)) == text(lb)
