# SPDX-License-Identifier: Apache-2.0
"""The shape of pools and of their session persistence (contract: api.md sections 8.2 and 8.4)."""

from dataclasses import asdict
from typing import Any, Final

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
    UUID,
    array,
    ids,
    nullable,
    one_id,
)
from octavia.api.schemas.fields import Field, Null, Schema, Setting, reference, shown, unread
from octavia.api.schemas.health_monitor import EXPANDED_HEALTH_MONITOR, HEALTH_MONITOR_OF_GRAPH
from octavia.api.schemas.member import MEMBER, MEMBER_OF_GRAPH
from octavia.api.schemas.tls import alpn_protocols, container_ref, tls_ciphers, tls_versions
from octavia.domain.protocols import POOL_PROTOCOLS
from octavia.domain.tree import Algorithm, PersistenceType, Protocol, SessionPersistence

_COOKIE_NAME: Final = types.matching(
    r"[^\s,;\\]+",
    255,
    "Value should be a cookie name without white space, comma, semicolon, backslash",
    minimum=1,
)

_PERSISTENCE_TYPES: Final = {
    "type": types.one_of(PersistenceType),
    "cookie_name": _COOKIE_NAME,
    "persistence_timeout": types.integer(0),
    "persistence_granularity": types.address,
}


@types.described(
    type="object",
    properties={name: nullable(types.schema_of(one)) for name, one in _PERSISTENCE_TYPES.items()},
    additionalProperties=False,
)
def _persistence(value: Any) -> dict[str, Any]:
    """What is written; a missing type is the stored one's, so it is not demanded here."""
    if not isinstance(value, dict):
        raise types.BadValue("Value should be an object")
    typed: dict[str, Any] = {}
    for name, content in value.items():
        if name not in _PERSISTENCE_TYPES:
            raise types.BadValue(f"Unknown attribute for argument session_persistence: {types.excerpt(name)}")
        typed[name] = None if content is None else _PERSISTENCE_TYPES[name](content)
    return typed


@types.described(
    type="object",
    properties={name: nullable(types.schema_of(one)) for name, one in _PERSISTENCE_TYPES.items()},
    required=list(_PERSISTENCE_TYPES),
    additionalProperties=False,
)
def _shown_persistence(value: SessionPersistence) -> dict[str, Any]:
    return asdict(value)


POOL: Final = Schema(
    "pool",
    ID,
    NAME,
    DESCRIPTION,
    PROVISIONING_STATUS,
    OPERATING_STATUS,
    ADMIN_STATE_UP,
    Field(name="protocol", type=types.one_of(Protocol, POOL_PROTOCOLS), required=True, update=False),
    Field(name="lb_algorithm", type=types.one_of(Algorithm), required=True, null_on_update=Null.REFUSED),
    Field(name="session_persistence", type=_persistence, render=_shown_persistence),
    PROJECT_ID,
    shown("loadbalancers", one_id),
    shown("listeners", ids),
    CREATED_AT,
    UPDATED_AT,
    Field(name="healthmonitor_id", omitted=True, answer=UUID),
    shown("members", ids),
    TAGS,
    container_ref("tls_container_ref", "The secret with the certificate that members are shown."),
    container_ref(
        "ca_tls_container_ref", "The secret with the CAs that members' certificates are checked with."
    ),
    container_ref("crl_container_ref", "The secret with a list of revoked certificates."),
    Field(
        name="tls_enabled",
        type=types.boolean,
        default=False,
        null_on_update=Null.REFUSED,
        about="Talk TLS to members.",
    ),
    tls_ciphers(Setting("default_pool_ciphers")),
    tls_versions(Setting("default_pool_tls_versions")),
    alpn_protocols(None),
    TENANT_ID,
    Field(name="loadbalancer_id", type=types.uuid, update=False, shown=False),
    Field(name="listener_id", type=types.uuid, update=False, shown=False),
)
"""A pool on its own. Its ``healthmonitor_id`` is left out of answers when there is no monitor."""

_ONLY_ALONE: Final = ("loadbalancer_id", "listener_id", "project_id", "tenant_id", "protocol", "lb_algorithm")

POOL_OF_GRAPH: Final = Schema(
    "pool",
    *(one for one in POOL.fields if one.name not in (*_ONLY_ALONE, "members")),
    # Nothing is mandatory to the parser: it may be a reference by name.
    Field(name="protocol", type=types.one_of(Protocol, POOL_PROTOCOLS)),
    Field(name="lb_algorithm", type=types.one_of(Algorithm)),
    Field(name="members", type=unread(array(reference(MEMBER_OF_GRAPH))), default=()),
    Field(name="healthmonitor", type=unread(reference(HEALTH_MONITOR_OF_GRAPH))),
)
"""A pool of a fully populated create."""

EXPANDED_POOL: Final = Schema(
    "pool",
    *(
        {
            "members": shown("members", answer=array(reference(MEMBER))),
            "healthmonitor_id": shown("healthmonitor", answer=nullable(reference(EXPANDED_HEALTH_MONITOR))),
        }.get(one.name, one)
        for one in POOL.fields
        if one.name != "loadbalancers"
    ),
)
"""A pool in the answer to a fully populated create."""
