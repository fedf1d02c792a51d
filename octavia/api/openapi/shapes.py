# SPDX-License-Identifier: Apache-2.0
"""Shapes of resources as JSON Schemas, each under a name of its own in the document's components."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from octavia.api.schemas.amphora import AMPHORA
from octavia.api.schemas.common import INTEGER, STRING, nullable, timestamp
from octavia.api.schemas.fields import Field, Null, Schema, Setting
from octavia.api.schemas.health_monitor import (
    EXPANDED_HEALTH_MONITOR,
    HEALTH_MONITOR,
    HEALTH_MONITOR_OF_GRAPH,
)
from octavia.api.schemas.l7_policy import EXPANDED_L7_POLICY, L7_POLICY, L7_POLICY_OF_GRAPH
from octavia.api.schemas.l7_rule import L7_RULE, L7_RULE_OF_GRAPH
from octavia.api.schemas.listener import EXPANDED_LISTENER, LISTENER, LISTENER_OF_GRAPH
from octavia.api.schemas.load_balancer import ADDITIONAL_VIP, EXPANDED_LOAD_BALANCER, LOAD_BALANCER
from octavia.api.schemas.member import MEMBER, MEMBER_OF_GRAPH
from octavia.api.schemas.offers import AVAILABILITY_ZONE, AVAILABILITY_ZONE_PROFILE, FLAVOR, FLAVOR_PROFILE
from octavia.api.schemas.pool import EXPANDED_POOL, POOL, POOL_OF_GRAPH
from octavia.api.schemas.quota import QUOTA
from octavia.api.schemas.types import JsonSchema, schema_of
from octavia.api.settings import ApiSettings

NAMES: Final[Mapping[Schema, str]] = {
    LOAD_BALANCER: "LoadBalancer",
    EXPANDED_LOAD_BALANCER: "ExpandedLoadBalancer",
    ADDITIONAL_VIP: "AdditionalVip",
    LISTENER: "Listener",
    LISTENER_OF_GRAPH: "ListenerOfGraph",
    EXPANDED_LISTENER: "ExpandedListener",
    POOL: "Pool",
    POOL_OF_GRAPH: "PoolOfGraph",
    EXPANDED_POOL: "ExpandedPool",
    MEMBER: "Member",
    MEMBER_OF_GRAPH: "MemberOfGraph",
    HEALTH_MONITOR: "HealthMonitor",
    HEALTH_MONITOR_OF_GRAPH: "HealthMonitorOfGraph",
    EXPANDED_HEALTH_MONITOR: "ExpandedHealthMonitor",
    L7_POLICY: "L7Policy",
    L7_POLICY_OF_GRAPH: "L7PolicyOfGraph",
    EXPANDED_L7_POLICY: "ExpandedL7Policy",
    L7_RULE: "L7Rule",
    L7_RULE_OF_GRAPH: "L7RuleOfGraph",
    QUOTA: "Quota",
    FLAVOR: "Flavor",
    FLAVOR_PROFILE: "FlavorProfile",
    AVAILABILITY_ZONE: "AvailabilityZone",
    AVAILABILITY_ZONE_PROFILE: "AvailabilityZoneProfile",
    AMPHORA: "Amphora",
}

STATUS_REASON: Final[JsonSchema] = {
    "type": ["object", "null"],
    "description": "Why a status is not the hoped-for one, if there is something to say. In shows alone.",
    "properties": {
        "code": STRING,
        "sentence": STRING,
        "since": schema_of(timestamp),
        "attempts": nullable(INTEGER),
        "next_try": nullable(schema_of(timestamp)),
    },
}


class Use(StrEnum):
    """What a shape is for; the value is the suffix of its name."""

    CREATE = "Create"
    UPDATE = "Update"
    ANSWER = ""


class Components:
    """The shapes that a document refers to, collected while it is written."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self.schemas: dict[str, Any] = {}

    def refer(self, schema: Schema, use: Use) -> dict[str, Any]:
        """A reference to a shape, which becomes part of the components."""
        name = f"{NAMES[schema]}{use.value}"
        if name not in self.schemas:
            self.schemas[name] = {}  # it may refer to itself
            self.schemas[name] = self._shape(schema, use)
        return {"$ref": f"#/components/schemas/{name}"}

    def plain(self, value: Any, use: Use) -> Any:
        """A JSON Schema as JSON: shapes that it refers to become names."""
        if isinstance(value, Mapping):
            if isinstance(value.get("$ref"), Schema):
                return self.refer(value["$ref"], use)
            return {name: self.plain(content, use) for name, content in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(content, use) for content in value]
        return str(value) if isinstance(value, StrEnum) else value

    def _shape(self, schema: Schema, use: Use) -> dict[str, Any]:
        if use is Use.ANSWER:
            fields = [one for one in schema.fields if one.shown]
            properties = {one.name: self.plain(_answered(one), use) for one in fields}
            if "provisioning_status" in properties:
                properties["status_reason"] = self.plain(STATUS_REASON, use)
            required: list[str] = []  # ?fields= leaves out any
        else:
            fields = [one for one in schema.fields if one.type and getattr(one, use.value.lower())]
            properties = {one.name: self.plain(self._taken(one, use), use) for one in fields}
            required = [one.name for one in fields if one.required and use is Use.CREATE]
        return {
            "type": "object",
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False,
        }

    def _taken(self, field: Field, use: Use) -> dict[str, Any]:
        assert field.type is not None
        schema = dict(schema_of(field.type))
        if use is Use.CREATE:
            taken = _described(field, nullable(schema) if _null_may_be_created(field) else schema)
            default = self._default(field)
            return taken if default is None or field.required else taken | {"default": default}
        return _described(field, schema if field.null_on_update is Null.REFUSED else nullable(schema))

    def _default(self, field: Field) -> Any:
        default = field.default
        if isinstance(default, Setting):
            default = getattr(self._settings, default.name)
        return dict(default) if isinstance(default, MappingProxyType) else default


def required(schema: Schema) -> list[str]:
    """The attributes that a whole answer has."""
    return [one.name for one in schema.fields if one.shown and not one.omitted]


def filters(schema: Schema, names: Iterable[str]) -> dict[str, JsonSchema]:
    """What a list can be filtered by: name to type of the text."""
    known = {one.name: _answered(one) for one in schema.fields}
    return {name: _text_of(known.get(name, STRING)) for name in names}


def _text_of(schema: JsonSchema) -> dict[str, Any]:
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind in ("boolean", "integer", "number"):
        return {"type": kind}
    if "enum" in schema:
        return {"type": "string", "enum": [one for one in schema["enum"] if one is not None]}
    return {"type": "string"}


def _null_may_be_created(field: Field) -> bool:
    # "" stands for "there is one, and nothing is called so": the same as a refusal.
    return not field.required and field.null_on_create not in (Null.REFUSED, "")


def _answered(field: Field) -> dict[str, Any]:
    if field.answer is not None:
        return _described(field, field.answer)
    told = schema_of(field.render) if field.render else {}
    schema = told or (schema_of(field.type) if field.type else {})
    may_be_null = field.type is not None and not field.required
    if may_be_null and (field.default is None or field.null_on_create is None):
        schema = nullable(schema)
    return _described(field, schema)


def _described(field: Field, schema: JsonSchema) -> dict[str, Any]:
    return dict(schema) | ({"description": field.about} if field.about else {})
