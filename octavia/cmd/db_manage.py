# SPDX-License-Identifier: Apache-2.0
"""``octavia-db-manage``: the schema of the database (contract: control-plane.md section 10).

What the revisions do is not here: see :mod:`octavia.db.schema`.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final, TextIO

from oslo_config import cfg

from octavia import config
from octavia.config.checks import Contradiction
from octavia.db import schema
from octavia.db.engine import Engine, create_engine
from octavia.domain.errors import OctaviaError, Terminal

_PROGRAM: Final = "octavia-db-manage"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    conf = cfg.ConfigOpts()
    conf.register_cli_opt(cfg.SubCommandOpt("command", title="commands", handler=_add_commands))
    try:
        config.load(sys.argv[1:] if argv is None else argv, program=_PROGRAM, conf=conf)
        with ExitStack() as opened:
            _COMMANDS[conf.command.name](conf.command, lambda: _engine(conf, opened), sys.stdout)
    except (Contradiction, OctaviaError) as why:
        print(f"{_PROGRAM}: {why}", file=sys.stderr)
        return 1
    return 0


def _engine(conf: cfg.ConfigOpts, opened: ExitStack) -> Engine:
    url = conf.database.connection
    if url in (None, "", "sqlite://"):
        raise Terminal("No database is configured: set connection in section [database] of octavia.conf.")
    engine = create_engine(url)
    opened.callback(engine.dispose)
    return engine


_Open = Callable[[], Engine]


def _current(_options: argparse.Namespace, database: _Open, output: TextIO) -> None:
    found = schema.revision(database())
    newest = " (head)" if found == schema.newest_revision() else ""
    print(
        f"{found}{newest}" if found else "The database is empty: run 'octavia-db-manage upgrade head'.",
        file=output,
    )


def _history(_options: argparse.Namespace, _database: _Open, output: TextIO) -> None:
    schema.print_history(output)


def _branches(_options: argparse.Namespace, _database: _Open, output: TextIO) -> None:
    schema.print_branches(output)


def _check_migration(_options: argparse.Namespace, _database: _Open, output: TextIO) -> None:
    """One line of revisions with one end, so that ``head`` means one thing."""
    heads = schema.heads()
    if len(heads) != 1:
        raise Terminal(f"The revisions have {len(heads)} heads, {', '.join(heads)}: there has to be one.")
    print(f"One head: {heads[0]}", file=output)


def _upgrade(options: argparse.Namespace, database: _Open, output: TextIO) -> None:
    if (options.revision is None) == (options.delta is None):
        raise Terminal("Say where to: a revision, usually 'head', or --delta N.")
    to = options.revision or f"+{options.delta}"
    if (options.delta is not None and options.delta <= 0) or to.startswith("-"):
        raise Terminal("A schema is only ever upgraded; go back by restoring a backup.")
    if to not in ("head", "heads") and not to.startswith("+") and to not in schema.known_revisions():
        raise Terminal(f"There is no revision {to}; 'octavia-db-manage history' lists them.")
    if options.sql:
        if options.delta is not None:
            raise Terminal(
                "--sql asks no database, so it does not know what to add --delta to: name a revision."
            )
        schema.print_sql(database(), to, output)
        return
    schema.upgrade(database(), to)


def _upgrade_persistence(_options: argparse.Namespace, _database: _Open, output: TextIO) -> None:
    print(
        "Nothing to do: what is in progress is kept in the work queue, not in a database of TaskFlow.",
        file=output,
    )


def _downgrade(_options: argparse.Namespace, _database: _Open, _output: TextIO) -> None:
    raise Terminal("A schema is never downgraded; go back by restoring a backup.")


def _stamp(options: argparse.Namespace, database: _Open, output: TextIO) -> None:
    if options.revision not in ("head", "heads", *schema.known_revisions()):
        raise Terminal(f"There is no revision {options.revision}; 'octavia-db-manage history' lists them.")
    if options.sql:
        schema.print_sql(database(), options.revision, output, only_stamp=True)
    else:
        schema.stamp(database(), options.revision)


def _revision(options: argparse.Namespace, database: _Open, output: TextIO) -> None:
    if options.sql:
        raise Terminal(
            "A revision is a file of Python: write it without --sql, then 'upgrade --sql' prints its SQL."
        )
    schema.create_revision(database(), options.message, from_tables=options.autogenerate, output=output)


_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace, _Open, TextIO], None]]] = {
    "current": _current,
    "history": _history,
    "branches": _branches,
    "check_migration": _check_migration,
    "upgrade": _upgrade,
    "upgrade_persistence": _upgrade_persistence,
    "downgrade": _downgrade,
    "stamp": _stamp,
    "revision": _revision,
}
_HELP: Final[Mapping[str, str]] = {
    "current": "print the database's revision",
    "history": "print all revisions, the newest first",
    "branches": "print revisions that several others follow",
    "check_migration": "check that the revisions have one end",
    "upgrade": "bring the database to a revision",
    "upgrade_persistence": "nothing to do any more; scripts may call it",
    "downgrade": "refused",
    "stamp": "record a revision without running anything",
    "revision": "write a new revision's file (for developers)",
}


def _add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parsers = {name: commands.add_parser(name, help=_HELP[name]) for name in _COMMANDS}
    for name in ("upgrade", "stamp", "revision"):
        parsers[name].add_argument("--sql", action="store_true", help="print SQL and change nothing")
    parsers["upgrade"].add_argument("--delta", type=int, help="how many revisions to go")
    parsers["upgrade"].add_argument("revision", nargs="?", help="usually head")
    parsers["downgrade"].add_argument("revision", nargs="?")
    parsers["stamp"].add_argument("revision")
    parsers["revision"].add_argument("-m", "--message")
    parsers["revision"].add_argument("--autogenerate", action="store_true", help="fill it from the tables")


if __name__ == "__main__":
    sys.exit(main())
