# SPDX-License-Identifier: Apache-2.0
"""Who asks, and who may: ``[api_settings] auth_strategy`` (contract: api.md sections 1.3 and 21).

``noauth`` is here: everybody is admin. The others check callers and need more of the environment: see
:mod:`octavia.api.checked`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

import falcon

from octavia.api.schemas.types import storable
from octavia.domain.errors import Invalid

_LONGEST_PROJECT_ID: Final = 36
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The caller.

    :param project_id: the project that the caller speaks for, if it is known.
    :param credentials: what policies know of the caller.
    """

    project_id: str | None = None
    is_admin: bool = False
    credentials: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)


NOBODY: Final = Identity()


class Access(Protocol):
    """How a process tells its callers apart."""

    def admit(self, req: falcon.Request, resp: falcon.Response) -> Identity:
        """Who asks. Whoever may not come in finds the answer complete when this returns.

        :raises Invalid: what a caller says of itself cannot be.
        :raises Transient: who it is cannot be found out just now.
        """

    def allows(self, rule: str, caller: Identity, project_id: str | None) -> bool:
        """May the caller make a call on an object of that project?

        :param rule: such as ``listener:put``.
        :param project_id: None: the object is of no project.
        """


class NoAuth:
    """Everybody is admin, in the project that the header names."""

    def admit(self, req: falcon.Request, _resp: falcon.Response) -> Identity:
        """Anybody, from the headers.

        :raises Invalid: the header cannot be a project id.
        """
        return Identity(project_id=project_header(req.env), is_admin=True)

    def allows(self, _rule: str, _caller: Identity, _project_id: str | None) -> bool:
        """Always."""
        return True


def project_header(environ: Mapping[str, Any]) -> str | None:
    """:raises Invalid: the header cannot be a project id."""
    project_id = environ.get("HTTP_X_PROJECT_ID") or None
    if project_id is not None and (len(project_id) > _LONGEST_PROJECT_ID or not storable(project_id)):
        raise Invalid("Validation failure: the header X-Project-Id is not a project id.")
    return project_id
