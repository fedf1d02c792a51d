# SPDX-License-Identifier: Apache-2.0
"""What a tenant breaks goes on as it was, while clients come; what is new and broken is not there.

With the real API, worker and HAProxy. Which of its words HAProxy refuses is not known here: the ciphers and
expressions are such that the API cannot tell.
"""

import http.client
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pytest

from octavia.amphora_agent.l4_table import tracks_sctp
from tests import pki
from tests.netns.sctp_lab import MEMBER_PORT, Server, answered_by
from tests.netns.udp_lab import needs_programs
from tests.scenario.crash_tenant import amphorae_of
from tests.scenario.standalone import (
    HOST_ON,
    SUBNET,
    Machine,
    eventually,
    member,
    missing_programs,
    opened_machine,
)

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing_programs()), reason=f"needs {', '.join(missing_programs())}"),
    *needs_programs,
]

CA = pki.Ca("the tenant's CA")
GOOD_CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256"
BETTER_CIPHERS = "ECDHE-ECDSA-AES256-GCM-SHA384"
NO_CIPHERS = "NO-SUCH-CIPHER"
NO_EXPRESSION = r"^/\u0041"  # Python's library knows this escape, PCRE does not
SOON = 120.0  # of a busy machine
PATIENCE = 30.0


@pytest.fixture(scope="module", name="machine")
def _machine() -> Iterator[Machine]:
    with opened_machine() as made:
        made.serve("one", 8081)
        made.start(within=SOON)
        yield made


def status_of(address: str, path: str = "/") -> int:
    """What a request over a connection of its own is answered with."""
    with closing(http.client.HTTPConnection(address, 80, timeout=PATIENCE)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def cipher_of(address: str) -> str:
    """What a handshake of TLS 1.2 agrees on; a request goes through it."""
    context = ssl.create_default_context(cadata=CA.pem.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection((address, 443), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="www.example.org") as secured,
    ):
        secured.sendall(b"GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n")
        assert secured.recv(65536).startswith(b"HTTP/1.1 200")
        agreed = secured.cipher()
        assert agreed
        return agreed[0]


class Load:
    """Clients that ask over and over, each in a thread of its own.

    :ivar failures: what went wrong.
    """

    def __init__(self, **clients: Callable[[], object]) -> None:
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._asked = dict.fromkeys(clients, 0)
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._ask, args=one, daemon=True) for one in clients.items()]

    def _ask(self, name: str, ask: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                ask()
            except Exception as error:  # whatever it is, the test fails
                self.failures.append(f"{name}: {error!r}")
            with self._changed:
                self._asked[name] += 1
                self._changed.notify_all()

    def goes_on(self, count: int = 10) -> None:
        """Everybody has asked so many times more."""
        with self._changed:
            wanted = {name: asked + count for name, asked in self._asked.items()}
            assert self._changed.wait_for(
                lambda: all(self._asked[name] >= least for name, least in wanted.items()), timeout=SOON
            )

    @contextmanager
    def running(self) -> Iterator["Load"]:
        for one in self._threads:
            one.start()
        try:
            yield self
        finally:
            self._stop.set()
            for one in self._threads:
                one.join()


def made(machine: Machine, path: str, kind: str, **values: Any) -> dict[str, Any]:
    answer = machine.ask("POST", path, {kind: values})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()[kind]
    return found


def edit(machine: Machine, path: str, kind: str, **values: Any) -> None:
    answer = machine.ask("PUT", path, {kind: values})
    assert answer.status_code == 200, answer.text


def settled(machine: Machine, path: str, kind: str, status: str) -> dict[str, Any]:
    """An object, once it is so."""

    def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = machine.get(path)[kind]
        return shown if shown["provisioning_status"] == status else None

    return eventually(look, within=SOON, what=f"{path} is {status}")


def secret(machine: Machine, issued: pki.Issued) -> str:
    """A reference to a certificate with its key."""
    file = machine.state.parent / "bundle.pem"
    file.write_bytes(issued.bundle)
    command = (sys.executable, "-m", "octavia.cmd.standalone", "--state-dir", str(machine.state))
    done = subprocess.run((*command, "secret", "add", str(file)), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def refused(claim: Callable[[], object]) -> bool:
    try:
        claim()
    except OSError:
        return True
    return False


def test_what_a_tenant_breaks_goes_on_as_it_was_under_load(machine: Machine) -> None:
    lb = machine.create("site", [member(8081)])
    machine.await_active(lb["id"], within=SOON)
    address, whole = lb["vip_address"], f"/loadbalancers/{lb['id']}"
    plain = machine.get(whole)["loadbalancer"]["listeners"][0]["id"]
    pool = machine.get(whole)["loadbalancer"]["pools"][0]["id"]
    site = made(
        machine,
        "/listeners",
        "listener",
        loadbalancer_id=lb["id"],
        protocol="TERMINATED_HTTPS",
        protocol_port=443,
        default_pool_id=pool,
        default_tls_container_ref=secret(machine, CA.issue("www.example.org")),
        tls_ciphers=GOOD_CIPHERS,
    )["id"]
    policy = made(machine, "/l7policies", "l7policy", listener_id=plain, action="REJECT")["id"]
    rules = f"/l7policies/{policy}/rules"
    old = {"type": "PATH", "compare_type": "REGEX", "value": "^/old"}
    rule = made(machine, rules, "rule", **old)["id"]
    for path, kind in (
        (whole, "loadbalancer"),
        (f"/listeners/{site}", "listener"),
        (f"{rules}/{rule}", "rule"),
    ):
        settled(machine, path, kind, "ACTIVE")

    def well(path: str, status: int) -> Callable[[], None]:
        def ask() -> None:
            found = status_of(address, path)
            assert found == status, f"{path} is answered with {found}"

        return ask

    load = Load(plain=well("/", 200), denied=well("/old", 403), secured=lambda: cipher_of(address))
    with load.running():
        load.goes_on()
        edit(machine, f"/listeners/{site}", "listener", tls_ciphers=NO_CIPHERS)
        edit(machine, f"{rules}/{rule}", "rule", value=NO_EXPRESSION)
        shown = settled(machine, f"/listeners/{site}", "listener", "ERROR")
        assert NO_CIPHERS in shown["status_reason"]["sentence"]
        assert "Its last good form goes on." in shown["status_reason"]["sentence"]
        shown = settled(machine, f"{rules}/{rule}", "rule", "ERROR")
        assert "PCRE" in shown["status_reason"]["sentence"]
        for path, kind in ((whole, "loadbalancer"), (f"/l7policies/{policy}", "l7policy")):
            settled(machine, path, kind, "ACTIVE")
        load.goes_on()
        assert cipher_of(address) == GOOD_CIPHERS

        # What is new and broken is not there, and takes nobody along.
        bad = made(
            machine,
            "/listeners",
            "listener",
            loadbalancer_id=lb["id"],
            protocol="TERMINATED_HTTPS",
            protocol_port=8443,
            default_pool_id=pool,
            default_tls_container_ref=machine.get(f"/listeners/{site}")["listener"][
                "default_tls_container_ref"
            ],
            tls_ciphers=NO_CIPHERS,
        )["id"]
        shown = settled(machine, f"/listeners/{bad}", "listener", "ERROR")
        assert "not served" in shown["status_reason"]["sentence"]
        assert refused(lambda: socket.create_connection((address, 8443), timeout=PATIENCE).close())
        settled(machine, whole, "loadbalancer", "ACTIVE")

        edit(machine, f"/listeners/{site}", "listener", tls_ciphers=BETTER_CIPHERS)
        settled(machine, f"/listeners/{site}", "listener", "ACTIVE")
        eventually(lambda: cipher_of(address) == BETTER_CIPHERS, within=SOON, what="the new ciphers are live")
        edit(machine, f"{rules}/{rule}", "rule", value="^/(old|new)")
        settled(machine, f"{rules}/{rule}", "rule", "ACTIVE")
        eventually(lambda: status_of(address, "/new") == 403, within=SOON, what="the new rule is live")
        load.goes_on()
    assert load.failures == []

    # Amphorae that come later have never run the good form, and serve it.
    edit(machine, f"/listeners/{site}", "listener", tls_ciphers=NO_CIPHERS)
    settled(machine, f"/listeners/{site}", "listener", "ERROR")
    former = set(amphorae_of(machine, lb["id"]))
    assert machine.ask("PUT", f"{whole}/failover").status_code == 202
    eventually(
        lambda: former.isdisjoint(amphorae_of(machine, lb["id"])), within=SOON, what="all amphorae are new"
    )
    machine.await_active(lb["id"], within=SOON)
    assert cipher_of(address) == BETTER_CIPHERS


def test_an_sctp_listener_is_served_where_the_kernel_tracks_sctp_and_harms_nobody_elsewhere(
    machine: Machine,
) -> None:
    lb = machine.create("mixed", [member(8081)])
    machine.await_active(lb["id"], within=SOON)
    address, host = lb["vip_address"], HOST_ON[SUBNET]
    listeners = {}
    with ExitStack() as stack:
        stack.enter_context(closing(Server(host)))
        server = stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        server.bind((host, MEMBER_PORT))
        threading.Thread(target=_answer_datagrams, args=(server,), daemon=True).start()
        for protocol in ("SCTP", "UDP"):
            port = {"protocol": protocol, "protocol_port": 53}
            opened = made(machine, "/listeners", "listener", loadbalancer_id=lb["id"], **port)["id"]
            balanced = {"protocol": protocol, "lb_algorithm": "ROUND_ROBIN", "listener_id": opened}
            pool = made(machine, "/pools", "pool", **balanced)["id"]
            behind = {"address": host, "protocol_port": MEMBER_PORT, "subnet_id": SUBNET}
            made(machine, f"/pools/{pool}/members", "member", **behind)
            listeners[protocol] = f"/listeners/{opened}"
        settled(machine, listeners["UDP"], "listener", "ACTIVE")
        if tracks_sctp():
            settled(machine, listeners["SCTP"], "listener", "ACTIVE")
            eventually(lambda: answered_by(address) == 1, within=SOON, what="the SCTP listener serves")
        else:
            shown = settled(machine, listeners["SCTP"], "listener", "ERROR")
            assert shown["status_reason"]["code"] == "UNSUPPORTED"
            assert "does not track SCTP" in shown["status_reason"]["sentence"]
        settled(machine, f"/loadbalancers/{lb['id']}", "loadbalancer", "ACTIVE")
        assert status_of(address) == 200
        eventually(lambda: _is_answered(address), within=SOON, what="the UDP listener serves")
    assert machine.ask("DELETE", listeners["SCTP"]).status_code == 204
    eventually(
        lambda: machine.ask("GET", listeners["SCTP"]).status_code == 404, within=SOON, what="it is gone"
    )


def _answer_datagrams(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            question, client = server.recvfrom(4096)
            server.sendto(question, client)


def _is_answered(address: str) -> bool:
    with suppress(OSError), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.settimeout(1)
        client.connect((address, 53))
        client.send(b"who?")
        return client.recv(100) == b"who?"
    return False
