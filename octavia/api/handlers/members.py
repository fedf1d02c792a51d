# SPDX-License-Identifier: Apache-2.0
"""Members of a pool, one by one and as a batch (contract: api.md section 9)."""

from octavia.api import body, query, reading, vip, written
from octavia.api.handlers.pools import find_pool
from octavia.api.schemas.member import MEMBER
from octavia.api.schemas.types import excerpt
from octavia.api.service import Answer, Call
from octavia.db import views
from octavia.domain import rules
from octavia.domain.errors import Invalid
from octavia.domain.rules import BatchItem


def index(call: Call, pool_id: str) -> Answer:
    """GET /pools/{id}/members."""
    _check_pool(call, pool_id)
    return reading.index(call, views.MEMBER, MEMBER, "members", parent_id=pool_id)


def show(call: Call, pool_id: str, member_id: str) -> Answer:
    """GET /pools/{id}/members/{id}."""
    with call.service.database.read() as tx:
        record, standing = views.show_below(tx, views.MEMBER, member_id, views.POOL, pool_id)
    return Answer(200, {MEMBER.root: reading.shown(call, MEMBER, record, standing)})


def create(call: Call, pool_id: str) -> Answer:
    """POST /pools/{id}/members."""
    values = call.create_body(MEMBER)
    if values["subnet_id"] is not None:
        _check_pool(call, pool_id)  # an unknown pool is told before an unknown subnet
        vip.check_member_subnets([values], call.service.network)
    _, member = call.service.change(
        find_pool(pool_id),
        lambda lb, births: rules.create_member(lb, pool_id, values, births, call.service.deployment),
    )
    return Answer(201, {MEMBER.root: written.member(member)})


def replace_all(call: Call, pool_id: str) -> Answer:
    """PUT /pools/{id}/members: the list becomes what the pool has."""
    additive_only = query.flag(call.query, "additive_only")
    items = _batch(call)
    _check_pool(call, pool_id)
    vip.check_member_subnets([item.values for item in items], call.service.network)
    call.service.change(
        find_pool(pool_id),
        lambda lb, births: (
            rules.replace_members(
                lb, pool_id, items, births, call.service.deployment, additive_only=additive_only
            ),
            None,
        ),
    )
    return Answer(202)


def _batch(call: Call) -> list[BatchItem]:
    items = body.read(call.req, "members")
    if not isinstance(items, list):
        raise Invalid(
            f"Invalid input for field/attribute members. Value: '{excerpt(items)}'. Value should be a list"
        )
    return [BatchItem(MEMBER.create(item, call.settings), frozenset(item)) for item in items]


def update(call: Call, pool_id: str, member_id: str) -> Answer:
    """PUT /pools/{id}/members/{id}."""
    values = call.update_body(MEMBER)
    lb, _ = call.service.change(
        find_pool(pool_id),
        lambda lb, _: (
            rules.update_member(lb, pool_id, member_id, values, call.service.deployment),
            None,
        ),
    )
    member = rules.member_of(rules.pool_of(lb, pool_id), member_id)
    return Answer(200, {MEMBER.root: written.member(member)})


def delete(call: Call, pool_id: str, member_id: str) -> Answer:
    """DELETE /pools/{id}/members/{id}."""
    query.only(call.query)
    call.service.change(
        find_pool(pool_id),
        lambda lb, _: (rules.delete_member(lb, pool_id, member_id, call.service.deployment), None),
    )
    return Answer(204)


def _check_pool(call: Call, pool_id: str) -> None:
    with call.service.database.read() as tx:
        views.check_exists(tx, views.POOL, pool_id)
