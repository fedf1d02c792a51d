# SPDX-License-Identifier: Apache-2.0
"""Rules of an L7 policy (contract: api.md section 12)."""

from octavia.api import query, reading, written
from octavia.api.handlers.l7_policies import find_policy
from octavia.api.schemas.l7_rule import L7_RULE
from octavia.api.service import Answer, Call, one_more
from octavia.db import views
from octavia.domain import l7
from octavia.domain.tree import L7Rule
from octavia.providers import calls


def index(call: Call, l7policy_id: str) -> Answer:
    """GET /l7policies/{id}/rules."""
    with call.service.database.read() as tx:
        project_id = views.project_of(tx, views.L7_POLICY, l7policy_id)
    call.authorize("l7rule:get_all", project_id)
    return reading.index(call, "l7rule:get_all", views.L7_RULE, L7_RULE, "rules", parent_id=l7policy_id)


def show(call: Call, l7policy_id: str, l7rule_id: str) -> Answer:
    """GET /l7policies/{id}/rules/{id}."""
    with call.service.database.read() as tx:
        record, standing = views.show_below(tx, views.L7_RULE, l7rule_id, views.L7_POLICY, l7policy_id)
    call.authorize("l7rule:get_one", record["project_id"])
    return Answer(200, {L7_RULE.root: reading.shown(call, L7_RULE, record, standing)})


def create(call: Call, l7policy_id: str) -> Answer:
    """POST /l7policies/{id}/rules."""
    values = call.create_body(L7_RULE)
    _, rule = call.change(
        "l7rule:post",
        find_policy(l7policy_id),
        lambda lb, births: l7.create_rule(lb, l7policy_id, values, births, call.service.deployment),
        first=lambda _tx, _lb: l7.check_rule(values),
        room=one_more("l7rule"),
        tells=calls.created,
    )
    return Answer(201, {L7_RULE.root: written.l7_rule(rule)})


def update(call: Call, l7policy_id: str, l7rule_id: str) -> Answer:
    """PUT /l7policies/{id}/rules/{id}."""
    values = call.update_body(L7_RULE)
    lb, _ = call.change(
        "l7rule:put",
        find_policy(l7policy_id),
        lambda lb, _: (l7.update_rule(lb, l7policy_id, l7rule_id, values, call.service.deployment), None),
        tells=calls.updated(L7Rule, l7rule_id, values),
    )
    _, policy = l7.policy_of(lb, l7policy_id)
    return Answer(200, {L7_RULE.root: written.l7_rule(l7.rule_of(policy, l7rule_id))})


def delete(call: Call, l7policy_id: str, l7rule_id: str) -> Answer:
    """DELETE /l7policies/{id}/rules/{id}."""
    query.only(call.query)
    call.change(
        "l7rule:delete",
        find_policy(l7policy_id),
        lambda lb, _: (l7.delete_rule(lb, l7policy_id, l7rule_id, call.service.deployment), None),
        tells=calls.deleted(L7Rule, l7rule_id),
    )
    return Answer(204)
