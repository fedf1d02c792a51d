# SPDX-License-Identifier: Apache-2.0
"""What a pass makes of UDP listeners: they reach the amphora, and one bad value spoils nothing else."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import LoadBalancer, Protocol
from octavia.drivers.amphora.contract import Configuration
from tests.unit.worker.world import Controller, controller, load_balancer

P = ProvisioningStatus


@pytest.fixture(name="world")
def a_world() -> Iterator[Controller]:
    with controller() as one:
        yield one


def udp(lb: LoadBalancer) -> LoadBalancer:
    """The same tree, of datagrams."""
    listeners = tuple(replace(one, protocol=Protocol.UDP) for one in lb.listeners)
    return replace(
        lb, listeners=listeners, pools=tuple(replace(one, protocol=Protocol.UDP) for one in lb.pools)
    )


def live(world: Controller, lb: LoadBalancer) -> Configuration:
    found = world.agents.state(world.amphorae(lb.id)[0].id).configuration
    assert found is not None
    return found


def test_a_load_balancer_of_udp_alone_needs_no_haproxy(world: Controller) -> None:
    lb = world.create(udp(load_balancer(world.network)))
    world.passes()
    assert {one.provisioning_status for one in world.lb(lb.id).walk()} == {P.ACTIVE}
    configuration = live(world, lb)
    assert configuration.haproxy is None
    assert configuration.l4
    assert [one.port for one in configuration.l4.listeners] == [one.protocol_port for one in lb.listeners]
    (pool,) = configuration.l4.pools
    # As the database orders them: those made at the same moment by their ids, which are random.
    assert [one.id for one in pool.members] == [one.id for one in world.lb(lb.id).pools[0].members]


def test_a_change_is_pushed_and_the_last_listener_ends_it(world: Controller) -> None:
    lb = world.create(udp(load_balancer(world.network)))
    world.passes()

    def drained(one: LoadBalancer) -> LoadBalancer:
        (pool,) = one.pools
        members = tuple(replace(each, weight=0, generation=one.generation) for each in pool.members)
        return one.with_pool(replace(pool, members=members, generation=one.generation))

    world.change(lb.id, drained)
    world.passes()
    changed = live(world, lb).l4
    assert changed
    assert {one.weight for one in changed.pools[0].members} == {0}

    def closed(one: LoadBalancer) -> LoadBalancer:
        (listener,) = one.listeners
        return one.with_listener(replace(listener, delete_requested=True, generation=one.generation))

    world.change(lb.id, closed)
    world.passes()
    assert live(world, lb).l4 is None


def test_a_member_that_nothing_can_be_made_of_is_in_error_alone(world: Controller) -> None:
    tree = udp(load_balancer(world.network))
    (pool,) = tree.pools
    bad = replace(pool.members[0], protocol_port=0)
    lb = world.create(tree.with_pool(replace(pool, members=(bad, *pool.members[1:]))))
    world.passes()
    settled = world.lb(lb.id)
    by_id = {one.id: one.provisioning_status for one in settled.walk()}
    assert by_id.pop(bad.id) is P.ERROR
    assert set(by_id.values()) == {P.ACTIVE}
    configuration = live(world, lb).l4
    assert configuration
    assert [one.id for one in configuration.pools[0].members] == [one.id for one in pool.members[1:]]
