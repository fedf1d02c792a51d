# SPDX-License-Identifier: Apache-2.0
"""Drivers that do nothing and remember nothing, and agree about it in every process."""

from uuid import uuid4

import pytest

from octavia import config
from octavia.domain.clock import SystemClock
from octavia.domain.errors import Invalid, NotFound, Terminal
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import AdditionalVip, Amphora, Role, Vip
from octavia.drivers import noop, registry
from octavia.drivers.amphora.contract import AmphoraDriver, Configuration
from octavia.drivers.amphora.noop import NoopAmphorae
from octavia.drivers.certificates.contract import AmphoraCertificates
from octavia.drivers.certificates.noop_authority import NoopAuthority
from octavia.drivers.compute.contract import ComputeDriver
from octavia.drivers.compute.noop import NoopCompute
from octavia.drivers.image.contract import ImageDriver
from octavia.drivers.image.noop import NoopImages
from octavia.drivers.network.book import BookNetwork
from octavia.drivers.network.contract import NetworkDriver
from octavia.drivers.network.memory import MemoryNetwork
from octavia.drivers.network.noop import NoopNetwork
from octavia.drivers.volume.contract import VolumeDriver
from octavia.drivers.volume.noop import NoopVolumes
from tests.unit.drivers.compute_contract import ComputePromises, a_spec
from tests.unit.drivers.network_contract import NetworkPromises


class TestCompute(ComputePromises):
    @pytest.fixture
    def compute(self) -> ComputeDriver:
        return NoopCompute()

    @pytest.fixture
    def network(self) -> BookNetwork:
        return MemoryNetwork()


class TestNetwork(NetworkPromises):
    @pytest.fixture
    def network(self) -> NetworkDriver:
        return NoopNetwork()


@pytest.mark.parametrize("address", ["198.18.33.33", "2001:db8:33:33:33:33:33:33"])
def test_any_subnet_of_any_network_gives_any_address_to_everybody(address: str) -> None:
    network, subnet = str(uuid4()), str(uuid4())
    driver = NoopNetwork()
    assert driver.get_network(network).has(driver.get_subnet(subnet))
    assert driver.get_subnet(subnet).holds(address)
    for lb in ("lb-1", "lb-2"):
        wanted = Vip(network_id=network, subnet_id=subnet, ip_address=address)
        made = NoopNetwork().create_vip_port(lb, None, wanted, ()).vip
        assert (made.network_id, made.subnet_id, made.ip_address) == (network, subnet, address)


def test_an_amphora_has_an_address_of_the_vips_version() -> None:
    vip = Vip(subnet_id=str(uuid4()), ip_address="2001:db8::1")
    assert ":" in NoopNetwork().create_vrrp_port("amp", "lb", vip, ()).fixed_ips[0].ip_address


def test_additional_vips_are_on_the_same_port() -> None:
    one, other = str(uuid4()), str(uuid4())
    more = (AdditionalVip(subnet_id=one), AdditionalVip(subnet_id=other, ip_address="10.0.0.1"))
    made = NoopNetwork().create_vip_port("lb", None, Vip(network_id=str(uuid4())), more)
    assert {one.port_id for one in made.additional_vips} == {made.vip.port_id}
    assert made.additional_vips[0].ip_address
    assert made.additional_vips[1].ip_address == "10.0.0.1"


def test_a_port_that_somebody_names_is_used_and_stays_his() -> None:
    port = str(uuid4())
    made = NoopNetwork().create_vip_port("lb", None, Vip(port_id=port), ()).vip
    assert (made.port_id, made.octavia_owned) == (port, False)
    assert made.ip_address == NoopNetwork().get_port(port).fixed_ips[0].ip_address


def test_an_address_that_is_none_is_the_requests_fault() -> None:
    with pytest.raises(Invalid, match="nonsense"):
        NoopNetwork().create_vip_port("lb", None, Vip(subnet_id=str(uuid4()), ip_address="nonsense"), ())


def test_what_belongs_together_is_found_both_ways() -> None:
    one = str(uuid4())
    other = noop.twin("Thing", one)
    assert other != one
    assert noop.twin("Thing", other) == one
    with pytest.raises(NotFound, match="Thing nonsense"):
        noop.twin("Thing", "nonsense")


def test_a_sweep_finds_nothing_that_it_could_delete() -> None:
    compute, network = NoopCompute(), NoopNetwork()
    compute.create(a_spec())
    network.create_vip_port("lb", None, Vip(network_id=str(uuid4())), ())
    assert list(compute.list()) == []
    assert list(network.owned_ports()) == []


def test_another_process_knows_the_server() -> None:
    spec = a_spec()
    found = NoopCompute().get(NoopCompute().create(spec).compute_id)
    assert found is not None
    assert found.amphora_id == spec.amphora_id


def test_an_agent_acknowledges_what_it_is_sent() -> None:
    driver: AmphoraDriver = NoopAmphorae()
    amphora = Amphora(id="a", load_balancer_id="lb", status=AmphoraStatus.ALLOCATED, role=Role.STANDALONE)
    sent = Configuration(load_balancer_id="lb", generation=7, haproxy="")
    assert driver.apply(amphora, sent, fence=1).generation == 7
    # Of an agent with extensions, the health manager expects more.
    assert driver.info(amphora).extensions == frozenset()


def test_certificates_expire_like_others() -> None:
    conf = config.load([], program="octavia-worker", files=[])
    clock = SystemClock()
    driver: AmphoraCertificates = NoopAuthority(conf, clock)
    before = clock.now()
    lasts = (driver.issue("a").expires_at - before).total_seconds()
    assert lasts == pytest.approx(conf.certificates.cert_validity_time, abs=60)


def test_images_are_told_apart_by_their_tag_and_amphorae_need_no_volume() -> None:
    images: ImageDriver = NoopImages()
    volumes: VolumeDriver = NoopVolumes()
    assert images.image_id("a") == NoopImages().image_id("a") != images.image_id("b")
    assert volumes.create("amphora", "image") is None


NOOP = {
    registry.AMPHORA: ("amphora_noop_driver", NoopAmphorae),
    registry.COMPUTE: ("compute_noop_driver", NoopCompute),
    registry.NETWORK: ("network_noop_driver", NoopNetwork),
    registry.IMAGE: ("image_noop_driver", NoopImages),
    registry.VOLUME: ("volume_noop_driver", NoopVolumes),
    registry.CERT_GENERATOR: ("noop_cert_generator", NoopAuthority),
}


@pytest.mark.parametrize("family", NOOP)
def test_every_family_has_one_by_name(family: registry.Family) -> None:
    name, kind = NOOP[family]
    defaults = {(family.section, family.option): name}
    conf = config.load([], program="octavia-worker", files=[], defaults=defaults)
    assert isinstance(registry.make(conf, family), kind)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    defaults = {("controller_worker", "compute_driver"): "compute_warp_driver"}
    conf = config.load([], program="octavia-worker", files=[], defaults=defaults)
    with pytest.raises(Terminal) as why:
        registry.make(conf, registry.COMPUTE)
    assert "[controller_worker] compute_driver = compute_warp_driver" in str(why.value)
    assert "compute_local_driver, compute_noop_driver" in str(why.value)
