# SPDX-License-Identifier: Apache-2.0
"""What a pass makes of UDP and SCTP listeners: they reach the amphora, and one that cannot harms no other."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import Amphora, LoadBalancer, Protocol, Role, Topology
from octavia.drivers.amphora.contract import AgentInfo, Configuration
from octavia.drivers.amphora.memory import EXTENSIONS
from tests.unit.worker.world import Controller, controller, load_balancer, new_id

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


def mixed(world: Controller, topology: Topology) -> LoadBalancer:
    """UDP and SCTP beside HTTP, on one port each."""
    lb = load_balancer(world.network, topology)
    (http,), (pool,) = lb.listeners, lb.pools
    for protocol in (Protocol.UDP, Protocol.SCTP):
        members = tuple(replace(one, id=new_id()) for one in pool.members)
        behind = replace(pool, id=new_id(), protocol=protocol, members=members)
        opened = replace(http, id=new_id(), protocol=protocol, default_pool_id=behind.id)
        lb = lb.with_pool(behind).with_listener(opened)
    return lb


def by_protocol(lb: LoadBalancer) -> dict[Protocol, ProvisioningStatus]:
    return {one.protocol: one.provisioning_status for one in lb.listeners}


@pytest.mark.parametrize("topology", Topology)
def test_where_the_kernel_does_not_track_sctp_only_that_listener_is_in_error(
    topology: Topology, world: Controller
) -> None:
    world.agents.extensions = EXTENSIONS - {"sctp"}
    lb = world.create(mixed(world, topology))
    world.passes(within=timedelta(seconds=9))
    found = world.lb(lb.id)
    assert found.provisioning_status is P.ACTIVE
    assert by_protocol(found) == {Protocol.HTTP: P.ACTIVE, Protocol.UDP: P.ACTIVE, Protocol.SCTP: P.ERROR}
    assert {one.provisioning_status for one in found.pools} == {P.ACTIVE}
    (reason,) = world.why(lb.id).reasons
    assert reason.code == "UNSUPPORTED"
    assert "does not track SCTP" in reason.sentence
    configuration = live(world, lb)
    assert configuration.l4
    assert [one.protocol for one in configuration.l4.listeners] == ["UDP"]
    assert configuration.haproxy
    # Amphorae of a newer image take their place.
    world.agents.extensions = EXTENSIONS
    world.fail_over(lb.id)
    world.passes()
    assert set(by_protocol(world.lb(lb.id)).values()) == {P.ACTIVE}
    configuration = live(world, lb)
    assert configuration.l4
    assert {one.protocol for one in configuration.l4.listeners} == {"UDP", "SCTP"}
    assert world.why(lb.id).reasons == ()


def test_what_became_of_the_kernel_is_asked_again(world: Controller) -> None:
    world.agents.extensions = EXTENSIONS - {"sctp"}
    lb = world.create(mixed(world, Topology.SINGLE))
    world.passes(within=timedelta(seconds=9))
    world.agents.extensions = EXTENSIONS  # it was booted anew
    world.passes(within=timedelta(minutes=3))
    assert set(by_protocol(world.lb(lb.id)).values()) == {P.ACTIVE}


def test_a_member_that_was_changed_for_the_worse_goes_on_as_it_was(world: Controller) -> None:
    lb = world.create(udp(load_balancer(world.network)))
    world.passes()
    before = live(world, lb).l4
    who = world.lb(lb.id).pools[0].members[0].id

    def change(one: LoadBalancer, weight: int) -> LoadBalancer:
        (pool,) = one.pools
        members = tuple(
            replace(each, weight=weight, provisioning_status=P.PENDING_UPDATE, generation=one.generation)
            if each.id == who
            else each
            for each in pool.members
        )
        return one.with_pool(replace(pool, members=members))

    world.change(lb.id, lambda one: change(one, 999))
    world.passes(within=timedelta(seconds=5))
    assert live(world, lb).l4 == before
    (reason,) = world.why(lb.id).reasons
    assert (reason.object_id, world.lb(lb.id).provisioning_status) == (who, P.ACTIVE)
    assert reason.sentence.endswith("Its last good form goes on.")
    world.change(lb.id, lambda one: change(one, 7))
    world.passes()
    changed = live(world, lb).l4
    assert changed
    assert {one.id: one.weight for one in changed.pools[0].members}[who] == 7
    assert world.why(lb.id).reasons == ()


def test_of_a_pair_the_one_that_tracks_sctp_serves_it(
    world: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = world.agents.info

    def differently(amphora: Amphora) -> AgentInfo:
        found = info(amphora)
        return replace(found, extensions=EXTENSIONS - {"sctp"}) if amphora.role is Role.BACKUP else found

    monkeypatch.setattr(world.agents, "info", differently)
    lb = world.create(mixed(world, Topology.ACTIVE_STANDBY))
    world.passes(within=timedelta(seconds=9))
    assert world.lb(lb.id).provisioning_status is P.ACTIVE
    assert by_protocol(world.lb(lb.id))[Protocol.SCTP] is P.ERROR
    served = {}
    for row in world.amphorae(lb.id):
        configuration = world.agents.state(row.id).configuration
        assert configuration
        assert configuration.l4
        served[row.role] = {one.protocol for one in configuration.l4.listeners}
    assert served == {Role.MASTER: {"UDP", "SCTP"}, Role.BACKUP: {"UDP"}}
