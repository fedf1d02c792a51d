# SPDX-License-Identifier: Apache-2.0
"""The shape of L7 policies (contract: api.md section 11.2)."""

from typing import Final

from octavia.api.schemas import types
from octavia.api.schemas.common import (
    ADMIN_STATE_UP,
    CLEARABLE_TAGS,
    CREATED_AT,
    DESCRIPTION,
    ID,
    NAME,
    OPERATING_STATUS,
    PROJECT_ID,
    PROVISIONING_STATUS,
    TENANT_ID,
    UPDATED_AT,
    array,
    ids,
)
from octavia.api.schemas.fields import Field, Null, Schema, reference, shown, unread
from octavia.api.schemas.l7_rule import L7_RULE, L7_RULE_OF_GRAPH
from octavia.api.schemas.pool import POOL_OF_GRAPH
from octavia.domain.l7 import APPEND
from octavia.domain.tree import L7Action

L7_POLICY: Final = Schema(
    "l7policy",
    ID,
    NAME,
    DESCRIPTION,
    PROVISIONING_STATUS,
    OPERATING_STATUS,
    ADMIN_STATE_UP,
    PROJECT_ID,
    Field(
        name="action",
        type=types.one_of(L7Action),
        required=True,
        null_on_update=Null.REFUSED,
        about="What becomes of a request that all of the policy's rules match.",
    ),
    Field(name="listener_id", type=types.uuid, required=True, update=False),
    Field(name="redirect_pool_id", type=types.uuid, about="For REDIRECT_TO_POOL."),
    Field(name="redirect_url", type=types.url, about="For REDIRECT_TO_URL."),
    Field(
        name="redirect_prefix", type=types.url, about="For REDIRECT_PREFIX: the request's path follows it."
    ),
    Field(
        name="position",
        type=types.integer(1, APPEND),
        default=APPEND,
        null_on_update=Null.ABSENT,
        about="Among the listener's policies, from 1 and without gaps. Beyond the end: last.",
    ),
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
    Field(name="redirect_pool", type=unread(reference(POOL_OF_GRAPH)), about="For REDIRECT_TO_POOL."),
    Field(name="rules", type=unread(array(reference(L7_RULE_OF_GRAPH))), default=()),
)
"""A policy of a fully populated create."""

EXPANDED_L7_POLICY: Final = Schema(
    "l7policy",
    *(
        {"rules": shown("rules", answer=array(reference(L7_RULE)))}.get(one.name, one)
        for one in L7_POLICY.fields
    ),
)
"""A policy in the answer to a fully populated create."""
