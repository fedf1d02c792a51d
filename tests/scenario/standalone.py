# SPDX-License-Identifier: Apache-2.0
"""A real standalone in a private network namespace: start, kill and restart it, and use it as a tenant.

The thread that opens a :class:`Machine` lives in its network from then on, so that it talks to the API, to
VIPs and to members with ordinary sockets. What may be expected of it after a crash is not here: see
:mod:`tests.scenario.crash_invariants`.
"""

import http.client
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import httpx

from octavia.cmd.standalone import web_server
from octavia.drivers.local.addresses import subnet_id
from octavia.drivers.local.installation import Installation
from tests.netns.own_network import own_network

_T = TypeVar("_T")

API: Final = "http://127.0.0.1:9876"
LBAAS: Final = "/v2.0/lbaas"
SUBNET: Final = subnet_id("demo")
BACKEND_SUBNET: Final = subnet_id("backend")
HOST_ON: Final = MappingProxyType({SUBNET: "198.19.16.1", BACKEND_SUBNET: "198.19.17.1"})
"""The machine's own address on each subnet: its web servers are members there."""
NOTHING_SPECIAL: Final[Mapping[str, str]] = MappingProxyType({})
POLL_S: Final = 0.02


def missing_programs() -> list[str]:
    """What this machine lacks to run one, for ``skipif``."""
    lacking = [
        program
        for program in ("haproxy", "keepalived")
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    ]
    return lacking if os.geteuid() == 0 else ["root", *lacking]


def eventually(ask: Callable[[], _T | None], *, within: float, what: str) -> _T:
    """The first true answer.

    :raises AssertionError: there was none in time; with the last one.
    """
    deadline = time.monotonic() + within
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within:g} s: {what} (last answer: {answer!r})"
        time.sleep(POLL_S)


class Controller:
    """One run of ``octavia-standalone run``, known by a descriptor: its number may be given to a stranger."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._held = os.pidfd_open(pid)

    def ended(self, within: float = 0.0) -> bool:
        watch = select.poll()
        watch.register(self._held, select.POLLIN)
        return bool(watch.poll(within * 1000))

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; gone is fine."""
        self._end(signal.SIGKILL, 10)

    def terminate(self) -> None:
        """As a service manager would end it."""
        self._end(signal.SIGTERM, 30)

    def _end(self, number: signal.Signals, within: float) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._held, number)
        assert self.ended(within), f"controller {self.pid} survived {number.name}"


class Machine:
    """One installation, its controller of the moment and the web servers that are its members.

    :param state: the state directory; need not exist.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.installation = Installation(state)
        self.controller: Controller | None = None
        self.client = httpx.Client(base_url=API, trust_env=False, timeout=30)
        self._preloaded: subprocess.Popen[str] | None = None
        self._web_servers: list[subprocess.Popen[bytes]] = []
        self._children: list[subprocess.Popen[bytes]] = []

    def configure(self, **sections: Mapping[str, object]) -> None:
        """Write octavia.conf; the next start reads it."""
        lines = []
        for section, options in sections.items():
            lines += [f"[{section}]", *(f"{name} = {value}" for name, value in options.items())]
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.state / "octavia.conf").write_text("\n".join([*lines, ""]))

    # --- the controller ------------------------------------------------------------------------

    def launch(
        self, environment: Mapping[str, str] = NOTHING_SPECIAL, *, preloaded: bool = True
    ) -> Controller:
        """A controller that has just been started; nothing is waited for.

        :param preloaded: False runs the real command even after :meth:`preload`.
        """
        arguments = ["--state-dir", str(self.state), "run"]
        output = self.state.parent / "controller.out"
        if self._preloaded is None or not preloaded:
            with output.open("wb") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", "octavia.cmd.standalone", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                    env={**os.environ, **environment},
                )
            self._children.append(process)
            self.controller = Controller(process.pid)
        else:
            order = {"arguments": arguments, "environment": {**environment}, "output": str(output)}
            assert self._preloaded.stdin
            assert self._preloaded.stdout
            self._preloaded.stdin.write(json.dumps(order) + "\n")
            self._preloaded.stdin.flush()
            self.controller = Controller(int(self._preloaded.stdout.readline()))
        return self.controller

    def start(
        self,
        environment: Mapping[str, str] = NOTHING_SPECIAL,
        *,
        preloaded: bool = True,
        within: float = 30.0,
    ) -> Controller:
        """A controller whose API answers."""
        controller = self.launch(environment, preloaded=preloaded)
        answers = self.await_api(within=within)
        assert answers, f"the controller ended at its start: {self.last_words()}"
        return controller

    def await_api(self, *, within: float = 30.0) -> bool:
        """Wait until the API answers; False if the controller ended before."""
        assert self.controller
        deadline = time.monotonic() + within
        while not self.controller.ended():
            with suppress(httpx.TransportError):
                self.client.get("/", timeout=2)
                return True
            assert time.monotonic() < deadline, (
                f"the API does not answer within {within:g} s: {self.last_words()}"
            )
            time.sleep(POLL_S)
        return False

    def preload(self) -> None:
        """Start controllers by forking a process that has imported everything; much faster."""
        self._preloaded = subprocess.Popen(
            [sys.executable, "-m", "tests.scenario.preloaded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def last_words(self) -> str:
        """The end of what the controller said."""
        said = ""
        for file in (self.state.parent / "controller.out", self.state / "controller.log"):
            if file.exists():
                said += "\n".join(file.read_text(errors="replace").splitlines()[-20:])
        return said

    # --- a tenant ------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        """One request below ``/v2.0/lbaas``.

        :raises httpx.TransportError: the answer was lost.
        """
        return self.client.request(method, f"{LBAAS}{path}", json=body)

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object that is there."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        found: dict[str, Any] = answer.json()
        return found

    def create(self, name: str, members: Sequence[Mapping[str, Any]], **options: Any) -> dict[str, Any]:
        """A load balancer with listener and pool in one request; the answer's object."""
        answer = self.ask("POST", "/loadbalancers", populated(name, members, **options))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()["loadbalancer"]
        return found

    def load_balancers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/loadbalancers")["loadbalancers"]
        return found

    def is_active(self, load_balancer_id: str) -> bool:
        shown = self.get(f"/loadbalancers/{load_balancer_id}")["loadbalancer"]
        return bool(shown["provisioning_status"] == "ACTIVE")

    def await_active(self, load_balancer_id: str, *, within: float = 60.0) -> None:
        eventually(
            lambda: self.is_active(load_balancer_id), within=within, what="the load balancer is ACTIVE"
        )

    def await_gone(self, load_balancer_id: str, *, within: float = 60.0) -> None:
        eventually(
            lambda: self.ask("GET", f"/loadbalancers/{load_balancer_id}").status_code == 404,
            within=within,
            what="the load balancer is gone",
        )

    # --- members -------------------------------------------------------------------------------

    def serve(self, name: str, port: int) -> None:
        """A web server on every address of the machine that answers ``hello from NAME``."""
        self._web_servers.append(
            subprocess.Popen(
                [sys.executable, "-I", "-S", web_server.__file__, name, "0.0.0.0", str(port)],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # it would tell of each health check that hangs up
            )
        )

    # --- the end -------------------------------------------------------------------------------

    def close(self) -> None:
        """End everything, whatever state it is in, and remove it."""
        self.client.close()
        if self.controller:
            self.controller.kill()
        for child in self._children:
            child.wait(10)
        if self._preloaded:
            assert self._preloaded.stdin
            assert self._preloaded.stdout
            self._preloaded.stdin.close()
            self._preloaded.wait(10)
            self._preloaded.stdout.close()
        for server in self._web_servers:
            server.kill()
            server.wait()
        if self.state.exists():
            command = [sys.executable, "-m", "octavia.cmd.standalone", "--state-dir", str(self.state)]
            subprocess.run([*command, "down", "--purge"], check=True, stdout=subprocess.DEVNULL)


def populated(
    name: str, members: Sequence[Mapping[str, Any]], *, monitor: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The body of a fully populated create: an HTTP listener on port 80 with one pool."""
    pool: dict[str, Any] = {
        "name": "pool",
        "protocol": "HTTP",
        "lb_algorithm": "ROUND_ROBIN",
        "members": [dict(one) for one in members],
    }
    if monitor:
        pool["healthmonitor"] = dict(monitor)
    listener = {"name": "http", "protocol": "HTTP", "protocol_port": 80, "default_pool": pool}
    return {"loadbalancer": {"name": name, "vip_subnet_id": SUBNET, "listeners": [listener]}}


def member(port: int, *, weight: int = 1, subnet: str = SUBNET) -> dict[str, Any]:
    """A web server of :meth:`Machine.serve` as a member."""
    return {"address": HOST_ON[subnet], "protocol_port": port, "weight": weight, "subnet_id": subnet}


def fetch(address: str, port: int = 80, *, timeout: float = 2.0) -> str:
    """The body of one request over a connection of its own.

    :raises OSError: no answer.
    :raises http.client.HTTPException: no answer that makes sense.
    :raises ValueError: another one than 200.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        body = answer.read().decode().strip()
        if answer.status != 200:
            raise ValueError(f"answered {answer.status}: {body}")
        return body
    finally:
        connection.close()


@contextmanager
def opened_machine() -> Iterator[Machine]:
    """A machine in a network of its own, empty; all of it is gone afterwards."""
    with ExitStack() as stack:
        stack.enter_context(own_network())
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        # Short: a socket's path has at most 107 characters.
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="octavia-", dir="/tmp"))
        machine = Machine(Path(directory) / "state")
        stack.callback(machine.close)
        yield machine
