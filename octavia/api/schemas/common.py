# SPDX-License-Identifier: Apache-2.0
"""Fields that several resources share, and how values are shown."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from octavia.api.schemas import types
from octavia.api.schemas.fields import Field, Null, shown


def timestamp(value: datetime) -> str:
    """UTC in whole seconds without a zone: clients parse exactly this layout."""
    return value.isoformat(timespec="seconds")


def ids(values: Iterable[str]) -> list[dict[str, str]]:
    """An id-only list."""
    return [{"id": value} for value in values]


def one_id(value: str) -> list[dict[str, str]]:
    """An id-only list of one."""
    return [{"id": value}]


ID: Final = shown("id")
NAME: Final = Field(name="name", type=types.text(255), default="")
DESCRIPTION: Final = Field(name="description", type=types.text(255), default="")
PROVISIONING_STATUS: Final = shown("provisioning_status")
OPERATING_STATUS: Final = shown("operating_status")
ADMIN_STATE_UP: Final = Field(
    name="admin_state_up", type=types.boolean, default=True, null_on_create=False, null_on_update=False
)
CREATED_AT: Final = shown("created_at", timestamp)
UPDATED_AT: Final = shown("updated_at", timestamp)
TAGS: Final = Field(name="tags", type=types.tags, default=(), null_on_update=Null.ABSENT)

# Children always belong to their load balancer's project: the field is taken and means nothing.
PROJECT_ID: Final = Field(name="project_id", type=types.text(36), update=False, stored=False)
TENANT_ID: Final = Field(name="tenant_id", type=types.text(36), update=False, stored=False)

_NO_TLS: Final = "This deployment does not terminate or originate TLS"


def no_tls(name: str, *empty: Any, default: Any = None) -> Field:
    """A field of TLS; until it is served, only what means "none" is taken."""
    return Field(name=name, type=types.nothing_but(*empty, reason=_NO_TLS), stored=False, default=default)
