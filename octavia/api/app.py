# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: one table of URLs, and what every request passes on its way to its handler.

Serving it is not here: see :mod:`octavia.cmd.api`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias
from uuid import uuid4

import falcon

from octavia.api import body, errors, proxy
from octavia.api.handlers import (
    amphorae,
    discovery,
    health_check,
    health_monitors,
    l7_policies,
    l7_rules,
    listeners,
    load_balancers,
    members,
    networks,
    offers,
    pools,
    providers,
    quotas,
)
from octavia.api.identity import Access, NoAuth
from octavia.api.openapi import document as openapi
from octavia.api.schemas.types import storable
from octavia.api.service import Answer, Call, Handler, Service
from octavia.api.settings import ApiSettings
from octavia.db.engine import Database
from octavia.domain.clock import Clock
from octavia.domain.errors import Invalid, Terminal
from octavia.drivers.bus.contract import Bell
from octavia.drivers.certificates.tenant import NoStore, TenantCertificates
from octavia.drivers.network.contract import NetworkDriver
from octavia.providers.registry import Providers
from octavia.providers.updates import Updates

Routes: TypeAlias = Mapping[str, Mapping[str, Handler]]

VERSION_ROOTS: Final = ("/v2.0", "/v2")


def _offers(path: str, of: offers.OfferHandlers | offers.ProfileHandlers) -> Routes:
    return {
        path: {"GET": of.index, "POST": of.create},
        f"{path}/{{key}}": {"GET": of.show, "PUT": of.update, "DELETE": of.delete},
    }


# Below /v2.0/lbaas, /v2.0, /v2/lbaas and /v2.
LBAAS: Final[Routes] = {
    "/loadbalancers": {"GET": load_balancers.index, "POST": load_balancers.create},
    "/loadbalancers/{load_balancer_id}": {
        "GET": load_balancers.show,
        "PUT": load_balancers.update,
        "DELETE": load_balancers.delete,
    },
    "/loadbalancers/{load_balancer_id}/status": {"GET": load_balancers.statuses},
    "/loadbalancers/{load_balancer_id}/statuses": {"GET": load_balancers.statuses},
    "/loadbalancers/{load_balancer_id}/stats": {"GET": load_balancers.statistics},
    "/loadbalancers/{load_balancer_id}/failover": {"PUT": load_balancers.fail_over},
    "/listeners": {"GET": listeners.index, "POST": listeners.create},
    "/listeners/{listener_id}": {
        "GET": listeners.show,
        "PUT": listeners.update,
        "DELETE": listeners.delete,
    },
    "/listeners/{listener_id}/stats": {"GET": listeners.statistics},
    "/pools": {"GET": pools.index, "POST": pools.create},
    "/pools/{pool_id}": {"GET": pools.show, "PUT": pools.update, "DELETE": pools.delete},
    "/pools/{pool_id}/members": {
        "GET": members.index,
        "POST": members.create,
        "PUT": members.replace_all,
    },
    "/pools/{pool_id}/members/{member_id}": {
        "GET": members.show,
        "PUT": members.update,
        "DELETE": members.delete,
    },
    "/healthmonitors": {"GET": health_monitors.index, "POST": health_monitors.create},
    "/healthmonitors/{health_monitor_id}": {
        "GET": health_monitors.show,
        "PUT": health_monitors.update,
        "DELETE": health_monitors.delete,
    },
    "/l7policies": {"GET": l7_policies.index, "POST": l7_policies.create},
    "/l7policies/{l7policy_id}": {
        "GET": l7_policies.show,
        "PUT": l7_policies.update,
        "DELETE": l7_policies.delete,
    },
    "/l7policies/{l7policy_id}/rules": {"GET": l7_rules.index, "POST": l7_rules.create},
    "/l7policies/{l7policy_id}/rules/{l7rule_id}": {
        "GET": l7_rules.show,
        "PUT": l7_rules.update,
        "DELETE": l7_rules.delete,
    },
    "/quotas": {"GET": quotas.index},
    "/quotas/{project_id}": {"GET": quotas.show, "PUT": quotas.update, "DELETE": quotas.delete},
    "/quotas/{project_id}/default": {"GET": quotas.defaults},
    **_offers("/flavors", offers.FLAVORS),
    **_offers("/flavorprofiles", offers.FLAVOR_PROFILES),
    **_offers("/availabilityzones", offers.ZONES),
    **_offers("/availabilityzoneprofiles", offers.ZONE_PROFILES),
    "/providers": {"GET": providers.index},
    "/providers/{provider_name}": {},
    "/providers/{provider_name}/flavor_capabilities": {"GET": providers.flavor_capabilities},
    "/providers/{provider_name}/availability_zone_capabilities": {
        "GET": providers.availability_zone_capabilities
    },
}

# Below /v2.0/octavia and /v2/octavia alone.
OCTAVIA: Final[Routes] = {
    "/amphorae": {"GET": amphorae.index},
    "/amphorae/{amphora_id}": {"GET": amphorae.show, "DELETE": amphorae.delete},
    "/amphorae/{amphora_id}/config": {"PUT": amphorae.configure},
    "/amphorae/{amphora_id}/stats": {"GET": amphorae.statistics},
    "/amphorae/{amphora_id}/failover": {"PUT": amphorae.fail_over},
}

# Of a standalone installation.
NETWORK: Final[Routes] = {
    "/network": {"GET": networks.versions},
    "/network/v2.0/networks": {"GET": networks.networks},
    "/network/v2.0/networks/{network_id}": {"GET": networks.network},
    "/network/v2.0/subnets": {"GET": networks.subnets},
    "/network/v2.0/subnets/{subnet_id}": {"GET": networks.subnet},
    "/network/v2.0/ports": {"GET": networks.ports},
    "/network/v2.0/ports/{port_id}": {"GET": networks.port},
    "/network/v2.0/qos/policies": {"GET": networks.policies},
    "/network/v2.0/security-groups": {"GET": networks.security_groups},
}

_EVERY_METHOD: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")


def routes(settings: ApiSettings) -> dict[str, Mapping[str, Handler]]:
    """The whole table: path to method to handler."""
    table: dict[str, Mapping[str, Handler]] = {"/": dict.fromkeys(_EVERY_METHOD, discovery.versions)}
    for root in VERSION_ROOTS:
        for tree in (root, f"{root}/lbaas", f"{root}/octavia"):
            table[tree] = {"GET": discovery.version}
        for path, methods in LBAAS.items():
            table[f"{root}{path}"] = table[f"{root}/lbaas{path}"] = _complete(methods)
        for path, methods in OCTAVIA.items():
            table[f"{root}/octavia{path}"] = _complete(methods)
    if settings.serve_network:
        table.update(NETWORK)
    if settings.healthcheck_enabled:
        check = health_check.HealthCheck(settings.health, settings.healthcheck_refresh_interval)
        table[health_check.PATH] = {"GET": check, "HEAD": check}
    table[openapi.PATH] = {"GET": openapi.Document(table, settings)}
    return table


def _complete(methods: Mapping[str, Handler]) -> Mapping[str, Handler]:
    """A collection has an answer of its own for methods that need one of its objects."""
    if methods is LBAAS["/quotas"] or "POST" in methods:
        return {"PUT": _no_id, "DELETE": _no_id, **methods}
    return {"DELETE": _no_id, **methods} if methods is OCTAVIA["/amphorae"] else methods


def _no_id(_call: Call, **_path: str) -> Answer:
    """PUT or DELETE on a collection."""
    raise Invalid("Missing argument: id")


def create(
    database: Database,
    network: NetworkDriver,
    doorbell: Bell,
    clock: Clock,
    settings: ApiSettings,
    access: Access | None = None,
    certificates: TenantCertificates | None = None,
) -> falcon.App[falcon.Request, falcon.Response]:
    """The application, for any WSGI server.

    :param access: how callers are told apart; needed unless everybody is admin.
    :param certificates: where tenants keep theirs; None: nowhere, so that no reference can be retrieved.
    :raises Terminal: callers are to be told apart, and nobody said how.
    """
    if access is None:
        if settings.auth_strategy != "noauth":
            raise Terminal(f"[api_settings] auth_strategy = {settings.auth_strategy} is not wired.")
        access = NoAuth()
    certificates = certificates or NoStore()
    updates = Updates(database, network, clock, certificates)
    service = Service(
        database=database,
        network=network,
        doorbell=doorbell,
        clock=clock,
        settings=settings,
        access=access,
        providers=Providers.load(
            settings.enabled_provider_drivers, settings.default_provider_driver, updates
        ),
        certificates=certificates,
    )
    app = falcon.App(middleware=[_Passage(settings, access)])
    app.req_options.strip_url_path_trailing_slash = True
    app.resp_options.default_media_type = None  # type: ignore[assignment]  # an empty body has no type
    errors.install(app)
    for path, methods in routes(settings).items():
        app.add_route(path, _Endpoint(service, methods))
    return app


class _Endpoint:
    """One URL: gives falcon a responder for each method of the table's row."""

    def __init__(self, service: Service, methods: Mapping[str, Handler]) -> None:
        for method, handler in methods.items():
            setattr(self, f"on_{method.lower()}", _responder(service, handler))


def _responder(service: Service, handler: Handler) -> Any:
    def respond(req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        if not all(map(storable, path.values())):
            raise falcon.HTTPNotFound  # no database can hold such an identifier
        call = Call(service, req, req.context.identity)
        answer: Answer = handler(call, **path)
        resp.status = answer.status
        if answer.body is not None:
            resp.content_type = answer.media_type or falcon.MEDIA_JSON
            body_text = answer.body if answer.media_type else json.dumps(answer.body)
            resp.data = body_text if isinstance(body_text, bytes) else body_text.encode()

    return respond


class _Passage:
    """What every request passes: its id, its size, what it accepts, a suffix that means nothing."""

    def __init__(self, settings: ApiSettings, access: Access) -> None:
        self._settings = settings
        self._cors = settings.cors
        self._access = access

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Before routing."""
        _name(req)
        body.check_size(req, self._settings.max_request_body_size)
        if self._settings.enable_proxy_headers_parsing:
            proxy.believe(req.env)
        req.context.identity = self._access.admit(req, resp)
        if resp.complete:
            return
        if req.path != health_check.PATH:  # which speaks more languages than JSON
            _check_accept(req.get_header("Accept"))
        if req.path.endswith(".json") and req.path != openapi.PATH:
            req.path = req.path.removesuffix(".json")

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """After everything, errors too."""
        self._cors.answer(req, resp)
        resp.set_header("x-openstack-request-id", req.env[_REQUEST_ID])


# Where oslo.context looks for them.
_REQUEST_ID: Final = "openstack.request_id"
_GLOBAL_REQUEST_ID: Final = "openstack.global_request_id"
_CALLERS_ID: Final = re.compile(r"req-[0-9a-fA-F-]{36}")


def _name(req: falcon.Request) -> None:
    """Give the request an id; the caller's own goes to the log beside it."""
    req.env[_REQUEST_ID] = f"req-{uuid4()}"
    callers = req.get_header("X-OpenStack-Request-ID")
    if callers and _CALLERS_ID.fullmatch(callers):
        req.env[_GLOBAL_REQUEST_ID] = callers


_MEDIA_TYPE: Final = re.compile(r"\s*([\w.+*-]+)/([\w.+*-]+)\s*((?:;[^,]*)?)", re.ASCII)
_REFUSED: Final = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*(;|$)")


def _check_accept(accept: str | None) -> None:
    """:raises falcon.HTTPNotAcceptable: the client understands other things, and JSON not."""
    if not accept or accept in (falcon.MEDIA_JSON, "*/*"):
        return
    understood = False
    for item in accept.split(","):
        found = _MEDIA_TYPE.fullmatch(item)
        if not found:
            continue
        understood = True
        kind = f"{found[1]}/{found[2]}".lower()
        if kind in ("*/*", "application/*", falcon.MEDIA_JSON) and not _REFUSED.search(found[3]):
            return
    if understood:
        raise falcon.HTTPNotAcceptable(description="This service answers application/json alone.")
