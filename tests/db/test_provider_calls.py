# SPDX-License-Identifier: Apache-2.0
"""Changes that wait for a provider's answer, in each kind of database."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from octavia.db import provider_calls, statuses
from octavia.db import tables as t
from octavia.db.engine import Database
from octavia.db.tree import loading, mapping, saving
from octavia.domain import rules
from octavia.domain.rules import Deployment
from octavia.domain.statuses import OperatingStatus as O
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import LoadBalancer
from tests.fleet import NOW, load_balancer, store

MINUTE = timedelta(minutes=1)
CALL = "c0000000-0000-4000-8000-000000000001"


@pytest.fixture
def lb(database: Database) -> LoadBalancer:
    made = replace(load_balancer(members=2), provider="theirs", tags=("t",))
    database.write(lambda tx: store(tx, made))
    return load(database, made.id)


def load(database: Database, lb_id: str) -> LoadBalancer:
    with database.read() as tx:
        found = loading.load(tx, lb_id)
    assert found
    return found


def write(database: Database, before: LoadBalancer, after: LoadBalancer, method: str = "m") -> None:
    """A change, as the API commits it."""

    def change(tx: sa.Connection) -> None:
        saving.save(tx, before, after)
        provider_calls.begin(tx, CALL, after, method, NOW)

    database.write(change)


def count(database: Database, table: sa.Table) -> int:
    with database.read() as tx:
        return len(tx.execute(sa.select(table)).all())


def test_a_refused_batch_is_as_if_it_had_never_been(database: Database, lb: LoadBalancer) -> None:
    born = rules.Births(NOW, lambda: "d0000000-0000-4000-8000-000000000001")
    values = {"address": "192.0.2.99", "protocol_port": 1, "vnic_type": "normal"}
    item = rules.BatchItem(values, frozenset(values))
    pool_id = lb.pools[0].id
    after = rules.replace_members(lb, pool_id, [item], born, Deployment(), additive_only=False)
    write(database, lb, after)
    assert len(load(database, lb.id).pools[0].members) == 3
    database.write(lambda tx: provider_calls.refused(tx, CALL, lb, after))
    found = load(database, lb.id)
    assert found.generation > after.generation
    assert replace(found, generation=lb.generation) == lb
    assert count(database, t.provider_call) == 0


def test_a_refused_creation_leaves_no_row(database: Database, lb: LoadBalancer) -> None:
    database.write(lambda tx: provider_calls.begin(tx, CALL, lb, "loadbalancer_create", NOW))
    assert database.write(lambda tx: provider_calls.creation_refused(tx, CALL, lb.id, NOW))
    for table in (t.load_balancer, t.vip, t.tags, *t.CHILDREN, t.provider_call):
        assert count(database, table) == 0


def test_a_call_without_an_answer_is_given_up_once(database: Database, lb: LoadBalancer) -> None:
    after = rules.update_listener(lb, lb.listeners[0].id, {"name": "new"}, Deployment())
    write(database, lb, after, "listener_update")
    with database.read() as tx:
        assert provider_calls.overdue(tx, NOW) == []
        assert provider_calls.overdue(tx, NOW + MINUTE) == [CALL]
    assert database.write(lambda tx: provider_calls.give_up(tx, CALL, NOW)) == lb.id
    assert database.write(lambda tx: provider_calls.give_up(tx, CALL, NOW)) is None
    found = load(database, lb.id)
    assert (found.provisioning_status, found.listeners[0].provisioning_status) == (P.ERROR, P.ERROR)
    assert found.listeners[0].name == "new"
    # An answer that comes too late changes nothing.
    database.write(lambda tx: provider_calls.refused(tx, CALL, lb, after))
    assert not database.write(lambda tx: provider_calls.accepted(tx, CALL))
    assert load(database, lb.id) == found


def test_what_was_reported_meanwhile_is_no_error(database: Database, lb: LoadBalancer) -> None:
    after = rules.update_listener(lb, lb.listeners[0].id, {"name": "new"}, Deployment())
    write(database, lb, after)

    def report(kind: mapping.Kind[Any], object_id: str) -> None:
        database.write(
            lambda tx: statuses.report(
                tx, kind, object_id, lb.id, provisioning=P.ACTIVE, operating=O.ONLINE, now=NOW
            )
        )

    report(mapping.LISTENER, lb.listeners[0].id)
    report(mapping.LOAD_BALANCER, lb.id)
    assert database.write(lambda tx: provider_calls.give_up(tx, CALL, NOW)) == lb.id
    found = load(database, lb.id)
    assert (found.provisioning_status, found.operating_status) == (P.ACTIVE, O.ONLINE)
    assert found.observed_generation == found.generation


def test_an_object_that_its_provider_could_not_delete_may_be_written_again(
    database: Database, lb: LoadBalancer
) -> None:
    listener_id = lb.listeners[0].id
    after = rules.delete_listener(lb, listener_id, Deployment())
    write(database, lb, after)
    for kind, object_id, status in (
        (mapping.LISTENER, listener_id, P.ERROR),
        (mapping.LOAD_BALANCER, lb.id, P.ACTIVE),
    ):
        database.write(
            partial(
                statuses.report,
                kind=kind,
                object_id=object_id,
                load_balancer_id=lb.id,
                provisioning=status,
                operating=None,
                now=NOW,
            )
        )
    found = load(database, lb.id)
    assert found.listeners[0].provisioning_status is P.ERROR
    again = rules.update_listener(found, listener_id, {"name": "new"}, Deployment())
    assert again.listeners[0].provisioning_status is P.PENDING_UPDATE
    with database.read() as tx:
        reasons = tx.execute(sa.select(t.status_reason.c.code)).scalars().all()
    assert reasons == ["PROVIDER"]
