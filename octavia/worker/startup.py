# SPDX-License-Identifier: Apache-2.0
"""A look around when the only controller of an installation starts: what did its absence leave behind?

Work that the last one had leased, and load balancers that it was about to create: nobody has to wait
until those expire. Amphorae that did not survive: after a reboot of the host every local one is gone,
and nobody has to wait until their silence is noticed. What is absent is only put in doubt here; the
reconcile asks compute again and replaces. Ports that nobody owns any more are not looked for here:
see :mod:`octavia.housekeeping`.
"""

import logging

from octavia.db import amphorae, reservations, work
from octavia.db.engine import Connection, Database
from octavia.domain.clock import Clock
from octavia.drivers.compute.contract import ComputeDriver, ServerStatus

LOG = logging.getLogger(__name__)


def forget_last_controller(database: Database) -> None:
    """Free what the last controller held when it ended; only for who knows that there is no other.

    Its leases; and the creations that it was about to make, so that the sweep takes their ports.
    """

    def change(tx: Connection) -> int:
        work.free_all(tx)
        return reservations.forget_all(tx)

    interrupted = database.write(change)
    if interrupted:
        LOG.warning("%d load balancers were being created when the last controller died", interrupted)


def doubt_absent_amphorae(database: Database, compute: ComputeDriver, clock: Clock) -> int:
    """Queue the load balancers of amphorae whose server does not run; how many amphorae that are.

    :raises Transient: compute could not be asked; silence will tell later.
    """
    running = {server.compute_id for server in compute.list() if server.status is not ServerStatus.ERROR}
    now = clock.now()

    def change(tx: Connection) -> int:
        absent = [
            row for row in amphorae.serving(tx) if row.compute_id not in running and row.load_balancer_id
        ]
        for row in absent:
            amphorae.update(tx, row.id, now, unreachable_since=now)
        for load_balancer_id in sorted({str(row.load_balancer_id) for row in absent}):
            work.announce(tx, load_balancer_id, now)
        return len(absent)

    count = database.write(change)
    if count:
        LOG.warning("%d amphorae did not survive; their load balancers are rebuilt", count)
    return count
