# SPDX-License-Identifier: Apache-2.0
"""Settling, failing, reasons: what SEMANTICS promises of provisioning statuses."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.db import amphorae, explain, reasons, statuses, work
from octavia.db import tables as t
from octavia.db.engine import Database
from octavia.db.reasons import Reason
from octavia.db.tree import loading, mapping, saving
from octavia.domain.errors import Fenced
from octavia.domain.statuses import OperatingStatus, ProvisioningStatus
from octavia.domain.tree import HealthMonitor, LoadBalancer, MonitorType, Resource
from tests.fleet import NOW, load_balancer, operating, store, uuid

P = ProvisioningStatus
MINUTE = timedelta(minutes=1)


def provisioning(database: Database, table: sa.Table, object_id: str) -> str | None:
    with database.read() as tx:
        query = sa.select(table.c.provisioning_status).where(table.c.id == object_id)
        found: str | None = tx.execute(query).scalar()
        return found


def changed(one: Any, generation: int, status: P, **more: Any) -> Any:
    return replace(one, generation=generation, provisioning_status=status, **more)


def settle(database: Database, lb: LoadBalancer, live: int, failed: tuple[str, ...] = ()) -> None:
    database.write(lambda tx: statuses.settle_children(tx, lb.id, live, NOW + MINUTE, failed))


def pending(*, members: int = 2) -> LoadBalancer:
    """Member 1 was changed in generation 2, member 2 in generation 3; everything else is settled."""
    lb = load_balancer(members=members)
    pool = lb.pools[0]
    first, second, *rest = pool.members
    return replace(lb, generation=3, provisioning_status=P.PENDING_UPDATE, observed_generation=1).with_pool(
        replace(
            pool,
            members=(
                changed(first, 2, P.PENDING_UPDATE),
                changed(second, 3, P.PENDING_CREATE, operating_status=OperatingStatus.OFFLINE),
                *rest,
            ),
        )
    )


def test_older_objects_settle_while_newer_ones_are_pending(database: Database) -> None:
    lb = pending()
    first, second = (one.id for one in lb.pools[0].members)
    database.write(lambda tx: saving.insert(tx, lb))
    settle(database, lb, 1)
    assert [provisioning(database, t.member, one) for one in (first, second)] == [
        "PENDING_UPDATE",
        "PENDING_CREATE",
    ]
    settle(database, lb, 2)
    assert [provisioning(database, t.member, one) for one in (first, second)] == ["ACTIVE", "PENDING_CREATE"]
    assert provisioning(database, t.load_balancer, lb.id) == "PENDING_UPDATE"
    settle(database, lb, 3)
    assert provisioning(database, t.member, second) == "ACTIVE"
    database.write(lambda tx: statuses.settle_load_balancer(tx, lb.id, NOW))
    assert provisioning(database, t.load_balancer, lb.id) == "ACTIVE"


def test_what_is_live_is_remembered(database: Database) -> None:
    lb = pending()
    database.write(lambda tx: saving.insert(tx, lb))
    database.write(lambda tx: statuses.observed(tx, lb.id, 3))
    with database.read() as tx:
        found = loading.load(tx, lb.id)
    assert found is not None
    assert found.observed_generation == 3


def test_an_error_heals_straight_to_active(database: Database) -> None:
    lb = pending()
    first = lb.pools[0].members[0]
    database.write(lambda tx: saving.insert(tx, lb))
    reason = Reason("REFUSED", "because")
    database.write(lambda tx: statuses.fail(tx, mapping.MEMBER, first.id, lb.id, reason, NOW))
    assert provisioning(database, t.member, first.id) == "ERROR"
    settle(database, lb, 2)
    assert provisioning(database, t.member, first.id) == "ACTIVE"


def test_one_that_failed_does_not_settle_with_the_others(database: Database) -> None:
    lb = pending()
    first, second = (one.id for one in lb.pools[0].members)
    database.write(lambda tx: saving.insert(tx, lb))
    reason = Reason("REFUSED", "because")
    database.write(lambda tx: statuses.fail(tx, mapping.MEMBER, first, lb.id, reason, NOW))
    settle(database, lb, 3, failed=(first,))
    assert provisioning(database, t.member, first) == "ERROR"
    assert provisioning(database, t.member, second) == "ACTIVE"


def leaving(one: Any, generation: int = 2, status: P = P.PENDING_DELETE) -> Any:
    return changed(one, generation, status, delete_requested=True)


@pytest.mark.parametrize("status", [P.PENDING_DELETE, P.ERROR])
def test_what_is_being_deleted_goes_when_it_is_not_rendered_any_more(database: Database, status: P) -> None:
    lb = load_balancer()
    pool = lb.pools[0]
    gone, stays = pool.members
    lb = lb.with_pool(replace(pool, members=(leaving(gone, status=status), stays)))

    def insert(tx: sa.Connection) -> None:
        saving.insert(tx, replace(lb, generation=2))
        reasons.explain(tx, gone.id, lb.id, Reason("X", "x"), NOW)
        tx.execute(sa.insert(t.tags).values(resource_id=gone.id, tag="t"))

    database.write(insert)
    settle(database, lb, 1)
    assert provisioning(database, t.member, gone.id) == status
    settle(database, lb, 2)
    assert provisioning(database, t.member, gone.id) is None
    assert provisioning(database, t.member, stays.id) == "ACTIVE"
    with database.read() as tx:
        assert explain.reason_of(tx, gone.id) is None
        assert tx.execute(sa.select(t.tags.c.tag)).all() == []


def test_a_pool_takes_its_children_along_and_its_listener_stays(database: Database) -> None:
    lb = load_balancer()
    monitor = HealthMonitor(
        id=uuid(5), type=MonitorType.TCP, delay=5, timeout=3, max_retries=2, created_at=NOW
    )
    lb = lb.with_pool(leaving(replace(lb.pools[0], health_monitor=monitor)))
    database.write(lambda tx: saving.insert(tx, replace(lb, generation=2)))
    settle(database, lb, 2)
    with database.read() as tx:
        found = loading.load(tx, lb.id)
    assert found is not None
    assert found.pools == ()
    assert found.listeners[0].default_pool_id is None
    assert provisioning(database, t.health_monitor, monitor.id) is None
    assert provisioning(database, t.member, lb.pools[0].members[0].id) is None


def test_a_listener_goes_with_its_networks_and_counters(database: Database) -> None:
    lb = load_balancer()
    gone = leaving(replace(lb.listeners[0], allowed_cidrs=("10.0.0.0/8",), sni_container_refs=("a", "b")))
    lb = lb.with_listener(gone)

    def insert(tx: sa.Connection) -> None:
        saving.insert(tx, replace(lb, generation=2))
        tx.execute(
            sa.insert(t.listener_statistics).values(
                listener_id=gone.id,
                amphora_id=uuid(1001),
                bytes_in=1,
                bytes_out=1,
                active_connections=1,
                total_connections=1,
                request_errors=1,
            )
        )

    database.write(insert)
    settle(database, lb, 2)
    with database.read() as tx:
        for table in (t.listener, t.listener_cidr, t.sni, t.listener_statistics):
            assert tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0, table.name
        found = loading.load(tx, lb.id)
    assert found is not None
    assert len(found.pools) == 1


@pytest.mark.parametrize(("enabled", "shown"), [(True, "ONLINE"), (False, "OFFLINE")])
def test_a_monitor_watches_as_soon_as_it_is_live(database: Database, enabled: bool, shown: str) -> None:
    monitor = HealthMonitor(
        id=uuid(5),
        type=MonitorType.TCP,
        delay=5,
        timeout=3,
        max_retries=2,
        created_at=NOW,
        generation=2,
        admin_state_up=enabled,
    )
    lb = load_balancer()
    lb = lb.with_pool(replace(lb.pools[0], health_monitor=monitor))
    database.write(lambda tx: saving.insert(tx, replace(lb, generation=2)))
    settle(database, lb, 2)
    with database.read() as tx:
        assert operating(tx, t.health_monitor, monitor.id) == shown


def test_settling_touches_no_other_load_balancer(database: Database) -> None:
    mine = pending()
    other = load_balancer(2)
    member = changed(other.pools[0].members[0], 1, P.PENDING_UPDATE)
    other = other.with_pool(replace(other.pools[0], members=(member,)))

    def insert(tx: sa.Connection) -> None:
        saving.insert(tx, mine)
        saving.insert(tx, other)

    database.write(insert)
    settle(database, mine, 3)
    assert provisioning(database, t.member, member.id) == "PENDING_UPDATE"


def test_past_its_deadline_everything_pending_is_in_error_with_a_reason(database: Database) -> None:
    lb = pending(members=3)
    database.write(lambda tx: saving.insert(tx, lb))
    reason = Reason("NO_AMPHORA", "compute is full")
    database.write(lambda tx: statuses.fail_pending(tx, lb.id, reason, NOW, NOW + MINUTE))
    first, second, third = (one.id for one in lb.pools[0].members)
    assert [provisioning(database, t.member, one) for one in (first, second, third)] == [
        "ERROR",
        "ERROR",
        "ACTIVE",
    ]
    assert provisioning(database, t.load_balancer, lb.id) == "ERROR"
    with database.read() as tx:
        found = explain.reason_of(tx, lb.id)
    assert found is not None
    assert (found.code, found.sentence, found.next_try) == ("NO_AMPHORA", "compute is full", NOW + MINUTE)


def test_the_same_reason_again_counts_and_another_begins_anew(database: Database) -> None:
    lb = load_balancer()
    database.write(lambda tx: saving.insert(tx, lb))
    said = [("A", "one"), ("A", "two"), ("B", "three")]
    found = []
    for number, (code, sentence) in enumerate(said):
        at = NOW + number * MINUTE
        reason = Reason(code, sentence)
        database.write(
            partial(reasons.explain, object_id=lb.id, load_balancer_id=lb.id, reason=reason, now=at)
        )
        with database.read() as tx:
            found.append(explain.reason_of(tx, lb.id))
    assert [(one.code, one.sentence, one.since, one.attempts) for one in found if one] == [
        ("A", "one", NOW, 1),
        ("A", "two", NOW, 2),
        ("B", "three", NOW + 2 * MINUTE, 1),
    ]


def test_reasons_go_when_all_is_well_except_those_to_keep(database: Database) -> None:
    lb = load_balancer()
    kept, gone = (one.id for one in lb.pools[0].members)

    def change(tx: sa.Connection) -> None:
        saving.insert(tx, lb)
        for one in (lb.id, kept, gone):
            reasons.explain(tx, one, lb.id, Reason("X", "x"), NOW)
        reasons.clear(tx, lb.id, keep=[kept])

    database.write(change)
    with database.read() as tx:
        assert [one.object_id for one in explain.reasons(tx, lb.id)] == [kept]


def test_a_deleted_load_balancer_is_a_row_and_nothing_else(database: Database) -> None:
    lb = load_balancer(tags=("t",))
    database.write(lambda tx: store(tx, lb))
    database.write(lambda tx: amphorae.delete(tx, uuid(1001), NOW))
    database.write(lambda tx: statuses.delete_load_balancer(tx, lb.id, NOW))
    assert provisioning(database, t.load_balancer, lb.id) == "DELETED"
    with database.read() as tx:
        assert loading.load(tx, lb.id) is None
        for table in (t.listener, t.pool, t.member, t.tags, t.status_reason):
            assert tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0, table.name


# Operating statuses


def version(database: Database, lb: Resource) -> int:
    with database.read() as tx:
        query = sa.select(t.load_balancer.c.operating_version).where(t.load_balancer.c.id == lb.id)
        return int(tx.execute(query).scalar_one())


def test_measured_statuses_are_written_and_counted_for_every_kind(database: Database) -> None:
    lb, other = load_balancer(1), load_balancer(2)

    def insert(tx: sa.Connection) -> None:
        saving.insert(tx, lb)
        saving.insert(tx, other)

    database.write(insert)
    wanted = {
        ("loadbalancer", lb.id): OperatingStatus.ERROR,
        ("listener", lb.listeners[0].id): OperatingStatus.DEGRADED,
        ("pool", lb.pools[0].id): OperatingStatus.DEGRADED,
        ("member", lb.pools[0].members[0].id): OperatingStatus.ERROR,
        ("member", other.pools[0].members[0].id): OperatingStatus.DRAINING,
    }
    database.write(lambda tx: statuses.write_operating(tx, wanted))
    tables = {"loadbalancer": t.load_balancer, "listener": t.listener, "pool": t.pool, "member": t.member}
    with database.read() as tx:
        for (kind, object_id), status in wanted.items():
            assert operating(tx, tables[kind], object_id) == status
    assert (version(database, lb), version(database, other)) == (1, 1)


def test_a_measured_status_of_what_is_gone_is_nobodys(database: Database) -> None:
    lb = load_balancer()
    database.write(lambda tx: saving.insert(tx, lb))
    gone = {("member", uuid(99)): OperatingStatus.ERROR, ("loadbalancer", uuid(98)): OperatingStatus.ERROR}
    database.write(lambda tx: statuses.write_operating(tx, gone))
    assert version(database, lb) == 0


# Fences


def test_only_the_newest_lease_may_settle(database: Database) -> None:
    lb = pending()

    def insert(tx: sa.Connection) -> None:
        saving.insert(tx, lb)
        work.announce(tx, lb.id, NOW)

    database.write(insert)
    old = database.write(lambda tx: work.take(tx, lb.id, "paused", NOW, MINUTE))
    new = database.write(lambda tx: work.take(tx, lb.id, "other", NOW + 2 * MINUTE, MINUTE))
    assert old is not None
    assert new is not None
    assert new.fence > old.fence

    def settle_as(lease: work.Lease) -> None:
        def change(tx: sa.Connection) -> None:
            work.guard(tx, lease)
            statuses.settle_children(tx, lb.id, 3, NOW)

        database.write(change)

    with pytest.raises(Fenced) as refused:
        settle_as(old)
    assert refused.value.highest == new.fence
    assert provisioning(database, t.member, lb.pools[0].members[0].id) == "PENDING_UPDATE"
    settle_as(new)
    assert provisioning(database, t.member, lb.pools[0].members[0].id) == "ACTIVE"
