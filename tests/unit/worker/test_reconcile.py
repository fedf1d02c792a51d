# SPDX-License-Identifier: Apache-2.0
"""What a pass makes of the rules of generations, statuses, deletes and replacements."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from octavia.db import offers
from octavia.db.amphorae import Heard, record_heard, request_agent_configuration
from octavia.db.engine import Connection
from octavia.db.work import announce
from octavia.domain.errors import Transient
from octavia.domain.statuses import AmphoraStatus, OperatingStatus, ProvisioningStatus
from octavia.domain.tree import (
    CompareType,
    L7Action,
    L7Policy,
    L7Rule,
    LoadBalancer,
    Role,
    RuleType,
    Topology,
)
from octavia.drivers.amphora.contract import Configuration
from tests.unit.worker.world import Controller, controller, load_balancer, member

P = ProvisioningStatus


@pytest.fixture(name="world")
def a_world() -> Iterator[Controller]:
    with controller() as one:
        yield one


def settled(world: Controller, topology: Topology = Topology.SINGLE) -> LoadBalancer:
    lb = world.create(load_balancer(world.network, topology))
    world.passes()
    lb = world.lb(lb.id)
    assert lb.provisioning_status is P.ACTIVE
    return lb


def configuration(world: Controller, lb: LoadBalancer, number: int = 0) -> Configuration:
    found = world.agents.state(world.amphorae(lb.id)[number].id).configuration
    assert found is not None
    return found


def test_a_single_becomes_active_with_everything_below_it(world: Controller) -> None:
    lb = settled(world)
    assert {one.provisioning_status for one in lb.walk()} == {P.ACTIVE}
    (amphora,) = world.amphorae(lb.id)
    assert (amphora.role, amphora.status) == (Role.STANDALONE, AmphoraStatus.ALLOCATED)
    assert amphora.generation == lb.generation == lb.observed_generation
    assert "198.18.64.201:80" in (configuration(world, lb).haproxy or "")


def test_a_pair_is_built_and_configured_as_master_and_backup(world: Controller) -> None:
    lb = settled(world, Topology.ACTIVE_STANDBY)
    rows = world.amphorae(lb.id)
    assert sorted(one.role for one in rows) == [Role.BACKUP, Role.MASTER]
    assert {one.vrrp_priority for one in rows} == {90, 100}
    for number, row in enumerate(rows):
        text = configuration(world, lb, number).keepalived or ""
        assert rows[1 - number].vrrp_ip is not None
        assert str(rows[1 - number].vrrp_ip) in text, row


def test_nothing_is_done_for_a_load_balancer_that_is_as_wanted(world: Controller) -> None:
    lb = settled(world)
    before = len(world.compute.faults.calls), len(world.agents.faults.calls)
    world.touch(lb.id)
    world.passes()
    assert (len(world.compute.faults.calls), len(world.agents.faults.calls)) == before


def test_an_added_member_is_pushed_once_and_settles(world: Controller) -> None:
    lb = settled(world)
    world.change(lb.id, add_member)
    world.passes()
    lb = world.lb(lb.id)
    assert "198.18.64.203:80" in (configuration(world, lb).haproxy or "")
    assert {one.provisioning_status for one in lb.walk()} == {P.ACTIVE}
    assert lb.observed_generation == lb.generation == 2


def add_member(lb: LoadBalancer, address: str = "198.18.64.203") -> LoadBalancer:
    (pool,) = lb.pools
    new = member(address, generation=lb.generation)
    pool = replace(
        pool,
        members=(*pool.members, new),
        generation=lb.generation,
        provisioning_status=P.PENDING_UPDATE,
    )
    return lb.with_pool(pool)


def test_a_write_during_a_pass_keeps_its_object_pending_while_older_ones_settle(
    world: Controller,
) -> None:
    lb = settled(world)
    world.change(lb.id, lambda one: add_member(one, "198.18.64.203"))
    in_flight: list[str] = []

    def tenant_writes_now(_: Configuration) -> None:
        if not in_flight:
            in_flight.append("written")
            world.change(lb.id, lambda one: add_member(one, "198.18.64.204"))

    world.agents.refuses = tenant_writes_now
    world.one_pass()
    by_address = {one.address: one for one in world.lb(lb.id).pools[0].members}
    assert by_address["198.18.64.203"].provisioning_status is P.ACTIVE
    assert by_address["198.18.64.204"].provisioning_status is P.PENDING_CREATE
    assert world.lb(lb.id).provisioning_status is P.PENDING_UPDATE
    world.passes()
    assert {one.provisioning_status for one in world.lb(lb.id).walk()} == {P.ACTIVE}


def test_a_deleted_member_is_gone_from_haproxy_before_its_row_goes(world: Controller) -> None:
    lb = settled(world)
    gone = lb.pools[0].members[0]

    def remove(one: LoadBalancer) -> LoadBalancer:
        (pool,) = one.pools
        members = tuple(
            replace(
                each,
                provisioning_status=P.PENDING_DELETE,
                delete_requested=True,
                generation=one.generation,
            )
            if each.id == gone.id
            else each
            for each in pool.members
        )
        return one.with_pool(replace(pool, members=members))

    world.change(lb.id, remove)
    world.passes()
    lb = world.lb(lb.id)
    assert [one.id for one in lb.pools[0].members] != []
    assert gone.id not in [one.id for one in lb.pools[0].members]
    assert gone.id not in (configuration(world, lb).haproxy or "")


def test_a_deleted_load_balancer_leaves_no_server_and_no_port(world: Controller) -> None:
    lb = settled(world, Topology.ACTIVE_STANDBY)
    world.delete(lb.id)
    world.passes()
    assert world.is_gone(lb.id)
    assert list(world.compute.list()) == []
    assert list(world.network.owned_ports()) == []


def test_a_load_balancer_can_be_deleted_while_its_amphora_boots(world: Controller) -> None:
    lb = world.create(load_balancer(world.network))
    world.one_pass()
    assert list(world.compute.list()) != []
    world.delete(lb.id)
    world.passes()
    assert world.is_gone(lb.id)
    assert list(world.compute.list()) == []


def test_a_dead_amphora_is_replaced_and_the_replacement_is_shown_for_five_seconds(
    world: Controller,
) -> None:
    lb = settled(world, Topology.ACTIVE_STANDBY)
    dead, alive = world.amphorae(lb.id)
    world.kill(dead)
    world.change(lb.id, add_member)
    world.one_pass()
    assert world.lb(lb.id).provisioning_status is P.PENDING_UPDATE
    reason = world.why(lb.id).reasons[0]
    assert reason.code == "REPLACING"
    assert dead.id in reason.sentence
    started = world.clock.now()
    world.passes()
    assert world.clock.now() - started >= timedelta(seconds=4.9)
    lb = world.lb(lb.id)
    assert lb.provisioning_status is P.ACTIVE
    rows = world.amphorae(lb.id)
    assert alive.id in [one.id for one in rows]
    assert dead.id not in [one.id for one in rows]
    assert sorted(one.role for one in rows) == [Role.BACKUP, Role.MASTER]
    assert world.why(lb.id).reasons == ()


def test_children_settle_on_the_survivor_while_the_other_is_replaced(world: Controller) -> None:
    lb = settled(world, Topology.ACTIVE_STANDBY)
    world.compute.boot_time = timedelta(minutes=2)
    world.kill(world.amphorae(lb.id)[0])
    world.change(lb.id, add_member)
    world.passes(within=timedelta(seconds=20))
    members = world.lb(lb.id).pools[0].members
    assert {one.provisioning_status for one in members} == {P.ACTIVE}
    assert world.lb(lb.id).provisioning_status is P.PENDING_UPDATE
    world.passes()
    assert world.lb(lb.id).provisioning_status is P.ACTIVE


def test_a_replacement_that_takes_long_shows_active_after_five_minutes(world: Controller) -> None:
    lb = settled(world, Topology.ACTIVE_STANDBY)
    world.compute.boot_time = timedelta(minutes=20)
    world.kill(world.amphorae(lb.id)[0])
    world.change(lb.id, add_member)
    world.passes(within=timedelta(minutes=6), limit=1000)
    assert world.lb(lb.id).provisioning_status is P.ACTIVE
    assert world.why(lb.id).reasons[0].code == "REPLACING"


def test_a_failover_replaces_both_amphorae_the_owner_of_the_vip_last(world: Controller) -> None:
    lb = settled(world, Topology.ACTIVE_STANDBY)
    old = world.amphorae(lb.id)
    owner = next(one for one in old if one.role is Role.MASTER)
    world.database.write(
        lambda tx: record_heard(
            tx, {one.id: Heard(world.clock.now(), "MASTER" if one is owner else "BACKUP") for one in old}
        )
    )
    retired: list[str] = []
    serving: list[int] = []
    delete = world.compute.delete

    def watched(compute_id: str) -> None:
        retired.append(compute_id)
        delete(compute_id)
        serving.append(
            sum(
                one.status is AmphoraStatus.ALLOCATED and one.config_digest is not None
                for one in world.amphorae(lb.id)
            )
        )

    world.compute.delete = watched  # type: ignore[method-assign]
    world.fail_over(lb.id)
    world.passes()
    assert not {one.id for one in old} & {one.id for one in world.amphorae(lb.id)}
    assert retired[-1] == owner.compute_id
    assert min(serving) == 2, "never below two healthy amphorae by our own action"


def test_a_single_never_has_its_vip_on_two_amphorae(world: Controller) -> None:
    lb = settled(world)
    (old,) = world.amphorae(lb.id)
    plugged_while_old_lived: list[bool] = []
    plug = world.agents.plug_vip

    def watched(amphora: object, plan: object, *, fence: int) -> str:
        plugged_while_old_lived.append(world.compute.is_running(old.compute_id or ""))
        return plug(amphora, plan, fence=fence)  # type: ignore[arg-type]

    world.agents.plug_vip = watched  # type: ignore[assignment,method-assign]
    world.fail_over(lb.id)
    world.passes()
    assert plugged_while_old_lived == [False]
    (new,) = world.amphorae(lb.id)
    assert new.id != old.id
    assert "198.18.64.201:80" in (configuration(world, lb).haproxy or "")


def test_an_unreachable_amphora_is_given_up_after_fifteen_seconds(world: Controller) -> None:
    lb = settled(world, Topology.ACTIVE_STANDBY)
    deaf, _ = world.amphorae(lb.id)
    world.agents.unreachable.add(deaf.id)
    world.change(lb.id, add_member)
    world.passes(within=timedelta(seconds=10))
    assert deaf.id in [one.id for one in world.amphorae(lb.id)]
    assert {one.provisioning_status for one in world.lb(lb.id).pools[0].members} == {P.ACTIVE}
    world.passes()
    assert deaf.id not in [one.id for one in world.amphorae(lb.id)]
    assert world.lb(lb.id).provisioning_status is P.ACTIVE


def test_an_amphora_that_answers_again_in_time_is_kept(world: Controller) -> None:
    lb = settled(world, Topology.ACTIVE_STANDBY)
    deaf, _ = world.amphorae(lb.id)
    world.agents.unreachable.add(deaf.id)
    world.change(lb.id, add_member)
    world.passes(within=timedelta(seconds=5))
    world.agents.unreachable.clear()
    world.passes()
    assert deaf.id in [one.id for one in world.amphorae(lb.id)]
    assert world.agents.state(deaf.id).configuration is not None
    assert {one.generation for one in world.amphorae(lb.id)} == {2}
    assert {one.provisioning_status for one in world.lb(lb.id).walk()} == {P.ACTIVE}


def test_past_its_deadline_a_write_is_in_error_with_a_reason_and_heals_by_itself(
    world: Controller,
) -> None:
    lb = world.create(load_balancer(world.network))
    full = Transient("No valid host was found", retry_after=timedelta(seconds=5))
    world.compute.faults.fail("create", full, times=1000)
    world.passes(within=timedelta(minutes=7), limit=1000)
    broken = world.lb(lb.id)
    assert {one.provisioning_status for one in broken.walk()} == {P.ERROR}
    (reason,) = world.why(lb.id).reasons
    assert "No valid host was found" in reason.sentence
    assert reason.attempts > 3
    assert reason.next_try is not None
    world.compute.faults._script.clear()
    world.passes()
    assert {one.provisioning_status for one in world.lb(lb.id).walk()} == {P.ACTIVE}
    assert world.why(lb.id).reasons == ()


def test_one_bad_object_spoils_no_other(world: Controller) -> None:
    lb = settled(world)
    world.change(lb.id, lambda one: add_member(add_member(one, "198.18.64.66"), "198.18.64.204"))
    bad = next(one for one in world.lb(lb.id).pools[0].members if one.address == "198.18.64.66")

    def refuse(wanted: Configuration) -> str | None:
        lines = (wanted.haproxy or "").splitlines()
        for number, line in enumerate(lines, 1):
            if bad.id in line:
                return f"[ALERT] (1) : config : parsing [haproxy.cfg:{number}] : no such thing"
        return None

    world.agents.refuses = refuse
    world.passes(within=timedelta(seconds=5))
    lb = world.lb(lb.id)
    assert lb.provisioning_status is P.ACTIVE
    statuses = {one.address: one.provisioning_status for one in lb.pools[0].members}
    assert statuses.pop("198.18.64.66") is P.ERROR
    assert set(statuses.values()) == {P.ACTIVE}
    (reason,) = world.why(lb.id).reasons
    assert reason.object_id == bad.id
    assert "no such thing" in reason.sentence
    world.agents.refuses = lambda _: None
    world.passes()
    assert {one.provisioning_status for one in world.lb(lb.id).walk()} == {P.ACTIVE}


def test_a_server_that_fails_to_boot_is_replaced_by_another(world: Controller) -> None:
    lb = world.create(load_balancer(world.network))
    world.one_pass()
    (first,) = world.amphorae(lb.id)
    world.compute.crash(first.compute_id or "", "No space left")
    world.passes()
    assert world.lb(lb.id).provisioning_status is P.ACTIVE
    assert first.id not in [one.id for one in world.amphorae(lb.id)]
    assert "No space left" in " ".join(one.text for one in world.why(lb.id).events)


def test_a_lost_answer_of_compute_makes_no_second_server(world: Controller) -> None:
    lb = world.create(load_balancer(world.network))
    world.compute.faults.lose_answer("create", Transient("timed out"))
    world.passes()
    assert world.lb(lb.id).provisioning_status is P.ACTIVE
    assert len(list(world.compute.list())) == 1


def test_an_agent_that_has_seen_a_higher_fence_is_overtaken(world: Controller) -> None:
    lb = settled(world)
    (row,) = world.amphorae(lb.id)
    state = world.agents.state(row.id)
    world.agents.remember(row.id, replace(state, fence=1000))
    world.change(lb.id, add_member)
    world.passes()
    assert world.lb(lb.id).provisioning_status is P.ACTIVE
    assert (world.agents.state(row.id).fence or 0) > 1000


def test_a_member_on_another_network_gets_an_interface_there_and_loses_it(
    world: Controller,
) -> None:
    lb = settled(world)
    subnet = next(one for one in world.network.list_subnets() if one.name == "members")

    def far(one: LoadBalancer) -> LoadBalancer:
        (pool,) = one.pools
        there = member("198.18.65.7", subnet_id=subnet.id, generation=one.generation)
        return one.with_pool(replace(pool, members=(*pool.members, there)))

    world.change(lb.id, far)
    world.passes()
    (row,) = world.amphorae(lb.id)
    assert row.plugged_networks == (subnet.network_id,)
    assert len(world.agents.state(row.id).networks) == 1

    def near(one: LoadBalancer) -> LoadBalancer:
        (pool,) = one.pools
        members = tuple(
            replace(
                each,
                provisioning_status=P.PENDING_DELETE,
                delete_requested=True,
                generation=one.generation,
            )
            if each.subnet_id == subnet.id
            else each
            for each in pool.members
        )
        return one.with_pool(replace(pool, members=members))

    world.change(lb.id, near)
    world.passes()
    (row,) = world.amphorae(lb.id)
    assert row.plugged_networks == ()
    assert {port.name for port in world.network.ports_of_amphora(row.id)} == {f"octavia-lb-vrrp-{row.id}"}


def test_a_monitor_is_online_as_soon_as_it_is_live(world: Controller) -> None:
    lb = settled(world)
    assert all(
        pool.health_monitor is None or pool.health_monitor.operating_status is OperatingStatus.ONLINE
        for pool in lb.pools
    )


def test_an_agent_gets_its_configuration_anew_once_and_no_status_moves(world: Controller) -> None:
    lb = settled(world)
    (row,) = world.amphorae(lb.id)
    assert world.agents.state(row.id).agent_configuration is None
    now = world.clock.now()

    def ask(tx: Connection) -> None:
        request_agent_configuration(tx, row.id, now)
        announce(tx, lb.id, now)

    world.agents.unreachable.add(row.id)
    world.database.write(ask)
    world.passes()
    assert world.amphorae(lb.id)[0].config_requested == now
    world.agents.unreachable.clear()
    world.clock.advance(timedelta(seconds=5))
    world.passes()
    assert row.id.encode() in (world.agents.state(row.id).agent_configuration or b"")
    assert world.amphorae(lb.id)[0].config_requested is None
    assert world.lb(lb.id).provisioning_status is P.ACTIVE
    assert world.lb(lb.id).generation == lb.generation


def with_policies(world: Controller, *policies: L7Policy) -> LoadBalancer:
    """A settled load balancer whose first listener gets policies."""

    def add(lb: LoadBalancer) -> LoadBalancer:
        new = tuple(
            replace(
                policy,
                generation=lb.generation,
                rules=tuple(replace(rule, generation=lb.generation) for rule in policy.rules),
            )
            for policy in policies
        )
        return lb.with_listener(replace(lb.listeners[0], l7_policies=new))

    return world.change(settled(world).id, add)


def policy_of(world: Controller, lb: LoadBalancer, policy_id: str) -> L7Policy:
    return next(one for one in world.lb(lb.id).listeners[0].l7_policies if one.id == policy_id)


def test_a_rule_that_haproxy_refuses_takes_only_its_policy_along(world: Controller) -> None:
    def rule(name: str, value: str) -> L7Rule:
        return L7Rule(id=name, type=RuleType.PATH, compare_type=CompareType.REGEX, value=value)

    good = L7Policy(id="good", action=L7Action.REJECT, position=1, rules=(rule("fine", "^/a"),))
    bad = L7Policy(id="bad", action=L7Action.REJECT, position=2, rules=(rule("odd", "(?<=a+)"),))

    def refusal(configuration: Configuration) -> str | None:
        for number, line in enumerate((configuration.haproxy or "").splitlines(), start=1):
            if "(?<=a+)" in line:
                return f"[ALERT] (1) : config : parsing [/x:{number}] : invalid regex"
        return None

    world.agents.refuses = refusal
    lb = with_policies(world, good, bad)
    world.passes()
    assert policy_of(world, lb, "good").provisioning_status is P.ACTIVE
    failed = policy_of(world, lb, "bad")
    assert (failed.provisioning_status, failed.rules[0].provisioning_status) == (P.ERROR, P.ERROR)
    assert world.lb(lb.id).provisioning_status is P.ACTIVE
    assert world.lb(lb.id).listeners[0].provisioning_status is P.ACTIVE
    text = configuration(world, lb).haproxy or ""
    assert "acl fine path" in text
    assert "odd" not in text
    world.agents.refuses = lambda _: None
    world.clock.advance(timedelta(minutes=2))
    world.passes()
    assert policy_of(world, lb, "bad").rules[0].provisioning_status is P.ACTIVE
    assert "acl odd path" in (configuration(world, lb).haproxy or "")


def test_amphorae_are_where_and_what_zone_and_flavor_say(world: Controller) -> None:
    def offer(tx: Connection) -> None:
        profile = {"name": "p", "provider_name": "amphora"}
        offers.insert_profile(
            tx,
            offers.FLAVOR_PROFILES,
            profile | {"id": "f-profile", "flavor_data": '{"compute_flavor": "m1.big"}'},
        )
        offers.insert_profile(
            tx,
            offers.ZONE_PROFILES,
            profile | {"id": "z-profile", "availability_zone_data": '{"compute_zone": "nova-1"}'},
        )
        shared = {"enabled": True, "description": ""}
        flavor = {"id": "f", "name": "gold", "flavor_profile_id": "f-profile"}
        offers.insert(tx, offers.FLAVORS, shared | flavor)
        zone = {"name": "north", "availability_zone_profile_id": "z-profile"}
        offers.insert(tx, offers.ZONES, shared | zone)

    world.database.write(offer)
    lb = world.create(load_balancer(world.network, flavor_id="f", availability_zone="north"))
    world.passes()
    (row,) = world.amphorae(lb.id)
    assert (row.cached_zone, row.compute_flavor) == ("nova-1", "m1.big")
