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
    ids,
    no_tls,
    one_id,
)
from octavia.api.schemas.fields import Field, Null, Schema, shown
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
    Field(name="healthmonitor_id", omitted=True),
    shown("members", ids),
    TAGS,
    no_tls("tls_container_ref", ""),
    no_tls("ca_tls_container_ref", ""),
    no_tls("crl_container_ref", ""),
    Field(
        name="tls_enabled",
        type=types.nothing_but(
            False, "false", "False", reason="This deployment does not terminate or originate TLS"
        ),
        stored=False,
        default=False,
        null_on_update=Null.REFUSED,
    ),
    no_tls("tls_ciphers", ""),
    no_tls("tls_versions"),
    no_tls("alpn_protocols"),
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
    Field(name="members", type=lambda value: value, default=()),
    Field(name="healthmonitor", type=lambda value: value),
)
"""A pool of a fully populated create."""

EXPANDED_POOL: Final = Schema(
    "pool",
    *(
        {"members": shown("members"), "healthmonitor_id": shown("healthmonitor")}.get(one.name, one)
        for one in POOL.fields
        if one.name != "loadbalancers"
    ),
)
"""A pool in the answer to a fully populated create."""
