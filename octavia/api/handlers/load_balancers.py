# SPDX-License-Identifier: Apache-2.0
"""Load balancers (contract: api.md section 5). Reading a fully populated create is in ``graphs``."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from octavia import providers
from octavia.api import placement, query, reading, vip, written
from octavia.api.handlers import graphs
from octavia.api.schemas.load_balancer import LOAD_BALANCER
from octavia.api.service import Answer, Call, Service, load_balancer
from octavia.api.settings import ApiSettings
from octavia.db import amphorae, reservations, tree, views, work
from octavia.db import statuses as status_writer
from octavia.db.engine import Connection
from octavia.domain import graph, quota, rules
from octavia.domain.errors import Conflict, OctaviaError
from octavia.domain.tree import LoadBalancer, Topology, VrrpGroup

_log = logging.getLogger(__name__)

_FIRST_GENERATION: Final = 1
_TAKEN_OVER: Final = ("name", "description", "admin_state_up", "tags")


def index(call: Call) -> Answer:
    """GET /loadbalancers."""
    return reading.index(call, views.LOAD_BALANCER, LOAD_BALANCER, "loadbalancers")


def show(call: Call, load_balancer_id: str) -> Answer:
    """GET /loadbalancers/{id}."""
    return reading.show(call, views.LOAD_BALANCER, LOAD_BALANCER, load_balancer_id)


def create(call: Call) -> Answer:
    """POST /loadbalancers, with or without children."""
    service, settings = call.service, call.settings
    values = call.create_body(LOAD_BALANCER)
    children = graphs.read(values["listeners"], values["pools"], settings)
    placed = placement.choose(service, values)
    chosen, additional = vip.choose(values, service.network, placed.settings)
    vip.check_member_subnets(children.members, service.network)
    lb_id = str(uuid4())
    lb = LoadBalancer(
        id=lb_id,
        project_id=_project(call, values),
        created_at=service.clock.now(),
        generation=_FIRST_GENERATION,
        provider=placed.provider,
        topology=placed.settings.loadbalancer_topology,
        flavor_id=placed.flavor_id,
        availability_zone=placed.availability_zone,
        vrrp_group=_vrrp_group(lb_id, placed.settings),
        vip=replace(chosen, vnic_type=placed.vnic_type),
        additional_vips=additional,
        **{name: values[name] for name in _TAKEN_OVER},
    )

    def populated(lb: LoadBalancer) -> LoadBalancer:
        lb = graph.populate(lb, children.listeners, children.pools, service.births(), service.deployment)
        providers.check(None, lb)
        return lb

    return Answer(201, {LOAD_BALANCER.root: written.expanded(_make(service, lb, populated))})


def _project(call: Call, values: dict[str, Any]) -> str:
    chosen = values["tenant_id"] or values["project_id"] or call.identity.project_id
    return chosen or call.settings.default_project_id


def _vrrp_group(lb_id: str, settings: ApiSettings) -> VrrpGroup | None:
    if settings.loadbalancer_topology is not Topology.ACTIVE_STANDBY:
        return None
    return VrrpGroup(
        name=lb_id.replace("-", ""),
        version=settings.vrrp_version,
        advert_int=settings.vrrp_advert_int,
        auth_pass=secrets.token_hex(4)[:7],  # VRRPv2 reads eight characters, keepalived seven
    )


def _make(
    service: Service, lb: LoadBalancer, populated: Callable[[LoadBalancer], LoadBalancer]
) -> LoadBalancer:
    """Reserve, make the VIP's port, store: no call to the network is inside a transaction.

    :param populated: adds the children, once the addresses are known.
    """
    service.database.write(lambda tx: _reserve(tx, service, lb))
    placed = lb
    try:
        allocation = service.network.create_vip_port(lb.id, lb.project_id, lb.vip, lb.additional_vips)
        placed = replace(lb, vip=allocation.vip, additional_vips=allocation.additional_vips)
        made = populated(placed)
        service.database.write(lambda tx: _store(tx, service, made))
    except BaseException:
        _give_up(service, placed)
        raise
    service.doorbell.ring()
    return made


def _reserve(tx: Connection, service: Service, lb: LoadBalancer) -> None:
    service.check_quota(tx, lb, {"load_balancer": 1})
    reservations.reserve(tx, lb.id, lb.project_id, service.clock.now())


def _store(tx: Connection, service: Service, lb: LoadBalancer) -> None:
    try:
        reservations.redeem(tx, lb.id)
    except Conflict:
        if views.exists(tx, views.LOAD_BALANCER, lb.id):
            return  # the connection broke after an earlier attempt had been committed
        raise
    children = quota.added(None, lb)
    del children["load_balancer"]  # its place was reserved
    service.check_quota(tx, lb, children)
    placement.hold(tx, lb.flavor_id, lb.availability_zone)
    tree.insert(tx, lb)
    work.announce(tx, lb.id, service.clock.now())


def _give_up(service: Service, lb: LoadBalancer) -> None:
    """Free what an interrupted creation holds; what cannot be freed now, the sweep frees later."""
    try:
        # No reservation any more: it expired, or the load balancer was stored after all. Whoever still
        # holds it knows that nobody else uses the port, which may exist although its creation failed.
        if service.database.write(lambda tx: reservations.release(tx, lb.id)):
            service.network.release_vip_port(lb.id, lb.vip)
    except OctaviaError as error:
        _log.warning("Load balancer %s was not created; freeing its address failed: %s", lb.id, error)


def update(call: Call, load_balancer_id: str) -> Answer:
    """PUT /loadbalancers/{id}."""
    values = vip.check_update(call.update_body(LOAD_BALANCER))
    lb, _ = call.service.change(
        load_balancer(load_balancer_id),
        lambda lb, _: (rules.update_load_balancer(lb, values, call.service.deployment), None),
    )
    return Answer(200, {LOAD_BALANCER.root: written.load_balancer(lb)})


def delete(call: Call, load_balancer_id: str) -> Answer:
    """DELETE /loadbalancers/{id}, with its children if ``cascade``."""
    cascade = query.flag(call.query, "cascade")
    call.service.change(
        load_balancer(load_balancer_id),
        lambda lb, _: (
            rules.delete_load_balancer(lb, cascade=cascade, deployment=call.service.deployment),
            None,
        ),
    )
    return Answer(204)


def fail_over(call: Call, load_balancer_id: str) -> Answer:
    """PUT /loadbalancers/{id}/failover."""
    query.only(call.query)
    service = call.service

    def stamp(tx: Connection, lb: LoadBalancer) -> None:
        now = service.clock.now()
        present = amphorae.of_load_balancer(tx, lb.id)
        amphorae.request_replacement(tx, [one.id for one in present], now)
        status_writer.show_replacement(tx, lb.id, "A failover was asked for", now)

    service.change(
        load_balancer(load_balancer_id),
        lambda lb, _: (rules.fail_over(lb, service.deployment), None),
        also=stamp,
    )
    return Answer(202)


def statuses(call: Call, load_balancer_id: str) -> Answer:
    """GET /loadbalancers/{id}/status."""
    query.only(call.query)
    with call.service.database.read() as tx:
        return Answer(200, {"statuses": {"loadbalancer": views.status_tree(tx, load_balancer_id)}})


def statistics(call: Call, load_balancer_id: str) -> Answer:
    """GET /loadbalancers/{id}/stats."""
    query.only(call.query)
    with call.service.database.read() as tx:
        return Answer(200, {"stats": views.statistics(tx, views.LOAD_BALANCER, load_balancer_id)})
