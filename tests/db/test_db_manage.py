# SPDX-License-Identifier: Apache-2.0
"""octavia-db-manage, as an operator calls it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from octavia.cmd.db_manage import main
from octavia.db import schema
from octavia.db.engine import create_engine

Run = Callable[..., int]


@pytest.fixture
def run(empty_url: str, tmp_path: Path) -> Run:
    """The program on an empty database of each kind."""
    file = tmp_path / "octavia.conf"
    file.write_text(f"[database]\nconnection = {empty_url}\n")
    return lambda *arguments: main(["--config-file", str(file), *arguments])


def tables(url: str) -> list[str]:
    engine = create_engine(url)
    found = sa.inspect(engine).get_table_names()
    engine.dispose()
    return found


def test_upgrade_head_then_current(run: Run, empty_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("current") == 0
    assert "The database is empty: run 'octavia-db-manage upgrade head'." in capsys.readouterr().out
    assert run("upgrade", "head") == 0
    assert "load_balancer" in tables(empty_url)
    capsys.readouterr()
    assert run("current") == 0
    assert capsys.readouterr().out == f"{schema.newest_revision()} (head)\n"
    assert run("upgrade", "head") == 0


def test_upgrade_by_steps(run: Run, empty_url: str) -> None:
    assert run("upgrade", "--delta", "1") == 0
    assert "load_balancer" in tables(empty_url)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["upgrade"], "Say where to: a revision, usually 'head', or --delta N."),
        (["upgrade", "head", "--delta", "1"], "Say where to: a revision, usually 'head', or --delta N."),
        (["upgrade", "--delta", "-1"], "A schema is only ever upgraded; go back by restoring a backup."),
        (["upgrade", "nothing"], "There is no revision nothing; 'octavia-db-manage history' lists them."),
        (["stamp", "nothing"], "There is no revision nothing; 'octavia-db-manage history' lists them."),
        (["downgrade"], "A schema is never downgraded; go back by restoring a backup."),
        (["downgrade", "0001"], "A schema is never downgraded; go back by restoring a backup."),
    ],
)
def test_what_is_refused_is_refused_in_one_sentence(
    run: Run, empty_url: str, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert run(*arguments) == 1
    assert capsys.readouterr().err == f"octavia-db-manage: {sentence}\n"
    assert tables(empty_url) == []


def test_sql_is_printed_and_nothing_is_changed(
    run: Run, empty_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("upgrade", "head", "--sql") == 0
    printed = capsys.readouterr().out
    assert "CREATE TABLE load_balancer" in printed
    assert "INSERT INTO alembic_version" in printed
    assert tables(empty_url) == []


def test_printed_sql_makes_the_same_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On SQLite, whose library runs scripts."""
    file, url = tmp_path / "octavia.conf", f"sqlite:///{tmp_path}/octavia.sqlite"
    file.write_text(f"[database]\nconnection = {url}\n")
    assert main(["--config-file", str(file), "upgrade", "head", "--sql"]) == 0
    connection = sqlite3.connect(tmp_path / "octavia.sqlite")
    connection.executescript(capsys.readouterr().out)
    connection.close()
    engine = create_engine(url)
    assert schema.differences(engine) == []
    engine.dispose()


def test_stamp_records_and_runs_nothing(run: Run, empty_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stamp", "head") == 0
    assert tables(empty_url) == ["alembic_version"]
    capsys.readouterr()
    assert run("current") == 0
    assert capsys.readouterr().out == f"{schema.newest_revision()} (head)\n"


def test_a_database_of_another_octavia_is_refused_by_every_command(
    run: Run, empty_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('fabf4983846b')")
    engine.dispose()
    for arguments in (["upgrade", "head"], ["stamp", "head"], ["current"]):
        assert run(*arguments) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert "fabf4983846b of another Octavia; nothing was changed." in lines[0]
    assert tables(empty_url) == ["alembic_version"]


def test_history_branches_and_checks_need_no_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "octavia.conf"
    file.write_text("")
    for command in ("history", "branches", "check_migration", "upgrade_persistence"):
        assert main(["--config-file", str(file), command]) == 0, command
    printed = capsys.readouterr().out
    assert schema.newest_revision() in printed
    assert "One head:" in printed
    assert main(["--config-file", str(file), "upgrade", "head"]) == 1
    assert "No database is configured" in capsys.readouterr().err


def test_a_database_that_does_not_answer_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "octavia.conf"
    file.write_text("[database]\nconnection = postgresql://octavia@127.0.0.1:1/octavia\n")
    assert main(["--config-file", str(file), "upgrade", "head"]) == 1
    assert "The database does not answer" in capsys.readouterr().err
