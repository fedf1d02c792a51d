# SPDX-License-Identifier: Apache-2.0
"""The agent is killed before each thing that it does to the world, one after another, in every operation.

HAProxy outlives it, as under systemd. The restarted agent finds the old configuration or the new one, whole
and running; what was interrupted succeeds when it is asked for again; who was not concerned noticed nothing.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from octavia.amphora_agent.certificates import digest
from tests import pki
from tests.netns.agent_lab import Authority, _set_net, eventually, needs_haproxy, needs_keepalived, needs_root
from tests.netns.mortal_agent import COUNTER_BYTES

pytestmark = [pytest.mark.netns, needs_root, needs_haproxy, needs_keepalived]

LB = "11111111-1111-4111-8111-111111111111"
OTHER_LB = "22222222-2222-4222-8222-222222222222"
AMPHORA = "a0000000-0000-4000-8000-000000000001"
PORT = 9443
GENEROUS = 60.0
MOST = 80  # things that an operation may do; more is a loop


class Killed(Exception):
    """The agent died before it answered."""


class World:
    """PID 1 of the namespaces, the agent in them, and a client that wants one listener and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.base = directory / "lib"
        self.authority = Authority(directory)
        (directory / "client.pem").write_bytes(self.authority.bundle("controller"))
        (directory / "server.pem").write_bytes(self.authority.bundle(AMPHORA))
        (directory / "counter").write_bytes(bytes(COUNTER_BYTES))
        self.config = directory / "agent.conf"
        self.config.write_text(self.configuration())
        self.agent = 0
        self.failures: list[str] = []
        self.served = 0
        self.generation = 1

    def configuration(self, more: str = "") -> str:
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
        self.pid = int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()[0])
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
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

    # The agent

    def start(self) -> None:
        self.agent = self._order(start=str(self.config))

        def accepts() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORT), timeout=1):
                return True
            return False

        assert eventually(accepts, within=GENEROUS), (self.directory / "agent.log").read_text()[-3000:]

    def bury(self) -> None:
        assert self._order(wait=self.agent) == 9, "it was not killed"

    def die_after(self, number: int) -> None:
        with (self.directory / "counter").open("r+b") as file:
            file.write(number.to_bytes(8, "little") + bytes(COUNTER_BYTES - 8))

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

    def do(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self.ask(method, path, body)
        assert status in (200, 202), (method, path, status, answer)
        return answer

    def apply(self, text: str | None, lb: str = LB, **more: Any) -> Any:
        self.generation += 1
        body = {"generation": self.generation, "haproxy": text, "keepalived": None, **more}
        return self.do("PUT", f"loadbalancer/{AMPHORA}/{lb}/apply", body)

    def inside(self, *argv: str) -> str:
        """A program where the tenant's traffic is."""
        return self.here("ip", "netns", "exec", "amphora-haproxy", *argv)

    def here(self, *argv: str) -> str:
        whole = ("nsenter", "-t", str(self.pid), "--net", "--mount", "--pid", *argv)
        done = subprocess.run(whole, capture_output=True, text=True, timeout=GENEROUS, check=False)
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout

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

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """Somebody asks the untouched listener without a pause, each time anew; not one may fail."""
        stop = threading.Event()
        self.failures, self.served = [], 0
        inside = os.open(f"/proc/{self.pid}/root/run/netns/amphora-haproxy", os.O_RDONLY)

        def run() -> None:
            _set_net(inside)
            while not stop.wait(0.01):
                connection = http.client.HTTPConnection("127.0.0.1", 81, timeout=GENEROUS)
                try:
                    connection.request("GET", "/")
                    assert connection.getresponse().read() == b"untouched"
                    self.served += 1
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    self.failures.append(repr(error))
                finally:
                    connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            os.close(inside)
        assert self.failures == []
        assert self.served > 0


def config(world: World, *servers: str, lb: str = LB, port: int = 81, bind: str = "") -> str:
    lines = "".join(
        f"    server {name} 127.0.0.1:900{number} weight 1\n" for number, name in enumerate(servers)
    )
    return f"""\
global
    maxconn 100
    stats socket {world.base}/{lb}.sock mode 0600 level admin expose-fd listeners
    server-state-file {world.base}/{lb}/servers-state
defaults
    mode http
    timeout connect 1s
    timeout client 9s
    timeout server 9s
frontend untouched
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string untouched
frontend l
    bind 127.0.0.1:{port + 100}{bind}
    default_backend p:l
backend p:l
    balance roundrobin
{lines}"""


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="agk") as directory:
        world = World(Path(directory))
        world.open()
        try:
            world.apply(config(world, "a"))
            yield world
        finally:
            world.close()


@dataclass
class Operation:
    """What is done over and over, and killed.

    :ivar before: makes the world as it is before; undisturbed.
    :ivar does: may be killed anywhere; done again, it succeeds.
    :ivar either: after a kill and a restart the world is as before or as after, and whole.
    :ivar after: what is true once it was done.
    """

    before: Callable[[], object]
    does: Callable[[], object]
    either: Callable[[], object]
    after: Callable[[], object]


def play(world: World, operation: Operation) -> list[str]:
    """Kill it before its first thing, its second, …, until it gets through; where it died."""
    deaths: list[str] = []
    with world.traffic():
        for number in range(1, MOST):
            operation.before()
            world.die_after(number)
            try:
                operation.does()
            except Killed:
                pass
            else:
                if not world.doing or int.from_bytes(
                    (world.directory / "counter").read_bytes()[:8], "little"
                ):
                    world.die_after(0)
                    operation.after()
                    return deaths
                # It died after it had answered.
            world.bury()
            deaths.append(world.doing)
            world.die_after(0)
            world.start()
            try:
                operation.either()
                operation.does()
                operation.after()
            except AssertionError as error:
                log = (world.directory / "agent.log").read_text()[-4000:]
                raise AssertionError(f"killed {number}th, before {deaths[-1]}\n{error}\n{log}") from error
    raise AssertionError(f"it does not end: {deaths[-5:]}")


def runs(world: World, *wanted: str | None, lb: str = LB) -> None:
    """HAProxy runs one of these, and its file says so."""
    text = world.text(lb)
    assert text in wanted
    named = (
        None
        if text is None
        else {line.split()[1] for line in text.splitlines() if line.strip().startswith("server ")}
    )
    # Removed servers are there until their last session is over.
    assert eventually(lambda: world.servers(lb) == named, within=GENEROUS), (named, world.servers(lb))


def changing(world: World, old: str, new: str, **more: Any) -> Operation:
    def before() -> None:
        world.apply(old)
        runs(world, old)

    return Operation(
        before=before,
        does=lambda: world.apply(new, **more),
        either=lambda: runs(world, old, new),
        after=lambda: runs(world, new),
    )


def test_killed_amid_runtime_commands(world: World) -> None:
    deaths = play(world, changing(world, config(world, "a"), config(world, "a", "b", "c")))
    assert sum(one.startswith("socket.connect") for one in deaths) >= 3, deaths
    assert any("rename" in one and "haproxy.cfg" in one for one in deaths), deaths


def test_killed_amid_a_reload(world: World) -> None:
    old = config(world, "a")
    deaths = play(world, changing(world, old, old.replace("maxconn 100", "maxconn 101")))
    assert any("systemctl" in one and "reload" in one for one in deaths), deaths


def test_killed_amid_a_change_of_certificates(world: World) -> None:
    ca = pki.Ca("tenant")
    sites = [ca.issue(name) for name in ("a.example", "b.example")]
    first, second = (one.bundle for one in sites)
    place = world.base / "certs" / LB / "site.pem"
    secured = config(world, "a", bind=f" ssl crt {place}")

    def files(content: bytes) -> dict[str, Any]:
        text = content.decode()
        return {"certificates": {"site.pem": {"sha256": digest(content), "content": text}}}

    def presents(content: bytes) -> bool:
        program = "import ssl; print(ssl.get_server_certificate(('127.0.0.1', 181)))"
        told = ssl.PEM_cert_to_DER_cert(world.inside(sys.executable, "-c", program))
        return told == ssl.PEM_cert_to_DER_cert(
            next(one for one in sites if one.bundle == content).pem.decode()
        )

    def stored() -> None:
        runs(world, secured)
        assert place.read_bytes() in (first, second)
        assert place.stat().st_mode & 0o777 == 0o600
        assert eventually(lambda: presents(place.read_bytes()), within=GENEROUS)

    def new() -> None:
        stored()
        assert place.read_bytes() == second

    world.apply(secured, **files(first))
    play(
        world,
        Operation(
            before=lambda: world.apply(secured, **files(first)),
            does=lambda: world.apply(secured, **files(second)),
            either=stored,
            after=new,
        ),
    )
    world.apply(config(world, "a"), certificates={})


def test_killed_amid_the_first_start_and_the_removal(world: World) -> None:
    text = config(world, "x", lb=OTHER_LB, port=91)

    def gone() -> None:
        world.do("DELETE", f"listeners/{OTHER_LB}")
        absent()

    def absent() -> None:
        assert world.servers(OTHER_LB) is None
        assert world.text(OTHER_LB) is None
        assert not (world.base / OTHER_LB).exists()

    def started() -> None:
        world.apply(text, OTHER_LB)
        runs(world, text, lb=OTHER_LB)

    def either() -> None:
        if world.text(OTHER_LB) is None:
            assert world.servers(OTHER_LB) is None
        elif (world.base / OTHER_LB / "haproxy.cfg").exists():
            runs(world, text, lb=OTHER_LB)

    play(
        world,
        Operation(gone, lambda: world.apply(text, OTHER_LB), either, lambda: runs(world, text, lb=OTHER_LB)),
    )
    play(world, Operation(started, lambda: world.do("DELETE", f"listeners/{OTHER_LB}"), either, absent))


def test_killed_amid_the_requests_of_rest_1_0(world: World) -> None:
    old, new = config(world, "a"), config(world, "a", "b")

    def before() -> None:
        world.apply(old, certificates={})
        runs(world, old)

    def does() -> None:
        world.do("PUT", f"loadbalancer/{LB}/certificates/x.pem", b"-----BEGIN NOTHING-----\n")
        world.do("PUT", f"loadbalancer/{AMPHORA}/{LB}/haproxy", new.encode())
        world.do("PUT", f"loadbalancer/{LB}/reload")
        world.do("DELETE", f"loadbalancer/{LB}/certificates/x.pem")

    def either() -> None:
        # What is staged is what it tells; it runs what it ran.
        assert world.text() in (old, new)
        live = (world.base / LB / "haproxy.cfg").read_text()
        assert live in (old, new)
        wanted = {"a"} if live == old else {"a", "b"}
        assert eventually(lambda: world.servers() == wanted, within=GENEROUS), (live, world.servers())

    play(
        world,
        Operation(
            before=before,
            does=does,
            either=either,
            after=lambda: runs(world, new),
        ),
    )


def test_killed_amid_listeners_of_datagrams(world: World) -> None:
    if shutil.which("conntrack") is None or shutil.which("nft") is None:
        pytest.skip("needs nft and conntrack")
    text = config(world, "a")
    listener, pool = str(uuid.uuid4()), str(uuid.uuid4())
    served = {
        "load_balancer_id": LB,
        "vips": ["10.9.9.9"],
        "listeners": [{"id": listener, "protocol": "UDP", "port": 53, "pool_id": pool}],
        "pools": [{"id": pool, "members": [{"id": str(uuid.uuid4()), "address": "10.9.9.1", "port": 53}]}],
    }

    def rules() -> bool:
        return "10.9.9.9" in world.inside("nft", "list", "ruleset")

    def either() -> None:
        runs(world, text)
        assert rules() == (world.base / "l4.json").exists()

    def after() -> None:
        assert rules()
        assert (world.base / "l4.json").exists()

    def before() -> None:
        world.apply(text)
        assert not rules()

    play(world, Operation(before, lambda: world.apply(text, l4=served), either, after))
    play(
        world,
        Operation(
            lambda: world.apply(text, l4=served), lambda: world.apply(text), either, lambda: not rules()
        ),
    )


def test_killed_amid_keepalived(world: World) -> None:
    text = config(world, "a")
    world.inside("ip", "link", "add", "vrrp0", "type", "veth", "peer", "name", "vrrp1")
    world.inside("ip", "link", "set", "vrrp1", "up")
    world.inside("ip", "addr", "add", "10.9.8.2/24", "dev", "vrrp0")
    world.inside("ip", "link", "set", "vrrp0", "up")
    settings = "vrrp_instance x {\n  interface vrrp0\n  virtual_router_id 1\n  priority 100\n  version 3\n"
    settings += "  advert_int 0.1\n  virtual_ipaddress {\n    10.9.8.9\n  }\n}\n"

    def holds_vip() -> bool:
        return "10.9.8.9" in world.inside("ip", "addr", "show", "dev", "vrrp0")

    def either() -> None:
        runs(world, text)
        wanted = (world.base / "vrrp" / "octavia-keepalived.conf").exists()
        assert eventually(lambda: holds_vip() == wanted, within=GENEROUS)

    def without() -> None:
        world.apply(text)
        assert eventually(lambda: not holds_vip(), within=GENEROUS)

    def after() -> None:
        assert eventually(holds_vip, within=GENEROUS)

    play(world, Operation(without, lambda: world.apply(text, keepalived=settings), either, after))
    without()


def test_killed_amid_plugging_a_network(world: World) -> None:
    number = 0
    mac = ""

    def attach() -> None:
        nonlocal number, mac
        number += 1
        mac = f"02:00:00:77:00:{number:02x}"
        peer = ("type", "veth", "peer", "name", f"peer{number}")
        world.here("ip", "link", "add", f"port{number}", "address", mac, *peer)

    def plug() -> None:
        fixed = [{"ip_address": f"10.70.{number}.2", "subnet_cidr": f"10.70.{number}.0/24"}]
        world.do("POST", "plug/network", {"mac_address": mac, "fixed_ips": fixed, "mtu": 1400})

    def has_address() -> bool:
        return f"10.70.{number}.2/24" in world.inside("ip", "addr", "show")

    def either() -> None:
        # Either it is still to be had, or it is inside with all that it should have.
        outside = mac in world.here("ip", "link", "show")
        assert outside != has_address()

    def after() -> None:
        assert has_address()
        assert "mtu 1400" in world.inside("ip", "link", "show")

    play(world, Operation(attach, plug, either, after))


def test_killed_amid_its_own_certificate_and_configuration(world: World) -> None:
    def does() -> None:
        world.do("PUT", "certificate", world.authority.bundle(AMPHORA))
        world.do("PUT", "config", world.configuration("agent_request_read_timeout = 77").encode())

    def before() -> None:
        world.do("PUT", "config", world.configuration().encode())

    def either() -> None:
        runs(world, config(world, "a"))
        assert world.config.read_text() in (
            world.configuration(),
            world.configuration("agent_request_read_timeout = 77"),
        )

    def after() -> None:
        assert "= 77" in world.config.read_text()
        assert world.ask("GET", "info")[0] == 200
        assert not list(world.directory.glob(".server.pem.trial"))

    world.apply(config(world, "a"))
    play(world, Operation(before, does, either, after))
