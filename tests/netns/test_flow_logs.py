# SPDX-License-Identifier: Apache-2.0
"""Flow logs: real clients, real HAProxy, real rsyslogd, real log hosts."""

import http.client
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from octavia.dataplane.cloud_init.rsyslog import RsyslogSettings, Target
from octavia.domain.tree import ClientAuthentication, Listener, Pool, Protocol
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from octavia.drivers.local.syslog import ADMIN_LOG, FLOW_LOG
from tests import pki
from tests.netns.agent_lab import MANAGER, VIP, eventually, needs_haproxy, needs_root
from tests.netns.feature_lab import OTHER_CLIENT, ask
from tests.netns.log_lab import (
    FLOW_BYTES,
    MANAGER_6,
    SOCKET,
    LogWorld,
    log_host,
    needs_rsyslog,
    opened_log_world,
    record,
)
from tests.unit.dataplane.samples import listener, listener_id, pool, pool_id

pytestmark = [pytest.mark.netns, needs_root, needs_haproxy, needs_rsyslog, pytest.mark.timeout(300)]

LOGGING = {"log_socket": SOCKET}


@pytest.fixture(scope="module")
def world() -> Iterator[LogWorld]:
    with opened_log_world() as world:
        yield world


@pytest.fixture(autouse=True)
def usual(world: LogWorld) -> None:
    """Each test begins with local files and no log host."""
    world.configure(RsyslogSettings())


def plain(world: LogWorld) -> Pool:
    return pool(members=tuple(one.member(1) for one in world.echoes(1)))


def serve(world: LogWorld, *listeners: Listener, **settings: object) -> None:
    world.serve(*listeners, pools=(plain(world),), settings={**LOGGING, **settings})


# --- what is told -----------------------------------------------------------------------------------------


def test_a_request_is_one_record_of_the_documented_fields(world: LogWorld) -> None:
    serve(world, listener(1))
    secrets = {"Cookie": "session=very-secret", "Authorization": "Basic very-secret"}
    ask(81, "/a%20path?q=1", source=OTHER_CLIENT, headers=secrets)
    line = world.logged("/a%20path")
    fields = record(line)
    assert fields[:4] == [world.lb.project_id, world.lb.id, listener_id(1), OTHER_CLIENT]
    assert 0 < int(fields[4]) < 65536
    assert fields[6:8] == ["GET /a%20path?q=1 HTTP/1.1", "200"]
    assert int(fields[8]) > 0
    assert int(fields[9]) > 0
    assert fields[10:12] == ["-", ""]
    assert fields[12:14] == [f"{pool_id(1)}:{listener_id(1)}", world.lb.pools[0].members[0].id]
    assert (int(fields[14]) >= 0, fields[15], len(fields)) == (True, "----", 16)
    assert "very-secret" not in "".join(world.file(FLOW_LOG) + world.file(ADMIN_LOG))


def test_a_stream_has_no_request_and_no_status(world: LogWorld) -> None:
    serve(world, listener(2, protocol=Protocol.TCP, default_pool_id=pool_id(1)))
    ask(82, source=OTHER_CLIENT)
    fields = record(world.logged(f"{listener_id(2)} {OTHER_CLIENT}"))
    assert (fields[2], fields[3], fields[6], fields[7], len(fields)) == (
        listener_id(2),
        OTHER_CLIENT,
        "-",
        "-",
        16,
    )


def test_without_connection_logging_there_is_none(world: LogWorld) -> None:
    serve(world, listener(1), connection_logging=False)
    ask(81, "/silent")
    serve(world, listener(1))
    ask(81, "/told")
    world.logged("/told")
    assert not [line for line in world.file(FLOW_LOG) if "/silent" in line]


# --- hostile clients ---------------------------------------------------------------------------------------


def test_a_request_line_cannot_forge_a_record(world: LogWorld) -> None:
    serve(world, listener(1))
    with socket.create_connection((VIP, 81), timeout=5) as client:
        client.sendall(b'GET /forge"%0a<134>haproxy[1]:\x1b[31m\xc2\x9b HTTP/1.1\r\nHost: x\r\n\r\n')
        assert client.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection((VIP, 81), timeout=5) as client:
        client.sendall(b'GET /forge"quote HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
        client.recv(100)
    fields = record(world.logged("/forge#22quote"))
    assert (fields[6], len(fields)) == ("GET /forge#22quote HTTP/1.1", 16)
    assert all(len(record(line)) == 16 and line.isprintable() for line in world.file(FLOW_LOG))


def test_a_long_url_does_not_hide_what_became_of_it(world: LogWorld) -> None:
    serve(world, listener(1))
    ask(81, "/long/" + "%22'" * 1500)
    fields = record(world.logged("/long/").replace("'", ""))
    assert (fields[7], fields[15], len(fields)) == ("200", "----", 16)


def ask_over_tls(context: ssl.SSLContext, path: str) -> None:
    with (
        socket.create_connection((VIP, 81), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="site.example.org") as tls,
    ):
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        while tls.recv(1000):
            pass


def test_the_name_in_a_client_certificate_is_one_field(world: LogWorld) -> None:
    ca = pki.Ca("clients' CA")
    site = ca.issue("site.example.org")
    evil = 'x" 999 "\n<134>haproxy[1]: forged \\ ] \x1b[31m'
    store = MemoryTenantCertificates()
    store.keep(pki.tenant(site), "site")
    store.keep(ca.pem, "ca")
    world.serve(
        listener(
            1,
            protocol=Protocol.TERMINATED_HTTPS,
            default_tls_container_ref="site",
            client_ca_tls_container_ref="ca",
            client_authentication=ClientAuthentication.OPTIONAL,
        ),
        pools=(plain(world),),
        settings=LOGGING,
        certificates=lambda made: pki.files(made, store),
    )
    (world.lab.directory / "trusted.pem").write_bytes(ca.pem)
    context = ssl.create_default_context(cafile=str(world.lab.directory / "trusted.pem"))
    shown = world.lab.directory / "shown.pem"
    shown.write_bytes(named(ca, evil))
    ask_over_tls(context, "/nobody")
    assert record(world.logged("/nobody"))[10:12] == ["0", ""]
    context.load_cert_chain(shown)
    ask_over_tls(context, "/somebody")
    fields = record(world.logged("/somebody"))
    assert fields[10] == "0"
    assert fields[11] == '/CN=x" 999 "#012<134>haproxy[1\\]: forged \\ \\] #033[31m'
    assert len(fields) == 16
    with socket.create_connection((VIP, 81), timeout=5) as client:
        client.sendall(b"no TLS at all\r\n\r\n")
        client.recv(100)
        port = client.getsockname()[1]
    fields = record(world.logged(f" {port} "))
    assert (fields[1], fields[7], len(fields)) == (world.lb.id, "0", 16)


def named(ca: pki.Ca, common_name: str) -> bytes:
    """A certificate of the CA for a name that no decent CA would sign, and its key."""
    decent = ca.issue("client.example.org")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(ca.certificate.subject)
        .public_key(decent.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(decent.certificate.not_valid_before_utc)
        .not_valid_after(decent.certificate.not_valid_after_utc)
    )
    return pki.Issued(builder.sign(ca.key, hashes.SHA256()), decent.key).bundle


# --- where it goes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
@pytest.mark.parametrize("host", [MANAGER, MANAGER_6])
def test_each_kind_of_log_reaches_its_host(world: LogWorld, protocol: str, host: str) -> None:
    serve(world, listener(1))
    with log_host(host, 5514, protocol) as tenant, log_host(host, 5515, protocol) as admin:
        world.configure(
            RsyslogSettings(
                tenant_log_targets=(Target(host, 5514),),
                admin_log_targets=(Target(host, 5515),),
                log_protocol=protocol,
            )
        )
        path = f"/to-{host}-{protocol}"
        ask(81, path)
        assert tenant.has(path)
        world.lab.driver.info(world.amphora.amphora)
        serve(world, listener(1), connection_logging=False)  # the agent has something to say
        assert admin.has("amphora-agent: ")
        (line,) = (one for one in tenant.lines if path.encode() in one)
        assert line.startswith(b"<134>")  # local0, info
        assert len(record(line)) == 16
        assert not [one for one in admin.lines if listener_id(1).encode() in one and b"/to-" in one]
        assert all(b"haproxy[" in one for one in tenant.lines)
    world.logged(path)  # and into the file too


def test_the_second_log_host_stands_in_for_the_first(world: LogWorld) -> None:
    serve(world, listener(1))
    settings = RsyslogSettings(
        tenant_log_targets=(Target(MANAGER, 5514), Target(MANAGER, 5516)),
        log_protocol="TCP",
        log_retry_count=1,
        log_retry_interval=1,
    )
    with log_host(MANAGER, 5516, "TCP") as second:
        world.configure(settings)
        ask(81, "/first-is-dead")
        assert second.has("/first-is-dead")
        with log_host(MANAGER, 5514, "TCP") as first:
            assert eventually(lambda: ask(81, "/is-back").status == 200 and bool(first.lines), within=30)
        assert not [line for line in first.lines if b"/first-is-dead" in line]


def test_a_dead_log_host_keeps_nothing_from_the_local_file(world: LogWorld) -> None:
    serve(world, listener(1))
    world.configure(
        RsyslogSettings(
            tenant_log_targets=(Target(MANAGER, 5514),),
            log_protocol="TCP",
            log_queue_size=10,
            log_retry_count=-1,
        )
    )
    for number in range(60):
        ask(81, f"/queued/{number}.")
    world.logged("/queued/59.")


def test_a_log_host_without_a_way_to_it_makes_few_words(world: LogWorld) -> None:
    serve(world, listener(1))
    world.configure(RsyslogSettings(tenant_log_targets=(Target("203.0.113.1", 5514), Target(MANAGER, 5514))))
    before = len(world.amphora.log.read_text().splitlines())
    for number in range(100):
        ask(81, f"/nowhere/{number}.")
    world.logged("/nowhere/99.")
    said = [line for line in world.amphora.log.read_text().splitlines()[before:] if "omfwd" in line]
    assert len(said) <= 20
    assert len([line for line in world.file(ADMIN_LOG) if "rsyslogd" in line and "omfwd" in line]) <= 40


def test_with_local_storage_off_nothing_lands_in_a_file(world: LogWorld) -> None:
    serve(world, listener(1))
    with log_host(MANAGER, 5514, "UDP") as tenant:
        settings = RsyslogSettings(
            tenant_log_targets=(Target(MANAGER, 5514),), disable_local_log_storage=True
        )
        world.configure(settings)
        ask(81, "/abroad")
        assert tenant.has("/abroad")
    world.configure(RsyslogSettings())
    ask(81, "/at-home")
    world.logged("/at-home")
    assert not [line for line in world.file(FLOW_LOG) if "/abroad" in line]


def test_all_but_the_flows_may_go_to_the_operator(world: LogWorld) -> None:
    serve(world, listener(1))
    with log_host(MANAGER, 5515, "UDP") as admin:
        world.configure(RsyslogSettings(admin_log_targets=(Target(MANAGER, 5515),), forward_all_logs=True))
        ask(81, "/a-flow")
        world.logged("/a-flow")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice:
            voice.sendto(b"<78>cron: ran", f"/proc/{world.amphora.pid}/root{SOCKET}")
        assert admin.has("cron: ran")
        assert not [line for line in admin.lines if b"/a-flow" in line]


# --- what it may cost --------------------------------------------------------------------------------------


def test_the_files_are_bounded(world: LogWorld) -> None:
    serve(world, listener(1))
    connection = http.client.HTTPConnection(VIP, 81, timeout=5)
    for number in range(2 * FLOW_BYTES // 300):
        connection.request("GET", f"/much/{number}.")
        connection.getresponse().read()
    connection.close()
    world.logged(f"/much/{number}.")
    sizes = {path.name: path.stat().st_size for path in (world.root / "log").glob("flow.log*")}
    assert "flow.log.1" in sizes, sizes
    assert sizes.keys() <= {"flow.log", "flow.log.1"}  # the new one comes with its first record
    assert max(sizes.values()) < FLOW_BYTES + 10_000, sizes
    assert {path.stat().st_mode & 0o777 for path in (world.root / "log").iterdir()} == {0o600}


def test_a_syslog_that_hangs_holds_no_request_and_no_agent_up(world: LogWorld) -> None:
    serve(world, listener(1))
    pid = world.syslog_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(700):  # more than its socket takes
            assert ask(81, "/unheard").status == 200
        dropped = world.amphora.ask_haproxy("show info").partition("DroppedLogs: ")[2].split()[0]
        assert int(dropped) > 0  # or it could have waited
        serve(world, listener(1), listener(2, default_pool_id=pool_id(1)))  # the agent talks, and works
        assert ask(82).status == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    ask(81, "/heard-again")
    world.logged("/heard-again")


def test_a_syslog_that_dies_comes_back_and_moves_no_vip(world: LogWorld) -> None:
    serve(world, listener(1))
    worker = world.amphora.worker()
    world.restart_syslog()
    ask(81, "/after-its-death")
    world.logged("/after-its-death")
    assert world.amphora.worker() == worker
    assert (Path(world.amphora.base) / "vrrp/haproxy_down").read_text() == "0\n"
