# SPDX-License-Identifier: Apache-2.0
"""Quotas of projects (contract: api.md section 13)."""

from typing import Any, Final

from octavia.api import query, reading
from octavia.api.schemas.quota import NAMES, QUOTA, by_resource, shown_limits
from octavia.api.service import Answer, Call
from octavia.db import quotas
from octavia.domain.errors import Invalid, NotFound

_LONGEST_PROJECT_ID: Final = 36


def index(call: Call) -> Answer:
    """GET /quotas: the projects that have a record. There is no choosing of fields here."""
    view = quotas.view(call.settings.quotas, NAMES)
    return reading.index(call, "quota:get_all", view, QUOTA, "quotas", whole=True)


def show(call: Call, project_id: str) -> Answer:
    """GET /quotas/{project}, whether it has a record or not."""
    query.only(call.query)
    call.authorize("quota:get_one", project_id)
    with call.service.database.read() as tx:
        found = quotas.limits(tx, project_id) or {}
    return Answer(200, _body(call, project_id, found))


def defaults(call: Call, project_id: str) -> Answer:
    """GET /quotas/{project}/default."""
    query.only(call.query)
    call.authorize("quota:get_defaults", project_id)
    return Answer(200, _body(call, project_id, {}))


def update(call: Call, project_id: str) -> Answer:
    """PUT /quotas/{project}."""
    values = by_resource(call.update_body(QUOTA))
    call.authorize("quota:put", project_id)
    if len(project_id) > _LONGEST_PROJECT_ID:
        raise Invalid(f"Validation failure: a project id has at most {_LONGEST_PROJECT_ID} characters.")

    def change(tx: Any) -> dict[str, int | None]:
        quotas.set_limits(tx, project_id, values)
        return quotas.limits(tx, project_id) or {}

    return Answer(202, _body(call, project_id, call.service.database.write(change)))


def delete(call: Call, project_id: str) -> Answer:
    """DELETE /quotas/{project}: back to the defaults."""
    query.only(call.query)
    call.authorize("quota:delete", project_id)
    if not call.service.database.write(lambda tx: quotas.reset(tx, project_id)):
        raise NotFound("Quotas", project_id)
    return Answer(202)


def _body(call: Call, project_id: str, own: dict[str, int | None]) -> dict[str, Any]:
    limits = {name: own.get(name) for name in call.settings.quotas}
    in_force = {
        name: call.settings.quotas[name] if limit is None else limit for name, limit in limits.items()
    }
    return {QUOTA.root: shown_limits(project_id, in_force)}
