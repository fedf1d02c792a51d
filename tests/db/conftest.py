# SPDX-License-Identifier: Apache-2.0
"""The same tests on SQLite, MariaDB and PostgreSQL."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from octavia.db import schema
from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from tests.databases import SERVERS, MissingProgram, Server

BACKENDS = [
    "sqlite",
    pytest.param("mariadb", marks=pytest.mark.mariadb),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
]


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], Server]]:
    """Starts each server once, when the first test wants it."""
    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def server(backend: str) -> Server:
            if backend not in running:
                try:
                    running[backend] = stack.enter_context(SERVERS[backend]())
                except MissingProgram as missing:
                    pytest.skip(str(missing))
            return running[backend]

        yield server


@pytest.fixture(params=BACKENDS, scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """One of the three."""
    return str(request.param)


@pytest.fixture
def empty_url(backend: str, servers: Callable[[str], Server], tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if backend == "sqlite":
        yield f"sqlite:///{tmp_path}/octavia.sqlite"
        return
    name = f"octavia_{uuid.uuid4().hex}"
    yield servers(backend).create_database(name)
    servers(backend).drop_database(name)


@pytest.fixture(scope="session")
def migrated(
    backend: str, servers: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.Engine]:
    """A database that all revisions have been run on; shared, so that tests start in milliseconds."""
    if backend == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/octavia.sqlite"
    else:
        url = servers(backend).create_database(f"octavia_shared_{uuid.uuid4().hex}")
    engine = create_engine(url)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def database(migrated: sa.Engine) -> Iterator[Database]:
    """All tables, and nothing in them."""
    yield Database(migrated)
    with migrated.begin() as connection:
        # Pools and listeners point at one another through no cycle, so the order of deletion exists.
        for table in reversed(t.metadata.sorted_tables):
            connection.execute(sa.delete(table))
