# SPDX-License-Identifier: Apache-2.0
"""The shape of L7 rules (contract: api.md section 12.2). They have no names."""

from typing import Final

from octavia.api.schemas import types
from octavia.api.schemas.common import (
    ADMIN_STATE_UP,
    CLEARABLE_TAGS,
    CREATED_AT,
    ID,
    OPERATING_STATUS,
    PROJECT_ID,
    PROVISIONING_STATUS,
    TENANT_ID,
    UPDATED_AT,
)
from octavia.api.schemas.fields import Field, Null, Schema
from octavia.domain.tree import CompareType, RuleType

# A tabulator may stand in a header, and so in what is compared with one.
_NO_CONTROLS: Final = r"[^\x00-\x08\x0a-\x1f\x7f-\x9f]"
_LINE: Final = types.matching(f"{_NO_CONTROLS}*", 255, "Value should have no control characters")
_VALUE: Final = types.matching(f"{_NO_CONTROLS}+", 255, "Value should have no control characters", minimum=1)

L7_RULE: Final = Schema(
    "rule",
    ID,
    Field(name="type", type=types.one_of(RuleType), required=True, null_on_update=Null.REFUSED),
    Field(name="compare_type", type=types.one_of(CompareType), required=True, null_on_update=Null.REFUSED),
    Field(name="key", type=_LINE, about="Name of the header, the cookie or the certificate's field."),
    Field(
        name="value", type=_VALUE, required=True, null_on_update=Null.REFUSED, about="What to compare with."
    ),
    Field(name="invert", type=types.boolean, default=False, about="True: it matches what does not compare."),
    PROVISIONING_STATUS,
    OPERATING_STATUS,
    CREATED_AT,
    UPDATED_AT,
    PROJECT_ID,
    ADMIN_STATE_UP,
    CLEARABLE_TAGS,
    TENANT_ID,
)
"""A rule on its own."""

L7_RULE_OF_GRAPH: Final = Schema(
    "rule", *(one for one in L7_RULE.fields if one.name not in ("project_id", "tenant_id"))
)
"""A rule of a fully populated create."""
