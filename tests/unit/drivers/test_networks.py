# SPDX-License-Identifier: Apache-2.0
"""The address book's promises, kept in memory and on disk."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from octavia.domain.errors import Terminal, Transient
from octavia.domain.tree import Vip
from octavia.drivers.faults import Moment
from octavia.drivers.local.addresses import FileBook, NetworkSettings, SubnetSettings, Topology
from octavia.drivers.local.installation import Installation
from octavia.drivers.network.book import BookNetwork
from octavia.drivers.network.contract import NetworkDriver
from octavia.drivers.network.local import LocalNetwork
from octavia.drivers.network.memory import SAMPLE, MemoryNetwork
from tests.unit.drivers.network_contract import DEMO, NetworkContract

TOPOLOGY = Topology(
    (
        *SAMPLE.settings,
        NetworkSettings(
            name="tiny",
            subnets=(SubnetSettings(name="tiny", cidr="198.18.66.0/30", gateway_ip="198.18.66.1"),),
        ),
    )
)


def test_both_are_network_drivers(tmp_path: Path) -> None:
    drivers: list[NetworkDriver] = [MemoryNetwork(), LocalNetwork(TOPOLOGY, Installation(tmp_path))]
    assert len(drivers) == 2  # the type checker has looked at the rest


class TestInMemory(NetworkContract):
    @pytest.fixture
    def network(self) -> BookNetwork:
        return MemoryNetwork(TOPOLOGY)


class TestOnDisk(NetworkContract):
    @pytest.fixture
    def network(self, tmp_path: Path) -> BookNetwork:
        return LocalNetwork(TOPOLOGY, Installation(tmp_path / "state"))


def test_what_is_allocated_survives_the_process(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "state")
    made = LocalNetwork(TOPOLOGY, installation).create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
    other = LocalNetwork(TOPOLOGY, installation)
    assert other.get_port(made.vip.port_id or "").fixed_ips[0].ip_address == made.vip.ip_address
    assert other.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ()) == made


def test_only_root_can_read_the_book(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "state")
    LocalNetwork(TOPOLOGY, installation).create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
    assert installation.address_book.stat().st_mode & 0o777 == 0o600
    assert installation.state_directory.stat().st_mode & 0o777 == 0o700


def test_two_who_hold_the_book_see_each_others_changes(tmp_path: Path) -> None:
    one, two = (LocalNetwork(TOPOLOGY, Installation(tmp_path)) for _ in range(2))
    for number in range(20):
        writer, reader = (one, two) if number % 2 else (two, one)
        made = writer.create_vip_port(f"lb-{number}", None, Vip(subnet_id=DEMO), ())
        assert reader.get_port(made.vip.port_id or "").fixed_ips[0].ip_address == made.vip.ip_address
        writer.release_vip_port(f"lb-{number}", made.vip)
        assert reader.list_ports() == []


def _allocate(directory: Path, name: str) -> None:
    network = LocalNetwork(TOPOLOGY, Installation(directory))
    for number in range(10):
        network.create_vip_port(f"{name}-{number}", None, Vip(subnet_id=DEMO), ())


def test_no_address_is_given_out_twice_by_processes_at_the_same_time(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_allocate, args=(tmp_path, str(number))) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    ports = LocalNetwork(TOPOLOGY, Installation(tmp_path)).list_ports()
    assert len({port.fixed_ips[0].ip_address for port in ports}) == len(ports) == 40


def test_a_failed_write_leaves_the_old_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = LocalNetwork(TOPOLOGY, Installation(tmp_path))
    network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Transient, match="No space"):
            network.create_vip_port("lb-2", None, Vip(subnet_id=DEMO), ())
    assert [port.name for port in network.list_ports()] == ["octavia-lb-lb-1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["addresses.json", "addresses.lock"]


def test_the_book_on_disk_is_the_book_in_memory(tmp_path: Path) -> None:
    network = LocalNetwork(TOPOLOGY, Installation(tmp_path))
    network.create_vrrp_port("amp-1", "lb-1", Vip(subnet_id=DEMO), ["198.18.64.9"])
    path = Installation(tmp_path).address_book
    assert FileBook(path).read() == FileBook(path).read()
    (entry,) = json.loads(path.read_text())["entries"].values()
    assert entry["allowed_addresses"] == ["198.18.64.9"]
    assert entry["port"]["device_id"] == "amp-1"


def test_a_damaged_book_is_told_and_not_overwritten(tmp_path: Path) -> None:
    path = Installation(tmp_path).address_book
    for damage in ("", "[]", '{"entries": {}}', '{"entries": {"x": {}}, "last": {}}'):
        path.write_text(damage)
        with pytest.raises(Terminal, match=r"addresses\.json is damaged"):
            LocalNetwork(TOPOLOGY, Installation(tmp_path)).create_vip_port(
                "lb-1", None, Vip(subnet_id=DEMO), ()
            )
        assert path.read_text() == damage


def test_ids_of_networks_come_from_their_names_alone() -> None:
    again = Topology(TOPOLOGY.settings[::-1])
    assert again.networks == TOPOLOGY.networks
    assert again.subnets == TOPOLOGY.subnets


@pytest.mark.parametrize(
    ("subnets", "complaint"),
    [
        (
            (SubnetSettings(name="a", cidr="198.18.0.0/24"), SubnetSettings(name="a", cidr="198.18.1.0/24")),
            "Two",
        ),
        (
            (SubnetSettings(name="a", cidr="198.18.0.0/16"), SubnetSettings(name="b", cidr="198.18.1.0/24")),
            "overlap",
        ),
        ((SubnetSettings(name="a", cidr="198.18.0.0/24", gateway_ip="198.18.1.1"),), "outside"),
        ((SubnetSettings(name="a", cidr="198.18.0.7/24"),), "host bits"),
    ],
)
def test_networks_that_cannot_work_are_refused(subnets: tuple[SubnetSettings, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Topology((NetworkSettings(name="n", subnets=subnets),))


def test_names_of_links_fit_and_tell_installations_apart(tmp_path: Path) -> None:
    one, two = Installation(tmp_path / "one"), Installation(tmp_path / "two")
    object_id = "0123abcd-ef45-6789-abcd-ef0123456789"
    for name in (one.bridge(object_id), one.pair(object_id)):
        assert len(name) <= 15
        assert one.owns(name)
        assert not two.owns(name)
    assert one.owns_pair(one.pair(object_id))
    assert not one.owns_pair(one.bridge(object_id))
    assert not any(
        one.owns(name) for name in ("lo", "eth0", "docker0", f"o{one.id}v", f"o{one.id}b0123abcdx")
    )
    assert one.route_metric != two.route_metric


def test_faults_strike_before_or_after_the_deed() -> None:
    network = MemoryNetwork(TOPOLOGY)
    network.faults.fail("create_vip_port", Transient("down"))
    with pytest.raises(Transient):
        network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
    assert network.list_ports() == []
    network.faults.lose_answer("create_vip_port", Transient("timeout"))
    with pytest.raises(Transient):
        network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
    assert [port.name for port in network.list_ports()] == ["octavia-lb-lb-1"]
    network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
    assert network.faults.calls.count("create_vip_port") == 3


def test_a_hook_is_asked_at_both_gates() -> None:
    network = MemoryNetwork(TOPOLOGY)
    gates: list[tuple[str, Moment]] = []
    network.faults.hook = lambda call, moment: gates.append((call, moment))
    network.get_subnet(DEMO)
    assert gates == [("get_subnet", Moment.BEFORE), ("get_subnet", Moment.AFTER)]


def test_the_same_history_gives_the_same_ports_in_memory() -> None:
    def play() -> object:
        network = MemoryNetwork(TOPOLOGY)
        network.create_vip_port("lb-1", None, Vip(subnet_id=DEMO), ())
        network.create_vrrp_port("amp-1", "lb-1", Vip(subnet_id=DEMO), [])
        return network.list_ports()

    assert play() == play()
