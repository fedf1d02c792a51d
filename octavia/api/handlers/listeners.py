# SPDX-License-Identifier: Apache-2.0
"""Listeners (contract: api.md section 7)."""

from octavia.api import query, reading, written
from octavia.api.schemas.listener import LISTENER
from octavia.api.service import Answer, Call, Find, load_balancer, of, one_more
from octavia.db import views
from octavia.db.tree import mapping
from octavia.domain import rules, tls
from octavia.domain.tree import Listener
from octavia.providers import calls


def _find(listener_id: str) -> Find:
    return of(mapping.LISTENER, views.LISTENER.noun, listener_id)


def index(call: Call) -> Answer:
    """GET /listeners."""
    return reading.index(call, "listener:get_all", views.LISTENER, LISTENER, "listeners")


def show(call: Call, listener_id: str) -> Answer:
    """GET /listeners/{id}."""
    return reading.show(call, "listener:get_one", views.LISTENER, LISTENER, listener_id)


def create(call: Call) -> Answer:
    """POST /listeners."""
    values = call.create_body(LISTENER)
    lb, listener = call.change(
        "listener:post",
        load_balancer(values.pop("loadbalancer_id")),
        lambda lb, births: rules.create_listener(lb, values, births, call.service.deployment),
        first=lambda _tx, _lb: rules.check_listener_allowed(values, call.service.deployment),
        room=one_more("listener"),
        tells=calls.created,
        secrets=(lambda _, listener: tls.secrets_of_listener(listener))
        if tls.names_secrets(values)
        else None,
    )
    return Answer(201, {LISTENER.root: written.listener(lb, listener)})


def update(call: Call, listener_id: str) -> Answer:
    """PUT /listeners/{id}."""
    values = call.update_body(LISTENER)
    lb, _ = call.change(
        "listener:put",
        _find(listener_id),
        lambda lb, _: (rules.update_listener(lb, listener_id, values, call.service.deployment), None),
        tells=calls.updated(Listener, listener_id, values),
        secrets=(lambda lb, _: tls.secrets_of_listener(rules.listener_of(lb, listener_id)))
        if tls.names_secrets(values)
        else None,
    )
    return Answer(200, {LISTENER.root: written.listener(lb, rules.listener_of(lb, listener_id))})


def delete(call: Call, listener_id: str) -> Answer:
    """DELETE /listeners/{id}."""
    query.only(call.query)
    call.change(
        "listener:delete",
        _find(listener_id),
        lambda lb, _: (rules.delete_listener(lb, listener_id, call.service.deployment), None),
        tells=calls.deleted(Listener, listener_id),
    )
    return Answer(204)


def statistics(call: Call, listener_id: str) -> Answer:
    """GET /listeners/{id}/stats."""
    query.only(call.query, "fields")  # which mean nothing here
    return reading.statistics(call, "listener:get_stats", views.LISTENER, listener_id)
