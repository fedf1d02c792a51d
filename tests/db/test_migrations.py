# SPDX-License-Identifier: Apache-2.0
"""The revisions make exactly the tables that the code knows, on every database."""

import pytest
import sqlalchemy as sa

from octavia.db import schema
from octavia.db.engine import create_engine
from octavia.domain.errors import Terminal


def test_all_revisions_together_make_the_tables_of_the_code(empty_url: str) -> None:
    engine = create_engine(empty_url)
    schema.upgrade(engine)
    assert schema.differences(engine) == []
    engine.dispose()


def test_upgrading_again_changes_nothing(empty_url: str) -> None:
    engine = create_engine(empty_url)
    schema.upgrade(engine)
    assert schema.revision(engine) == schema.newest_revision()
    schema.upgrade(engine)
    assert schema.revision(engine) == schema.newest_revision()
    engine.dispose()


def test_a_database_of_another_octavia_is_refused_and_left_alone(empty_url: str) -> None:
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('fabf4983846b')")
    with pytest.raises(Terminal, match="fabf4983846b of another Octavia; nothing was changed"):
        schema.upgrade(engine)
    assert sa.inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_tables_without_a_revision_are_refused_and_left_alone(empty_url: str) -> None:
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE load_balancer (id VARCHAR(36) NOT NULL)")
    with pytest.raises(Terminal, match="has tables but no revision"):
        schema.upgrade(engine)
    assert sa.inspect(engine).get_table_names() == ["load_balancer"]
    engine.dispose()
