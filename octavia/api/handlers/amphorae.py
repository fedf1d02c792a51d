# SPDX-License-Identifier: Apache-2.0
"""Amphorae, for operators (contract: api.md section 19)."""

from octavia.api import query, reading
from octavia.api.schemas.amphora import AMPHORA
from octavia.api.service import Answer, Call
from octavia.db import amphorae, statuses, views
from octavia.db.engine import Connection
from octavia.domain import rules
from octavia.domain.tree import LoadBalancer


def index(call: Call) -> Answer:
    """GET /amphorae."""
    return reading.index(call, views.AMPHORA, AMPHORA, "amphorae")


def show(call: Call, amphora_id: str) -> Answer:
    """GET /amphorae/{id}."""
    return reading.show(call, views.AMPHORA, AMPHORA, amphora_id)


def statistics(call: Call, amphora_id: str) -> Answer:
    """GET /amphorae/{id}/stats."""
    query.only(call.query)
    with call.service.database.read() as tx:
        return Answer(200, {"amphora_stats": views.amphora_statistics(tx, amphora_id)})


def fail_over(call: Call, amphora_id: str) -> Answer:
    """PUT /amphorae/{id}/failover."""
    query.only(call.query)
    service = call.service

    def stamp(tx: Connection, lb: LoadBalancer) -> None:
        now = service.clock.now()
        amphorae.request_replacement(tx, [amphora_id], now)
        statuses.show_replacement(tx, lb.id, f"A failover of amphora {amphora_id} was asked for", now)

    service.change(
        lambda tx: views.load_balancer_of_amphora(tx, amphora_id),
        lambda lb, _: (rules.fail_over_amphora(lb, service.deployment), None),
        also=stamp,
    )
    return Answer(202)
