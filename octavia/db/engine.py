# SPDX-License-Identifier: Apache-2.0
"""Engines and transactions.

A write is a function of a connection that may run more than once: after a deadlock, a lost
connection or a failed certification (Galera) the whole transaction is run again. So it has no
side effects outside the database.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, TypeAlias, TypeVar

import sqlalchemy as sa
from oslo_db import exception as db_exception
from oslo_db.api import wrap_db_retry
from oslo_db.sqlalchemy import engines, exc_filters
from sqlalchemy import event, pool

from octavia.domain.errors import Terminal, Transient

_T = TypeVar("_T")

Connection: TypeAlias = sa.Connection
"""A transaction, as those name it who know no SQL."""
Engine: TypeAlias = sa.Engine
"""A database, likewise."""

_DRIVERS: Final = {
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_RETRIES = 20
_SQLITE_BUSY_S = 30.0


def create_engine(
    url: str,
    *,
    max_pool_size: int = 10,
    max_overflow: int = 20,
    pool_timeout: int | None = None,
    connection_recycle_time: int = 3600,
) -> sa.Engine:
    """An engine for ``[database] connection``: sqlite:///…, mysql+pymysql://…, postgresql://….

    :param pool_timeout: seconds to wait for a connection when all are in use.
    :param connection_recycle_time: seconds after which a connection is replaced when it is next used.
    :raises Transient: the database does not answer.
    :raises Terminal: the driver that the URL wants is not installed.
    """
    parsed = sa.make_url(url)
    # Without a name, SQLAlchemy takes drivers that are not among our dependencies.
    parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed)
    if parsed.get_backend_name() in ("mysql", "mariadb") and "charset" not in parsed.query:
        # Names may hold any Unicode; the library's default is MySQL's three-byte "utf8".
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    try:
        engine: sa.Engine = engines.create_engine(
            parsed,
            mysql_sql_mode="TRADITIONAL",
            max_pool_size=max_pool_size,
            max_overflow=max_overflow,
            pool_timeout=pool_timeout,
            connection_recycle_time=connection_recycle_time,
            max_retries=1,
            retry_interval=1,
        )
    except ModuleNotFoundError as error:
        extra = "postgresql" if parsed.get_backend_name() == "postgresql" else "mysql"
        raise Terminal(
            f"The driver of [database] connection = {parsed.drivername}://... is not installed"
            f" ({error.name} is missing): pip install 'octavia[{extra}]'."
        ) from error
    except (db_exception.DBConnectionError, sa.exc.OperationalError) as error:
        raise Transient(f"The database does not answer: {_words(error)}") from error
    if parsed.get_backend_name() in ("mysql", "mariadb"):
        _read_committed(engine)
    return engine


def _read_committed(engine: sa.Engine) -> None:
    """What a transaction reads after it has locked the load balancer must be what was committed
    before the lock, not what was there when the transaction began. PostgreSQL does so by default.

    Told once a connection: as an execution option it costs four more round trips a transaction.
    """

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    engine.dispose()  # the connection that proved the server's presence was opened before this


def _sqlite(url: sa.URL) -> sa.Engine:
    """SQLite as a server would be: WAL, pooled connections, our own BEGIN.

    oslo.db's engine for SQLite opens a connection a transaction and begins it deferred, so that
    two writers meet in an error instead of in a queue.
    """
    in_memory = url.database in (None, "", ":memory:")
    engine = sa.create_engine(
        url,
        poolclass=pool.StaticPool if in_memory else pool.QueuePool,
        connect_args={"check_same_thread": False, "timeout": _SQLITE_BUSY_S},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("octavia_writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    exc_filters.register_engine(engine)
    return engine


class Database:
    """Transactions on one engine; one object a process."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(octavia_writes=False)
        # SQLite has one writer at a time: queue here, fairly and without polling its lock.
        self._writing: AbstractContextManager[Any] = (
            threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        )

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads."""
        # Begun by the first statement, ended by closing: a COMMIT would be one more round trip.
        with _translated(), self._reading.connect() as connection:
            yield connection

    def write(self, change: Callable[[sa.Connection], _T]) -> _T:
        """Run ``change`` in a transaction, again from the start if the database asks for it.

        :raises Transient: the database does not answer, or the conflict does not end.
        """

        def attempt() -> _T:
            with self._writing, self.engine.begin() as connection:
                return change(connection)

        again = wrap_db_retry(
            max_retries=_RETRIES,
            retry_on_deadlock=True,
            retry_interval=0.02,
            inc_retry_interval=True,
            max_retry_interval=1,
            jitter=True,
        )
        with _translated():
            result: _T = again(attempt)()
            return result


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (db_exception.DBConnectionError, db_exception.DBDeadlock, sa.exc.TimeoutError) as error:
        raise Transient(f"The database cannot be used just now: {_words(error)}") from error
    except sa.exc.OperationalError as error:
        # psycopg2's error without a code: the server never got to answer. oslo.db knows this from
        # older wordings alone.
        if getattr(error.orig, "pgcode", "") is not None:
            raise
        raise Transient(f"The database cannot be used just now: {_words(error)}") from error


def _words(error: Exception) -> str:
    """The driver's own, in one line, without what SQLAlchemy adds for developers."""
    cause = getattr(error, "orig", None) or getattr(error, "inner_exception", None) or error
    return " ".join(str(getattr(cause, "orig", None) or cause).split())
