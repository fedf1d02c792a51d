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
    array,
    ids,
    nullable,
    one_id,
)
from octavia.api.schemas.fields import Field, Schema, Setting, reference, shown, unread
from octavia.api.schemas.l7_policy import EXPANDED_L7_POLICY, L7_POLICY_OF_GRAPH
from octavia.api.schemas.pool import POOL_OF_GRAPH
from octavia.api.schemas.tls import alpn_protocols, container_ref, shown_words, tls_ciphers, tls_versions
from octavia.domain.protocols import LISTENER_PROTOCOLS
from octavia.domain.tree import NO_HEADERS, ClientAuthentication, Protocol

_LONGEST_MS: Final = 2_073_600_000  # 24 days: the longest that HAProxy's timers can count


def _timeout(name: str) -> Field:
    return Field(name=name, type=types.integer(0, _LONGEST_MS), default=Setting(name))


@types.described(**nullable(types.schema_of(types.set_of(types.cidr))))
def _cidrs(value: Sequence[str]) -> list[str] | None:
    return list(value) or None


@types.described(**types.schema_of(types.headers))
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
    container_ref(
        "default_tls_container_ref", "The secret with the certificate for clients that name no server."
    ),
    Field(
        name="sni_container_refs",
        type=types.list_of(types.text(255)),
        default=(),
        render=shown_words,
        about="Secrets with further certificates, chosen by the name that a client asks for.",
    ),
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
    container_ref(
        "client_ca_tls_container_ref", "The secret with the CAs that clients' certificates are checked with."
    ),
    Field(
        name="client_authentication",
        type=types.one_of(ClientAuthentication),
        default=ClientAuthentication.NONE,
        null_on_update=None,  # the rule tells what it means
        about="Whether clients have to show a certificate.",
    ),
    container_ref("client_crl_container_ref", "The secret with a list of revoked certificates."),
    Field(name="allowed_cidrs", type=types.set_of(types.cidr), default=(), render=_cidrs),
    tls_ciphers(Setting("default_listener_ciphers")),
    tls_versions(Setting("default_listener_tls_versions")),
    alpn_protocols(Setting("default_listener_alpn_protocols")),
    Field(
        name="hsts_max_age",
        type=types.integer(0),
        about="Seconds for which a browser that was here shall only come by HTTPS; null sends none.",
    ),
    Field(name="hsts_include_subdomains", type=types.boolean, default=False, about="Needs hsts_max_age."),
    Field(name="hsts_preload", type=types.boolean, default=False, about="Needs hsts_max_age."),
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
    Field(name="default_pool", type=unread(reference(POOL_OF_GRAPH)), update=False, shown=False),
    Field(name="l7policies", type=unread(array(reference(L7_POLICY_OF_GRAPH))), default=()),
)
"""A listener of a fully populated create."""

EXPANDED_LISTENER: Final = Schema(
    "listener",
    *(
        {"l7policies": shown("l7policies", answer=array(reference(EXPANDED_L7_POLICY)))}.get(one.name, one)
        for one in LISTENER.fields
        if one.name != "loadbalancers"
    ),
)
"""A listener in the answer to a fully populated create."""
