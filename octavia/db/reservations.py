# SPDX-License-Identifier: Apache-2.0
"""The place of a load balancer between the two transactions of its creation.

First transaction: reserve. Then the VIP port is made, tagged with the id. Second transaction: the
reservation becomes the load balancer. The sweep of orphaned ports spares those of ids that have a
reservation, so an interrupted creation leaves nothing behind for longer than ``LIFETIME``.
"""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from octavia.db import tables as t
from octavia.domain.errors import Conflict

LIFETIME: Final = timedelta(minutes=10)


def reserve(tx: sa.Connection, load_balancer_id: str, project_id: str | None, now: datetime) -> None:
    """Hold the place of a load balancer that is about to be created."""
    tx.execute(
        sa.insert(t.reservation).values(id=load_balancer_id, project_id=project_id, expires_at=now + LIFETIME)
    )


def release(tx: sa.Connection, load_balancer_id: str) -> bool:
    """Give the place up, or turn it into the load balancer; False if it had expired."""
    gone = tx.execute(sa.delete(t.reservation).where(t.reservation.c.id == load_balancer_id))
    return gone.rowcount == 1


def redeem(tx: sa.Connection, load_balancer_id: str) -> None:
    """The second transaction of a creation.

    :raises Conflict: the reservation expired meanwhile, so its port may be gone.
    """
    if not release(tx, load_balancer_id):
        raise Conflict("The creation took too long and its address was given up; send the request again")


def expire(tx: sa.Connection, now: datetime) -> list[str]:
    """Forget reservations whose time is over; their ids."""
    old = list(tx.execute(sa.select(t.reservation.c.id).where(t.reservation.c.expires_at < now)).scalars())
    if old:
        tx.execute(sa.delete(t.reservation).where(t.reservation.c.id.in_(old)))
    return old


def forget_all(tx: sa.Connection) -> int:
    """Whoever made reservations is known to be dead; how many there were."""
    return tx.execute(sa.delete(t.reservation)).rowcount


def known_load_balancers(tx: sa.Connection) -> set[str]:
    """Ids that may own resources: every load balancer not DELETED, and every reservation."""
    rows = sa.select(t.load_balancer.c.id).where(t.load_balancer.c.provisioning_status != "DELETED")
    # One statement: between two, a reservation could become a load balancer and be seen by neither.
    return set(tx.execute(sa.union(rows, sa.select(t.reservation.c.id))).scalars())
