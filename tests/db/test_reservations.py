# SPDX-License-Identifier: Apache-2.0
"""The place of a load balancer between the two transactions of its creation."""

import threading
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from octavia.db import reservations
from octavia.db.engine import Database
from octavia.db.tree import saving
from octavia.domain.errors import Conflict
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import LoadBalancer
from tests.fleet import NOW, load_balancer, uuid


def test_a_reservation_becomes_a_load_balancer_once(database: Database) -> None:
    database.write(lambda tx: reservations.reserve(tx, uuid(1), "p", NOW))
    database.write(lambda tx: reservations.redeem(tx, uuid(1)))
    with pytest.raises(Conflict, match="send the request again"):
        database.write(lambda tx: reservations.redeem(tx, uuid(1)))


def test_a_reservation_expires_and_cannot_be_redeemed_any_more(database: Database) -> None:
    database.write(lambda tx: reservations.reserve(tx, uuid(1), "p", NOW))
    assert database.write(lambda tx: reservations.expire(tx, NOW + reservations.LIFETIME)) == []
    late = NOW + reservations.LIFETIME + timedelta(microseconds=1)
    assert database.write(lambda tx: reservations.expire(tx, late)) == [uuid(1)]
    with pytest.raises(Conflict):
        database.write(lambda tx: reservations.redeem(tx, uuid(1)))
    assert not database.write(lambda tx: reservations.release(tx, uuid(1)))


def test_who_may_own_something(database: Database) -> None:
    def insert(tx: sa.Connection) -> None:
        saving.insert(tx, load_balancer(1, listeners=0))
        saving.insert(tx, load_balancer(2, listeners=0, provisioning_status=ProvisioningStatus.DELETED))
        reservations.reserve(tx, uuid(3000), None, NOW)

    database.write(insert)
    with database.read() as tx:
        assert reservations.known_load_balancers(tx) == {uuid(1000), uuid(3000)}


def test_what_is_being_created_is_known_at_every_moment(database: Database) -> None:
    """Between the two transactions, and while the second one commits."""
    stop, unknown = threading.Event(), list[str]()
    living: list[frozenset[str]] = [frozenset({uuid(1000)})]

    def look() -> None:
        while not stop.is_set():
            (before,) = living
            with database.read() as tx:
                known = reservations.known_load_balancers(tx)
            unknown.extend(before - known)

    database.write(lambda tx: reservations.reserve(tx, uuid(1000), None, NOW))
    looker = threading.Thread(target=look)
    looker.start()
    for number in range(1, 60):
        lb, following = load_balancer(number, listeners=0), uuid((number + 1) * 1000)

        def redeem(tx: sa.Connection, lb: LoadBalancer = lb) -> None:
            reservations.redeem(tx, lb.id)
            saving.insert(tx, lb)

        database.write(redeem)
        database.write(partial(reservations.reserve, load_balancer_id=following, project_id=None, now=NOW))
        living[:] = [living[0] | {following}]
    stop.set()
    looker.join()
    assert unknown == []
