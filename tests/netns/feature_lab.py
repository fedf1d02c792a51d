# SPDX-License-Identifier: Apache-2.0
"""One amphora with every kind of network, members that tell what they were asked, clients: what the tests of
features share. One lab serves all tests of a module; each brings its own load balancer."""

import contextlib
import http.client
import json
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from octavia.dataplane.haproxy.render import Rendered, render
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.db.heartbeats import Parts, Seen, SeenLoadBalancer, SeenPool
from octavia.domain.tree import AdditionalVip, Listener, LoadBalancer, Member, Pool, Vip
from octavia.drivers.amphora.contract import Applied, Configuration
from octavia.drivers.network.contract import FixedIp, Network, Port, Subnet
from octavia.health.derive import derive
from octavia.wire.heartbeat import Heartbeat
from tests.netns.agent_lab import VIP, AgentProcess, Lab, eventually, ip, opened_lab
from tests.unit.dataplane.samples import load_balancer, member

VIP_6: Final = "2001:db8:88::100"
CLIENT_6: Final = "2001:db8:88::1"
OTHER_CLIENT: Final = "10.88.0.2"
ELSEWHERE: Final = "10.77.0"  # the members' own network
ELSEWHERE_6: Final = "2001:db8:77::"
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"  # the PROXY protocol, section 2.2


@dataclass(frozen=True)
class Answer:
    """What a client got; ``seen`` is what an echoing member tells of the request."""

    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def seen(self) -> Any:
        return json.loads(self.body)

    @property
    def member(self) -> str:
        return str(self.seen["member"])

    def header(self, name: str) -> list[str]:
        """Each value of a header that the member was sent."""
        return [value for key, value in self.seen["headers"] if key.lower() == name.lower()]


def ask(
    port: int,
    path: str = "/",
    *,
    vip: str = VIP,
    source: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    timeout: float = 5,
) -> Answer:
    """One request on a connection of its own."""
    where = (source, 0) if source else None
    connection = http.client.HTTPConnection(vip, port, timeout=timeout, source_address=where)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        body = response.read().decode()
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, body)
    finally:
        connection.close()


def is_refused(port: int, **values: Any) -> bool:
    """Is there nobody, or somebody who hangs up without a word?"""
    try:
        ask(port, **values)
    except (ConnectionError, http.client.RemoteDisconnected):
        return True
    return False


@dataclass
class Echo:
    """A member that answers with what it was asked, as JSON, and remembers it.

    Paths: ``/status/N`` answers so, ``/cookie/N=V`` sets one, ``/hang`` says nothing until ``release``.

    :param proxied: it expects the PROXY protocol.
    :param status: what health checks, and all else without a path of its own, are answered with.
    """

    name: str
    address: str
    port: int = 8080
    proxied: bool = False
    status: int = 200
    asked: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    def member(self, number: int, **fields: Any) -> Member:
        return member(number, **{"address": self.address, "protocol_port": self.port, **fields})


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(socketserver.StreamRequestHandler):
    echo: Echo

    def handle(self) -> None:
        self.echo.connections += 1
        with contextlib.suppress(OSError):
            proxied = self._proxy_header() if self.echo.proxied else None
            while self._answer(proxied):
                pass
        self.echo.connections -= 1

    def _proxy_header(self) -> list[str]:
        if (start := self.rfile.peek(12)[:12]) != _SIGNATURE:  # type: ignore[attr-defined]
            return [
                "v1" if start.startswith(b"PROXY") else "none",
                *self.rfile.readline().decode().split()[2:],
            ]
        fixed = self.rfile.read(16)
        body = self.rfile.read(struct.unpack("!H", fixed[14:])[0])
        if fixed[12] & 0xF == 0:  # LOCAL: HAProxy's own checks
            return ["v2", "local"]
        family, size = (socket.AF_INET, 4) if fixed[13] >> 4 == 1 else (socket.AF_INET6, 16)
        both = [socket.inet_ntop(family, body[at : at + size]) for at in (0, size)]
        return ["v2", *both, *map(str, struct.unpack("!HH", body[2 * size : 2 * size + 4]))]

    def _answer(self, proxied: list[str] | None) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return False
            head += line
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = [tuple(line.split(": ", 1)) for line in lines if ": " in line]
        echo = self.echo
        echo.asked.append("\n".join([first, *(line for line in lines if line)]))
        if path == "/hang":
            echo.release.wait(20)
        status = int(path.removeprefix("/status/")) if path.startswith("/status/") else echo.status
        extra = f"Set-Cookie: {path.removeprefix('/cookie/')}\r\n" if path.startswith("/cookie/") else ""
        told = {
            "member": echo.name,
            "client": self.client_address[0],
            "path": path,
            "headers": headers,
            "proxied": proxied,
        }
        body = b"" if method == "HEAD" else json.dumps(told).encode()
        length = "" if method == "HEAD" else f"Content-Length: {len(body)}\r\n"
        self.wfile.write(f"HTTP/1.1 {status} X\r\n{length}{extra}\r\n".encode() + body)
        return method != "HEAD"


def echo_server(lab: Lab, name: str, address: str) -> Echo:
    """A member on the VIP's network, for labs without a :class:`World`."""
    ip("addr", "add", f"{address}/24", "dev", "vip")
    one = Echo(name, address)
    _listen(lab, one)
    return one


def _listen(lab: Lab, one: Echo) -> None:
    handler = type("Handler", (_Handler,), {"echo": one})
    server = (_Server6 if ":" in one.address else _Server)((one.address, one.port), handler)
    lab._servers.append(server)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


class World:
    """A lab, an amphora, and what has been served last.

    :param agent_options: lines for the amphora's section of the agent's configuration.
    """

    def __init__(self, lab: Lab, *, agent_options: str = "") -> None:
        self.lab = lab
        self.lb: LoadBalancer = load_balancer()
        self._generation = 0
        self._known: dict[tuple[str, int], Echo] = {}
        ip("addr", "add", f"{CLIENT_6}/64", "dev", "vip", "nodad")
        ip("addr", "add", f"{OTHER_CLIENT}/24", "dev", "vip")
        lab.directory.chmod(0o711)  # HAProxy's checks run as nobody
        self.amphora: AgentProcess = lab.amphora(options=agent_options)
        self.amphora.attach_vip()
        plug = replace(self.amphora.plug, additional=((VIP_6, _subnet("s6", "2001:db8:88::/64", CLIENT_6)),))
        assert lab.driver.plug_vip(self.amphora.amphora, plug, fence=1) == "eth1"
        self._elsewhere()
        self.amphora.beat_every(0.5)

    def _elsewhere(self) -> None:
        """A network of members, where the amphora gets a leg of both families."""
        amphora, mac = self.amphora, "02:00:00:77:00:05"
        ip("link", "add", "else", "address", "02:00:00:77:00:01", "type", "bridge")
        ip("addr", "add", f"{ELSEWHERE}.1/24", "dev", "else")
        ip("addr", "add", f"{ELSEWHERE_6}1/64", "dev", "else", "nodad")
        ip("link", "set", "else", "up")
        name = f"{self.lab.prefix}e1"
        peer = ("peer", "name", "x1", "address", mac, "netns", str(amphora.pid))
        ip("link", "add", name, "type", "veth", *peer)
        ip("link", "set", name, "master", "else", "up")
        fixed = (
            FixedIp(subnet_id="s2", ip_address=f"{ELSEWHERE}.5"),
            FixedIp(subnet_id="s3", ip_address=f"{ELSEWHERE_6}5"),
        )
        port = Port(id="p", name="", network_id="n2", mac_address=mac, fixed_ips=fixed)
        network = Network(id="n2", name="members", subnet_ids=("s2", "s3"), mtu=1500)
        subnets = [_subnet("s2", f"{ELSEWHERE}.0/24", None), _subnet("s3", f"{ELSEWHERE_6}/64", None)]
        self.lab.driver.plug_network(amphora.amphora, port, network, subnets, fence=1)

    def echo(self, name: str, address: str, port: int = 8080, **values: Any) -> Echo:
        """A member that listens; asked for again, the same one as new."""
        one = Echo(name, address, port, **values)
        if (address, port) in self._known:
            self._known[address, port].__dict__.update(vars(one))
            return self._known[address, port]
        device = "else" if address.startswith((ELSEWHERE, ELSEWHERE_6)) else "vip"
        if not any(known == address for known, _ in self._known):
            ip("addr", "add", f"{address}/{64 if ':' in address else 24}", "dev", device, *_nodad(address))
        self._known[address, port] = one
        _listen(self.lab, one)
        return one

    def echoes(self, count: int, **values: Any) -> list[Echo]:
        """Some on the VIP's own network."""
        return [self.echo(str(number), f"10.88.0.{200 + number}", **values) for number in range(1, count + 1)]

    # --- serving --------------------------------------------------------------------------------

    def rendered(self, lb: LoadBalancer, **settings: Any) -> Rendered | None:
        base = str(self.amphora.base)
        given = HaproxySettings(
            base_path=base,
            base_cert_dir=f"{base}/certs",
            ping_command=f"{base}/ping-wrapper.sh",
            **{"log_socket": None, **settings},
        )
        mine = (self.amphora.amphora,)
        made = render(lb, mine, given, amphora_id=self.amphora.id, haproxy_version="2.6.12")
        assert made is None or made.refused == {}
        return made

    def serve(self, *listeners: Listener, pools: tuple[Pool, ...] = (), **fields: Any) -> Applied:
        """Make a load balancer live, as the worker does."""
        vip = Vip(ip_address=VIP, subnet_id="s")
        more = (AdditionalVip(ip_address=VIP_6, subnet_id="s6"),)
        settings = fields.pop("settings", {})
        certificates = fields.pop("certificates", {})
        self.lb = replace(
            load_balancer(),
            **{
                **{"id": self.lab.lb_id, "vip": vip, "additional_vips": more},
                **{"listeners": listeners, "pools": pools, **fields},
            },
        )
        made = self.rendered(self.lb, **settings)
        self._generation += 1
        configuration = Configuration(
            load_balancer_id=self.lab.lb_id,
            generation=self._generation,
            haproxy=made.text if made else None,
            certificates=certificates(made) if certificates else {},
        )
        return self.lab.driver.apply(self.amphora.amphora, configuration, fence=1)

    # --- what HAProxy and the health manager say ----------------------------------------------------

    def states(self) -> dict[str, str]:
        """Member to HAProxy's word for it."""
        rows = [line.split(",") for line in self.amphora.ask_haproxy("show stat -1 4 -1").splitlines()]
        return {row[1]: row[17] for row in rows if len(row) > 17 and not row[0].startswith("#")}

    def become(self, wanted: Mapping[str, str], *, within: float = 15) -> bool:
        """Do members get these states of HAProxy's?"""
        return eventually(lambda: wanted.items() <= self.states().items(), within=within)

    def statuses(self) -> dict[str, str]:
        """Operating statuses by id, derived from the newest heartbeat as the health manager does."""
        report = self.lab.latest(self.amphora)
        return self.statuses_of(report) if report is not None else {}

    def statuses_of(self, report: Heartbeat) -> dict[str, str]:
        """Those that a heartbeat leads to; none if it is not of the newest generation."""
        if report.generation != self._generation:
            return {}
        lb = self.lb
        seen = SeenLoadBalancer(lb.id, lb.admin_state_up, "ACTIVE", "?", False, (self._generation, 0, 0))
        pools = [
            SeenPool(*_seen(pool), members=tuple(_part(one) for one in pool.members)) for pool in lb.pools
        ]
        parts = Parts(tuple(_part(one) for one in lb.listeners), tuple(pools))
        found = derive(seen, parts, report, redundant=True)
        return {name: str(status) for (_, name), status in found.items()}

    def become_statuses(self, wanted: Mapping[str, str], *, within: float = 15) -> bool:
        """Do objects get these operating statuses?"""
        return eventually(lambda: wanted.items() <= self.statuses().items(), within=within)


def _seen(one: Any) -> tuple[str, str, bool, bool, int]:
    return one.id, "?", one.admin_state_up, False, 0


def _part(one: Any) -> Seen:
    return Seen(*_seen(one))


def _subnet(name: str, cidr: str, gateway: str | None) -> Subnet:
    version = 6 if ":" in cidr else 4
    return Subnet(id=name, name=name, network_id="n", cidr=cidr, ip_version=version, gateway_ip=gateway)


def _nodad(address: str) -> tuple[str, ...]:
    return ("nodad",) if ":" in address else ()


@contextlib.contextmanager
def opened_world() -> Iterator[World]:
    """For a whole module."""
    with opened_lab() as lab:
        yield World(lab)
