# SPDX-License-Identifier: Apache-2.0
"""TLS in the agents' small world: a site behind an amphora, its clients, members that speak TLS."""

import contextlib
import http.client
import json
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from octavia.dataplane.haproxy.render import Rendered, render
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.domain.tree import Listener, LoadBalancer, Pool, Vip
from octavia.drivers.amphora.contract import Applied, Configuration
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from tests import pki
from tests.netns.agent_lab import VIP, AgentProcess, Lab, eventually, ip
from tests.unit.dataplane.samples import load_balancer

PORT = 81


class Site:
    """One listener and one pool on a real amphora, and a store of what they name."""

    def __init__(self, lab: Lab, amphora: AgentProcess) -> None:
        self.lab = lab
        self.amphora = amphora
        self.ca = pki.Ca("sites' CA")
        self.ca_file = lab.directory / "site-ca.pem"
        self.ca_file.write_bytes(self.ca.pem)
        self.kept = MemoryTenantCertificates()
        self._generation = 0

    def keep(self, **secrets: pki.Issued | bytes) -> None:
        for ref, content in secrets.items():
            self.kept.keep(content if isinstance(content, bytes) else pki.tenant(content), ref)

    def rendered(self, listener: Listener, pool: Pool) -> Rendered:
        lb: LoadBalancer = replace(
            load_balancer((listener, pool)), id=self.lab.lb_id, vip=Vip(ip_address=VIP, subnet_id="s")
        )
        base = str(self.amphora.base)
        settings = HaproxySettings(base_path=base, base_cert_dir=f"{base}/certs", log_socket=None)
        made = render(lb, (), settings, amphora_id=self.amphora.id, haproxy_version="2.6.12")
        assert made is not None
        assert made.refused == {}
        return made

    def serve(self, listener: Listener, pool: Pool) -> Applied:
        """Make it live, as the worker does."""
        made = self.rendered(listener, pool)
        self._generation += 1
        configuration = Configuration(
            load_balancer_id=self.lab.lb_id,
            generation=self._generation,
            haproxy=made.text,
            certificates=pki.files(made, self.kept),
        )
        return self.lab.driver.apply(self.amphora.amphora, configuration, fence=1)

    # --- clients --------------------------------------------------------------------------------

    def context(self, *, shows: pki.Issued | None = None, **settings: Any) -> ssl.SSLContext:
        """A client that trusts the CA of the sites."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if shows:
            file = Path(self.lab.directory / f"client-{shows.serial}.pem")
            file.write_bytes(shows.bundle)
            context.load_cert_chain(file)
        for name, value in settings.items():
            setattr(context, name, value)
        return context

    @contextlib.contextmanager
    def connected(self, name: str | None, context: ssl.SSLContext | None = None) -> Iterator[ssl.SSLSocket]:
        """A handshake with the VIP, asking for that server."""
        context = context or self.context()
        if name is None:
            context.check_hostname = False
        with (
            socket.create_connection((VIP, PORT), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            yield secured

    def certificate(self, name: str | None) -> str:
        """The serial number of what is shown to clients that ask for that server."""
        with self.connected(name) as secured:
            shown = secured.getpeercert()
            assert shown
            return str(shown["serialNumber"])

    def get(
        self, name: str = "site.example.org", path: str = "/", context: ssl.SSLContext | None = None
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers, body of one request on a connection of its own."""
        with self.connected(name, context) as secured:
            request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
            secured.sendall(request.encode())
            response = http.client.HTTPResponse(secured)
            response.begin()
            body = response.read().decode()
            return response.status, {key.lower(): value for key, value in response.getheaders()}, body

    def curl(self, *options: str, name: str = "site.example.org") -> str:
        argv = ("curl", "-sS", "--max-time", "5", "--cacert", str(self.ca_file))
        where = ("--connect-to", f"{name}:443:{VIP}:{PORT}", f"https://{name}/")
        done = subprocess.run((*argv, *options, *where), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def load(self, *names: str) -> Iterator[dict[str, Any]]:
        """Clients without a pause, half of them with new connections; afterwards the counts and failures."""
        result: dict[str, Any] = {"ok": 0, "failures": [], "serials": set()}
        stop = threading.Event()

        def anew(name: str) -> None:
            context = self.context()
            while not stop.is_set():
                with self._counting(result):
                    status, _, _ = self.get(name, context=context)
                    assert status == 200, status

        def kept(name: str) -> None:
            while not stop.is_set():
                with self._counting(result), self.connected(name) as secured:
                    result["serials"].add(secured.getpeercert()["serialNumber"])  # type: ignore[index]
                    for _ in range(50):
                        _ask_on(secured, name)
                        result["ok"] += 1

        threads = [threading.Thread(target=run, args=(name,)) for name in names for run in (anew, kept)]
        for thread in threads:
            thread.start()
        try:
            yield result
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    @contextlib.contextmanager
    def load_of_new_connections(self, name: str, context: ssl.SSLContext) -> Iterator[dict[str, Any]]:
        """Handshake after handshake; afterwards the counts and failures."""
        result: dict[str, Any] = {"ok": 0, "failures": []}
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                with self._counting(result):
                    status, _, _ = self.get(name, context=context)
                    assert status == 200, status

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield result
            assert eventually(lambda: result["ok"] > 5, within=5)
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    @contextlib.contextmanager
    def _counting(self, result: dict[str, Any]) -> Iterator[None]:
        try:
            yield
            result["ok"] += 1
            time.sleep(0.002)  # the processors are needed elsewhere too
        except (OSError, http.client.HTTPException, AssertionError) as error:
            result["failures"].append(repr(error))


def _ask_on(secured: ssl.SSLSocket, name: str) -> None:
    secured.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    response = http.client.HTTPResponse(secured)
    response.begin()
    response.read()
    assert response.status == 200, response.status


class TlsMember:
    """A web server that speaks TLS and tells, as JSON, what it was shown."""

    def __init__(self, lab: Lab, number: int, shown: pki.Issued, *, trusts: pki.Ca | None = None) -> None:
        self.address, self.port = f"10.88.0.{220 + number}", 8443
        ip("addr", "add", f"{self.address}/24", "dev", "vip")
        self._file = lab.directory / f"member-{number}.pem"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["http/1.1"])
        self.show(shown)
        if trusts:
            ca = lab.directory / f"member-{number}-ca.pem"
            ca.write_bytes(trusts.pem)
            self.context.load_verify_locations(ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        server = Server((self.address, self.port), _handler(self.context))
        lab._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def show(self, shown: pki.Issued) -> None:
        self._file.write_bytes(shown.bundle)
        self.context.load_cert_chain(self._file)


def proxied_member(lab: Lab) -> tuple[str, int]:
    """A web server behind the PROXY protocol's version 2: it answers with the header, in hexadecimal."""
    address, port = "10.88.0.251", 8080
    ip("addr", "add", f"{address}/24", "dev", "vip")

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            fixed = self.rfile.read(16)
            header = self.rfile.read(int.from_bytes(fixed[14:16]))
            while self.rfile.readline().strip():
                pass
            body = header.hex().encode()
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    server = Server((address, port), Handler)
    lab._servers.append(server)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return address, port


@contextlib.contextmanager
def http_2_member(lab: Lab, shown: pki.Issued) -> Iterator[tuple[str, int]]:
    """A member that speaks HTTP/2 over TLS and answers with the version that it was asked in."""
    address, port = "10.88.0.250", 8443
    ip("addr", "add", f"{address}/24", "dev", "vip")
    certificate, config = lab.directory / "h2.pem", lab.directory / "h2.cfg"
    certificate.write_bytes(shown.bundle)
    config.write_text(
        f"""defaults
    mode http
    timeout client 5s
frontend member
    bind {address}:{port} ssl crt {certificate} alpn h2,http/1.1
    http-request return status 200 content-type text/plain lf-string "%[req.ver]"
"""
    )
    program = subprocess.Popen(("haproxy", "-db", "-q", "-f", str(config)))
    try:
        yield address, port
    finally:
        program.terminate()
        program.wait(10)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def _handler(context: ssl.SSLContext) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                contextlib.suppress(OSError),
                context.wrap_socket(self.request, server_side=True) as secured,
            ):
                self._answer_all(secured)

        def _answer_all(self, secured: ssl.SSLSocket) -> None:
            reader = secured.makefile("rb")
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = reader.readline()
                    if not line:
                        return
                    head += line
                shown = secured.getpeercert() or {}
                subject = dict(one[0] for one in shown.get("subject", ()))  # type: ignore[misc]
                body = json.dumps(
                    {
                        "alpn": secured.selected_alpn_protocol(),
                        "version": secured.version(),
                        "client": subject.get("commonName"),
                    }
                ).encode()
                secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return Handler
