# SPDX-License-Identifier: Apache-2.0
"""Bringing a database's schema up to date, and refusing databases that are somebody else's."""

from pathlib import Path
from typing import TextIO

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from octavia.db import migrations
from octavia.domain.errors import Terminal


def alembic_config(output: TextIO | None = None) -> Config:
    """Alembic's configuration; there is no ini file, so that a pip installation needs none."""
    config = Config(output_buffer=output, stdout=output) if output else Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def revision(engine: sa.Engine) -> str | None:
    """The revision that a database is at; None for an empty one.

    :raises Terminal: the database belongs to another program.
    """
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    known = {one.revision for one in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if found is not None and found not in known:
        raise Terminal(
            f"This database has the schema revision {found} of another Octavia; nothing was changed."
            " Name an empty database in [database] connection."
        )
    return found


def upgrade(engine: sa.Engine, to: str = "head") -> None:
    """Run the revisions that are missing.

    :raises Terminal: the database belongs to another program; nothing was changed.
    """
    revision(engine)
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, to)
