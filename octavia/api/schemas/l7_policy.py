# SPDX-License-Identifier: Apache-2.0
"""The shape of L7 policies (contract: api.md section 11.2)."""

from dataclasses import replace
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
)
from octavia.api.schemas.fields import Field, Null, Schema, shown
from octavia.domain.l7 import APPEND
from octavia.domain.tree import L7Action

# Unlike elsewhere, null clears the tags of policies and rules.
CLEARABLE_TAGS: Final = replace(TAGS, null_on_update=())

L7_POLICY: Final = Schema(
    "l7policy",
    ID,
    NAME,
    DESCRIPTION,
    PROVISIONING_STATUS,
    OPERATING_STATUS,
    ADMIN_STATE_UP,
    PROJECT_ID,
    Field(name="action", type=types.one_of(L7Action), required=True, null_on_update=Null.REFUSED),
    Field(name="listener_id", type=types.uuid, required=True, update=False),
    Field(name="redirect_pool_id", type=types.uuid),
    Field(name="redirect_url", type=types.url),
    Field(name="redirect_prefix", type=types.url),
    Field(name="position", type=types.integer(1, APPEND), default=APPEND, null_on_update=Null.ABSENT),
    shown("rules", ids),
    CREATED_AT,
    UPDATED_AT,
    CLEARABLE_TAGS,
    Field(name="redirect_http_code", type=types.integer_of(301, 302, 303, 307, 308)),
    TENANT_ID,
)
"""A policy on its own."""

_ONLY_ALONE: Final = ("listener_id", "project_id", "tenant_id", "redirect_pool_id")

L7_POLICY_OF_GRAPH: Final = Schema(
    "l7policy",
    *(one for one in L7_POLICY.fields if one.name not in (*_ONLY_ALONE, "rules")),
    Field(name="redirect_pool", type=lambda value: value),
    Field(name="rules", type=lambda value: value, default=()),
)
"""A policy of a fully populated create."""

EXPANDED_L7_POLICY: Final = Schema(
    "l7policy", *({"rules": shown("rules")}.get(one.name, one) for one in L7_POLICY.fields)
)
"""A policy in the answer to a fully populated create."""
