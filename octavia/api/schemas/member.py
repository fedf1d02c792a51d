# SPDX-License-Identifier: Apache-2.0
"""The shape of members (contract: api.md section 9.2)."""

from typing import Any, Final

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
    VNIC_TYPE,
)
from octavia.api.schemas.fields import Field, Null, Schema, shown

MEMBER: Final = Schema(
    "member",
    ID,
    NAME,
    OPERATING_STATUS,
    PROVISIONING_STATUS,
    ADMIN_STATE_UP,
    Field(name="address", type=types.address, required=True, update=False),
    Field(name="protocol_port", type=types.integer(1, 65535), required=True, update=False),
    Field(
        name="weight",
        type=types.integer(0, 256),
        default=1,
        null_on_create=Null.REFUSED,
        about="Share of the new sessions; 0 drains.",
    ),
    Field(
        name="backup",
        type=types.boolean,
        default=False,
        null_on_create=Null.REFUSED,
        about="Gets traffic only when no other member can.",
    ),
    Field(name="subnet_id", type=types.uuid, update=False, about="Where it is reached from."),
    PROJECT_ID,
    CREATED_AT,
    UPDATED_AT,
    Field(name="monitor_address", type=types.address, about="Checked in place of address."),
    Field(name="monitor_port", type=types.integer(1, 65535), about="Checked in place of protocol_port."),
    TAGS,
    shown("vnic_type", answer=VNIC_TYPE),
    TENANT_ID,
    Field(
        name="request_sriov",
        type=types.boolean,
        update=False,
        shown=False,
        default=False,
        about="Needs a flavor with allow_member_sriov; vnic_type is then direct.",
    ),
)
"""A member on its own, and of a batch."""

MEMBER_OF_GRAPH: Final = Schema(
    "member", *(one for one in MEMBER.fields if one.name not in ("project_id", "tenant_id"))
)
"""A member of a fully populated create."""


def placed(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a new member, with the kind of port that it asks for."""
    values["vnic_type"] = "direct" if values.pop("request_sriov") else "normal"
    return values
