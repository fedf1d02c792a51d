# SPDX-License-Identifier: Apache-2.0
"""The simulator's agents: what they keep, what they refuse, when they are there."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from octavia.domain.errors import Fenced, Refused, Transient, Unreachable
from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, Role, Vip
from octavia.drivers.amphora.contract import AmphoraDriver, Configuration, VipPlug
from octavia.drivers.amphora.memory import MemoryAmphorae
from octavia.drivers.compute.memory import MemoryCompute
from octavia.drivers.local.addresses import network_id, subnet_id
from octavia.drivers.network.memory import MemoryNetwork
from tests.unit.drivers.clock import StoppedClock
from tests.unit.drivers.compute_contract import a_spec


@dataclass(frozen=True)
class World:
    clock: StoppedClock
    compute: MemoryCompute
    network: MemoryNetwork
    amphorae: MemoryAmphorae
    amphora: Amphora


@pytest.fixture
def world() -> World:
    clock = StoppedClock()
    compute = MemoryCompute(clock, boot_time=timedelta(seconds=30))
    server = compute.create(a_spec())
    amphora = Amphora(
        id=server.amphora_id,
        load_balancer_id="lb-1",
        status=AmphoraStatus.BOOTING,
        role=Role.MASTER,
        compute_id=server.compute_id,
    )
    clock.advance(timedelta(seconds=30))
    return World(clock, compute, MemoryNetwork(), MemoryAmphorae(compute), amphora)


def test_it_is_an_amphora_driver(world: World) -> None:
    driver: AmphoraDriver = world.amphorae
    assert driver.info(world.amphora).api_version == "1.0"


def configuration(generation: int = 1, keepalived: str | None = None) -> Configuration:
    return Configuration(
        load_balancer_id="lb-1", generation=generation, haproxy="frontend x\n", keepalived=keepalived
    )


def test_it_is_reachable_when_its_server_runs(world: World) -> None:
    late = world.compute.create(a_spec())
    booting = replace(world.amphora, id=late.amphora_id, compute_id=late.compute_id)
    with pytest.raises(Unreachable):
        world.amphorae.info(booting)
    with pytest.raises(Unreachable):
        world.amphorae.info(replace(world.amphora, compute_id=None))
    assert world.amphorae.info(world.amphora).generation is None
    world.amphorae.unreachable.add(world.amphora.id)
    with pytest.raises(Unreachable):
        world.amphorae.apply(world.amphora, configuration(), fence=1)
    world.amphorae.unreachable.clear()
    world.compute.crash(world.amphora.compute_id or "")
    with pytest.raises(Unreachable):
        world.amphorae.info(world.amphora)
    assert world.amphorae.state(world.amphora.id).configuration is None


def test_what_is_applied_is_told_and_the_same_again_changes_nothing(world: World) -> None:
    first = world.amphorae.apply(world.amphora, configuration(1), fence=1)
    assert (first.generation, first.reload_reason is None) == (1, False)
    again = world.amphorae.apply(world.amphora, configuration(2), fence=1)
    assert (again.generation, again.reload_reason) == (2, None)
    info = world.amphorae.info(world.amphora)
    assert (info.generation, info.fence, info.vrrp_state) == (2, 1, None)
    assert world.amphorae.state(world.amphora.id).applications == 2


def test_a_lower_fence_is_refused_by_every_change(world: World) -> None:
    port = world.network.create_vrrp_port("a", "lb-1", Vip(subnet_id=subnet_id("demo")), ())
    network = world.network.get_network(network_id("demo"))
    subnet = world.network.get_subnet(subnet_id("demo"))
    plug = VipPlug(
        vip_address="198.18.64.9", subnet=subnet, network=network, port=port, vrrp_ip="198.18.64.10"
    )
    world.compute.attach_port(world.amphora.compute_id or "", port)
    world.amphorae.apply(world.amphora, configuration(), fence=7)
    before = world.amphorae.state(world.amphora.id)
    amphora, amphorae = world.amphora, world.amphorae
    for late in (
        lambda: amphorae.apply(amphora, configuration(2), fence=6),
        lambda: amphorae.plug_vip(amphora, plug, fence=6),
        lambda: amphorae.plug_network(amphora, port, network, [subnet], fence=6),
        lambda: amphorae.stop_vrrp(amphora, fence=6),
        lambda: amphorae.update_certificate(amphora, b"", fence=6),
        lambda: amphorae.update_agent_configuration(amphora, b"", fence=6),
    ):
        with pytest.raises(Fenced) as fenced:
            late()
        assert fenced.value.highest == 7
    assert amphorae.state(amphora.id) == before
    amphorae.apply(amphora, configuration(2), fence=8)
    assert amphorae.info(amphora).fence == 8


def test_an_interface_must_have_arrived(world: World) -> None:
    port = world.network.create_vrrp_port("a", "lb-1", Vip(subnet_id=subnet_id("demo")), ())
    plug = VipPlug(
        vip_address="198.18.64.9",
        subnet=world.network.get_subnet(subnet_id("demo")),
        network=world.network.get_network(network_id("demo")),
        port=port,
        vrrp_ip=port.fixed_ips[0].ip_address,
    )
    with pytest.raises(Transient):
        world.amphorae.plug_vip(world.amphora, plug, fence=1)
    world.compute.attach_port(world.amphora.compute_id or "", port)
    assert world.amphorae.plug_vip(world.amphora, plug, fence=1) == "eth1"
    assert world.amphorae.state(world.amphora.id).vip == plug


def test_a_refused_configuration_leaves_what_ran(world: World) -> None:
    world.amphorae.apply(world.amphora, configuration(1), fence=1)
    world.amphorae.refuses = lambda asked: "line 3: no" if asked.generation == 2 else None
    with pytest.raises(Refused, match="line 3"):
        world.amphorae.apply(world.amphora, configuration(2), fence=1)
    assert world.amphorae.info(world.amphora).generation == 1


def test_a_lost_answer_has_been_applied(world: World) -> None:
    world.amphorae.faults.lose_answer("apply", Transient("timeout"))
    with pytest.raises(Transient):
        world.amphorae.apply(world.amphora, configuration(1, keepalived="vrrp"), fence=1)
    info = world.amphorae.info(world.amphora)
    assert (info.generation, info.vrrp_state) == (1, "BACKUP")
    world.amphorae.stop_vrrp(world.amphora, fence=1)
    assert world.amphorae.info(world.amphora).vrrp_state is None
