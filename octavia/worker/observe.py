# SPDX-License-Identifier: Apache-2.0
"""What is, as far as the plan needs to know it.

Most of it is in the rows already, since every step records what it made. Compute is asked only
about amphorae that are in doubt; a healthy load balancer is observed without a single call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from octavia.db import amphorae
from octavia.db.amphorae import Heard
from octavia.db.engine import Database
from octavia.db.tree import loading
from octavia.domain.errors import NotFound, Transient
from octavia.domain.tree import Amphora, LoadBalancer
from octavia.drivers.compute.contract import ServerStatus
from octavia.worker.world import Known, World


@dataclass(frozen=True, slots=True)
class Desired:
    """What the database wants, and what it remembers of what was made.

    :param overtaken: it was written to since it was known, and what is below ``lb`` was not read again:
        enough to settle what was applied, and not to plan.
    """

    lb: LoadBalancer
    amphorae: tuple[Amphora, ...]
    heard: Mapping[str, Heard] = field(default_factory=dict)
    overtaken: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen.

    :param gone: amphorae whose server is absent or will never work, with the reason.
    :param member_networks: subnet to network, for the subnets that members name.
    :param unanswering: amphorae whose agent was called in this pass and could not be reached.
    :param troubles: what this pass has found that cannot be as wanted: :func:`octavia.worker.trouble.marks`.
    """

    now: datetime
    gone: Mapping[str, str] = field(default_factory=dict)
    member_networks: Mapping[str, str] = field(default_factory=dict)
    unanswering: frozenset[str] = frozenset()
    troubles: frozenset[str] = frozenset()


def load(database: Database, load_balancer_id: str, known: Desired | None = None) -> Desired | None:
    """The whole load balancer; None when it is gone.

    :param known: as it was before in this pass; that is not read again.
    """
    with database.read() as tx:
        lb = loading.load_again(tx, known.lb) if known else loading.load(tx, load_balancer_id)
        if lb is None:
            return None
        rows = amphorae.of_load_balancer(tx, load_balancer_id)
        in_doubt = any(_doubtful(row) or row.replace_requested for row in rows)
        heard = amphorae.health(tx, load_balancer_id) if in_doubt else {}
    return Desired(lb, rows, heard, overtaken=known is not None and lb.generation != known.lb.generation)


def observe(desired: Desired, world: World, known: Known) -> Observed:
    """Look at what is in doubt.

    :raises Transient: the network could not be asked.
    """
    return Observed(
        now=world.clock.now(),
        gone=_gone(desired, world),
        member_networks=_member_networks(desired.lb, world, known),
    )


def _doubtful(row: Amphora) -> bool:
    return row.is_serving and row.unreachable_since is not None


def _gone(desired: Desired, world: World) -> dict[str, str]:
    gone = {}
    for row in desired.amphorae:
        if _doubtful(row) and row.compute_id:
            try:
                server = world.compute.get(row.compute_id)
            except Transient:
                continue  # says nothing about the server, and must hold nobody's configuration back
            if server is None:
                gone[row.id] = "its server is gone"
            elif server.status is ServerStatus.ERROR:
                gone[row.id] = f"its server is in ERROR: {server.fault or 'no fault is given'}"
    return gone


def _member_networks(lb: LoadBalancer, world: World, known: Known) -> dict[str, str]:
    subnet_ids = {
        member.subnet_id
        for pool in lb.pools
        for member in pool.members
        if member.subnet_id and member.subnet_id != lb.vip.subnet_id and not member.leaving
    }
    networks = {}
    for subnet_id in sorted(subnet_ids):
        if subnet_id not in known.subnets:
            try:
                known.subnets[subnet_id] = world.network.get_subnet(subnet_id)
            except NotFound:
                continue  # deleted under the member: it is reached by routes, if at all
        networks[subnet_id] = known.subnets[subnet_id].network_id
    return networks
