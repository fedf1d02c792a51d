# SPDX-License-Identifier: Apache-2.0
"""What the operator decides about the API, as one value that the process hands in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from oslo_config import cfg

from octavia.api import cors
from octavia.api.cors import Cors
from octavia.domain.errors import Terminal
from octavia.domain.quota import NO_LIMITS, NOUNS
from octavia.domain.rules import Concurrency, Deployment
from octavia.domain.tree import Topology

_AMPHORA: Final = MappingProxyType(
    {
        "amphora": "The Octavia Amphora driver.",
        "octavia": "Deprecated alias of the Octavia Amphora driver.",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Names are the options' of octavia.conf, where there is one.

    :param pagination_max_limit: largest page, and the default; None: no limit.
    :param timeout_client_data: default of the listener's field in milliseconds, like its siblings.
    :param default_project_id: under noauth, for requests that name no project.
    :param vrrp_advert_int: seconds between two advertisements of new pairs.
    :param enforce_quotas: not where everybody is admin.
    :param quotas: limits of projects that have none of their own.
    :param valid_vip_networks: lower-case ids; None: any network.
    :param healthcheck_refresh_interval: seconds for which the last answer is good enough.
    :param serve_network: answer the read-only calls below ``/network`` that clients resolve names with.
    """

    auth_strategy: str = "noauth"
    allow_noauth_beyond_loopback: bool = False
    default_project_id: str = "demo"
    deployment: Deployment = field(default_factory=Deployment)
    allow_pagination: bool = True
    allow_sorting: bool = True
    allow_filtering: bool = True
    allow_field_selection: bool = True
    pagination_max_limit: int | None = 1000
    api_base_uri: str | None = None
    enabled_provider_drivers: Mapping[str, str] = field(default_factory=lambda: _AMPHORA)
    default_provider_driver: str = "amphora"
    loadbalancer_topology: Topology = Topology.SINGLE
    timeout_client_data: int = 50_000
    timeout_member_connect: int = 5_000
    timeout_member_data: int = 50_000
    timeout_tcp_inspect: int = 0
    allow_vip_port_id: bool = True
    allow_vip_network_id: bool = True
    allow_vip_subnet_id: bool = True
    valid_vip_networks: frozenset[str] | None = None
    denylist_vip_networks: frozenset[str] = frozenset()
    enforce_quotas: bool = False
    quotas: Mapping[str, int] = field(default_factory=lambda: NO_LIMITS)
    vrrp_version: int = 2
    vrrp_advert_int: float = 1
    serve_network: bool = False
    healthcheck_enabled: bool = False
    healthcheck_refresh_interval: int = 5
    cors: Cors = field(default_factory=Cors)


def from_config(conf: cfg.ConfigOpts, *, serve_network: bool = False) -> ApiSettings:
    """The settings of a process, out of its octavia.conf."""
    api, networking, timeouts = conf.api_settings, conf.networking, conf.haproxy_amphora
    return ApiSettings(
        auth_strategy=api.auth_strategy,
        allow_noauth_beyond_loopback=api.allow_noauth_beyond_loopback,
        deployment=Deployment(
            concurrent_updates=Concurrency(api.concurrent_updates),
            allow_tls_terminated_listeners=api.allow_tls_terminated_listeners,
            allow_prometheus_listeners=api.allow_prometheus_listeners,
            allow_ping_health_monitors=api.allow_ping_health_monitors,
            udp_connect_min_interval_s=api.udp_connect_min_interval_health_monitor,
            reserved_ips=tuple(str(address) for address in networking.reserved_ips),
        ),
        allow_pagination=api.allow_pagination,
        allow_sorting=api.allow_sorting,
        allow_filtering=api.allow_filtering,
        allow_field_selection=api.allow_field_selection,
        pagination_max_limit=_limit(api.pagination_max_limit),
        api_base_uri=api.api_base_uri,
        enabled_provider_drivers=dict(api.enabled_provider_drivers),
        default_provider_driver=api.default_provider_driver,
        loadbalancer_topology=Topology(conf.controller_worker.loadbalancer_topology),
        timeout_client_data=timeouts.timeout_client_data,
        timeout_member_connect=timeouts.timeout_member_connect,
        timeout_member_data=timeouts.timeout_member_data,
        timeout_tcp_inspect=timeouts.timeout_tcp_inspect,
        allow_vip_port_id=networking.allow_vip_port_id,
        allow_vip_network_id=networking.allow_vip_network_id,
        allow_vip_subnet_id=networking.allow_vip_subnet_id,
        valid_vip_networks=_ids(networking.valid_vip_networks) or None,
        denylist_vip_networks=_ids(networking.denylist_vip_networks),
        enforce_quotas=api.auth_strategy != "noauth",
        quotas={name: conf.quotas[f"default_{name}_quota"] for name in NOUNS},
        vrrp_version=conf.keepalived_vrrp.vrrp_version,
        vrrp_advert_int=conf.keepalived_vrrp.vrrp_advert_int,
        serve_network=serve_network,
        healthcheck_enabled=api.healthcheck_enabled,
        healthcheck_refresh_interval=api.healthcheck_refresh_interval,
        cors=cors.from_config(conf),
    )


def _limit(text: str) -> int | None:
    """``infinite``, and anything below 1, is no limit.

    :raises Terminal: it is no number.
    """
    if text == "infinite":
        return None
    try:
        limit = int(text)
    except ValueError:
        raise Terminal(
            f"[api_settings] pagination_max_limit = {text} is neither a number nor infinite: correct it."
        ) from None
    return limit if limit >= 1 else None


def _ids(values: list[str] | None) -> frozenset[str]:
    return frozenset(value.strip().lower() for value in values or ())


def check_binding(settings: ApiSettings, host: str) -> None:
    """Under noauth everybody who can connect is admin, so only this machine may.

    :param host: address that the server is going to listen on.
    :raises Terminal: others could reach it and nobody allowed that.
    """
    if settings.auth_strategy != "noauth" or settings.allow_noauth_beyond_loopback:
        return
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise Terminal(
            f"[api_settings] auth_strategy = noauth on {host or 'every address'} would make everybody who"
            " can reach it admin: bind to 127.0.0.1, use keystone, or set"
            " allow_noauth_beyond_loopback = True."
        )
