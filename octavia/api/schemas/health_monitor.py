# SPDX-License-Identifier: Apache-2.0
"""The shape of health monitors (contract: api.md section 10.2)."""

from typing import Final

from octavia.api.schemas import types
from octavia.api.schemas.common import (
    ADMIN_STATE_UP,
    CREATED_AT,
    ID,
    NAME,
    OPERATING_STATUS,
    PROJECT_ID,
    PROVISIONING_STATUS,
    TAGS,
    TENANT_ID,
    UPDATED_AT,
    one_id,
)
from octavia.api.schemas.fields import Field, Null, Schema, shown
from octavia.domain.tree import MonitorType

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH")
_PATH: Final = types.matching(
    r"/(?!/)[^\s\x00-\x1f\x7f-\x9f]*|/", 255, "Value must be a path that begins with / and has no white space"
)
_CODES: Final = types.matching(
    r"[1-9][0-9]{2}(\s*,\s*[1-9][0-9]{2})*|[1-9][0-9]{2}-[1-9][0-9]{2}",
    64,
    "Value should be a status code, a comma list of them, or a range like 200-204",
)
_LABEL: Final = "[A-Za-z0-9_](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = types.matching(
    rf"(?=.{{1,253}}\.?$)(?:{_LABEL}\.)*{_LABEL}\.?", 255, "Value should be a host name", minimum=1
)

HEALTH_MONITOR: Final = Schema(
    "healthmonitor",
    ID,
    NAME,
    Field(name="type", type=types.one_of(MonitorType), required=True, update=False),
    Field(
        name="delay",
        type=types.integer(0),
        required=True,
        null_on_update=Null.REFUSED,
        about="Seconds between two checks of a member.",
    ),
    Field(
        name="timeout",
        type=types.integer(0),
        required=True,
        null_on_update=Null.REFUSED,
        about="Seconds that a check may take; should be less than the delay.",
    ),
    Field(
        name="max_retries",
        type=types.integer(1, 10),
        required=True,
        null_on_update=Null.REFUSED,
        about="Good checks in a row that bring a member back.",
    ),
    Field(
        name="max_retries_down",
        type=types.integer(1, 10),
        default=3,
        about="Bad checks in a row that take a member out.",
    ),
    Field(
        name="http_method",
        type=types.words(*_METHODS),
        null_on_update="GET",
        about="For HTTP and HTTPS alone, where it is GET by default.",
    ),
    Field(name="url_path", type=_PATH, null_on_update="/", about="For HTTP and HTTPS alone; / by default."),
    Field(
        name="expected_codes",
        type=_CODES,
        null_on_update="200",
        about="Status codes of a good answer: one, a list or a range; 200 by default. For HTTP and HTTPS.",
    ),
    ADMIN_STATE_UP,
    PROJECT_ID,
    shown("pools", one_id),
    PROVISIONING_STATUS,
    OPERATING_STATUS,
    CREATED_AT,
    UPDATED_AT,
    TAGS,
    Field(name="http_version", type=types.http_version),
    Field(name="domain_name", type=_DOMAIN, about="Of the Host header; needs http_version 1.1."),
    TENANT_ID,
    Field(name="pool_id", type=types.uuid, required=True, update=False, shown=False),
)
"""A health monitor on its own."""

_ONLY_ALONE: Final = ("pool_id", "project_id", "tenant_id")

HEALTH_MONITOR_OF_GRAPH: Final = Schema(
    "healthmonitor", *(one for one in HEALTH_MONITOR.fields if one.name not in _ONLY_ALONE)
)
"""A health monitor of a fully populated create."""

EXPANDED_HEALTH_MONITOR: Final = Schema(
    "healthmonitor", *(one for one in HEALTH_MONITOR.fields if one.name != "pools")
)
"""A health monitor in the answer to a fully populated create."""
