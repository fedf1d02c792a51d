# SPDX-License-Identifier: Apache-2.0
"""The shape of members (contract: api.md section 9.2)."""

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
    Field(name="weight", type=types.integer(0, 256), default=1, null_on_create=Null.REFUSED),
    Field(name="backup", type=types.boolean, default=False, null_on_create=Null.REFUSED),
    Field(name="subnet_id", type=types.uuid, update=False),
    PROJECT_ID,
    CREATED_AT,
    UPDATED_AT,
    Field(name="monitor_address", type=types.address),
    Field(name="monitor_port", type=types.integer(1, 65535)),
    TAGS,
    shown("vnic_type"),
    TENANT_ID,
    Field(
        name="request_sriov",
        type=types.nothing_but(
            False,
            "false",
            "False",
            0,
            reason="The flavor of this load balancer does not allow members on SR-IOV ports",
        ),
        update=False,
        shown=False,
        stored=False,
        default=False,
    ),
)
"""A member on its own, and of a batch."""

MEMBER_OF_GRAPH: Final = Schema(
    "member", *(one for one in MEMBER.fields if one.name not in ("project_id", "tenant_id"))
)
"""A member of a fully populated create."""
