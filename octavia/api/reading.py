# SPDX-License-Identifier: Apache-2.0
"""Lists and shows, for every resource the same."""

from typing import Any

from octavia.api import query
from octavia.api.schemas.common import timestamp
from octavia.api.schemas.fields import Schema
from octavia.api.service import Answer, Call
from octavia.db import views
from octavia.db.explain import Standing


def index(
    call: Call,
    permission: str,
    view: views.View,
    schema: Schema,
    plural: str,
    *,
    links: str | None = None,
    of_projects: bool = True,
    parent_id: str | None = None,
    whole: bool = False,
) -> Answer:
    """One page of a list.

    :param permission: the policy's rule, such as ``listener:get_all``.
    :param of_projects: callers see their own project's objects, unless they may see all; else who may see one
        may see all.
    :param links: what the list of links is called, where it is not ``<plural>_links``.
    :param parent_id: only what is below that pool or policy, which exists and may be
        looked at: nothing more is asked then.
    :param whole: there is no choosing of fields.
    """
    wanted = query.listing(call.query, call.settings)
    project_id = None
    if parent_id is None:
        if of_projects:
            project_id = call.authorize_list(permission, wanted.filters)
        else:
            call.authorize(permission, call.identity.project_id)
    with call.service.database.read() as tx:
        records = views.listing(tx, view, wanted, project_id=project_id, parent_id=parent_id)
    chosen = None if whole else query.fields(call.query, call.settings)
    answer: dict[str, Any] = {plural: [query.select(_shown(schema, one), chosen) for one in records]}
    if call.settings.allow_pagination:
        page = [record[view.key] for record in records]
        base = (call.settings.api_base_uri or call.req.prefix).rstrip("/") + call.req.path
        answer[links or f"{plural}_links"] = query.links(base, call.query, wanted.limit, page)
    return Answer(200, answer)


def show(call: Call, permission: str, view: views.View, schema: Schema, object_id: str) -> Answer:
    """One object, if the caller may see it."""
    with call.service.database.read() as tx:
        record, standing = views.show(tx, view, object_id)
    call.authorize(permission, record.get("project_id", call.identity.project_id))
    return Answer(200, {schema.root: shown(call, schema, record, standing)})


def statistics(call: Call, permission: str, view: views.View, object_id: str) -> Answer:
    """The counters of a load balancer or a listener, if the caller may see them."""
    with call.service.database.read() as tx:
        call.authorize(permission, views.project_of(tx, view, object_id))
        return Answer(200, {"stats": views.statistics(tx, view, object_id)})


def shown(call: Call, schema: Schema, record: views.Record, standing: Standing | None) -> dict[str, Any]:
    """An object of a show, with the reason why it is as it is."""
    answer = _shown(schema, record)
    if "provisioning_status" in answer:
        answer["status_reason"] = _reason(standing)
    return query.select(answer, query.fields(call.query, call.settings))


def _shown(schema: Schema, record: views.Record) -> dict[str, Any]:
    answer = schema.show(record)
    if "tenant_id" in answer:
        answer["tenant_id"] = record["project_id"]
    return answer


def _reason(standing: Standing | None) -> dict[str, Any] | None:
    if standing is None:
        return None
    return {
        "code": standing.code,
        "sentence": standing.sentence,
        "since": timestamp(standing.since),
        "attempts": standing.attempts,
        "next_try": timestamp(standing.next_try) if standing.next_try else None,
    }
