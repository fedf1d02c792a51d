# SPDX-License-Identifier: Apache-2.0
"""Pools (contract: api.md section 8)."""

from octavia.api import query, reading, written
from octavia.api.schemas.pool import POOL
from octavia.api.service import Answer, Call, Find, load_balancer, of, one_more
from octavia.db import views
from octavia.db.tree import mapping
from octavia.domain import rules, tls
from octavia.domain.tree import Pool
from octavia.providers import calls


def find_pool(pool_id: str) -> Find:
    """The load balancer of a pool."""
    return of(mapping.POOL, views.POOL.noun, pool_id)


def index(call: Call) -> Answer:
    """GET /pools."""
    return reading.index(call, "pool:get_all", views.POOL, POOL, "pools")


def show(call: Call, pool_id: str) -> Answer:
    """GET /pools/{id}."""
    return reading.show(call, "pool:get_one", views.POOL, POOL, pool_id)


def create(call: Call) -> Answer:
    """POST /pools, below a load balancer or as the default pool of a listener."""
    values = call.create_body(POOL)
    load_balancer_id, listener_id = values.pop("loadbalancer_id"), values.pop("listener_id")
    if load_balancer_id is not None:
        find = load_balancer(load_balancer_id)
    elif listener_id is not None:
        find = of(mapping.LISTENER, views.LISTENER.noun, listener_id)
    else:
        raise rules.invalid("A pool needs loadbalancer_id or listener_id.")
    lb, pool = call.change(
        "pool:post",
        find,
        lambda lb, births: rules.create_pool(
            lb, values, births, call.service.deployment, listener_id=listener_id
        ),
        room=one_more("pool"),
        tells=calls.created,
        secrets=(lambda _, pool: tls.secrets_of_pool(pool)) if tls.names_secrets(values) else None,
    )
    return Answer(201, {POOL.root: written.pool(lb, pool)})


def update(call: Call, pool_id: str) -> Answer:
    """PUT /pools/{id}."""
    values = call.update_body(POOL)
    lb, _ = call.change(
        "pool:put",
        find_pool(pool_id),
        lambda lb, _: (rules.update_pool(lb, pool_id, values, call.service.deployment), None),
        tells=calls.updated(Pool, pool_id, values),
        secrets=(lambda lb, _: tls.secrets_of_pool(rules.pool_of(lb, pool_id)))
        if tls.names_secrets(values)
        else None,
    )
    return Answer(200, {POOL.root: written.pool(lb, rules.pool_of(lb, pool_id))})


def delete(call: Call, pool_id: str) -> Answer:
    """DELETE /pools/{id}."""
    query.only(call.query)
    call.change(
        "pool:delete",
        find_pool(pool_id),
        lambda lb, _: (rules.delete_pool(lb, pool_id, call.service.deployment), None),
        tells=calls.deleted(Pool, pool_id),
    )
    return Answer(204)
