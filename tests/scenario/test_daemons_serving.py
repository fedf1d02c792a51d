# SPDX-License-Identifier: Apache-2.0
"""The API under its WSGI servers loses no request when they are told to reload or to end."""

import http.client
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from octavia.db import tables as t
from octavia.db.engine import create_engine
from tests.scenario.daemons import LBAAS, Deployment, deployment, wait_for

pytestmark = pytest.mark.scenario

_CLIENTS = 4


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, f"sqlite:///{tmp_path}/octavia.sqlite") as one:
        yield one


@dataclass
class Load:
    """Clients that create load balancers, each request on a connection of its own.

    :ivar answered: names that were answered with 201.
    :ivar lost: why others were not.
    """

    port: int
    answered: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    _enough: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        """Until :meth:`end`."""
        for number in range(_CLIENTS):
            self._threads.append(threading.Thread(target=self._run, args=(number,)))
            self._threads[-1].start()

    def end(self) -> None:
        """When the requests under way have been answered, or not."""
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def await_more(self, count: int) -> None:
        """Until so many more were answered."""
        goal = len(self.answered) + count
        wait_for(lambda: len(self.answered) >= goal, f"no {count} further answers; lost: {self.lost}")

    def _run(self, client: int) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            name = f"{client}-{number}"
            why = self._create(name)
            if why:
                self.lost[name] = why
            else:
                self.answered.append(name)

    def _create(self, name: str) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        values = {"name": name, "vip_network_id": "0f5b3f9c-5a55-4a0e-9d2f-3b1a3c1f7a10"}
        try:
            connection.request(
                "POST",
                f"{LBAAS}/loadbalancers",
                json.dumps({"loadbalancer": values}),
                {"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            answer.read()
        except OSError as error:
            return type(error).__name__
        except http.client.HTTPException as error:
            return type(error).__name__
        finally:
            connection.close()
        return None if answer.status == 201 else str(answer.status)


def stored(made: Deployment) -> set[str]:
    """Names of all load balancers that there are."""
    engine = create_engine(f"sqlite:///{made.folder}/octavia.sqlite")
    with engine.connect() as connection:
        found = {row.name for row in connection.execute(sa.select(t.load_balancer.c.name))}
    engine.dispose()
    return found


def gunicorn(made: Deployment) -> "subprocess.Popen[bytes]":
    return made.start_gunicorn()


def gunicorn_preloading(made: Deployment) -> "subprocess.Popen[bytes]":
    return made.start_gunicorn("--preload")


def uwsgi(made: Deployment) -> "subprocess.Popen[bytes]":
    return made.start_uwsgi()


def uwsgi_lazy(made: Deployment) -> "subprocess.Popen[bytes]":
    return made.start_uwsgi("--lazy-apps")


SERVERS: list[Callable[[Deployment], "subprocess.Popen[bytes]"]] = [
    gunicorn,
    gunicorn_preloading,
    uwsgi,
    uwsgi_lazy,
]


@pytest.mark.parametrize("serve", SERVERS)
def test_no_request_is_lost_when_a_server_reloads_and_ends(
    made: Deployment, serve: Callable[[Deployment], "subprocess.Popen[bytes]"]
) -> None:
    server = serve(made)
    load = Load(made.port)
    load.begin()
    try:
        load.await_more(20)
        server.send_signal(signal.SIGHUP)
        load.await_more(100)
        assert load.lost == {}, "while it reloaded"
        server.terminate()
        assert server.wait(60) == 0
    finally:
        load.end()
    # Whoever came too late was not let in; nothing was done that was not answered.
    assert set(load.lost.values()) <= {"ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected"}
    assert stored(made) == set(load.answered)


def test_the_built_in_server_answers_what_it_has_begun_when_it_ends(made: Deployment) -> None:
    server = made.start_api()
    load = Load(made.port)
    load.begin()
    try:
        load.await_more(20)
        server.terminate()
        assert server.wait(60) == 0
    finally:
        load.end()
    assert set(load.lost.values()) <= {"ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected"}
    assert stored(made) == set(load.answered)
