# SPDX-License-Identifier: Apache-2.0
"""The shape of listeners (contract: api.md section 7.2)."""

from collections.abc import Mapping, Sequence
from typing import Final

from octavia.api.schemas import types
from octavia.api.schemas.common import (
    ADMIN_STATE_UP,
    CREATED_AT,
    DESCRIPTION,
    ID,
    NAME,
    OPERATING_STATUS,
    PROJECT_ID,
    PROVISIONING_STATUS,
    TAGS,
    TENANT_ID,
    UPDATED_AT,
    ids,
    no_tls,
    one_id,
)
from octavia.api.schemas.fields import Field, Schema, Setting, shown
from octavia.domain.protocols import LISTENER_PROTOCOLS
from octavia.domain.tree import NO_HEADERS, Protocol

_LONGEST_MS: Final = 2_073_600_000  # 24 days: the longest that HAProxy's timers can count


def _timeout(name: str) -> Field:
    return Field(name=name, type=types.integer(0, _LONGEST_MS), default=Setting(name))


def _cidrs(value: Sequence[str]) -> list[str] | None:
    return list(value) or None


def _headers(value: Mapping[str, str]) -> dict[str, str]:
    return dict(value)


LISTENER: Final = Schema(
    "listener",
    ID,
    NAME,
    DESCRIPTION,
    PROVISIONING_STATUS,
    OPERATING_STATUS,
    ADMIN_STATE_UP,
    Field(name="protocol", type=types.one_of(Protocol, LISTENER_PROTOCOLS), required=True, update=False),
    Field(name="protocol_port", type=types.integer(1, 65535), required=True, update=False),
    Field(name="connection_limit", type=types.integer(-1), default=-1, null_on_create=None),
    no_tls("default_tls_container_ref", ""),
    no_tls("sni_container_refs", [], default=[]),
    PROJECT_ID,
    Field(name="default_pool_id", type=types.uuid),
    Field(
        name="l7policies",
        type=types.nothing_but([], reason="Create L7 policies after their listener, or with a load balancer"),
        update=False,
        stored=False,
        default=(),
        render=ids,
    ),
    Field(name="insert_headers", type=types.headers, default=NO_HEADERS, render=_headers),
    CREATED_AT,
    UPDATED_AT,
    shown("loadbalancers", one_id),
    _timeout("timeout_client_data"),
    _timeout("timeout_member_connect"),
    _timeout("timeout_member_data"),
    _timeout("timeout_tcp_inspect"),
    TAGS,
    no_tls("client_ca_tls_container_ref", ""),
    no_tls("client_authentication", "NONE", default="NONE"),
    no_tls("client_crl_container_ref", ""),
    Field(name="allowed_cidrs", type=types.set_of(types.cidr), default=(), render=_cidrs),
    no_tls("tls_ciphers", ""),
    no_tls("tls_versions"),
    no_tls("alpn_protocols"),
    no_tls("hsts_max_age"),
    no_tls("hsts_include_subdomains", False, default=False),
    no_tls("hsts_preload", False, default=False),
    TENANT_ID,
    Field(name="loadbalancer_id", type=types.uuid, required=True, update=False, shown=False),
)
"""A listener on its own."""

LISTENER_OF_GRAPH: Final = Schema(
    "listener",
    *(
        one
        for one in LISTENER.fields
        if one.name not in ("loadbalancer_id", "project_id", "tenant_id", "l7policies")
    ),
    Field(name="default_pool", type=lambda value: value, update=False, shown=False),
    Field(name="l7policies", type=lambda value: value, default=()),
)
"""A listener of a fully populated create."""

EXPANDED_LISTENER: Final = Schema(
    "listener",
    *(
        {"l7policies": shown("l7policies")}.get(one.name, one)
        for one in LISTENER.fields
        if one.name != "loadbalancers"
    ),
)
"""A listener in the answer to a fully populated create."""
