# SPDX-License-Identifier: Apache-2.0
"""Bringing a database's schema up to date, and refusing databases that are somebody else's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

import sqlalchemy as sa
from alembic import autogenerate, command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from octavia.db import migrations
from octavia.db import tables as t
from octavia.domain.errors import Terminal

_VERSION_TABLE: Final = "alembic_version"


def alembic_config(output: TextIO | None = None) -> Config:
    """Alembic's configuration; there is no ini file, so that a pip installation needs none."""
    config = Config(output_buffer=output, stdout=output) if output else Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def known_revisions() -> tuple[str, ...]:
    """The revisions of this program, the newest first."""
    return tuple(one.revision for one in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def newest_revision() -> str:
    """What ``head`` means."""
    return known_revisions()[0]


def revision(engine: sa.Engine) -> str | None:
    """The revision that a database is at; None for an empty one.

    :raises Terminal: the database belongs to another program.
    """
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_heads()
        present = set(sa.inspect(connection).get_table_names()) - {_VERSION_TABLE}
    foreign = sorted(set(found) - set(known_revisions()))
    if foreign:
        raise Terminal(
            f"This database has the schema revision {foreign[0]} of another Octavia; nothing was changed."
            " Name an empty database in [database] connection."
        )
    if not found and present & set(t.metadata.tables):
        raise Terminal(
            "This database has tables but no revision, so it is another program's, or its first upgrade was"
            " interrupted; nothing was changed. Name an empty database in [database] connection."
        )
    return found[0] if found else None


def upgrade(engine: sa.Engine, to: str = "head") -> None:
    """Run the revisions that are missing.

    :param to: a revision, ``head``, or ``+N`` for the next N.
    :raises Terminal: the database belongs to another program; nothing was changed.
    """
    revision(engine)
    _on(engine, lambda config: command.upgrade(config, to))


def stamp(engine: sa.Engine, to: str) -> None:
    """Say that a database is at a revision, without running any.

    :raises Terminal: the database belongs to another program; nothing was changed.
    """
    revision(engine)
    _on(engine, lambda config: command.stamp(config, to))


def print_sql(engine: sa.Engine, to: str, output: TextIO, *, only_stamp: bool = False) -> None:
    """Write the SQL that would bring an empty database to a revision; the database is not asked."""
    config = alembic_config(output)
    config.attributes["dialect_name"] = engine.dialect.name
    (command.stamp if only_stamp else command.upgrade)(config, to, sql=True)


def differences(engine: sa.Engine) -> list[Any]:
    """In what a database's tables differ from those that the code knows, in alembic's words."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": _default_differs}
        )
        return list(autogenerate.compare_metadata(context, t.metadata))


def _default_differs(
    _context: object, _found: object, column: sa.Column[Any], found: str | None, _wanted: object, wanted: str
) -> bool | None:
    """None leaves the answer to alembic, which does not know that MySQL keeps ``false`` as 0."""
    if isinstance(column.type, sa.Boolean) and found in ("0", "1"):
        return found != {"false": "0", "true": "1"}.get(wanted, wanted)
    return None


def print_history(output: TextIO) -> None:
    """Every revision, the newest first."""
    command.history(alembic_config(output))


def print_branches(output: TextIO) -> None:
    """Revisions that more than one follows; there should be none."""
    command.branches(alembic_config(output))


def heads() -> tuple[str, ...]:
    """Revisions that none follows; there should be one."""
    return tuple(ScriptDirectory.from_config(alembic_config()).get_heads())


def create_revision(engine: sa.Engine, message: str | None, *, from_tables: bool, output: TextIO) -> None:
    """A new file after the newest revision, filled with what the tables have and the database lacks.

    :param from_tables: fill it; the database has to be at the newest revision.
    :raises alembic.util.CommandError: it is not.
    """
    _on(engine, lambda config: command.revision(config, message, autogenerate=from_tables), output)


def _on(engine: sa.Engine, run: Callable[[Config], Any], output: TextIO | None = None) -> None:
    config = alembic_config(output)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        run(config)
