# SPDX-License-Identifier: Apache-2.0
"""What every network driver promises. Subclasses give the driver, with the networks of ``SAMPLE``."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from octavia.domain.errors import Conflict, Invalid, NotFound, Terminal, Transient
from octavia.domain.tree import AdditionalVip, Vip
from octavia.drivers.local.addresses import network_id, subnet_id
from octavia.drivers.network.book import BookNetwork
from octavia.drivers.network.contract import NetworkDriver

DEMO = subnet_id("demo")
DEMO_6 = subnet_id("demo-6")
MEMBERS = subnet_id("members")
TINY = subnet_id("tiny")


class NetworkPromises:
    """Of every driver, also of one that keeps nothing. For subclasses."""

    @pytest.fixture
    def network(self) -> NetworkDriver:
        raise NotImplementedError

    def test_a_network_has_its_subnets(self, network: NetworkDriver) -> None:
        of = network.get_network(network_id("demo"))
        for subnet in map(network.get_subnet, of.subnet_ids):
            assert subnet.network_id == of.id
            assert of.has(subnet)
            assert subnet.holds(str(ip_network(subnet.cidr)[1]))
            assert network.free_addresses(subnet.id) > 2

    @pytest.mark.parametrize("call", ["get_network", "get_subnet", "get_port", "free_addresses"])
    def test_what_cannot_be_is_not_found(self, network: NetworkDriver, call: str) -> None:
        with pytest.raises(NotFound):
            getattr(network, call)("no-such-id")

    def test_a_policy_or_group_that_cannot_be_is_not_there(self, network: NetworkDriver) -> None:
        assert not network.has_qos_policy("no-such-id")
        assert not network.has_security_group("no-such-id")

    def test_an_unknown_place_is_the_requests_fault(self, network: NetworkDriver) -> None:
        for vip in (Vip(subnet_id="no-such-id"), Vip(network_id="no-such-id"), Vip(port_id="no"), Vip()):
            with pytest.raises(Invalid):
                network.create_vip_port("lb-1", None, vip, ())

    def test_a_vip_lies_within_its_subnet_on_a_port_of_ours(self, network: NetworkDriver) -> None:
        vip = network.create_vip_port("lb-1", None, Vip(network_id=network_id("demo")), ()).vip
        assert vip.ip_address
        assert network.get_subnet(vip.subnet_id or "").holds(vip.ip_address)
        assert vip.network_id == network_id("demo")
        assert vip.octavia_owned
        assert network.get_port(vip.port_id or "").id == vip.port_id

    def test_a_vip_that_is_asked_for_again_stays(self, network: NetworkDriver) -> None:
        first = network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), (AdditionalVip(subnet_id=DEMO_6),))
        assert network.create_vip_port("lb-1", None, first.vip, first.additional_vips) == first
        network.release_vip_port("lb-1", first.vip)
        network.release_vip_port("lb-1", first.vip)

    def test_an_amphoras_ports_are_the_same_when_asked_for_again(self, network: NetworkDriver) -> None:
        vip = network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ()).vip
        vrrp = network.create_vrrp_port("amp-1", "lb-1", vip, [vip.ip_address or ""])
        members = network.get_subnet(MEMBERS).network_id
        member = network.create_member_port("amp-1", "lb-1", members, [MEMBERS])
        assert vrrp == network.create_vrrp_port("amp-1", "lb-1", vip, [vip.ip_address or ""])
        assert member == network.create_member_port("amp-1", "lb-1", members, [MEMBERS])
        assert (vrrp.name, member.name) == ("octavia-lb-vrrp-amp-1", "octavia-lb-member-amp-1")
        assert (vrrp.network_id, member.network_id) == (vip.network_id, members)
        assert vrrp.mac_address != member.mac_address
        assert [one.subnet_id for one in member.fixed_ips] == [MEMBERS]
        for port in (vrrp, member):
            network.delete_port(port.id)
            network.delete_port(port.id)


class NetworkContract(NetworkPromises):
    """Of a driver that keeps a book."""

    @pytest.fixture
    def network(self) -> BookNetwork:
        raise NotImplementedError

    def test_networks_know_their_subnets_and_back(self, network: BookNetwork) -> None:
        for one in network.list_networks():
            assert network.get_network(one.id) == one
            for each in one.subnet_ids:
                assert network.get_subnet(each).network_id == one.id
        assert {subnet.id for subnet in network.list_subnets()} >= {DEMO, DEMO_6, MEMBERS, TINY}

    def test_a_vip_gets_an_address_on_a_port_that_is_down_and_ours(self, network: BookNetwork) -> None:
        allocation = network.create_vip_port("lb-1", "project", Vip(subnet_id=DEMO), ())
        port = network.get_port(allocation.vip.port_id or "")
        assert allocation.vip.octavia_owned
        assert allocation.vip.network_id == network_id("demo")
        assert (port.name, port.device_owner, port.device_id) == ("octavia-lb-lb-1", "Octavia", "lb-lb-1")
        assert (port.project_id, port.admin_state_up) == ("project", False)
        assert [fixed.ip_address for fixed in port.fixed_ips] == [allocation.vip.ip_address]

    def test_asking_again_answers_with_the_same_port(self, network: BookNetwork) -> None:
        first = network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
        assert network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ()) == first
        # And when the caller has kept what it got:
        assert network.create_vip_port("lb-1", None, first.vip, ()) == first
        assert len(network.list_ports()) == 1

    def test_a_lost_vip_port_is_made_again_with_its_address(self, network: BookNetwork) -> None:
        first = network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
        network.delete_port(first.vip.port_id or "")
        network.create_vip_port("other", None, Vip(subnet_id=DEMO), ())
        again = network.create_vip_port("lb-1", None, first.vip, ())
        assert again.vip.ip_address == first.vip.ip_address

    def test_a_wanted_address_is_given_once(self, network: BookNetwork) -> None:
        wanted = Vip(subnet_id=DEMO, ip_address="198.18.64.50")
        assert network.create_vip_port("lb-1", None, wanted, ()).vip.ip_address == "198.18.64.50"
        with pytest.raises(Conflict, match=r"198\.18\.64\.50"):
            network.create_vip_port("lb-2", None, wanted, ())
        assert len(network.list_ports()) == 1

    def test_the_gateways_address_is_in_use(self, network: BookNetwork) -> None:
        with pytest.raises(Conflict):
            network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO, ip_address="198.18.64.1"), ())

    @pytest.mark.parametrize(
        "address", ["198.18.65.7", "198.18.64.0", "198.18.64.255", "fd00:6f63:7461:64::7", "nonsense", "1"]
    )
    def test_an_address_outside_the_subnet_is_refused_by_name(
        self, network: BookNetwork, address: str
    ) -> None:
        with pytest.raises(Invalid, match=address):
            network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO, ip_address=address), ())
        assert network.list_ports() == []

    def test_ipv6_addresses_are_compared_by_value(self, network: BookNetwork) -> None:
        wanted = Vip(subnet_id=DEMO_6, ip_address="FD00:6F63:7461:0064::00AA")
        made = network.create_vip_port("lb-1", None, wanted, ())
        assert made.vip.ip_address == "fd00:6f63:7461:64::aa"
        assert network.create_vip_port("lb-1", None, wanted, ()) == made
        with pytest.raises(Conflict):
            network.create_vip_port("lb-2", None, wanted, ())

    def test_a_full_subnet_says_so(self, network: BookNetwork) -> None:
        assert network.free_addresses(TINY) == 1
        network.create_vip_port("lb-1", None, Vip(subnet_id=TINY), ())
        assert network.free_addresses(TINY) == 0
        with pytest.raises(Invalid, match="tiny"):
            network.create_vip_port("lb-2", None, Vip(subnet_id=TINY), ())
        with pytest.raises(Transient, match="tiny"):
            network.create_vrrp_port("amp-1", "lb-1", Vip(subnet_id=TINY), ())

    def test_an_unknown_subnet_or_network_is_the_requests_fault(self, network: BookNetwork) -> None:
        for vip in (Vip(subnet_id="no-such-id"), Vip(network_id="no-such-id"), Vip()):
            with pytest.raises(Invalid):
                network.create_vip_port("lb-1", None, vip, ())

    def test_a_network_chooses_the_subnet_of_the_address(self, network: BookNetwork) -> None:
        demo = network_id("demo")
        any_address = network.create_vip_port("lb-1", None, Vip(network_id=demo), ())
        assert any_address.vip.subnet_id == DEMO
        wanted = Vip(network_id=demo, ip_address="fd00:6f63:7461:64::9")
        assert network.create_vip_port("lb-2", None, wanted, ()).vip.subnet_id == DEMO_6
        with pytest.raises(Invalid, match=r"10\.0\.0\.1"):
            network.create_vip_port("lb-3", None, Vip(network_id=demo, ip_address="10.0.0.1"), ())

    def test_additional_vips_are_on_the_same_port(self, network: BookNetwork) -> None:
        more = (AdditionalVip(subnet_id=DEMO_6), AdditionalVip(subnet_id=DEMO, ip_address="198.18.64.9"))
        made = network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), more)
        port = network.get_port(made.vip.port_id or "")
        addresses = [made.vip.ip_address, *(one.ip_address for one in made.additional_vips)]
        assert [fixed.ip_address for fixed in port.fixed_ips] == addresses
        assert {one.port_id for one in made.additional_vips} == {port.id}
        assert network.create_vip_port("lb-1", None, made.vip, made.additional_vips) == made

    def test_additional_vips_are_of_the_same_network(self, network: BookNetwork) -> None:
        with pytest.raises(Invalid, match="same network"):
            network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), (AdditionalVip(subnet_id=MEMBERS),))

    def test_a_vip_can_live_on_a_users_port(self, network: BookNetwork) -> None:
        port = network.create_port("mine", network_id("demo"), [(DEMO, "198.18.64.77")])
        made = network.create_vip_port("lb-1", None, Vip(port_id=port.id), ())
        assert (made.vip.ip_address, made.vip.subnet_id) == ("198.18.64.77", DEMO)
        assert not made.vip.octavia_owned
        assert network.create_vip_port("lb-1", None, made.vip, ()) == made
        with pytest.raises(Conflict, match=port.id):
            network.create_vip_port("lb-2", None, Vip(port_id=port.id), ())
        network.release_vip_port("lb-1", made.vip)
        assert network.get_port(port.id) == port

    def test_a_users_port_must_have_what_is_asked_for(self, network: BookNetwork) -> None:
        port = network.create_port("mine", network_id("demo"))
        with pytest.raises(Invalid, match=port.id):
            network.create_vip_port("lb-1", None, Vip(port_id=port.id, ip_address="198.18.64.200"), ())
        with pytest.raises(Invalid, match=port.id):
            network.create_vip_port("lb-1", None, Vip(port_id=port.id), (AdditionalVip(subnet_id=DEMO_6),))
        with pytest.raises(Invalid, match="no-such-port"):
            network.create_vip_port("lb-1", None, Vip(port_id="no-such-port"), ())
        assert network.get_port(port.id) == port  # not marked by a refused request

    def test_releasing_frees_the_address_and_may_be_repeated(self, network: BookNetwork) -> None:
        made = network.create_vip_port("lb-1", None, Vip(subnet_id=TINY), ())
        network.release_vip_port("lb-1", made.vip)
        network.release_vip_port("lb-1", made.vip)
        assert network.list_ports() == []
        assert network.create_vip_port("lb-2", None, Vip(subnet_id=TINY), ()).vip == replace(
            made.vip, port_id=network.list_ports()[0].id
        )

    def test_an_address_rests_before_it_is_given_out_again(self, network: BookNetwork) -> None:
        first = network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
        network.release_vip_port("lb-1", first.vip)
        second = network.create_vip_port("lb-2", None, Vip(subnet_id=DEMO), ())
        assert first.vip.ip_address != second.vip.ip_address

    def test_an_amphoras_ports_are_found_by_name(self, network: BookNetwork) -> None:
        vip = network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ()).vip
        vrrp = network.create_vrrp_port("amp-1", "lb-1", vip, [vip.ip_address or ""])
        member = network.create_member_port("amp-1", "lb-1", network_id("members"), [MEMBERS])
        assert vrrp.name == "octavia-lb-vrrp-amp-1"
        assert member.name == "octavia-lb-member-amp-1"
        assert list(network.ports_of_amphora("amp-1")) == [vrrp, member]
        assert list(network.ports_of_amphora("amp-2")) == []
        assert {fixed.ip_address for fixed in vrrp.fixed_ips}.isdisjoint({vip.ip_address})
        assert vrrp.mac_address != member.mac_address
        assert network.create_vrrp_port("amp-1", "lb-1", vip, [vip.ip_address or ""]) == vrrp
        assert network.create_member_port("amp-1", "lb-1", network_id("members"), [MEMBERS]) == member

    def test_a_member_port_follows_the_wanted_subnets(self, network: BookNetwork) -> None:
        demo = network_id("demo")
        one = network.create_member_port("amp-1", "lb-1", demo, [DEMO])
        both = network.create_member_port("amp-1", "lb-1", demo, [DEMO, DEMO_6])
        six = network.create_member_port("amp-1", "lb-1", demo, [DEMO_6])
        assert one.id == both.id == six.id
        assert both.fixed_ips[:1] == one.fixed_ips
        assert six.fixed_ips == both.fixed_ips[1:]

    def test_a_port_on_two_networks_is_two_ports(self, network: BookNetwork) -> None:
        one = network.create_member_port("amp-1", "lb-1", network_id("members"), [MEMBERS])
        two = network.create_member_port("amp-1", "lb-1", network_id("demo"), [])
        assert one.id != two.id
        assert two.fixed_ips[0].subnet_id == DEMO
        with pytest.raises(Terminal):
            network.create_member_port("amp-1", "lb-1", network_id("demo"), [MEMBERS])
        with pytest.raises(Terminal):
            network.create_member_port("amp-1", "lb-1", "no-such-network", [])

    def test_the_sweep_sees_what_is_ours_and_whose_it_is(self, network: BookNetwork) -> None:
        vip = network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ()).vip
        vrrp = network.create_vrrp_port("amp-1", "lb-1", vip, [])
        network.create_port("mine", network_id("demo"))
        assert {(owner, port.id) for owner, port in network.owned_ports()} == {
            ("lb-1", vip.port_id),
            ("lb-1", vrrp.id),
        }
        network.delete_port(vrrp.id)
        network.delete_port(vrrp.id)
        assert [port.id for _, port in network.owned_ports()] == [vip.port_id]
