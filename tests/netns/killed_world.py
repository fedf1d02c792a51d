# SPDX-License-Identifier: Apache-2.0
"""Where agents are killed: three kinds of amphora, what is attached to them, what must hold afterwards."""

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tests.netns.agent_lab import Authority, _set_net, eventually, ip
from tests.netns.mortal_agent import COUNTER_BYTES, KILLED

LB = "11111111-1111-4111-8111-111111111111"
OTHER_LB = "22222222-2222-4222-8222-222222222222"
AMPHORA = "a0000000-0000-4000-8000-000000000001"
PORT = 9443
GENEROUS = 60.0
EVERY: Final = os.environ.get("OCTAVIA_EVERY_FAILPOINT") == "1"
LEFTOVERS: Final = (
    *("**/*.writing", "**/haproxy.cfg.new", "**/haproxy.cfg.trial", "**/haproxy.cfg.previous"),
    *("**/*.trial", "lib/l4.json.new"),
)


class Killed(Exception):
    """The agent died before it answered."""


class Kind(StrEnum):
    """What becomes of the programs when their agent is killed."""

    SYSTEMD = "systemd"  # they live on, and so does traffic
    REBOOT = "reboot"  # they die with it, PID 1, and all namespaces with them: an amphora on one machine
    ORPHANS = "orphans"  # they live on as nobody's children

    @property
    def supervisor(self) -> str:
        return "systemd" if self is Kind.SYSTEMD else "children"

    @property
    def stride(self) -> int:
        """Every which thing that an operation does is one to die before."""
        return 1 if EVERY else {Kind.SYSTEMD: 1, Kind.REBOOT: 5, Kind.ORPHANS: 11}[self]


class World:
    """PID 1 of the namespaces, the agent in them, and a client that wants one listener and nothing else."""

    def __init__(self, directory: Path, kind: Kind) -> None:
        self.kind = kind
        self.directory = directory
        self.base = directory / "lib"
        self.authority = Authority(directory)
        (directory / "client.pem").write_bytes(self.authority.bundle("controller"))
        (directory / "server.pem").write_bytes(self.authority.bundle(AMPHORA))
        (directory / "counter").write_bytes(bytes(COUNTER_BYTES))
        self.syslog = directory / "rsyslog.conf"
        self.has_syslog = kind.supervisor == "children" and shutil.which("rsyslogd") is not None
        self.syslog.write_text(
            'module(load="imuxsock" SysSock.Use="off")\n'
            'input(type="imuxsock" Socket="/run/rsyslog/octavia/log" CreatePath="on")\n'
            f'*.* action(type="omfile" file="{directory}/syslog.log")\n'
        )
        self.config = directory / "agent.conf"
        self.config.write_text(self.configuration())
        self.agent = 0
        self.failures: list[str] = []
        self.served = 0
        self.generation = 1
        self._attached = 0
        self._macs: set[str] = set()

    def configuration(self, more: str = "") -> str:
        syslog = f"syslog_conf = {self.syslog}" if self.has_syslog else ""
        return f"""\
[DEFAULT]
debug = True
[haproxy_amphora]
base_cert_dir = {self.base}/certs
base_path = {self.base}
bind_host = 127.0.0.1
bind_port = {PORT}
[amphora_agent]
agent_server_ca = {self.authority.path}
agent_server_cert = {self.directory}/server.pem
agent_server_network_dir = {self.directory}/interfaces
amphora_id = {AMPHORA}
supervisor = {self.kind.supervisor}
{syslog}
{more}
"""

    def open(self) -> None:
        prepare = "mount -t tmpfs tmpfs /run && ip link set lo up && "
        self._launcher = subprocess.Popen(
            (
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", prepare + 'exec "$0" -m tests.netns.mortal_agent "$1"'),
                *(sys.executable, str(self.directory)),
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self._launcher.stdout is not None
        assert self._launcher.stdout.readline() == "ready\n"
        unshare = self._launcher.pid
        self._pid = int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0])
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self._pid}/ns/net", os.O_RDONLY)
        _set_net(there)
        os.close(there)
        self.start()

    def close(self) -> None:
        self._launcher.kill()
        self._launcher.communicate()
        _set_net(self._home)
        os.close(self._home)

    def _order(self, **order: Any) -> int:
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        self._launcher.stdin.write(json.dumps(order) + "\n")
        self._launcher.stdin.flush()
        return int(self._launcher.stdout.readline())

    @property
    def proc(self) -> Path:
        """What is running there, in all kinds."""
        return Path(f"/proc/{self._pid}/root/proc")

    # The agent

    def start(self) -> None:
        """Returns when it listens. :raises Killed:"""
        if self.kind is Kind.REBOOT:
            for mac in sorted(self._macs):
                if not self.is_outside(mac):
                    self._attach(mac)
        self.agent = self._order(start=str(self.config), first=self.kind is Kind.REBOOT)

        def accepts() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), timeout=1):
                return True
            if (self.proc / str(self.agent) / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                raise Killed("at its start")
            return False

        assert eventually(accepts, within=GENEROUS), self.log()

    def restart(self) -> None:
        """It is killed while it does nothing, and started again. :raises Killed: once more, at its start."""
        self._order(kill=self.agent)
        assert self._order(wait=self.agent) == -9
        self.start()

    def bury(self) -> None:
        assert self._order(wait=self.agent) == KILLED, f"it was not killed\n{self.log()}"

    def log(self) -> str:
        return (self.directory / "agent.log").read_text(errors="replace")[-4000:]

    def die_after(self, number: int) -> None:
        with (self.directory / "counter").open("r+b") as file:
            file.write(number.to_bytes(8, "little") + bytes(COUNTER_BYTES - 8))

    @property
    def left(self) -> int:
        """Things that it may still do."""
        return int.from_bytes((self.directory / "counter").read_bytes()[:8], "little")

    @property
    def doing(self) -> str:
        """What it was about to do when it died."""
        return (self.directory / "counter").read_bytes()[8:].rstrip(b" \0").decode(errors="replace")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=self.authority.path)
        context.check_hostname = False
        context.load_cert_chain(self.directory / "client.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=context, timeout=GENEROUS)
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        try:
            connection.request(method, f"/1.0/{path}", content)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError):
                raise
            raise Killed(repr(error)) from error
        finally:
            connection.close()
        is_json = answer.getheader("Content-Type") == "application/json"
        return answer.status, json.loads(text) if is_json else text.decode()

    def do(self, method: str, path: str, body: Any = None, *, also_fine: Sequence[int] = ()) -> Any:
        status, answer = self.ask(method, path, body)
        assert status in (200, 202, *also_fine), (method, path, status, answer)
        return answer

    def apply(self, text: str | None, lb: str = LB, **more: Any) -> Any:
        self.generation += 1
        body = {"generation": self.generation, "haproxy": text, "keepalived": None, **more}
        return self.do("PUT", f"loadbalancer/{AMPHORA}/{lb}/apply", body)

    def inside(self, *argv: str) -> str:
        """A program where the tenant's traffic is."""
        enter = ("nsenter", "-t", str(self._pid), "--net", "--mount", "--pid")
        deeper = ("nsenter", "-t", str(self.agent), "--mount", "--pid")
        whole = (*enter, *deeper, "ip", "netns", "exec", "amphora-haproxy", *argv)
        done = subprocess.run(whole, capture_output=True, text=True, timeout=GENEROUS, check=False)
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout

    # Interfaces

    def attach(self) -> str:
        """A new one, as compute does it; its MAC address. It is there again after a reboot."""
        mac = f"02:00:00:77:{self._attached >> 8:02x}:{self._attached & 255:02x}"
        self._macs.add(mac)
        self._attach(mac)
        return mac

    def detach(self, mac: str) -> None:
        """The same the other way round."""
        self._macs.remove(mac)
        name = next(
            one["ifname"] for one in json.loads(self.inside("ip", "-j", "link")) if one["address"] == mac
        )
        self.inside("ip", "link", "del", name)

    def _attach(self, mac: str) -> None:
        self._attached += 1
        name, peer = f"port{self._attached}", f"peer{self._attached}"
        ip("link", "add", name, "address", mac, "type", "veth", "peer", "name", peer)
        ip("link", "set", peer, "up")

    def is_outside(self, mac: str) -> bool:
        """Has the agent not moved it to where the traffic is?"""
        return (
            mac in subprocess.run(("ip", "link", "show"), capture_output=True, text=True, check=True).stdout
        )

    def addresses(self, mac: str) -> set[str]:
        """With their prefixes, of the interface inside."""
        links = json.loads(self.inside("ip", "-j", "addr", "show"))
        return {
            f"{one['local']}/{one['prefixlen']}"
            for link in links
            if link.get("address") == mac
            for one in link["addr_info"]
            if one["scope"] == "global"
        }

    # HAProxy

    def text(self, lb: str = LB) -> str | None:
        status, answer = self.ask("GET", f"loadbalancer/{lb}/haproxy")
        assert status in (200, 404)
        return answer if status == 200 else None

    def servers(self, lb: str = LB) -> set[str] | None:
        """Those that the running process knows; None if none runs."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(GENEROUS)
                client.connect(str(self.base / f"{lb}.adm"))
                client.sendall(b"show servers state\n")
                said = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        except OSError:
            return None
        rows = [line.split() for line in said.splitlines()]
        return {row[3] for row in rows if len(row) > 6 and row[0] != "#"}

    def enter(self) -> Callable[[], None]:
        """What brings the calling thread to where the traffic is."""
        path = self.proc / str(self.agent) / "root/run/netns/amphora-haproxy"

        def go() -> None:
            inside = os.open(path, os.O_RDONLY)
            _set_net(inside)
            os.close(inside)

        return go

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """Somebody asks the untouched listener without a pause, each time anew.

        Not one request may fail where HAProxy lives on.
        """
        if self.kind is not Kind.SYSTEMD:
            yield
            return
        stop = threading.Event()
        self.failures, self.served = [], 0
        go = self.enter()

        def run() -> None:
            go()
            while not stop.wait(0.01):
                try:
                    _ask_untouched()
                    self.served += 1
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    self.failures.append(repr(error))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        assert self.failures == []
        assert self.served > 0

    # What holds whenever an agent has come up

    def is_whole(self) -> None:
        """One program of each, no more; nothing half written; who was not concerned is served."""
        wrong: list[str] = []

        def looks_whole() -> bool:
            wrong[:] = [*self._leftovers(), *self._wrong_programs()]
            return not wrong

        assert eventually(looks_whole, within=10), wrong
        outcome: list[BaseException] = []
        go = self.enter()

        def ask() -> None:
            try:
                go()
                _ask_untouched()
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert not outcome, f"the untouched listener: {outcome[0]!r}"

    def _leftovers(self) -> list[str]:
        return sorted(str(path) for pattern in LEFTOVERS for path in self.directory.glob(pattern))

    def _wrong_programs(self) -> Iterator[str]:
        expected = {
            str(file): int(file.exists())
            for file in (
                *(self.base / lb / "haproxy.cfg" for lb in (LB, OTHER_LB)),
                self.base / "vrrp" / "octavia-keepalived.conf",
            )
        }
        if self.has_syslog:
            expected[str(self.syslog)] = 1
        for file, number in expected.items():
            found = self.programs(file)
            if len(found) != number:
                yield f"{number} should run with {file}, but there are {found}"

    def programs(self, file: str) -> list[int]:
        """Those that run with a file, without their own children, and without those that only check it."""
        parents = {}
        for process in self.proc.glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_text(errors="replace").split("\0")
                if file in words and "-c" not in words:
                    stat = (process / "stat").read_text().rpartition(")")[2].split()
                    parents[int(process.name)] = int(stat[1])
        return sorted(pid for pid, parent in parents.items() if parent not in parents)


def _ask_untouched() -> None:
    connection = http.client.HTTPConnection("127.0.0.1", 81, timeout=GENEROUS)
    try:
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"untouched"
    finally:
        connection.close()
