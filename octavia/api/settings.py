# SPDX-License-Identifier: Apache-2.0
"""What the operator decides about the API, as one value that the process hands in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from oslo_config import cfg

from octavia.api import cors, health
from octavia.api.body import LARGEST
from octavia.api.cors import Cors
from octavia.api.health import Health
from octavia.domain.errors import Terminal
from octavia.domain.quota import NO_LIMITS, NOUNS
from octavia.domain.rules import Concurrency, Deployment
from octavia.domain.tls import TlsPolicy
from octavia.domain.tree import Topology

_DEMO: Final = "demo"
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
    :param default_project_id: for requests that name no project; None: they are refused.
    :param vrrp_advert_int: seconds between two advertisements of new pairs.
    :param enforce_quotas: not where everybody is admin.
    :param quotas: limits of projects that have none of their own.
    :param valid_vip_networks: lower-case ids; None: any network.
    :param healthcheck_refresh_interval: seconds for which the last answer is good enough.
    :param max_request_body_size: bytes.
    :param enable_proxy_headers_parsing: believe a proxy in front.
    :param serve_network: answer the read-only calls below ``/network`` that clients resolve names with.
    """

    auth_strategy: str = "noauth"
    allow_noauth_beyond_loopback: bool = False
    default_project_id: str | None = _DEMO
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
    health: Health = field(default_factory=Health)
    cors: Cors = field(default_factory=Cors)
    max_request_body_size: int = LARGEST
    enable_proxy_headers_parsing: bool = False

    @property
    def default_listener_ciphers(self) -> str:
        """What null means on an update of a listener; its siblings likewise."""
        return self.deployment.tls.listener_ciphers

    @property
    def default_listener_tls_versions(self) -> tuple[str, ...]:
        """See :attr:`default_listener_ciphers`."""
        return self.deployment.tls.listener_versions

    @property
    def default_listener_alpn_protocols(self) -> tuple[str, ...]:
        """See :attr:`default_listener_ciphers`."""
        return self.deployment.tls.listener_alpn_protocols

    @property
    def default_pool_ciphers(self) -> str:
        """See :attr:`default_listener_ciphers`."""
        return self.deployment.tls.pool_ciphers

    @property
    def default_pool_tls_versions(self) -> tuple[str, ...]:
        """See :attr:`default_listener_ciphers`."""
        return self.deployment.tls.pool_versions


def from_config(conf: cfg.ConfigOpts, *, serve_network: bool = False) -> ApiSettings:
    """The settings of a process, out of its octavia.conf."""
    api, networking, timeouts = conf.api_settings, conf.networking, conf.haproxy_amphora
    return ApiSettings(
        auth_strategy=api.auth_strategy,
        allow_noauth_beyond_loopback=api.allow_noauth_beyond_loopback,
        default_project_id=_DEMO if api.auth_strategy == "noauth" else None,
        deployment=Deployment(
            concurrent_updates=Concurrency(api.concurrent_updates),
            allow_tls_terminated_listeners=api.allow_tls_terminated_listeners,
            allow_prometheus_listeners=api.allow_prometheus_listeners,
            allow_ping_health_monitors=api.allow_ping_health_monitors,
            udp_connect_min_interval_s=api.udp_connect_min_interval_health_monitor,
            reserved_ips=tuple(str(address) for address in networking.reserved_ips),
            tls=_tls_policy(conf),
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
        health=health.from_config(conf),
        cors=cors.from_config(conf),
        max_request_body_size=conf.oslo_middleware.max_request_body_size,
        enable_proxy_headers_parsing=conf.oslo_middleware.enable_proxy_headers_parsing,
    )


def _tls_policy(conf: cfg.ConfigOpts) -> TlsPolicy:
    api = conf.api_settings
    return TlsPolicy(
        listener_ciphers=api.default_listener_ciphers,
        pool_ciphers=api.default_pool_ciphers,
        prohibited_ciphers=frozenset(filter(None, api.tls_cipher_prohibit_list.split(":"))),
        listener_versions=tuple(api.default_listener_tls_versions),
        pool_versions=tuple(api.default_pool_tls_versions),
        minimum_version=api.minimum_tls_version,
        listener_alpn_protocols=tuple(api.default_listener_alpn_protocols),
        pool_alpn_protocols=tuple(api.default_pool_alpn_protocols),
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
    """Where callers are not checked everybody who can connect may be admin, so only this machine may.

    :param host: address that the server is going to listen on.
    :raises Terminal: others could reach it and nobody allowed that.
    """
    if settings.auth_strategy == "keystone" or settings.allow_noauth_beyond_loopback:
        return
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise Terminal(
            f"[api_settings] auth_strategy = {settings.auth_strategy} on {host or 'every address'} would make"
            " everybody who can reach it admin: bind to 127.0.0.1, use keystone, or set"
            " allow_noauth_beyond_loopback = True."
        )
