# SPDX-License-Identifier: Apache-2.0
"""The last good form of each object that was changed and has not settled since.

A row is written with the change, and goes when the change is live: most objects have none. What a form is,
and how one stands in for an object, is in :mod:`octavia.domain.forms`.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.domain.forms import Form, form_of
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import LoadBalancer, Resource

_TABLE: Final = t.settled_form
_IDS: Final[sa.BindParameter[Sequence[str]]] = sa.bindparam("ids", expanding=True)
_OF_LB: Final[sa.BindParameter[str]] = sa.bindparam("lb_id", type_=sa.String)

# Built once: building a statement costs more than running it.
_INSERT: Final = sa.insert(_TABLE)
_UPDATE: Final = sa.update(_TABLE).where(_TABLE.c.object_id == sa.bindparam("changed_id"))
_KNOWN: Final = sa.select(_TABLE.c.object_id).where(_TABLE.c.object_id.in_(_IDS))
_FORGET: Final = sa.delete(_TABLE).where(_TABLE.c.object_id.in_(_IDS))
_KEPT: Final = sa.select(_TABLE.c.object_id, _TABLE.c.form).where(_TABLE.c.load_balancer_id == _OF_LB)


def remember(tx: sa.Connection, before: LoadBalancer, after: LoadBalancer) -> None:
    """Keep the settled forms of what a write changes, whose load balancer is locked.

    Who is ACTIVE is live as it is; a form that is kept of anything else stays: that is the one that settled.
    """
    if after.third_party:
        return
    changed = list(_changed(before, after))
    if not changed:
        return
    known = set(tx.execute(_KNOWN, {"ids": [one.id for one in changed]}).scalars())
    new = [one for one in changed if one.id not in known]
    if new:
        rows = [{"object_id": one.id, "load_balancer_id": after.id, "form": form_of(one)} for one in new]
        tx.execute(_INSERT, rows)
    active = ProvisioningStatus.ACTIVE
    _write(tx, [one for one in changed if one.id in known and one.provisioning_status is active])


def _changed(before: LoadBalancer, after: LoadBalancer) -> Iterator[Resource]:
    """Those of before that have settled once and get another form."""
    now = {one.id: one for one in after.walk()}
    for one in before.walk():
        new = now.get(one.id, one)
        # Whoever was never live has no good form.
        if new is one or one.updated_at is None or isinstance(one, LoadBalancer):
            continue
        if form_of(one) != form_of(new):
            yield one


def applied(tx: sa.Connection, lb: LoadBalancer, failed: Collection[str]) -> None:
    """A tree is live, and was written to meanwhile: what is kept of its objects is their form in it.

    :param failed: ids of objects that are not live as they are there.
    """
    known = {row.object_id for row in tx.execute(_KEPT, {"lb_id": lb.id})}
    if known:
        _write(tx, [one for one in lb.walk() if one.id in known and one.id not in failed])


def _write(tx: sa.Connection, every: Sequence[Resource]) -> None:
    for one in every:
        tx.execute(_UPDATE, {"changed_id": one.id, "form": form_of(one)})


def forget(tx: sa.Connection, ids: Sequence[str]) -> None:
    """These objects are live as they are, or gone."""
    tx.execute(_FORGET, {"ids": ids})


def of_load_balancer(tx: sa.Connection, load_balancer_id: str) -> dict[str, Form]:
    """Id to form, of objects that have changed since they settled."""
    found: Sequence[Any] = tx.execute(_KEPT, {"lb_id": load_balancer_id}).all()
    return {row.object_id: row.form for row in found}
