# SPDX-License-Identifier: Apache-2.0
"""Amphorae, for operators (contract: api.md section 19)."""

from octavia.api import query, reading
from octavia.api.schemas.amphora import AMPHORA
from octavia.api.service import Answer, Call
from octavia.db import amphorae, statuses, views, work
from octavia.db.engine import Connection
from octavia.db.tree import loading
from octavia.domain import rules
from octavia.domain.errors import NotFound
from octavia.domain.tree import LoadBalancer


def index(call: Call) -> Answer:
    """GET /amphorae."""
    return reading.index(call, "amphora:get_all", views.AMPHORA, AMPHORA, "amphorae", of_projects=False)


def show(call: Call, amphora_id: str) -> Answer:
    """GET /amphorae/{id}."""
    _authorize(call, amphora_id, "amphora:get_one")
    return reading.show(call, "amphora:get_one", views.AMPHORA, AMPHORA, amphora_id)


def statistics(call: Call, amphora_id: str) -> Answer:
    """GET /amphorae/{id}/stats."""
    query.only(call.query, "fields")  # which mean nothing here
    with call.service.database.read() as tx:
        found = views.amphora_statistics(tx, amphora_id)
    _authorize(call, amphora_id, "amphora:get_stats")
    return Answer(200, {"amphora_stats": found})


def fail_over(call: Call, amphora_id: str) -> Answer:
    """PUT /amphorae/{id}/failover."""
    call.no_body()
    service = call.service

    def stamp(tx: Connection, lb: LoadBalancer) -> None:
        now = service.clock.now()
        amphorae.request_replacement(tx, [amphora_id], now)
        statuses.show_replacement(tx, lb.id, f"A failover of amphora {amphora_id} was asked for", now)

    call.change(
        "amphora:put_failover",
        lambda tx: views.load_balancer_of_amphora(tx, amphora_id),
        lambda lb, _: (rules.fail_over_amphora(lb, service.deployment), None),
        also=stamp,
    )
    return Answer(202)


def configure(call: Call, amphora_id: str) -> Answer:
    """PUT /amphorae/{id}/config: its agent gets its configuration anew. No status moves."""
    call.no_body()
    _authorize(call, amphora_id, "amphora:put_config")
    service = call.service

    def change(tx: Connection) -> None:
        load_balancer_id = views.load_balancer_of_amphora(tx, amphora_id)
        lb = loading.lock(tx, load_balancer_id)
        rules.stays("Load Balancer", lb)
        now = service.clock.now()
        amphorae.request_agent_configuration(tx, amphora_id, now)
        work.announce(tx, lb.id, now)

    service.database.write(change)
    service.doorbell.ring()
    return Answer(202)


def delete(call: Call, amphora_id: str) -> Answer:
    """DELETE /amphorae/{id}: one that has failed is taken away, with what it owned."""
    query.only(call.query)
    _authorize(call, amphora_id, "amphora:delete")
    service = call.service

    def change(tx: Connection) -> None:
        now = service.clock.now()
        owner = _lock_owner(tx, amphora_id)
        if not amphorae.request_deletion(tx, amphora_id, now):
            views.check_exists(tx, views.AMPHORA, amphora_id)
            raise rules.immutable("amphora", amphora_id)
        if owner:
            work.announce(tx, owner, now)

    service.database.write(change)
    service.doorbell.ring()
    return Answer(204)


def _authorize(call: Call, amphora_id: str, permission: str) -> None:
    with call.service.database.read() as tx:
        project_id = views.project_of(tx, views.AMPHORA, amphora_id)
    call.authorize(permission, project_id)


def _lock_owner(tx: Connection, amphora_id: str) -> str | None:
    """Its load balancer's id; None if it has none, then housekeeping takes it away."""
    try:
        return loading.lock(tx, views.load_balancer_of_amphora(tx, amphora_id)).id
    except NotFound:
        return None
