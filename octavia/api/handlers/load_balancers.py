# SPDX-License-Identifier: Apache-2.0
"""Load balancers (contract: api.md section 5). Reading a fully populated create is in ``graphs``."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from octavia.api import placement, query, reading, vip, written
from octavia.api.handlers import graphs
from octavia.api.schemas.load_balancer import LOAD_BALANCER
from octavia.api.service import Answer, Call, Service, load_balancer
from octavia.api.settings import ApiSettings
from octavia.db import amphorae, provider_calls, reservations, views, work
from octavia.db import statuses as status_writer
from octavia.db.engine import Connection
from octavia.db.tree import saving
from octavia.domain import graph, quota, rules, tls
from octavia.domain.errors import Conflict, OctaviaError
from octavia.domain.tree import LoadBalancer, Topology, VrrpGroup
from octavia.providers import calls

_log = logging.getLogger(__name__)

_FIRST_GENERATION: Final = 1
_TAKEN_OVER: Final = ("name", "description", "admin_state_up", "tags")


def index(call: Call) -> Answer:
    """GET /loadbalancers."""
    return reading.index(call, "loadbalancer:get_all", views.LOAD_BALANCER, LOAD_BALANCER, "loadbalancers")


def show(call: Call, load_balancer_id: str) -> Answer:
    """GET /loadbalancers/{id}."""
    return reading.show(call, "loadbalancer:get_one", views.LOAD_BALANCER, LOAD_BALANCER, load_balancer_id)


def create(call: Call) -> Answer:
    """POST /loadbalancers, with or without children; the checks are in the order of section 5.5."""
    service, settings = call.service, call.settings
    body = call.raw_body(LOAD_BALANCER.root)
    values = LOAD_BALANCER.create(body, settings)
    children = graphs.read(values["listeners"], values["pools"], settings)
    lb_id, project_id = str(uuid4()), _project(call, values)
    call.authorize("loadbalancer:post", project_id)
    if "vip_sg_ids" in body:
        call.authorize("loadbalancer:post:vip_sg_ids", project_id)
    wished, additional = vip.choose(values, service.network, settings)
    choice = placement.choose(service, values)

    def bare() -> LoadBalancer:
        placed = placement.place(service, choice)
        vip.check_network_allowed(wished, placed.settings)
        on_port = replace(wished, vnic_type=placed.vnic_type)
        rules.check_security_groups(on_port)
        rules.check_ports(children.members, sriov=placed.member_sriov)
        vip.check_member_subnets(children.members, service.network)
        return LoadBalancer(
            id=lb_id,
            project_id=project_id,
            created_at=service.clock.now(),
            generation=_FIRST_GENERATION,
            provider=choice.provider,
            topology=placed.settings.loadbalancer_topology,
            flavor_id=choice.flavor_id,
            availability_zone=choice.availability_zone,
            vrrp_group=_vrrp_group(lb_id, placed.settings) if choice.has_amphorae else None,
            vip=on_port,
            additional_vips=additional,
            **{name: values[name] for name in _TAKEN_OVER},
        )

    def populated(lb: LoadBalancer) -> LoadBalancer:
        lb = graph.populate(lb, children.listeners, children.pools, service.births(), service.deployment)
        service.providers.check(None, lb)
        service.verify(tls.secrets_of(lb))
        return lb

    lb = _make(service, lb_id, project_id, bare, populated)
    return Answer(201, {LOAD_BALANCER.root: written.expanded(lb)})


def _project(call: Call, values: dict[str, Any]) -> str:
    chosen = values["tenant_id"] or values["project_id"] or call.identity.project_id
    chosen = chosen or call.settings.default_project_id
    if chosen is None:
        raise rules.invalid(
            "Neither the request nor its token names a project. (For operators: tokens of users have to be"
            " scoped to one, and [keystone_authtoken] has to be right.)"
        )
    return chosen


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
    service: Service,
    lb_id: str,
    project_id: str,
    bare: Callable[[], LoadBalancer],
    populated: Callable[[LoadBalancer], LoadBalancer],
) -> LoadBalancer:
    """Reserve, make the VIP's port, store: no call to the network is inside a transaction.

    :param bare: the load balancer without addresses and children, if the provider can make it.
    :param populated: adds the children, once the addresses are known.
    """
    service.database.write(lambda tx: _reserve(tx, service, lb_id, project_id))
    lb: LoadBalancer | None = None
    call_id = str(uuid4())
    try:
        lb = bare()
        lb = vip.allocated(lb, service.dispatch.allocate(lb))
        made = populated(lb)
        service.database.write(lambda tx: _store(tx, service, made, call_id))
    except BaseException:
        _give_up(service, lb_id, lb)
        raise
    if made.third_party:
        service.dispatch.create(call_id, calls.created(made), made)
    else:
        service.doorbell.ring()
    return made


def _reserve(tx: Connection, service: Service, lb_id: str, project_id: str) -> None:
    service.check_quota(tx, project_id, {"load_balancer": 1})
    reservations.reserve(tx, lb_id, project_id, service.clock.now())


def _store(tx: Connection, service: Service, lb: LoadBalancer, call_id: str) -> None:
    try:
        reservations.redeem(tx, lb.id)
    except Conflict:
        if views.exists(tx, views.LOAD_BALANCER, lb.id):
            return  # the connection broke after an earlier attempt had been committed
        raise
    children = quota.added(None, lb)
    del children["load_balancer"]  # its place was reserved
    service.check_quota(tx, lb.project_id, children)
    placement.hold(tx, lb.flavor_id, lb.availability_zone)
    saving.insert(tx, lb)
    if lb.third_party:
        provider_calls.begin(tx, call_id, lb, "loadbalancer_create", service.clock.now())
    else:
        work.announce(tx, lb.id, service.clock.now())


def _give_up(service: Service, lb_id: str, lb: LoadBalancer | None) -> None:
    """Free what an interrupted creation holds; what cannot be freed now, the sweep frees later.

    :param lb: None: the network was not asked for anything yet.
    """
    try:
        # No reservation any more: it expired, or the load balancer was stored after all. Whoever still
        # holds it knows that nobody else uses the port, which may exist although its creation failed.
        if service.database.write(lambda tx: reservations.release(tx, lb_id)) and lb:
            service.network.release_vip_port(lb_id, lb.vip)
    except OctaviaError as error:
        _log.warning("Load balancer %s was not created; freeing its address failed: %s", lb_id, error)


def update(call: Call, load_balancer_id: str) -> Answer:
    """PUT /loadbalancers/{id}."""
    values = call.update_body(LOAD_BALANCER)
    if values.keys() & {"vip_qos_policy_id", "vip_sg_ids"}:
        # Whether it exists, and whether the caller may, is told before what it refers to.
        with call.service.database.read() as tx:
            project_id = views.project_of(tx, views.LOAD_BALANCER, load_balancer_id)
        call.authorize("loadbalancer:put", project_id)
        if "vip_sg_ids" in values:
            call.authorize("loadbalancer:put:vip_sg_ids", project_id)
        vip.check_references(values, call.service.network)
    if "vip_sg_ids" in values:
        values["vip_sg_ids"] = tuple(sorted(values["vip_sg_ids"]))
    lb, _ = call.change(
        "loadbalancer:put",
        load_balancer(load_balancer_id),
        lambda lb, _: (rules.update_load_balancer(lb, values, call.service.deployment), None),
        tells=calls.updated(LoadBalancer, load_balancer_id, values),
    )
    return Answer(200, {LOAD_BALANCER.root: written.load_balancer(lb)})


def delete(call: Call, load_balancer_id: str) -> Answer:
    """DELETE /loadbalancers/{id}, with its children if ``cascade``."""
    cascade = query.flag(call.query, "cascade")
    call.change(
        "loadbalancer:delete",
        load_balancer(load_balancer_id),
        lambda lb, _: (
            rules.delete_load_balancer(lb, cascade=cascade, deployment=call.service.deployment),
            None,
        ),
        tells=calls.load_balancer_deleted(cascade=cascade),
    )
    return Answer(204)


def fail_over(call: Call, load_balancer_id: str) -> Answer:
    """PUT /loadbalancers/{id}/failover."""
    call.no_body()
    service = call.service

    def stamp(tx: Connection, lb: LoadBalancer) -> None:
        now = service.clock.now()
        present = amphorae.of_load_balancer(tx, lb.id)
        amphorae.request_replacement(tx, [one.id for one in present], now)
        status_writer.show_replacement(tx, lb.id, "A failover was asked for", now)

    call.change(
        "loadbalancer:put_failover",
        load_balancer(load_balancer_id),
        lambda lb, _: (rules.fail_over(lb, service.deployment), None),
        also=stamp,
        tells=calls.failed_over,
    )
    return Answer(202)


def statuses(call: Call, load_balancer_id: str) -> Answer:
    """GET /loadbalancers/{id}/status."""
    query.only(call.query)
    with call.service.database.read() as tx:
        call.authorize("loadbalancer:get_status", views.project_of(tx, views.LOAD_BALANCER, load_balancer_id))
        return Answer(200, {"statuses": {"loadbalancer": views.status_tree(tx, load_balancer_id)}})


def statistics(call: Call, load_balancer_id: str) -> Answer:
    """GET /loadbalancers/{id}/stats."""
    query.only(call.query, "fields")  # which mean nothing here
    return reading.statistics(call, "loadbalancer:get_stats", views.LOAD_BALANCER, load_balancer_id)
