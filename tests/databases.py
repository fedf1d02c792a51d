# SPDX-License-Identifier: Apache-2.0
"""Private database servers for tests: started from distribution binaries in a temporary folder.

They listen on a Unix socket in that folder alone, end with the test run, and die with it when it is
killed. Schemas and the fixtures that use them are not here: see ``tests/db/conftest.py``.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

_START_DEADLINE_S: Final = 60
_POSTGRESQL_PROGRAMS: Final = "/usr/lib/postgresql"


class MissingProgram(Exception):
    """A server's programs are not installed; the text says which package has them."""


@dataclass(frozen=True)
class Server:
    """A running server.

    :param pid: of the server's process, for measuring its CPU time.
    """

    pid: int
    admin_url: sa.URL

    def create_database(self, name: str) -> str:
        """A new, empty database; its URL for ``[database] connection``."""
        self._admin(f'CREATE DATABASE "{name}"')
        return self.admin_url.set(database=name).render_as_string(hide_password=False)

    def drop_database(self, name: str) -> None:
        """Nobody may be connected any more."""
        self._admin(f'DROP DATABASE "{name}"')

    def _admin(self, statement: str) -> None:
        if self.admin_url.get_backend_name() == "mysql":
            statement = statement.replace('"', "`")
        engine = sa.create_engine(self.admin_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)


@contextmanager
def mariadb() -> Iterator[Server]:
    """A MariaDB server of the invoking user.

    :raises MissingProgram: it is not installed.
    """
    install = _program("mariadb-install-db", "mariadb-server-core", ("/usr/bin", "/usr/sbin"))
    server = _program("mariadbd", "mariadb-server-core", ("/usr/sbin", "/usr/libexec"))
    me = ["--user=root"] if os.geteuid() == 0 else []
    with _folder("octavia-mariadb-") as folder:
        data, door = folder / "data", folder / "sock"
        _run(
            [
                *(install, "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve"),
                *("--auth-root-authentication-method=normal", *me),
            ],
            folder,
        )
        command = [server, "--no-defaults", f"--datadir={data}", f"--socket={door}", *me]
        # Nothing here has to survive the machine; everything else is as in production.
        command += ["--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]
        command += [f"--pid-file={folder / 'pid'}", "--max-connections=200"]
        url = sa.URL.create("mysql+pymysql", "root", database="mysql", query={"unix_socket": str(door)})
        with _running(command, folder, door, url) as pid:
            yield Server(pid, url)


@contextmanager
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server; root runs it as ``postgres`` or ``nobody``, since it refuses root.

    :raises MissingProgram: it is not installed.
    """
    versions = sorted(Path(_POSTGRESQL_PROGRAMS).glob("*/bin"), reverse=True)
    places = [str(one) for one in versions] + ["/usr/bin"]
    install = _program("initdb", "postgresql", places)
    server = _program("postgres", "postgresql", places)
    with _folder("octavia-postgresql-") as folder:
        prefix: list[str] = []
        if os.geteuid() == 0:
            uid, gid = _unprivileged_user()
            os.chown(folder, uid, gid)
            prefix = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        data = folder / "data"
        _run(
            [
                *(*prefix, install, "-D", str(data), "-U", "octavia", "--auth=trust", "--no-sync"),
                *("--encoding=UTF8", "--locale=C.UTF-8"),
            ],
            folder,
        )
        command = [*prefix, server, "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
        command += ["-c", "fsync=off", "-c", "max_connections=200"]
        url = sa.URL.create(
            "postgresql+psycopg2", "octavia", database="postgres", query={"host": str(folder)}
        )
        with _running(command, folder, folder / ".s.PGSQL.5432", url) as pid:
            yield Server(pid, url)


SERVERS: Final[Mapping[str, Callable[[], AbstractContextManager[Server]]]] = {
    "mariadb": mariadb,
    "postgresql": postgresql,
}


def _program(name: str, package: str, places: Sequence[str]) -> str:
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))
    if found is None:
        raise MissingProgram(f"{name} is missing: apt-get install {package}")
    return found


def _unprivileged_user() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_uid, user.pw_gid
    raise MissingProgram("no user to run PostgreSQL as: create the user nobody")


@contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))  # short: sockets' paths are
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")


@contextmanager
def _running(command: Sequence[str], folder: Path, door: Path, url: sa.URL) -> Iterator[int]:
    log = folder / "log"
    with log.open("wb") as output:
        # The kernel ends the server when the tests are killed without a chance to do it.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
        )
    try:
        _await_answer(process, door, url, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_answer(process: "subprocess.Popen[bytes]", door: Path, url: sa.URL, log: Path) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    deadline = time.monotonic() + _START_DEADLINE_S
    while True:
        try:
            # By hand first: PyMySQL forgets to close a socket that could not be connected.
            with socket.socket(socket.AF_UNIX) as knock:
                knock.connect(str(door))
            with engine.connect():
                return
        except (OSError, sa.exc.OperationalError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text()}") from None
        time.sleep(0.05)
