# SPDX-License-Identifier: Apache-2.0
"""The daemons as processes of their own on one database, with drivers that do nothing.

What they are asked to do, and what may be expected then, is in the tests.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from octavia.cmd.application import FILES
from tests.rabbitmq import free_ports
from tests.scenario.standalone import eventually

_PROGRAMS: Final = Path(sys.executable).parent
_READY_S: Final = 60.0
SETTLED_S: Final = 60.0
LBAAS: Final = "/v2/lbaas"

_NOOP: Final[Mapping[str, Mapping[str, object]]] = {
    "api_settings": {"auth_strategy": "noauth", "allow_noauth_beyond_loopback": True},
    "controller_worker": {
        "amphora_driver": "amphora_noop_driver",
        "compute_driver": "compute_noop_driver",
        "network_driver": "network_noop_driver",
        "image_driver": "image_noop_driver",
        "lease_seconds": 5,
    },
    "certificates": {"cert_generator": "noop_cert_generator", "cert_manager": "noop_cert_manager"},
    "health_manager": {"heartbeat_key": "insecure"},
    "house_keeping": {"cleanup_interval": 1},
}


class Deployment:
    """A configuration file, and the processes that were started with it.

    :ivar url: where the API is.
    """

    def __init__(self, folder: Path, database_url: str, **more: Mapping[str, object]) -> None:
        self.folder = folder
        self.port, heartbeats = free_ports(2)
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: list[subprocess.Popen[bytes]] = []
        own: dict[str, dict[str, object]] = {
            "database": {"connection": database_url.replace("$", "$$")},
            "api_settings": {"bind_port": self.port},
            "health_manager": {"bind_port": heartbeats},
        }
        self.conf = self.write_conf("octavia", _NOOP, own, more)

    def write_conf(self, name: str, *parts: Mapping[str, Mapping[str, object]]) -> Path:
        """A file of all parts' options; those of a later one win."""
        sections: dict[str, dict[str, object]] = {}
        for part in parts:
            for section, options in part.items():
                sections.setdefault(section, {}).update(options)
        lines = []
        for section, options in sections.items():
            lines += [f"[{section}]", *(f"{option} = {value}" for option, value in options.items())]
        file = self.folder / f"{name}.conf"
        file.write_text("\n".join(lines) + "\n")
        file.chmod(0o600)
        return file

    def migrate(self) -> None:
        """Make the schema."""
        command = [str(_PROGRAMS / "octavia-db-manage"), "--config-file", str(self.conf), "upgrade", "head"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def start(
        self, program: str, *more: str, log: str | None = None, **environment: str
    ) -> "subprocess.Popen[bytes]":
        """One of the daemons; ready or not."""
        return self._spawn([program, "--config-file", str(self.conf), *more], log or program, environment)

    def start_gunicorn(self, *more: str) -> "subprocess.Popen[bytes]":
        """The API under gunicorn with two processes; answers when this returns."""
        command = ["gunicorn", "--workers=2", "--threads=4", f"--bind=127.0.0.1:{self.port}"]
        return self._serving([*command, *more, "octavia.wsgi.api:application"], "gunicorn")

    def start_uwsgi(self, *more: str) -> "subprocess.Popen[bytes]":
        """The API under uWSGI with two processes; answers when this returns."""
        command = ["uwsgi", f"--http-socket=127.0.0.1:{self.port}", "--module=octavia.wsgi.api:application"]
        command += ["--master", "--processes=2", "--threads=4", "--need-app", "--listen=100"]
        command += ["--hook-master-start=unix_signal:15 gracefully_kill_them_all"]
        # The wheel of the tests starts itself again with the Python below the virtual environment.
        command += ["--single-interpreter", f"--binary-path={sys.executable}"]
        return self._serving([*command, *more], "uwsgi")

    def start_api(self, *more: str) -> "subprocess.Popen[bytes]":
        """The built-in server; answers when this returns."""
        process = self.start("octavia-api", *more)
        self._await_answer(process, "octavia-api")
        return process

    def _serving(self, command: Sequence[str], log: str) -> "subprocess.Popen[bytes]":
        process = self._spawn(command, log, {FILES: str(self.conf)})
        self._await_answer(process, log)
        return process

    def _await_answer(self, process: "subprocess.Popen[bytes]", log: str) -> None:
        def answers() -> bool:
            assert process.poll() is None, self.log(log)
            try:
                return httpx.get(f"{self.url}{LBAAS}/loadbalancers", timeout=10).status_code == 200
            except httpx.TransportError:
                return False

        eventually(answers, within=_READY_S, what=f"{log} does not answer")

    def _spawn(
        self, command: Sequence[str], log: str, environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", _PROGRAMS / command[0], *command[1:]],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def log(self, name: str) -> str:
        """What a process has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    @property
    def running(self) -> list["subprocess.Popen[bytes]"]:
        """Processes that have not ended."""
        return [one for one in self._processes if one.poll() is None]

    def pids(self) -> list[int]:
        """Of all processes, with their children."""
        found = [one.pid for one in self.running]
        for pid in found:
            found += _children(pid)
        return found

    @staticmethod
    def handles(process: "subprocess.Popen[bytes]", number: signal.Signals) -> bool:
        """Has the process a handler for the signal by now?"""
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
        return bool(int(caught, 16) >> (number - 1) & 1)

    @staticmethod
    def children(process: "subprocess.Popen[bytes]") -> list[int]:
        """Of one process."""
        return _children(process.pid)

    def close(self) -> None:
        """End what still runs, and whatever it started."""
        for one in self.running:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """Is there such a process, and not only its remains?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def deployment(folder: Path, database_url: str, **more: Mapping[str, object]) -> Iterator[Deployment]:
    """With a schema, and no processes yet."""
    made = Deployment(folder, database_url, **more)
    try:
        made.migrate()
        yield made
    finally:
        made.close()


def terminate(*processes: "subprocess.Popen[bytes]") -> list[int]:
    """Ask all of them to end; their exit codes."""
    for one in processes:
        one.terminate()
    return [one.wait(60) for one in processes]


def pss_mib(pids: Sequence[int]) -> dict[str, float]:
    """The memory that each process accounts for: what it shares is divided among those who share it."""
    found = {}
    for pid in pids:
        arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        name = next(Path(one).name for one in arguments if "python" not in one)
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        found[f"{pid} {name}"] = kib / 1024
    return found


class Tenant:
    """Uses the API."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}{LBAAS}", timeout=60)

    def post(self, path: str, root: str, code: int = 201, **values: Any) -> Any:
        """Create something; the answer's object, or its fault string."""
        answer = self._http.post(path, json={root: values})
        assert answer.status_code == code, answer.text
        return answer.json()[root] if code < 400 else answer.json()["faultstring"]

    def get(self, path: str, root: str) -> Any:
        """Show something."""
        answer = self._http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()[root]

    def load_balancer(self, **values: Any) -> Any:
        """On a network that nobody has ever heard of."""
        values = {"name": "of a test", "vip_network_id": str(uuid4())} | values
        return self.post("/loadbalancers", "loadbalancer", **values)

    def await_active(self, lb_id: str) -> Any:
        """The load balancer, once it is."""

        def active() -> Any:
            found = self.get(f"/loadbalancers/{lb_id}", "loadbalancer")
            assert found["provisioning_status"] != "ERROR", found
            return found if found["provisioning_status"] == "ACTIVE" else None

        return eventually(active, within=SETTLED_S, what=f"{lb_id} is not ACTIVE")

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Until it holds."""
    eventually(lambda: condition() or None, within=SETTLED_S, what=what)
