# SPDX-License-Identifier: Apache-2.0
"""Purging and sweeping over real databases, with a cloud in memory."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from octavia.db import amphorae, events, purge, reasons, reservations, statuses, work
from octavia.db import tables as t
from octavia.db.amphorae import Heard
from octavia.db.engine import Database
from octavia.db.reasons import Reason
from octavia.db.tree import loading
from octavia.domain.errors import Transient
from octavia.domain.statuses import AmphoraStatus, ProvisioningStatus
from octavia.domain.tree import LoadBalancer, Topology, Vip
from octavia.drivers.bus.local import LocalDoorbell
from octavia.drivers.compute.contract import AmphoraSpec
from octavia.drivers.compute.memory import MemoryCompute
from octavia.drivers.network.memory import MemoryNetwork
from octavia.housekeeping.purge import Ages, Purge
from octavia.housekeeping.sweep import Sweep
from tests.fleet import NOW, amphora, amphorae_of, load_balancer, store, uuid
from tests.unit.housekeeping.test_service import ManualClock

AGES = Ages(load_balancer=timedelta(days=7), amphora=timedelta(days=7))
WEEK_LATER = NOW + timedelta(days=7, seconds=1)


def count(database: Database, table: sa.Table) -> int:
    with database.read() as tx:
        return int(tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def deleted(database: Database, lb: LoadBalancer, at: datetime) -> None:
    """As the worker leaves it."""

    def change(tx: sa.Connection) -> None:
        for one in amphorae_of(lb):
            amphorae.delete(tx, one.id, at)
        statuses.delete_load_balancer(tx, lb.id, at)

    database.write(change)


# Purging


def test_what_was_deleted_long_ago_is_forgotten_with_all_it_left(database: Database) -> None:
    lb = load_balancer(1, topology=Topology.ACTIVE_STANDBY, tags=("a",))
    kept = load_balancer(2)

    def change(tx: sa.Connection) -> None:
        store(tx, lb)
        store(tx, kept)
        events.record(tx, lb.id, NOW, "something happened")
        reasons.explain(tx, lb.id, lb.id, Reason("CODE", "why"), NOW)
        amphorae.record_member_port(tx, uuid(1001), uuid(7), uuid(8), NOW)

    database.write(change)
    deleted(database, lb, NOW)
    keeper = Purge(database, LocalDoorbell(), AGES)
    keeper.once(NOW + timedelta(days=7))
    assert count(database, t.load_balancer) == 2
    assert count(database, t.amphora) == 3
    keeper.once(WEEK_LATER)
    for table in (t.load_balancer, t.vip, t.amphora):
        assert count(database, table) == 1, table.name
    for table in (t.event, t.status_reason, t.tags, t.vrrp_group, t.amphora_member_port, t.work):
        assert count(database, table) == 0, table.name
    with database.read() as tx:
        assert loading.load(tx, kept.id) == kept


def test_a_load_balancer_is_remembered_as_long_as_it_has_an_amphora(database: Database) -> None:
    lb = load_balancer(1)
    database.write(lambda tx: store(tx, lb))
    database.write(lambda tx: statuses.delete_load_balancer(tx, lb.id, NOW))
    Purge(database, LocalDoorbell(), AGES).once(WEEK_LATER)
    assert count(database, t.load_balancer) == 1


def test_a_deleted_amphora_that_still_reports_is_remembered(database: Database) -> None:
    lb = load_balancer(1)
    database.write(lambda tx: store(tx, lb))
    database.write(lambda tx: amphorae.delete(tx, uuid(1001), NOW))
    heard = {uuid(1001): Heard(NOW + timedelta(days=3))}
    database.write(lambda tx: amphorae.record_heard(tx, heard))
    keeper = Purge(database, LocalDoorbell(), AGES)
    keeper.once(WEEK_LATER)
    assert count(database, t.amphora) == 1
    keeper.once(WEEK_LATER + timedelta(days=3))
    assert count(database, t.amphora) == 0
    assert count(database, t.amphora_health) == 0


def test_more_than_one_portion_is_forgotten_in_one_pass(database: Database) -> None:
    def change(tx: sa.Connection) -> None:
        for number in range(1, 251):
            lb = load_balancer(number, listeners=0)
            store(tx, lb, fleet=(amphora(lb, status=AmphoraStatus.DELETED, load_balancer_id=None),))
            statuses.delete_load_balancer(tx, lb.id, NOW)

    database.write(change)
    Purge(database, LocalDoorbell(), AGES).once(WEEK_LATER)
    assert count(database, t.load_balancer) == 0
    assert count(database, t.amphora) == 0


def test_expired_reservations_and_old_events_go(database: Database) -> None:
    lb = load_balancer(1)

    def change(tx: sa.Connection) -> None:
        store(tx, lb)
        reservations.reserve(tx, uuid(5), None, NOW)
        reservations.reserve(tx, uuid(6), None, NOW + timedelta(minutes=5))
        for number in range(120):
            events.record(tx, lb.id, NOW, f"event {number}")

    database.write(change)
    Purge(database, LocalDoorbell(), AGES).once(NOW + timedelta(minutes=11))
    with database.read() as tx:
        assert reservations.known_load_balancers(tx) == {lb.id, uuid(6)}
        assert [one.text for one in events.last(tx, lb.id, 100)] == [f"event {n}" for n in range(70, 120)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"provisioning_status": ProvisioningStatus.PENDING_UPDATE}, True),
        ({"provisioning_status": ProvisioningStatus.ERROR}, False),
        ({"provisioning_status": ProvisioningStatus.ACTIVE}, False),
        ({"provisioning_status": ProvisioningStatus.PENDING_UPDATE, "provider": "third-party"}, False),
    ],
)
def test_pending_work_that_the_queue_lacks_is_queued(
    database: Database, change: dict[str, object], expected: bool
) -> None:
    lb = replace(load_balancer(1), **change)  # type: ignore[arg-type]
    database.write(lambda tx: store(tx, lb))
    doorbell = LocalDoorbell()
    Purge(database, doorbell, AGES).once(NOW)
    with database.read() as tx:
        assert work.due(tx, NOW) == ([lb.id] if expected else [])
    assert doorbell.wait(0) == expected


@pytest.mark.parametrize("status", [AmphoraStatus.ERROR, AmphoraStatus.PENDING_DELETE])
def test_amphorae_on_their_way_out_get_work(database: Database, status: AmphoraStatus) -> None:
    lb = load_balancer(1)
    database.write(lambda tx: store(tx, lb, fleet=(amphora(lb, status=status),)))
    Purge(database, LocalDoorbell(), AGES).once(NOW)
    with database.read() as tx:
        assert work.due(tx, NOW) == [lb.id]


def test_work_that_waits_for_its_time_is_left_alone(database: Database) -> None:
    lb = load_balancer(1, provisioning_status=ProvisioningStatus.PENDING_UPDATE)
    later = NOW + timedelta(minutes=5)

    def change(tx: sa.Connection) -> None:
        store(tx, lb)
        work.announce(tx, lb.id, later)

    database.write(change)
    Purge(database, LocalDoorbell(), AGES).once(NOW)
    assert not database.write(lambda tx: purge.announce(tx, lb.id, NOW))
    with database.read() as tx:
        assert work.due(tx, NOW) == []


# Sweeping


class Cloud:
    """Compute and network in memory, with a sweep over them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.compute = MemoryCompute(ManualClock())
        self.network = MemoryNetwork()
        self.subnet = next(iter(self.network.list_subnets()))
        self.sweep = Sweep(database, self.compute, self.network, interval=timedelta(seconds=30))

    def build(self, lb: LoadBalancer) -> None:
        """The VIP's port, and a server and a port for each amphora."""
        vip = Vip(subnet_id=self.subnet.id, network_id=self.subnet.network_id)
        made = self.network.create_vip_port(lb.id, None, vip, ())
        for one in amphorae_of(lb):
            spec = AmphoraSpec(amphora_id=one.id, load_balancer_id=lb.id, files={})
            self.compute.create(spec)
            self.network.create_vrrp_port(one.id, lb.id, made.vip, [made.vip.ip_address or ""])

    def counts(self) -> tuple[int, int]:
        return len(list(self.compute.list())), len(list(self.network.owned_ports()))


@pytest.fixture
def cloud(database: Database) -> Cloud:
    return Cloud(database)


def test_what_nobody_owns_is_deleted_in_the_second_pass(cloud: Cloud) -> None:
    owned, orphan = load_balancer(1), load_balancer(2)
    cloud.build(owned)
    cloud.build(orphan)
    servers = {one.amphora_id: one.compute_id for one in cloud.compute.list()}
    mine = amphora(owned, compute_id=servers[uuid(1001)])
    cloud.database.write(lambda tx: store(tx, owned, fleet=(mine,)))
    assert cloud.sweep.once(NOW) == []
    assert cloud.sweep.once(NOW + timedelta(seconds=29)) == []
    gone = cloud.sweep.once(NOW + timedelta(seconds=30))
    assert [one.kind[2:] for one in gone] == ["server", "port", "port"]
    assert cloud.counts() == (1, 2)
    assert cloud.sweep.once(NOW + timedelta(seconds=60)) == []


def test_a_reservation_owns_the_port_that_is_being_made(cloud: Cloud) -> None:
    lb = load_balancer(1)
    cloud.build(replace(lb, topology=Topology.SINGLE))
    for one in list(cloud.compute.list()):
        cloud.compute.delete(one.compute_id)
    cloud.database.write(lambda tx: reservations.reserve(tx, lb.id, None, NOW))
    vip_only = cloud.counts()
    for minutes in range(3):
        cloud.sweep.once(NOW + timedelta(minutes=minutes))
    # The port of its amphora, which has no row, is gone; the VIP's is not.
    assert vip_only == (0, 2)
    assert cloud.counts() == (0, 1)


def test_what_gets_an_owner_between_listing_and_reading_is_spared(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row comes before the server, and the sweep lists before it reads."""
    lb = load_balancer(1)
    listed = cloud.compute.list

    def list_then_create() -> object:
        found = list(listed())
        if not found:
            cloud.database.write(lambda tx: store(tx, lb))
            cloud.build(lb)
        return listed()

    monkeypatch.setattr(cloud.compute, "list", list_then_create)
    for minutes in range(3):
        assert cloud.sweep.once(NOW + timedelta(minutes=minutes)) == []
    assert cloud.counts() == (1, 2)


def test_a_cloud_that_does_not_answer_makes_no_orphans(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.build(load_balancer(1))
    cloud.sweep.once(NOW)

    def down() -> object:
        raise Transient("the network cannot be asked")

    with monkeypatch.context() as outage:
        outage.setattr(cloud.network, "owned_ports", down)
        with pytest.raises(Transient):
            cloud.sweep.once(NOW + timedelta(minutes=1))
    assert cloud.counts() == (1, 2)


def test_what_cannot_be_deleted_is_tried_again(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.build(load_balancer(1))
    cloud.sweep.once(NOW)

    def busy(_: str) -> None:
        raise Transient("try later")

    with monkeypatch.context() as outage:
        outage.setattr(cloud.compute, "delete", busy)
        gone = cloud.sweep.once(NOW + timedelta(minutes=1))
    assert [one.kind[2:] for one in gone] == ["port", "port"]
    cloud.sweep.once(NOW + timedelta(minutes=2))
    assert cloud.counts() == (0, 0)


@pytest.mark.parametrize("gone", ["deleted", "purged", "never"])
def test_an_amphora_whose_load_balancer_is_gone_is_deleted_with_all_it_has(cloud: Cloud, gone: str) -> None:
    lb = load_balancer(1)
    cloud.build(lb)
    server = next(iter(cloud.compute.list()))
    mine = amphora(lb, compute_id=server.compute_id, status=AmphoraStatus.PENDING_DELETE)

    def change(tx: sa.Connection) -> None:
        if gone == "deleted":
            store(tx, lb, fleet=(mine,))
            statuses.delete_load_balancer(tx, lb.id, NOW)
        else:
            owner = {} if gone == "purged" else {"load_balancer_id": None}
            amphorae.insert(tx, replace(mine, **owner), NOW)  # type: ignore[arg-type]

    cloud.database.write(change)
    cloud.sweep.once(NOW)
    with cloud.database.read() as tx:
        assert amphorae.all_ids(tx) == set()
    assert cloud.counts() == (0, 1)  # the VIP's port is an orphan from now on
    cloud.sweep.once(NOW + timedelta(seconds=30))
    assert cloud.counts() == (0, 0)


def restored(cloud: Cloud, lb: LoadBalancer) -> None:
    """The database is of before a failover: its amphora is gone, and the one that serves has no row."""
    cloud.build(lb)
    old = amphora(lb, id=uuid(77), compute_id="gone")
    cloud.database.write(lambda tx: store(tx, lb, fleet=(old,)))


def test_what_serves_although_nobody_knows_it_stays_until_its_load_balancer_is_served(cloud: Cloud) -> None:
    lb = load_balancer(1)
    told: list[frozenset[str]] = []

    def leftovers(known: frozenset[str]) -> list[str]:
        told.append(known)
        return []

    cloud.sweep = Sweep(cloud.database, cloud.compute, cloud.network, leftovers=leftovers)
    restored(cloud, lb)
    for seconds in (0, 30, 60):
        assert cloud.sweep.once(NOW + timedelta(seconds=seconds)) == []
    assert uuid(1001) in told[-1], "its processes are not leftovers"
    cloud.compute.create(AmphoraSpec(amphora_id=uuid(77), load_balancer_id=lb.id, files={}))
    gone = cloud.sweep.once(NOW + timedelta(seconds=90))
    assert [one.kind[2:] for one in gone] == ["server", "port"]
    assert cloud.counts() == (1, 1)


def test_work_that_is_queued_spares_a_stranger_too(cloud: Cloud) -> None:
    lb = load_balancer(1)
    restored(cloud, lb)
    cloud.compute.create(AmphoraSpec(amphora_id=uuid(77), load_balancer_id=lb.id, files={}))
    cloud.database.write(lambda tx: work.announce(tx, lb.id, NOW))
    cloud.sweep.once(NOW)
    assert cloud.sweep.once(NOW + timedelta(seconds=30)) == []


def test_a_stranger_is_not_spared_for_ever(cloud: Cloud) -> None:
    restored(cloud, load_balancer(1))
    cloud.sweep.once(NOW)
    assert cloud.sweep.once(NOW + timedelta(minutes=9)) == []
    gone = cloud.sweep.once(NOW + timedelta(minutes=10))
    assert [one.kind[2:] for one in gone] == ["server", "port"]


def test_a_stranger_of_a_load_balancer_that_is_being_deleted_is_not_spared(cloud: Cloud) -> None:
    lb = load_balancer(1, delete_requested=True, provisioning_status=ProvisioningStatus.PENDING_DELETE)
    restored(cloud, lb)
    cloud.sweep.once(NOW)
    assert len(cloud.sweep.once(NOW + timedelta(seconds=30))) == 2


def test_drivers_are_told_what_is_known_so_that_they_clean_their_host(cloud: Cloud) -> None:
    lb = load_balancer(1)
    cloud.database.write(lambda tx: store(tx, lb))
    told: list[frozenset[str]] = []

    def leftovers(known: frozenset[str]) -> list[str]:
        told.append(known)
        return ["a veth"]

    Sweep(cloud.database, cloud.compute, cloud.network, leftovers=leftovers).once(NOW)
    assert told == [frozenset({lb.id, uuid(1001)})]
