# SPDX-License-Identifier: Apache-2.0
"""Section ``[api_settings]``: the REST API and what it permits."""

from typing import Final

from oslo_config import cfg

from octavia.config.values import ALPN_PROTOCOL, CIPHERS, TLS_VERSION, TLS_VERSIONS

GROUP: Final = "api_settings"

OPTIONS: Final = (
    cfg.IPOpt(
        "bind_host",
        default="127.0.0.1",
        help="Listen address of the built-in server of octavia-api; ignored under uWSGI and mod_wsgi.",
    ),
    cfg.PortOpt("bind_port", default=9876, help="Port of that built-in server."),
    cfg.StrOpt(
        "auth_strategy",
        default="keystone",
        choices=["noauth", "keystone", "testing"],
        help="Keystone adds token middleware; noauth makes every caller admin; testing is for test suites.",
    ),
    cfg.BoolOpt("allow_pagination", default=True, help="Honour limit/marker/page_reverse."),
    cfg.BoolOpt("allow_sorting", default=True, help="Honour sort/sort_key/sort_dir."),
    cfg.BoolOpt("allow_filtering", default=True, help="Honour attribute filters on lists."),
    cfg.BoolOpt("allow_field_selection", default=True, help="Honour fields."),
    cfg.StrOpt(
        "pagination_max_limit", default="1000", help="Page-size cap; infinite (or <1 as a number) = uncapped."
    ),
    cfg.StrOpt("api_base_uri", help="Base for next/previous links instead of the request URL."),
    cfg.BoolOpt(
        "allow_tls_terminated_listeners", default=True, help="Permit listeners that terminate TLS (else 400)."
    ),
    cfg.BoolOpt("allow_ping_health_monitors", default=True, help="Permit HM type PING (else 400)."),
    cfg.BoolOpt(
        "allow_prometheus_listeners", default=True, help="Permit listener protocol PROMETHEUS (else 400)."
    ),
    cfg.DictOpt(
        "enabled_provider_drivers",
        default={
            "amphora": "The Octavia Amphora driver.",
            "octavia": "Deprecated alias of the Octavia Amphora driver.",
        },
        help="Provider name to description shown by the providers API; each name must exist in entry-"
        "point group octavia.api.drivers; comma list of name: text.",
    ),
    cfg.StrOpt("default_provider_driver", default="amphora", help="Provider for requests that name none."),
    cfg.IntOpt(
        "udp_connect_min_interval_health_monitor",
        default=3,
        help="Smallest delay accepted for UDP-CONNECT monitors; negative = no floor.",
    ),
    cfg.BoolOpt(
        "healthcheck_enabled", default=False, help="Expose /healthcheck (oslo.middleware healthcheck)."
    ),
    cfg.IntOpt(
        "healthcheck_refresh_interval", default=5, help="Seconds the DB health plugin reuses its last answer."
    ),
    cfg.StrOpt(
        "default_listener_ciphers",
        default=CIPHERS,
        help="Cipher string stored on new TLS listeners that give none.",
    ),
    cfg.StrOpt("default_pool_ciphers", default=CIPHERS, help="The same for TLS pools."),
    cfg.StrOpt(
        "tls_cipher_prohibit_list",
        default="",
        deprecated_name="tls_cipher_blacklist",
        help="Colon list; any request naming one of these ciphers gets 400.",
    ),
    cfg.ListOpt(
        "default_listener_tls_versions",
        default=["TLSv1.2", "TLSv1.3"],
        item_type=TLS_VERSION,
        help="TLS versions for new TLS listeners that give none.",
    ),
    cfg.ListOpt(
        "default_pool_tls_versions",
        default=["TLSv1.2", "TLSv1.3"],
        item_type=TLS_VERSION,
        help="The same for TLS pools.",
    ),
    cfg.StrOpt("minimum_tls_version", choices=TLS_VERSIONS, help="Oldest version a request may name."),
    cfg.ListOpt(
        "default_listener_alpn_protocols",
        default=["h2", "http/1.1", "http/1.0"],
        item_type=ALPN_PROTOCOL,
        help="ALPN list for new TLS listeners that give none.",
    ),
    cfg.ListOpt(
        "default_pool_alpn_protocols",
        default=["h2", "http/1.1", "http/1.0"],
        item_type=ALPN_PROTOCOL,
        help="The same for TLS pools.",
    ),
    # Ours, in addition to the options that operators know.
    cfg.StrOpt(
        "concurrent_updates",
        default="queue",
        choices=[
            ("queue", "accept further writes while a load balancer is converging; they coalesce"),
            ("reject", "answer 409 while a load balancer is PENDING, as the API reference says"),
        ],
        help="What a write to a load balancer that is still converging meets. Providers other than"
        " amphora always reject.",
    ),
    cfg.BoolOpt(
        "allow_noauth_beyond_loopback",
        default=False,
        help="Let auth_strategy = noauth serve addresses that other machines can reach: everybody who"
        " can connect is admin.",
    ),
)
