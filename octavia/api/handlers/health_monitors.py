# SPDX-License-Identifier: Apache-2.0
"""Health monitors (contract: api.md section 10)."""

from octavia.api import query, reading, written
from octavia.api.handlers.pools import find_pool
from octavia.api.schemas.health_monitor import HEALTH_MONITOR
from octavia.api.service import Answer, Call, Find, of, one_more
from octavia.db import views
from octavia.db.tree import mapping
from octavia.domain import rules
from octavia.domain.tree import HealthMonitor
from octavia.providers import calls


def _find(monitor_id: str) -> Find:
    return of(mapping.HEALTH_MONITOR, views.HEALTH_MONITOR.noun, monitor_id)


def index(call: Call) -> Answer:
    """GET /healthmonitors."""
    return reading.index(
        call, "healthmonitor:get_all", views.HEALTH_MONITOR, HEALTH_MONITOR, "healthmonitors"
    )


def show(call: Call, health_monitor_id: str) -> Answer:
    """GET /healthmonitors/{id}."""
    return reading.show(
        call, "healthmonitor:get_one", views.HEALTH_MONITOR, HEALTH_MONITOR, health_monitor_id
    )


def create(call: Call) -> Answer:
    """POST /healthmonitors."""
    values = call.create_body(HEALTH_MONITOR)
    pool_id = values.pop("pool_id")
    lb, monitor = call.change(
        "healthmonitor:post",
        find_pool(pool_id),
        lambda lb, births: rules.create_health_monitor(lb, pool_id, values, births, call.service.deployment),
        first=lambda _tx, _lb: rules.check_monitor_allowed(values, call.service.deployment),
        room=one_more("health_monitor"),
        tells=calls.created,
    )
    answer = written.health_monitor(rules.pool_of(lb, pool_id), monitor)
    return Answer(201, {HEALTH_MONITOR.root: answer})


def update(call: Call, health_monitor_id: str) -> Answer:
    """PUT /healthmonitors/{id}."""
    values = call.update_body(HEALTH_MONITOR)
    lb, _ = call.change(
        "healthmonitor:put",
        _find(health_monitor_id),
        lambda lb, _: (
            rules.update_health_monitor(lb, health_monitor_id, values, call.service.deployment),
            None,
        ),
        tells=calls.updated(HealthMonitor, health_monitor_id, values),
    )
    pool, monitor = rules.monitor_of(lb, health_monitor_id)
    return Answer(200, {HEALTH_MONITOR.root: written.health_monitor(pool, monitor)})


def delete(call: Call, health_monitor_id: str) -> Answer:
    """DELETE /healthmonitors/{id}."""
    query.only(call.query)
    call.change(
        "healthmonitor:delete",
        _find(health_monitor_id),
        lambda lb, _: (
            rules.delete_health_monitor(lb, health_monitor_id, call.service.deployment),
            None,
        ),
        tells=calls.deleted(HealthMonitor, health_monitor_id),
    )
    return Answer(204)
