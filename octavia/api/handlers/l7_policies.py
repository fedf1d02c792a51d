# SPDX-License-Identifier: Apache-2.0
"""L7 policies (contract: api.md section 11)."""

from octavia.api import query, reading, written
from octavia.api.schemas.l7_policy import L7_POLICY
from octavia.api.service import Answer, Call, Find, of, one_more
from octavia.db import views
from octavia.db.tree import mapping
from octavia.domain import l7
from octavia.domain.tree import L7Policy
from octavia.providers import calls


def find_policy(policy_id: str) -> Find:
    """The load balancer of a policy."""
    return of(mapping.L7_POLICY, views.L7_POLICY.noun, policy_id)


def index(call: Call) -> Answer:
    """GET /l7policies."""
    return reading.index(call, "l7policy:get_all", views.L7_POLICY, L7_POLICY, "l7policies")


def show(call: Call, l7policy_id: str) -> Answer:
    """GET /l7policies/{id}."""
    return reading.show(call, "l7policy:get_one", views.L7_POLICY, L7_POLICY, l7policy_id)


def create(call: Call) -> Answer:
    """POST /l7policies."""
    values = call.create_body(L7_POLICY)
    listener_id = values.pop("listener_id")
    _, policy = call.change(
        "l7policy:post",
        of(mapping.LISTENER, views.LISTENER.noun, listener_id),
        lambda lb, births: l7.create_policy(lb, listener_id, values, births, call.service.deployment),
        room=one_more("l7policy"),
        tells=calls.created,
    )
    return Answer(201, {L7_POLICY.root: written.l7_policy(listener_id, policy)})


def update(call: Call, l7policy_id: str) -> Answer:
    """PUT /l7policies/{id}."""
    body = call.raw_body(L7_POLICY.root)
    if body == {}:
        raise l7.arguments("the request changes nothing")
    values = L7_POLICY.update(body, call.settings)
    lb, _ = call.change(
        "l7policy:put",
        find_policy(l7policy_id),
        lambda lb, _: (l7.update_policy(lb, l7policy_id, values, call.service.deployment), None),
        tells=calls.updated(L7Policy, l7policy_id, values),
    )
    listener, policy = l7.policy_of(lb, l7policy_id)
    return Answer(200, {L7_POLICY.root: written.l7_policy(listener.id, policy)})


def delete(call: Call, l7policy_id: str) -> Answer:
    """DELETE /l7policies/{id}."""
    query.only(call.query)
    call.change(
        "l7policy:delete",
        find_policy(l7policy_id),
        lambda lb, _: (l7.delete_policy(lb, l7policy_id, call.service.deployment), None),
        tells=calls.deleted(L7Policy, l7policy_id),
    )
    return Answer(204)
