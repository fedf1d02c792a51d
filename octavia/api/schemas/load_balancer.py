# SPDX-License-Identifier: Apache-2.0
"""The shape of load balancers (contract: api.md section 5.2)."""

from typing import Any, Final

from octavia.api.schemas import types
from octavia.api.schemas.common import (
    ADMIN_STATE_UP,
    CREATED_AT,
    DESCRIPTION,
    ID,
    NAME,
    OPERATING_STATUS,
    PROVISIONING_STATUS,
    TAGS,
    UPDATED_AT,
    ids,
)
from octavia.api.schemas.fields import Field, Schema, shown


def _raw_list(value: Any) -> list[Any]:
    """Children of a fully populated create: each is read by its own schema afterwards."""
    if not isinstance(value, list):
        raise types.BadValue("Value should be a list")
    return value


ADDITIONAL_VIP: Final = Schema(
    "additional_vips",
    Field(name="subnet_id", type=types.uuid, required=True),
    Field(name="ip_address", type=types.address),
    Field(name="port_id", type=types.uuid, stored=False),
)

LOAD_BALANCER: Final = Schema(
    "loadbalancer",
    ID,
    NAME,
    DESCRIPTION,
    PROVISIONING_STATUS,
    OPERATING_STATUS,
    ADMIN_STATE_UP,
    Field(name="project_id", type=types.text(36), update=False),
    CREATED_AT,
    UPDATED_AT,
    Field(name="vip_address", type=types.address, update=False),
    Field(name="vip_port_id", type=types.uuid, update=False),
    Field(name="vip_subnet_id", type=types.uuid, update=False),
    Field(name="vip_network_id", type=types.uuid, update=False),
    Field(name="vip_sg_ids", type=types.set_of(types.uuid), default=()),
    Field(name="additional_vips", type=_raw_list, update=False, default=()),
    Field(name="listeners", type=_raw_list, update=False, default=(), render=ids),
    Field(name="pools", type=_raw_list, update=False, default=(), render=ids),
    Field(name="provider", type=types.text(64), update=False),
    Field(name="flavor_id", type=types.uuid, update=False, null_on_create=""),
    Field(name="vip_qos_policy_id", type=types.uuid),
    TAGS,
    Field(name="availability_zone", type=types.text(255), update=False, null_on_create=""),
    shown("vip_vnic_type"),
    Field(name="tenant_id", type=types.text(36), update=False),
)
