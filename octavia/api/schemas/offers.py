# SPDX-License-Identifier: Apache-2.0
"""The shapes of flavors, availability zones and their profiles (contract: api.md sections 14 to 17)."""

from typing import Final

from octavia.api.schemas import types
from octavia.api.schemas.common import DESCRIPTION, ID
from octavia.api.schemas.fields import Field, Null, Schema

_ENABLED: Final = Field(
    name="enabled",
    type=types.boolean,
    default=True,
    null_on_create=Null.REFUSED,
    null_on_update=Null.REFUSED,
)


def _needed(name: str, type_: types.Type, about: str = "") -> Field:
    return Field(name=name, type=type_, required=True, null_on_update=Null.REFUSED, about=about)


FLAVOR: Final = Schema(
    "flavor",
    ID,
    Field(name="name", type=types.text(255), required=True, null_on_update=""),
    DESCRIPTION,
    _ENABLED,
    Field(name="flavor_profile_id", type=types.uuid, required=True, update=False),
)
AVAILABILITY_ZONE: Final = Schema(
    "availability_zone",
    Field(name="name", type=types.text(255, minimum=1), required=True, update=False),
    DESCRIPTION,
    _ENABLED,
    Field(name="availability_zone_profile_id", type=types.uuid, required=True, update=False),
)
FLAVOR_PROFILE: Final = Schema(
    "flavorprofile",
    ID,
    _needed("name", types.text(255)),
    _needed("provider_name", types.text(255)),
    _needed("flavor_data", types.text(4096), "A JSON object, as text; its keys are the provider's."),
)
AVAILABILITY_ZONE_PROFILE: Final = Schema(
    "availability_zone_profile",
    ID,
    _needed("name", types.text(255)),
    _needed("provider_name", types.text(255)),
    _needed(
        "availability_zone_data", types.text(4096), "A JSON object, as text; its keys are the provider's."
    ),
)
