# SPDX-License-Identifier: Apache-2.0
"""Members of a pool, one by one and as a batch (contract: api.md section 9)."""

from octavia.api import body, placement, query, reading, vip, written
from octavia.api.handlers.pools import find_pool
from octavia.api.schemas.member import MEMBER, placed
from octavia.api.schemas.types import excerpt
from octavia.api.service import Answer, Call, one_more
from octavia.db import views
from octavia.db.engine import Connection
from octavia.domain import rules
from octavia.domain.errors import Invalid
from octavia.domain.rules import BatchItem
from octavia.domain.tree import LoadBalancer, Member
from octavia.providers import calls


def index(call: Call, pool_id: str) -> Answer:
    """GET /pools/{id}/members."""
    _authorize(call, pool_id, "member:get_all")
    return reading.index(call, "member:get_all", views.MEMBER, MEMBER, "members", parent_id=pool_id)


def show(call: Call, pool_id: str, member_id: str) -> Answer:
    """GET /pools/{id}/members/{id}."""
    with call.service.database.read() as tx:
        record, standing = views.show_below(tx, views.MEMBER, member_id, views.POOL, pool_id)
    call.authorize("member:get_one", record["project_id"])
    return Answer(200, {MEMBER.root: reading.shown(call, MEMBER, record, standing)})


def create(call: Call, pool_id: str) -> Answer:
    """POST /pools/{id}/members."""
    values = placed(call.create_body(MEMBER))
    deployment = call.service.deployment

    def first(tx: Connection, lb: LoadBalancer) -> None:
        rules.check_members([values], deployment)
        placement.check_member_ports(tx, lb, [values])

    if values["subnet_id"] is not None:
        # An unknown pool is told before an unknown subnet, and whose pool it is is asked before the network.
        _authorize(call, pool_id, "member:post")
        vip.check_member_subnets([values], call.service.network)
    _, member = call.change(
        "member:post",
        find_pool(pool_id),
        lambda lb, births: rules.create_member(lb, pool_id, values, births, deployment),
        first=first,
        room=one_more("member"),
        tells=calls.created,
    )
    return Answer(201, {MEMBER.root: written.member(member)})


def replace_all(call: Call, pool_id: str) -> Answer:
    """PUT /pools/{id}/members: the list becomes what the pool has."""
    additive_only = query.flag(call.query, "additive_only")
    items = _batch(call)
    _authorize(call, pool_id, "member:post", "member:put", *([] if additive_only else ["member:delete"]))
    vip.check_member_subnets([item.values for item in items], call.service.network)
    deployment = call.service.deployment

    def first(tx: Connection, lb: LoadBalancer) -> None:
        new = rules.new_in_batch(lb, pool_id, items)
        rules.check_members(new, deployment)
        placement.check_member_ports(tx, lb, new)

    call.change(
        "member:put",
        find_pool(pool_id),
        lambda lb, births: (
            rules.replace_members(lb, pool_id, items, births, deployment, additive_only=additive_only),
            None,
        ),
        first=first,
        room=lambda lb: {"member": rules.growth(lb, pool_id, items, additive_only=additive_only)},
        tells=calls.members_replaced(pool_id),
    )
    return Answer(202)


def _batch(call: Call) -> list[BatchItem]:
    items = body.read(call.req, "members", call.settings.max_request_body_size)
    if not isinstance(items, list):
        raise Invalid(
            f"Invalid input for field/attribute members. Value: '{excerpt(items)}'. Value should be a list"
        )
    return [BatchItem(placed(MEMBER.create(item, call.settings)), frozenset(item)) for item in items]


def update(call: Call, pool_id: str, member_id: str) -> Answer:
    """PUT /pools/{id}/members/{id}."""
    values = call.update_body(MEMBER)
    lb, _ = call.change(
        "member:put",
        find_pool(pool_id),
        lambda lb, _: (
            rules.update_member(lb, pool_id, member_id, values, call.service.deployment),
            None,
        ),
        tells=calls.updated(Member, member_id, values),
    )
    member = rules.member_of(rules.pool_of(lb, pool_id), member_id)
    return Answer(200, {MEMBER.root: written.member(member)})


def delete(call: Call, pool_id: str, member_id: str) -> Answer:
    """DELETE /pools/{id}/members/{id}."""
    query.only(call.query)
    call.change(
        "member:delete",
        find_pool(pool_id),
        lambda lb, _: (rules.delete_member(lb, pool_id, member_id, call.service.deployment), None),
        tells=calls.deleted(Member, member_id),
    )
    return Answer(204)


def _authorize(call: Call, pool_id: str, *permissions: str) -> None:
    with call.service.database.read() as tx:
        project_id = views.project_of(tx, views.POOL, pool_id)
    for permission in permissions:
        call.authorize(permission, project_id)
