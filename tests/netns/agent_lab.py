# SPDX-License-Identifier: Apache-2.0
"""A small world for the agent: amphorae in namespaces, members, a client, all on two bridges.

The test's own main thread lives in the namespace of the bridges while the lab is open, so that no
packet of a test can leave by the machine's default route.
"""

import contextlib
import ctypes
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from octavia.domain.statuses import AmphoraStatus
from octavia.domain.tree import Amphora, Role
from octavia.drivers.amphora.contract import VipPlug
from octavia.drivers.amphora.rest import RestAmphoraDriver, RestSettings
from octavia.drivers.network.contract import FixedIp, Network, Port, Subnet
from octavia.wire.heartbeat import Heartbeat, decode

PORT = 9443
VIP = "10.88.0.100"
CLIENT = "10.88.0.1"
MANAGER = "10.99.0.1"
KEY = "a heartbeat key"
SUBNET = Subnet(id="s", name="vip", network_id="n", cidr="10.88.0.0/24", ip_version=4, gateway_ip=CLIENT)
NETWORK = Network(id="n", name="vip", subnet_ids=("s",), mtu=1500)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")
needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy")
needs_keepalived = pytest.mark.skipif(shutil.which("keepalived") is None, reason="needs keepalived")


def eventually(claim: Callable[[], object], *, within: float, every: float = 0.02) -> bool:
    """Does the claim become true in time?"""
    deadline = time.monotonic() + within
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def ip(*words: str) -> None:
    done = subprocess.run(("ip", *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Authority:
    """A CA for both directions, in memory."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab CA")])
        self._certificate = self._build(self._name, self._key, is_ca=True)
        self.path = directory / "ca.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def bundle(self, name: str) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._build(subject, key, is_ca=False)
        return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        name = str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", "-"))]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


class AgentProcess:
    """One amphora: an agent as PID 1 of its own namespaces."""

    def __init__(self, lab: "Lab", number: int, topology: str) -> None:
        self.lab = lab
        self.number = number
        self.id = str(uuid.uuid4())
        self.directory = lab.directory / f"amphora{number}"
        self.base = self.directory / "lib"
        self.log = self.directory / "agent.log"
        self.address = f"10.99.0.{10 + number}"
        self.vrrp_ip = f"10.88.0.{10 + number}"
        self.vip_mac = f"02:00:00:88:00:{10 + number:02x}"
        self.base.mkdir(parents=True)
        (self.directory / "server.pem").write_bytes(lab.authority.bundle(self.id))
        self.config = self.directory / "amphora-agent.conf"
        self.config.write_text(self._config(topology))
        self.pid = 0
        self.started_at = 0.0

    def _config(self, topology: str) -> str:
        return f"""\
[DEFAULT]
debug = True
[haproxy_amphora]
base_cert_dir = {self.base}/certs
base_path = {self.base}
bind_host = {self.address}
bind_port = {PORT}
[health_manager]
controller_ip_port_list = {MANAGER}:5555
heartbeat_interval = 3
heartbeat_key = {KEY}
[amphora_agent]
agent_server_ca = {self.lab.authority.path}
agent_server_cert = {self.directory}/server.pem
agent_server_network_dir = {self.directory}/interfaces
amphora_id = {self.id}
supervisor = children
[controller_worker]
loadbalancer_topology = {topology}
"""

    @property
    def amphora(self) -> Amphora:
        return Amphora(
            id=self.id,
            load_balancer_id=self.lab.lb_id,
            status=AmphoraStatus.ALLOCATED,
            role=Role.STANDALONE,
            lb_network_ip=self.address,
            vrrp_ip=self.vrrp_ip,
            vrrp_port_id=f"vrrp-{self.number}",
            ha_ip=VIP,
        )

    @property
    def plug(self) -> VipPlug:
        fixed = (FixedIp(subnet_id="s", ip_address=self.vrrp_ip),)
        port = Port(
            id=f"vrrp-{self.number}", name="", network_id="n", mac_address=self.vip_mac, fixed_ips=fixed
        )
        return VipPlug(vip_address=VIP, subnet=SUBNET, network=NETWORK, port=port, vrrp_ip=self.vrrp_ip)

    def start(self, *, with_vip: bool = False) -> None:
        """Namespaces first, then the management interface, then the agent, as compute does.

        :param with_vip: the VIP's interface is there from the start, as after a reboot.
        """
        self.pid = 0
        prepare = "mount -t tmpfs tmpfs /run && ip link set lo up && read go && "
        command = f'{prepare} exec "$0" -m octavia.cmd.amphora_agent --config-file "$1"'
        with self.log.open("ab") as log:
            self._unshare = subprocess.Popen(
                (
                    *("unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child"),
                    *("--mount-proc", "sh", "-c", command, sys.executable, str(self.config)),
                ),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        assert eventually(self._find_pid, within=5, every=0.002), "no process 1"
        name = f"{self.lab.prefix}m{self.number}"
        assert eventually(self._in_own_netns, within=5, every=0.002)
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(self.pid))
        ip("link", "set", name, "master", "mgmt", "up")
        self.inside("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.inside("ip", "link", "set", "eth0", "up")
        if with_vip:
            self.attach_vip()
        assert self._unshare.stdin is not None
        self.started_at = time.monotonic()
        self._unshare.stdin.write(b"go\n")
        self._unshare.stdin.close()

    def _find_pid(self) -> bool:
        unshare = self._unshare.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{unshare}/task/{unshare}/children").read_text().split()
            if children:
                self.pid = int(children[0])
        return bool(self.pid)

    def _in_own_netns(self) -> bool:
        return os.readlink(f"/proc/{self.pid}/ns/net") != os.readlink("/proc/self/ns/net")

    def beat_every(self, seconds: float) -> None:
        """Another interval of heartbeats from now on."""
        options = re.sub(
            "heartbeat_interval = .*", f"heartbeat_interval = {seconds}", self.config.read_text()
        )
        assert self.lab.driver.update_agent_configuration(self.amphora, options.encode(), fence=1)

    def await_listening(self) -> float:
        """Seconds from its start until it accepts connections."""

        def accepts() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((self.address, PORT), timeout=1):
                return True
            return False

        assert eventually(accepts, within=60, every=0.01), self.log.read_text()
        return time.monotonic() - self.started_at

    def attach_vip(self) -> None:
        """What compute does when a port is attached."""
        name = f"{self.lab.prefix}v{self.number}"
        peer = ("peer", "name", f"port{self.number}", "address", self.vip_mac, "netns", str(self.pid))
        ip("link", "add", name, "type", "veth", *peer)
        ip("link", "set", name, "master", "vip", "up")

    def inside(self, *argv: str, netns: str | None = None) -> str:
        """Run something in the amphora's namespaces."""
        inner = ("ip", "netns", "exec", netns) if netns else ()
        whole = ("nsenter", "-t", str(self.pid), "--net", "--mount", "--pid", *inner, *argv)
        done = subprocess.run(whole, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout} {done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def running_inside(self, *argv: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A program where HAProxy is, until the end of the block."""
        netns = f"/proc/{self.pid}/root/run/netns/amphora-haproxy"
        program = subprocess.Popen(("nsenter", f"--net={netns}", "--", *argv), stdout=subprocess.PIPE)
        try:
            yield program
        finally:
            program.kill()
            program.communicate()

    def pid_of(self, file: str) -> int:
        """The pid, as seen from outside, of whoever wrote this pid file, or will in a moment."""
        path = self.base / file
        assert eventually(lambda: path.is_file() and path.read_text().strip(), within=20), f"no {file}"
        inner = int(path.read_text())
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                fields = dict(
                    line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line
                )
                numbers = fields.get("NSpid", "").split()
                same = os.readlink(status.parent / "ns/pid") == os.readlink(f"/proc/{self.pid}/ns/pid")
                if len(numbers) > 1 and int(numbers[-1]) == inner and same:
                    return int(numbers[0])
        raise AssertionError(f"{file}: no process")

    def ask_haproxy(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.base / f"{self.lab.lb_id}.adm"))
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer.decode()

    def worker(self) -> str:
        """HAProxy's worker process: another one after a reload."""
        return next(line for line in self.ask_haproxy("show info").splitlines() if line.startswith("Pid:"))

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._unshare.wait(10)
        if self._unshare.stdin is not None:
            self._unshare.stdin.close()
        for kind in "mv":  # the kernel takes a dead namespace's interfaces away when it likes
            argv = ("ip", "link", "del", f"{self.lab.prefix}{kind}{self.number}")
            subprocess.run(argv, capture_output=True, check=False)

    def terminate(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self._unshare.wait(10)


class Lab:
    """Bridges, members, a client, a health manager, amphorae."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.prefix = f"ag{os.getpid() % 100000}"
        self.lb_id = str(uuid.uuid4())
        self.authority = Authority(directory)
        (directory / "client.pem").write_bytes(self.authority.bundle("controller"))
        self.amphorae: list[AgentProcess] = []
        self.heartbeats: list[tuple[str, Heartbeat]] = []
        self.finish = threading.Event()
        self._servers: list[socketserver.BaseServer] = []
        self._closers: list[Callable[[], object]] = []

    def open(self) -> None:
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _unshare_net()  # the bridges' namespace has no name and ends with its last user
        ip("link", "set", "lo", "up")
        for bridge, address, mac in (
            ("mgmt", MANAGER, "02:00:00:99:00:01"),
            ("vip", CLIENT, "02:00:00:88:00:01"),
        ):
            # Without a MAC of its own a bridge takes that of a port, and another when the port goes.
            ip("link", "add", bridge, "address", mac, "type", "bridge")
            ip("addr", "add", f"{address}/24", "dev", bridge)
            ip("link", "set", bridge, "up")
        self.driver = RestAmphoraDriver(
            RestSettings(client_cert=self.directory / "client.pem", server_ca=self.authority.path)
        )
        self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.bind((MANAGER, 5555))
        threading.Thread(target=self._receive, daemon=True).start()

    def close(self) -> None:
        for amphora in self.amphorae:
            amphora.kill()
        self.driver.close()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        with contextlib.suppress(OSError):
            self._receiver.shutdown(socket.SHUT_RDWR)
        self._receiver.close()
        _set_net(self._home)
        os.close(self._home)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._receiver.recv(65536):
                message = decode(data, KEY)
                self.heartbeats.append((message.amphora_id, message))

    def amphora(self, *, topology: str = "SINGLE", options: str = "") -> AgentProcess:
        """One more, listening.

        :param options: further lines of its section ``amphora_agent``.
        """
        one = AgentProcess(self, len(self.amphorae) + 1, topology)
        one.config.write_text(f"{one.config.read_text()}[amphora_agent]\n{options}")
        self.amphorae.append(one)
        one.start()
        one.await_listening()
        return one

    def member(self, number: int) -> tuple[str, int]:
        """A web server that says its number, at ``/slow`` once ``finish`` is set."""
        address = f"10.88.0.{200 + number}"
        ip("addr", "add", f"{address}/24", "dev", "vip")
        server = _MemberServer((address, 8080), _member_handler(str(number), self.finish))
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return address, 8080

    def echo(self) -> tuple[str, int]:
        """A web server that answers with the headers of the request, as JSON."""
        address = "10.88.0.240"
        ip("addr", "add", f"{address}/24", "dev", "vip")
        server = http.server.ThreadingHTTPServer((address, 8080), _Echo)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return address, 8080

    def get(self, path: str = "/", *, timeout: float = 2) -> str:
        """Ask the VIP; who answered."""
        connection = http.client.HTTPConnection(VIP, 80, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
            assert response.status == 200, f"{response.status} {body}"
            return body
        finally:
            connection.close()

    def answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            return bool(self.get(timeout=0.5))
        return False

    @contextlib.contextmanager
    def load(self) -> Iterator[dict[str, Any]]:
        """Two clients that ask without a pause: what each has begun, and the counts, and each failure."""
        result: dict[str, Any] = {"begun": [0, 0], "ok": 0, "failures": [], "by": {}}
        stop = threading.Event()

        def ask(me: int) -> None:
            while not stop.is_set():
                result["begun"][me] += 1
                try:
                    who = self.get()
                    result["ok"] += 1
                    result["by"][who] = result["by"].get(who, 0) + 1
                    time.sleep(0.002)  # the processors are needed elsewhere too
                except (OSError, http.client.HTTPException, AssertionError) as error:
                    result["failures"].append(repr(error))

        threads = [threading.Thread(target=ask, args=(me,)) for me in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield result
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def latest(self, amphora: AgentProcess) -> Heartbeat | None:
        mine = [message for amphora_id, message in list(self.heartbeats) if amphora_id == amphora.id]
        return mine[-1] if mine else None


@contextlib.contextmanager
def opened_lab() -> Iterator[Lab]:
    """A lab of its own for one test."""
    # Not pytest's directory: with the name of a test in it, HAProxy finds its sockets' paths too long.
    with tempfile.TemporaryDirectory(prefix="agl") as directory:
        lab = Lab(Path(directory))
        lab.open()
        try:
            yield lab
        finally:
            lab.close()


class _Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(list(self.headers.items())).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of it is of interest."""


class _MemberServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def _member_handler(name: str, finish: threading.Event) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # HAProxy resets connections after its checks
                self._answer_all()

        def _answer_all(self) -> None:
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = self.rfile.readline()
                    if not line:
                        return
                    head += line
                if b" /slow " in head.partition(b"\r\n")[0]:
                    finish.wait(60)
                body = name.encode()
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return Handler


_libc = ctypes.CDLL(None, use_errno=True)


def _unshare_net() -> None:
    assert _libc.unshare(0x40000000) == 0, os.strerror(ctypes.get_errno())


def _set_net(descriptor: int) -> None:
    assert _libc.setns(descriptor, 0x40000000) == 0, os.strerror(ctypes.get_errno())


def haproxy_config(
    amphora: AgentProcess, members: dict[str, tuple[str, int, int]], *, extra: str = ""
) -> str:
    """A configuration of the shape that controllers render.

    :param members: id to address, port, weight.
    :param extra: lines of the backend.
    """
    base, lb_id = amphora.base, amphora.lab.lb_id
    servers = "".join(
        f"    server {name} {address}:{port} weight {weight} check inter 1s fall 2 rise 1\n"
        for name, (address, port, weight) in members.items()
    )
    return f"""\
global
    user nobody
    maxconn 10000
    stats socket {base}/{lb_id}.sock mode 0600 level admin
    server-state-file {base}/{lb_id}/servers-state

defaults
    log global
    retries 3
    option redispatch
    option http-keep-alive
    timeout connect 2s
    timeout client 30s
    timeout server 30s

frontend {LISTENER}
    mode http
    maxconn 5000
    bind {VIP}:80
    default_backend {POOL}:{LISTENER}

backend {POOL}:{LISTENER}
    mode http
    balance roundrobin
    option allbackups
    load-server-state-from-file global
    timeout check 1s
{extra}{servers}"""


LISTENER = "11111111-1111-4111-8111-111111111111"
POOL = "22222222-2222-4222-8222-222222222222"
