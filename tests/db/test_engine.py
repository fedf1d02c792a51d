# SPDX-License-Identifier: Apache-2.0
"""Transactions: what they see, when they are run again, what an outage looks like."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.engine import Database, create_engine
from octavia.domain.errors import Terminal, Transient
from tests.databases import Server
from tests.fleet import NOW, load_balancer, store

# PyMySQL forgets to close a socket that it could not connect.
FORGETFUL = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def insert_event(tx: sa.Connection, text: str) -> None:
    tx.execute(sa.insert(t.event).values(load_balancer_id="lb", at=NOW, text=text))


def event_texts(database: Database) -> list[str]:
    with database.read() as tx:
        return list(tx.execute(sa.select(t.event.c.text).order_by(t.event.c.id)).scalars())


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def change(tx: sa.Connection) -> None:
        insert_event(tx, "lost")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.write(change)
    assert event_texts(database) == []


def test_what_was_committed_before_a_lock_is_seen_after_it(database: Database) -> None:
    """READ COMMITTED: a snapshot from the beginning of the transaction would show the past."""
    lb = load_balancer()
    database.write(lambda tx: store(tx, lb))
    row = sa.select(t.load_balancer.c.name).where(t.load_balancer.c.id == lb.id)
    locked, release = threading.Event(), threading.Event()

    def first(tx: sa.Connection) -> None:
        tx.execute(row.with_for_update())
        locked.set()
        assert release.wait(10)
        tx.execute(sa.update(t.load_balancer).values(name="new"))

    seen: list[str] = []

    def second(tx: sa.Connection) -> None:
        if tx.dialect.name != "sqlite":  # there, a writer waits before it reads anything at all
            tx.execute(sa.select(t.event.c.id)).all()
        release.set()
        tx.execute(row.with_for_update()).scalar()
        seen.append(tx.execute(row).scalar_one())

    one = threading.Thread(target=database.write, args=(first,))
    one.start()
    assert locked.wait(10)
    if database.engine.dialect.name == "sqlite":
        release.set()
    database.write(second)
    one.join()
    assert seen == ["new"]


def test_a_deadlock_runs_the_whole_transaction_again(database: Database) -> None:
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time, so no deadlocks")
    lbs = [load_balancer(1), load_balancer(2)]

    def insert(tx: sa.Connection) -> None:
        for lb in lbs:
            store(tx, lb)

    database.write(insert)
    # Each of two takes one row, waits for the other to have taken its own, and wants that one too.
    barrier = threading.Barrier(2)
    runs = [0, 0]

    def change(tx: sa.Connection, mine: int) -> None:
        runs[mine] += 1
        # Run again, it waits for what the winner has; its own row it might get before the winner wakes up.
        first = mine if runs[mine] == 1 else 1 - mine
        for which in (first, 1 - first):
            tx.execute(
                sa.update(t.load_balancer)
                .where(t.load_balancer.c.id == lbs[which].id)
                .values(fence=t.load_balancer.c.fence + 1)
            )
            if which == mine and runs[mine] == 1:
                barrier.wait(10)

    threads = [
        threading.Thread(target=database.write, args=(lambda tx, mine=mine: change(tx, mine),))
        for mine in (0, 1)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(runs) == 3, "one of the two lost, and was run again"
    with database.read() as tx:
        assert list(tx.execute(sa.select(t.load_balancer.c.fence)).scalars()) == [2, 2]


def test_many_writers_queue_and_none_is_lost(database: Database) -> None:
    lb = load_balancer()
    database.write(lambda tx: store(tx, lb))

    def count(tx: sa.Connection) -> None:
        query = sa.select(t.load_balancer.c.fence).with_for_update()
        fence = tx.execute(query).scalar_one()
        tx.execute(sa.update(t.load_balancer).values(fence=fence + 1))

    def many() -> None:
        for _ in range(20):
            database.write(count)

    threads = [threading.Thread(target=many) for _ in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with database.read() as tx:
        assert tx.execute(sa.select(t.load_balancer.c.fence)).scalar_one() == 100


def test_readers_are_not_stopped_by_a_writer(database: Database) -> None:
    database.write(lambda tx: insert_event(tx, "before"))
    read: list[list[str]] = []

    def change(tx: sa.Connection) -> None:
        insert_event(tx, "meanwhile")
        reader = threading.Thread(target=lambda: read.append(event_texts(database)))
        reader.start()
        reader.join(10)

    database.write(change)
    assert read == [["before"]]


def test_a_session_needs_no_round_trip_to_set_itself_up(database: Database) -> None:
    """What a transaction costs beyond its statements, once connections exist."""
    database.write(lambda tx: insert_event(tx, "warm"))
    sent: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        database.write(lambda tx: insert_event(tx, "x"))
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)
    # oslo.db proves that the pooled connection is alive.
    assert [one.split()[0] for one in sent if one != "SELECT 1"][-1] == "INSERT"
    assert len(sent) <= 2


@contextmanager
def closed_door(url: sa.URL) -> Iterator[None]:
    """Nobody can connect any more; the server itself goes on."""
    query = url.query
    door = query.get("unix_socket") or f"{query['host']}/.s.PGSQL.5432"
    assert isinstance(door, str)
    os.rename(door, door + ".away")
    try:
        yield
    finally:
        os.rename(door + ".away", door)


@FORGETFUL
def test_an_outage_is_transient_and_passes(
    backend: str, servers: Callable[[str], Server], database: Database
) -> None:
    if backend == "sqlite":
        pytest.skip("SQLite has no server that could be away")
    with closed_door(servers(backend).admin_url):
        database.engine.dispose()
        with pytest.raises(Transient, match="The database cannot be used just now"):
            database.write(lambda tx: insert_event(tx, "lost"))
        with pytest.raises(Transient), database.read():
            pass
        with pytest.raises(Transient, match="The database does not answer"):
            create_engine(database.engine.url.render_as_string(hide_password=False))
    gc.collect()  # while the warning is expected
    database.write(lambda tx: insert_event(tx, "back"))
    assert event_texts(database) == ["back"]


def test_a_connection_that_was_cut_is_replaced_unnoticed(backend: str, database: Database) -> None:
    if backend == "sqlite":
        pytest.skip("SQLite has no connections that could be cut")
    database.write(lambda tx: insert_event(tx, "before"))
    cut = {
        "mariadb": "SELECT CONCAT('KILL ', id) FROM information_schema.processlist"
        " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    }[backend]
    killer = sa.create_engine(database.engine.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with killer.connect() as connection:
        for (answer,) in connection.exec_driver_sql(cut).all():
            if backend == "mariadb":
                connection.exec_driver_sql(answer)
    database.write(lambda tx: insert_event(tx, "after"))
    assert event_texts(database) == ["before", "after"]


def test_a_driver_that_is_missing_is_named() -> None:
    with pytest.raises(Terminal, match=r"psycopg is missing\): pip install 'octavia\[postgresql\]'"):
        create_engine("postgresql+psycopg://octavia@localhost/octavia")


@FORGETFUL
@pytest.mark.parametrize("name", ["postgresql", "mysql", "mariadb"])
def test_a_url_that_names_no_driver_gets_the_one_that_is_installed(name: str) -> None:
    with pytest.raises(Transient, match="The database does not answer"):
        create_engine(f"{name}://octavia@127.0.0.1:1/octavia")
    gc.collect()  # while the warning is expected
