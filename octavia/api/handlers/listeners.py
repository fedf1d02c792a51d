# SPDX-License-Identifier: Apache-2.0
"""Listeners (contract: api.md section 7)."""

from octavia.api import query, reading, written
from octavia.api.schemas.listener import LISTENER
from octavia.api.service import Answer, Call, Find, load_balancer, of
from octavia.db import tree, views
from octavia.domain import rules


def _find(listener_id: str) -> Find:
    return of(tree.LISTENER, views.LISTENER.noun, listener_id)


def index(call: Call) -> Answer:
    """GET /listeners."""
    return reading.index(call, views.LISTENER, LISTENER, "listeners")


def show(call: Call, listener_id: str) -> Answer:
    """GET /listeners/{id}."""
    return reading.show(call, views.LISTENER, LISTENER, listener_id)


def create(call: Call) -> Answer:
    """POST /listeners."""
    values = call.create_body(LISTENER)
    lb, listener = call.service.change(
        load_balancer(values.pop("loadbalancer_id")),
        lambda lb, births: rules.create_listener(lb, values, births, call.service.deployment),
    )
    return Answer(201, {LISTENER.root: written.listener(lb, listener)})


def update(call: Call, listener_id: str) -> Answer:
    """PUT /listeners/{id}."""
    values = call.update_body(LISTENER)
    lb, _ = call.service.change(
        _find(listener_id),
        lambda lb, _: (rules.update_listener(lb, listener_id, values, call.service.deployment), None),
    )
    return Answer(200, {LISTENER.root: written.listener(lb, rules.listener_of(lb, listener_id))})


def delete(call: Call, listener_id: str) -> Answer:
    """DELETE /listeners/{id}."""
    query.only(call.query)
    call.service.change(
        _find(listener_id),
        lambda lb, _: (rules.delete_listener(lb, listener_id, call.service.deployment), None),
    )
    return Answer(204)


def statistics(call: Call, listener_id: str) -> Answer:
    """GET /listeners/{id}/stats."""
    query.only(call.query)
    with call.service.database.read() as tx:
        return Answer(200, {"stats": views.statistics(tx, views.LISTENER, listener_id)})
