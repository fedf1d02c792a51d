# SPDX-License-Identifier: Apache-2.0
"""The last good forms of objects: kept with the write, forgotten when the write is live."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from hypothesis import given

from octavia.db import forms, statuses
from octavia.db.engine import Database
from octavia.db.tree import loading, saving
from octavia.domain.forms import Form, form_of, with_forms
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import LoadBalancer, Member
from tests.db.test_tree import LOAD_BALANCERS, SHARED, distinct, ordered
from tests.fleet import NOW, load_balancer

SETTLED = NOW + timedelta(seconds=1)
LATER = NOW + timedelta(seconds=9)


def stored(database: Database, number: int, *, ever_live: bool = True, **more: Any) -> LoadBalancer:
    """A load balancer whose objects have settled once."""
    lb = load_balancer(number, **more)
    pools = tuple(
        replace(
            pool,
            updated_at=SETTLED if ever_live else None,
            members=tuple(replace(one, updated_at=SETTLED if ever_live else None) for one in pool.members),
        )
        for pool in lb.pools
    )
    made = replace(lb, pools=pools)
    database.write(lambda tx: saving.insert(tx, made))
    return made


def change(database: Database, lb: LoadBalancer, **values: Any) -> LoadBalancer:
    """The first member is written to, as the API does."""

    def write(tx: sa.Connection) -> LoadBalancer:
        before = loading.lock(tx, lb.id)
        generation = before.generation + 1
        (pool,) = before.pools
        first, *others = pool.members
        edited = replace(first, provisioning_status=P.PENDING_UPDATE, generation=generation, **values)
        after = before.bumped().with_pool(replace(pool, members=(edited, *others)))
        saving.save(tx, before, after)
        return after

    return database.write(write)


def kept(database: Database, lb: LoadBalancer) -> dict[str, Form]:
    with database.read() as tx:
        return forms.of_load_balancer(tx, lb.id)


def weights(database: Database, lb: LoadBalancer) -> dict[str, int]:
    return {name: form["weight"] for name, form in kept(database, lb).items()}


def settle(database: Database, lb: LoadBalancer, live: int, failed: tuple[str, ...] = ()) -> None:
    database.write(lambda tx: statuses.settle_children(tx, lb.id, live, LATER, failed))


def first(lb: LoadBalancer) -> Member:
    return lb.pools[0].members[0]


def test_the_form_that_settled_is_kept_through_later_writes_and_goes_when_one_is_live(
    database: Database,
) -> None:
    lb = stored(database, 77)
    change(database, lb, weight=5)
    after = change(database, lb, weight=6)
    assert weights(database, lb) == {first(lb).id: 1}
    settle(database, lb, after.generation - 1)
    assert weights(database, lb) == {first(lb).id: 1}
    settle(database, lb, after.generation, failed=(first(lb).id,))
    assert weights(database, lb) == {first(lb).id: 1}
    settle(database, lb, after.generation)
    assert kept(database, lb) == {}
    change(database, lb, weight=7)
    assert weights(database, lb) == {first(lb).id: 6}


def test_a_form_that_was_live_meanwhile_takes_the_place_of_the_one_before(database: Database) -> None:
    lb = stored(database, 78)
    live = change(database, lb, weight=5)
    change(database, lb, weight=6)
    database.write(lambda tx: forms.applied(tx, live, failed=(first(lb).id,)))
    assert weights(database, lb) == {first(lb).id: 1}
    database.write(lambda tx: forms.applied(tx, live, failed=()))
    assert weights(database, lb) == {first(lb).id: 5}


def test_what_was_never_live_or_keeps_its_form_leaves_nothing(database: Database) -> None:
    new = stored(database, 79, ever_live=False)
    change(database, new, weight=5)
    assert kept(database, new) == {}
    renamed = stored(database, 80)
    change(database, renamed, name="another", tags=("x",))
    assert kept(database, renamed) == {}
    theirs = stored(database, 81, provider="somebody-elses")
    change(database, theirs, weight=5)
    assert kept(database, theirs) == {}


def test_what_is_deleted_takes_its_form_along(database: Database) -> None:
    lb = stored(database, 82)
    change(database, lb, weight=5)
    after = change(database, lb, delete_requested=True)
    assert weights(database, lb) == {first(lb).id: 1}
    settle(database, lb, after.generation)
    assert kept(database, lb) == {}
    other = stored(database, 83)
    change(database, other, weight=5)
    database.write(lambda tx: statuses.delete_load_balancer(tx, other.id, LATER))
    assert kept(database, other) == {}


def _other(one: Any) -> Any:
    return replace(one, admin_state_up=not one.admin_state_up, tls_ciphers="other", tls_versions=None)


@SHARED
@given(made=LOAD_BALANCERS.map(ordered).filter(distinct))
def test_a_form_is_all_of_an_object_that_is_served(made: LoadBalancer) -> None:
    every = {one.id: one for one in made.walk() if one is not made}
    read = {name: json.loads(json.dumps(form_of(one))) for name, one in every.items()}
    assert with_forms(made, read) == made
    others = replace(made, listeners=tuple(map(_other, made.listeners)), pools=tuple(map(_other, made.pools)))
    assert with_forms(others, read) == made
