# SPDX-License-Identifier: Apache-2.0
"""A private RabbitMQ for tests: on loopback alone, with a folder and an epmd of its own.

It can be stopped and started again, so that tests can take the bus away.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.databases import MissingProgram

_SERVER: Final = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_START_DEADLINE_S: Final = 90


class RabbitMq:
    """A broker that is there between :meth:`start` and :meth:`stop`.

    :ivar url: for ``[DEFAULT] transport_url``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, self._epmd_port, self._distribution_port = free_ports(3)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"rabbit://guest:guest@127.0.0.1:{self._port}/"
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self._port}\nlog.file.level = warning\n"
        )
        (folder / "plugins").write_text("[].\n")
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder),  # of Erlang's cookie
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"octavia{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        }

    def start(self) -> None:
        """Until it takes connections."""
        if self._epmd is None:
            self._epmd = self._spawn("epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1")
        self._server = self._spawn(_SERVER)
        deadline = time.monotonic() + _START_DEADLINE_S
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ did not start:\n{(self._folder / 'output').read_text()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Without a word to anybody, as a machine that loses its power."""
        self._server = self._end(self._server)

    def close(self) -> None:
        """Leave nothing behind."""
        self.stop()
        self._epmd = self._end(self._epmd)

    def _answers(self) -> bool:
        """A wrong greeting is answered with the right one, as soon as it can be talked to."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(b"hello\r\n\r\n")
                return connection.recv(4) == b"AMQP"
        except OSError:
            return False

    def _spawn(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "output").open("ab") as output:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    @staticmethod
    def _end(process: "subprocess.Popen[bytes] | None") -> None:
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)  # its session's own, scripts and helpers included
            process.wait()


@contextmanager
def rabbitmq() -> Iterator[RabbitMq]:
    """A broker that has been started.

    :raises MissingProgram: it is not installed.
    """
    if not Path(_SERVER).exists() or shutil.which("epmd") is None:
        raise MissingProgram("rabbitmq-server is missing: apt-get install rabbitmq-server")
    folder = Path(tempfile.mkdtemp(prefix="octavia-rabbitmq-", dir="/tmp"))
    broker = RabbitMq(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody uses just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
