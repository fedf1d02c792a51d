# SPDX-License-Identifier: Apache-2.0
"""Fields that several resources share, and how values are shown."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from octavia.api.schemas import types
from octavia.api.schemas.fields import Field, Null, shown
from octavia.api.schemas.types import JsonSchema, described, schema_of
from octavia.domain.statuses import OperatingStatus, ProvisioningStatus


@described(
    type="string",
    pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$",
    description="UTC in whole seconds, without a zone.",
)
def timestamp(value: datetime) -> str:
    """UTC in whole seconds without a zone: clients parse exactly this layout."""
    return value.isoformat(timespec="seconds")


UUID: Final[JsonSchema] = schema_of(types.uuid)
ADDRESS: Final[JsonSchema] = schema_of(types.address)
STRING: Final[JsonSchema] = {"type": "string"}
INTEGER: Final[JsonSchema] = {"type": "integer"}
VNIC_TYPE: Final[JsonSchema] = {"type": "string", "enum": ["normal", "direct"]}
_ID_ONLY: Final = {
    "type": "object",
    "properties": {"id": UUID},
    "required": ["id"],
    "additionalProperties": False,
}


def nullable(schema: JsonSchema) -> dict[str, Any]:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]} if "type" not in schema else _with_null(schema)


def _with_null(schema: JsonSchema) -> dict[str, Any]:
    with_null = dict(schema) | {"type": [schema["type"], "null"]}
    if "enum" in schema:
        with_null["enum"] = [*schema["enum"], None]
    return with_null


def array(items: JsonSchema) -> dict[str, Any]:
    """A list of such values."""
    return {"type": "array", "items": items}


@described(**array(_ID_ONLY))
def ids(values: Iterable[str]) -> list[dict[str, str]]:
    """An id-only list."""
    return [{"id": value} for value in values]


@described(**array(_ID_ONLY), minItems=1, maxItems=1)
def one_id(value: str) -> list[dict[str, str]]:
    """An id-only list of one."""
    return [{"id": value}]


ID: Final = shown("id", answer=UUID)
NAME: Final = Field(name="name", type=types.text(255), default="", about="Need not be unique.")
DESCRIPTION: Final = Field(name="description", type=types.text(255), default="")
PROVISIONING_STATUS: Final = shown(
    "provisioning_status",
    answer={
        "type": "string",
        "enum": [one for one in ProvisioningStatus if one != ProvisioningStatus.DELETED],
    },
    about="Is the last write live?",
)
OPERATING_STATUS: Final = shown(
    "operating_status",
    answer={"type": "string", "enum": list(OperatingStatus)},
    about="Does traffic flow? Measured by the amphorae.",
)
ADMIN_STATE_UP: Final = Field(
    name="admin_state_up",
    type=types.boolean,
    default=True,
    null_on_create=False,
    null_on_update=False,
    about="False takes it out of service. Null means false.",
)
CREATED_AT: Final = shown("created_at", timestamp)
UPDATED_AT: Final = shown(
    "updated_at",
    timestamp,
    answer=nullable(schema_of(timestamp)),
    about="Null until the first change after its creation.",
)
TAGS: Final = Field(
    name="tags",
    type=types.tags,
    default=(),
    null_on_update=Null.ABSENT,
    about="A list replaces the whole set. Lists can be filtered by tags.",
)

# Unlike elsewhere, null clears the tags of policies and rules.
CLEARABLE_TAGS: Final = replace(TAGS, null_on_update=())

# Children always belong to their load balancer's project: the field is taken and means nothing.
PROJECT_ID: Final = Field(
    name="project_id",
    type=types.text(36),
    update=False,
    stored=False,
    answer=STRING,
    about="The load balancer's. What a create sends is ignored.",
)
TENANT_ID: Final = Field(
    name="tenant_id",
    type=types.text(36),
    update=False,
    stored=False,
    answer=STRING,
    about="Old name of project_id.",
)
