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
    STRING,
    TAGS,
    UPDATED_AT,
    VNIC_TYPE,
    array,
    ids,
)
from octavia.api.schemas.fields import Field, Schema, reference, shown
from octavia.api.schemas.listener import EXPANDED_LISTENER, LISTENER_OF_GRAPH
from octavia.api.schemas.pool import EXPANDED_POOL, POOL_OF_GRAPH


def _raw_list(schema: Schema) -> types.Type:
    """Objects of a create: each is read by its own schema afterwards."""

    @types.described(**array(reference(schema)))
    def parse(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise types.BadValue("Value should be a list")
        return value

    return parse


ADDITIONAL_VIP: Final = Schema(
    "additional_vips",
    Field(name="subnet_id", type=types.uuid, required=True),
    Field(name="ip_address", type=types.address),
    Field(name="port_id", type=types.uuid, stored=False, about="Always a new one; what is sent is ignored."),
)

LOAD_BALANCER: Final = Schema(
    "loadbalancer",
    ID,
    NAME,
    DESCRIPTION,
    PROVISIONING_STATUS,
    OPERATING_STATUS,
    ADMIN_STATE_UP,
    Field(
        name="project_id",
        type=types.text(36),
        update=False,
        answer=STRING,
        about="By default the project of the token.",
    ),
    CREATED_AT,
    UPDATED_AT,
    Field(name="vip_address", type=types.address, update=False, about="By default a free one."),
    Field(
        name="vip_port_id",
        type=types.uuid,
        update=False,
        about="A port decides over a network, a network over a subnet; one of the three is needed.",
    ),
    Field(name="vip_subnet_id", type=types.uuid, update=False),
    Field(name="vip_network_id", type=types.uuid, update=False),
    Field(name="vip_sg_ids", type=types.set_of(types.uuid), default=()),
    Field(name="additional_vips", type=_raw_list(ADDITIONAL_VIP), update=False, default=()),
    Field(
        name="listeners",
        type=_raw_list(LISTENER_OF_GRAPH),
        update=False,
        default=(),
        render=ids,
        about="Of a fully populated create: whole listeners, with all that belongs to them.",
    ),
    Field(
        name="pools",
        type=_raw_list(POOL_OF_GRAPH),
        update=False,
        default=(),
        render=ids,
        about="Of a fully populated create: whole pools, which listeners and policies may refer to by name.",
    ),
    Field(
        name="provider",
        type=types.text(64),
        update=False,
        answer=STRING,
        about="By default the flavor's, or the deployment's.",
    ),
    Field(name="flavor_id", type=types.uuid, update=False, null_on_create=""),
    Field(name="vip_qos_policy_id", type=types.uuid),
    TAGS,
    Field(name="availability_zone", type=types.text(255), update=False, null_on_create=""),
    shown("vip_vnic_type", answer=VNIC_TYPE),
    Field(
        name="tenant_id", type=types.text(36), update=False, answer=STRING, about="Old name of project_id."
    ),
)
"""A load balancer as it is shown; a create takes its children too."""

EXPANDED_LOAD_BALANCER: Final = Schema(
    "loadbalancer",
    *(
        {
            "listeners": shown("listeners", answer=array(reference(EXPANDED_LISTENER))),
            "pools": shown("pools", answer=array(reference(EXPANDED_POOL))),
        }.get(one.name, one)
        for one in LOAD_BALANCER.fields
    ),
)
"""A load balancer in the answer to its creation."""
