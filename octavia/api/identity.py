# SPDX-License-Identifier: Apache-2.0
"""Who asks. Today everybody is admin (``auth_strategy = noauth``); token checks will stand here."""

from collections.abc import Mapping
from dataclasses import dataclass

from octavia.api.schemas.types import storable
from octavia.domain.errors import Invalid, Terminal

_LONGEST_PROJECT_ID = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The caller.

    :param project_id: the project that the caller speaks for, if it is known.
    """

    project_id: str | None
    is_admin: bool = False
    roles: frozenset[str] = frozenset()

    @property
    def scope(self) -> str | None:
        """The project whose objects lists show; None: every project's."""
        return None if self.is_admin else self.project_id


def check_strategy(strategy: str) -> None:
    """:raises Terminal: callers cannot be told apart in the way that is configured."""
    if strategy != "noauth":
        raise Terminal(
            f"[api_settings] auth_strategy = {strategy} is not served by this release: set it to noauth"
            " and listen on 127.0.0.1."
        )


def noauth(environ: Mapping[str, object]) -> Identity:
    """Everybody is admin, in the project that the header names.

    :raises Invalid: the header cannot be a project id.
    """
    project_id = environ.get("HTTP_X_PROJECT_ID") or None
    if project_id is not None:
        project_id = str(project_id)
        if len(project_id) > _LONGEST_PROJECT_ID or not storable(project_id):
            raise Invalid("Validation failure: the header X-Project-Id is not a project id.")
    return Identity(project_id=project_id, is_admin=True)
