# SPDX-License-Identifier: Apache-2.0
"""Changes that wait for a third-party provider's answer (SEMANTICS "Creating a load balancer").

A provider is asked outside of transactions: the row is committed with the change, and goes with the answer.
The values from before the change are not here: only who made it can take it back, and if he is gone nobody
knows whether the provider has accepted it.
"""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from octavia.db import children, purge, statuses
from octavia.db import tables as t
from octavia.db.reasons import Reason
from octavia.db.tree import loading, mapping, saving
from octavia.domain.refusal import taken_back
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import AMPHORA_PROVIDERS, LoadBalancer

PATIENCE: Final = timedelta(minutes=10)
"""For so long a provider may think about one call."""

_AT_ONCE: Final = 100
_LOCK: Final = (
    sa.select(t.load_balancer.c.generation, t.load_balancer.c.provisioning_status)
    .where(t.load_balancer.c.id == sa.bindparam("lb_id"))
    .with_for_update()
)


def begin(tx: sa.Connection, call_id: str, lb: LoadBalancer, method: str, now: datetime) -> None:
    """The change of ``lb`` is stored in this transaction, and its provider asked after it."""
    tx.execute(
        sa.insert(t.provider_call).values(
            id=call_id, load_balancer_id=lb.id, generation=lb.generation, method=method, since=now
        )
    )


def accepted(tx: sa.Connection, call_id: str) -> bool:
    """The provider has accepted; False if that took longer than anybody waits."""
    return tx.execute(sa.delete(t.provider_call).where(t.provider_call.c.id == call_id)).rowcount == 1


def refused(tx: sa.Connection, call_id: str, before: LoadBalancer, after: LoadBalancer) -> None:
    """The provider has refused: everything is again as it was, but for what was written since."""
    tx.execute(_LOCK, {"lb_id": after.id})
    if not accepted(tx, call_id):
        return
    now = loading.load(tx, after.id)
    if now is None:
        return  # it has reported that the load balancer is gone
    then = taken_back(now, before, after)
    saving.save(tx, now, then)
    stay = {one.id for one in then.walk()}
    gone: dict[sa.Table, list[str]] = {}
    for one in now.walk():
        if one.id not in stay:
            gone.setdefault(mapping.kind_of(one).table, []).append(one.id)
    if gone:
        children.remove(tx, after.id, gone)


def creation_refused(tx: sa.Connection, call_id: str, load_balancer_id: str, now: datetime) -> bool:
    """The provider has refused a new load balancer: no trace of it is left; False if it was too late."""
    tx.execute(_LOCK, {"lb_id": load_balancer_id})
    if not accepted(tx, call_id):
        return False
    statuses.delete_load_balancer(tx, load_balancer_id, now)
    purge.forget(tx, [load_balancer_id])
    return True


def lock_for_report(tx: sa.Connection, load_balancer_id: str) -> str | None:
    """The provider of a load balancer, which stays as it is until this transaction ends; None: it is gone."""
    tx.execute(_LOCK, {"lb_id": load_balancer_id})
    table = t.load_balancer
    found = tx.execute(
        sa.select(table.c.provider).where(
            table.c.id == load_balancer_id, table.c.provisioning_status != ProvisioningStatus.DELETED
        )
    ).one_or_none()
    return None if found is None else found.provider or AMPHORA_PROVIDERS[0]


def overdue(tx: sa.Connection, before: datetime) -> list[str]:
    """Calls that began before then."""
    query = sa.select(t.provider_call.c.id).where(t.provider_call.c.since < before)
    return list(tx.execute(query.order_by(t.provider_call.c.since).limit(_AT_ONCE)).scalars())


def give_up(tx: sa.Connection, call_id: str, now: datetime) -> str | None:
    """Nobody knows what the provider has done: ERROR with a reason, unless it has reported since.

    :returns: the load balancer's id; None if there was an answer meanwhile.
    """
    row = tx.execute(sa.select(t.provider_call).where(t.provider_call.c.id == call_id)).one_or_none()
    if row is None:
        return None
    lb = tx.execute(_LOCK, {"lb_id": row.load_balancer_id}).one_or_none()
    if not accepted(tx, call_id):
        return None
    if lb and lb.generation == row.generation and ProvisioningStatus(lb.provisioning_status).pending:
        sentence = f"The provider did not answer {row.method}; whether it has done it is not known."
        statuses.fail_pending(tx, row.load_balancer_id, Reason("PROVIDER_SILENT", sentence), now, None)
    return str(row.load_balancer_id)
