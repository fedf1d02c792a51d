# SPDX-License-Identifier: Apache-2.0
"""The real agent over real TLS, and clients that mean no good, or are only slow."""

import contextlib
import http.client
import json
import os
import re
import select
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavia.amphora_agent.handlers import Handlers, routes
from octavia.amphora_agent.http import MAX_BODY_BYTES, SMALL_BODY_BYTES
from octavia.amphora_agent.server import MAX_HEADER_BYTES, THREADS
from tests.corpus import hostile_strings
from tests.netns import agent_lab
from tests.netns.agent_lab import (
    PORT,
    AgentProcess,
    Authority,
    Lab,
    haproxy_config,
    needs_haproxy,
    needs_root,
    opened_lab,
)

pytestmark = [pytest.mark.netns, needs_root, needs_haproxy]

SECONDS = 3  # the agent's timeout in these tests
GENEROUS = 60.0
ROUTES = [(one.method, one.template) for one in routes(Handlers(None))]  # type: ignore[arg-type]
SLOW = THREADS + 4


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[tuple[Lab, AgentProcess]]:
    with opened_lab() as lab:
        yield lab, lab.amphora(options=f"agent_request_read_timeout = {SECONDS}\n")


@pytest.fixture(name="amphora")
def _amphora(world: tuple[Lab, AgentProcess]) -> Iterator[AgentProcess]:
    lab, amphora = world
    begin = len(amphora.log.read_text())
    yield amphora
    assert lab.driver.info(amphora.amphora).api_version == "1.0"
    _, traceback, rest = amphora.log.read_text()[begin:].partition("Traceback")
    assert not traceback, rest[:3000]


def files(amphora: AgentProcess) -> set[str]:
    ours = {str(path) for path in amphora.directory.rglob("*")}
    return ours | {str(path) for path in amphora.directory.parent.glob("*")}


def context(lab: Lab, *, certificate: Path | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=lab.authority.path)
    made.check_hostname = False
    made.load_cert_chain(certificate or lab.directory / "client.pem")
    return made


def connect(amphora: AgentProcess, tls: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection((amphora.address, PORT), timeout=GENEROUS)
    return (tls or context(amphora.lab)).wrap_socket(plain)


def exchange(amphora: AgentProcess, request: bytes) -> bytes:
    """Everything that the agent says until it closes."""
    with connect(amphora) as client:
        client.sendall(request)
        return until_closed(client)


def until_closed(client: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := client.recv(65536):
            answer += piece
    return answer


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found, answer[:200]
    return int(found[1])


def ask(amphora: AgentProcess, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPSConnection(
        amphora.address, PORT, context=context(amphora.lab), timeout=GENEROUS
    )
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", "x")
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body or b"")
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


# Names and paths

UNESCAPED = "-._~/!$&'()*+,;=:@"
NAMES = sorted(
    {
        *(
            "..",
            ".",
            "%2e%2e",
            "..%2f..%2fetc%2fpasswd",
            "..%5c..",
            "%2fetc%2fpasswd",
            "%00",
            "a%00.pem",
            "%0a",
        ),
        *(
            "..%252f..",
            "%c0%ae%c0%ae",
            "%ff%fe",
            "a" * 5000,
            "*",
            "~",
            "$HOME",
            "%24%28reboot%29",
            "-rf",
            "%20",
        ),
        *("x.pem%0a", ".pem", "..pem", "a..b.pem", "x.pem%2f..", "CON", "haproxy.cfg", "agent-state.json"),
    }
)


@pytest.mark.parametrize(("method", "template"), [one for one in ROUTES if "{" in one[1]])
def test_no_name_in_a_path_leads_anywhere(method: str, template: str, amphora: AgentProcess) -> None:
    places = re.findall(r"{(\w+)}", template)
    good = {"amphora_id": amphora.id, "lb_id": amphora.lab.lb_id, "listener_id": amphora.lab.lb_id}
    before = files(amphora)
    for place in places:
        for name in NAMES:
            path = template.format(**{one: name if one == place else good.get(one, "x") for one in places})
            answered = ask(amphora, method, path, b"{}")
            assert answered in (400, 404, 405), (method, path, answered)
    assert files(amphora) == before


# Bodies


def bad_bodies() -> dict[str, bytes]:
    deep = 100_000
    return {
        "nothing": b"",
        "no JSON": b"{",
        "no UTF-8": b'{"a": "\xff"}',
        "UTF-16": '{"generation": 1}'.encode("utf-16"),
        "a list": b"[]",
        "a number": b"1",
        "NaN": b'{"generation": NaN, "haproxy": NaN, "mtu": NaN, "mac_address": NaN}',
        "deep": b"[" * deep + b"]" * deep,
        "a long number": b'{"generation": ' + b"9" * 5000 + b"}",
        "a big number": b'{"generation": 1e400, "mtu": 1e400}',
        "half a surrogate pair": (
            b'{"generation": 1, "haproxy": "\\ud800", "keepalived": "\\udfff", "mac_address": "\\ud800"}'
        ),
        "a file's name with a step up": (
            b'{"generation": 1, "haproxy": "x", "certificates": {"../x.pem": {"content": "x"}}}'
        ),
        "a configuration that is none": b'{"generation": 1, "haproxy": "x\\u0000y"}',
        "listeners of the wrong shape": b'{"generation": 1, "haproxy": null, "l4": {"vips": 5}}',
    }


JSON_ROUTES = [
    ("PUT", "/1.0/loadbalancer/{amphora}/{lb}/apply"),
    ("POST", "/1.0/plug/vip/192.0.2.1"),
    ("POST", "/1.0/plug/network"),
]


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
@pytest.mark.parametrize("why", bad_bodies())
def test_a_malformed_body_is_a_400(why: str, method: str, path: str, amphora: AgentProcess) -> None:
    path = path.format(amphora=amphora.id, lb=amphora.lab.lb_id)
    assert ask(amphora, method, path, bad_bodies()[why]) == 400


def test_text_that_is_no_utf_8_is_a_400(amphora: AgentProcess) -> None:
    lb = amphora.lab.lb_id
    for path in (f"/1.0/loadbalancer/{amphora.id}/{lb}/haproxy", "/1.0/config", "/1.0/vrrp/upload"):
        assert ask(amphora, "PUT", path, b"\xff\xfe") == 400


def test_a_certificate_that_is_none_is_a_400(amphora: AgentProcess) -> None:
    before = (amphora.directory / "server.pem").read_bytes()
    for body in (b"", b"\x00", before[:200], amphora.lab.authority.path.read_bytes()):
        assert ask(amphora, "PUT", "/1.0/certificate", body) == 400
    assert (amphora.directory / "server.pem").read_bytes() == before


_PIECES = st.sampled_from([*hostile_strings().values(), "192.0.2.1", "02:00:00:00:00:01"]).filter(
    lambda one: len(one) < 300
)
_KEYS = st.sampled_from(
    [
        *("generation", "haproxy", "keepalived", "certificates", "l4", "sha256", "content", "x.pem"),
        *("mac_address", "subnet_cidr", "gateway", "host_routes", "vrrp_ip", "additional_vips", "fixed_ips"),
        *("mtu", "is_sriov", "vip_net_info", "vip", "ip_address", "destination", "nexthop"),
        *("load_balancer_id", "vips", "listeners", "pools", "members", "check", "persistence"),
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 70000) | st.floats(allow_nan=False) | _PIECES,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(_KEYS, one, max_size=6),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    route=st.sampled_from(ROUTES), name=_PIECES, body=st.dictionaries(_KEYS, _VALUES, max_size=6) | _VALUES
)
def test_whatever_comes_the_answer_is_no_500(
    route: tuple[str, str], name: str, body: Any, amphora: AgentProcess
) -> None:
    method, template = route
    good = {"amphora_id": amphora.id, "lb_id": amphora.lab.lb_id, "listener_id": amphora.lab.lb_id}
    quoted = "".join(
        one if one.isascii() and (one.isalnum() or one in "-._~") else f"%{byte:02X}"
        for one in name[:80]
        for byte in one.encode(errors="surrogatepass")[:1]
    )
    places = re.findall(r"{(\w+)}", template)
    path = template.format(**{one: good.get(one, quoted) for one in places})
    # Two that may do something with any text are told apart: they keep what they are given, by contract.
    if path == "/1.0/vrrp/upload":
        return
    answered = ask(amphora, method, path, json.dumps(body).encode())
    assert answered in (200, 400, 404, 405, 409, 412, 501) or (path, answered) == ("/1.0/config", 500), path


# How much, and how long they say it is


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def test_a_body_of_more_than_the_limit_is_a_413(amphora: AgentProcess) -> None:
    lb = amphora.lab.lb_id
    for path, limit in (
        (f"/1.0/loadbalancer/{amphora.id}/{lb}/apply", MAX_BODY_BYTES),
        (f"/1.0/loadbalancer/{amphora.id}/{lb}/haproxy", MAX_BODY_BYTES),
        (f"/1.0/loadbalancer/{lb}/certificates/x.pem", SMALL_BODY_BYTES),
        ("/1.0/certificate", SMALL_BODY_BYTES),
        ("/1.0/config", SMALL_BODY_BYTES),
    ):
        # It is told by the length alone: nobody has to receive it.
        said = head("PUT", path, f"Content-Length: {limit + 1}", "Connection: close")
        assert status(exchange(amphora, said)) == 413, path


@pytest.mark.parametrize(
    ("lines", "body", "wanted"),
    [
        (["Content-Length: -1"], b"{}", 400),
        (["Content-Length: +2"], b"{}", 400),
        (["Content-Length: 1_0"], b"{}", 400),
        (["Content-Length: 0x10"], b"{}", 400),
        (["Content-Length: 9" + "9" * 30], b"{}", 413),
        (["Content-Length: 2", "Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", 411),
        (["Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", 411),
        (["Transfer-Encoding: chunked"], b"-1\r\n{}\r\n0\r\n\r\n", 411),
        (["Transfer-Encoding: gzip, chunked"], b"zz\r\n", 501),
        (["no colon"], b"", 400),
        (["X: " + "a" * (MAX_HEADER_BYTES + 1)], b"", 413),
        (["X: a"] * 20_000, b"", 413),
    ],
)
def test_a_length_that_lies_is_refused(
    lines: list[str], body: bytes, wanted: int, amphora: AgentProcess
) -> None:
    assert status(exchange(amphora, head("POST", "/1.0/plug/network", *lines) + body)) == wanted


@pytest.mark.parametrize(
    ("request_line", "wanted"),
    [
        (b"GET /1.0/info", 400),
        (b"GET /1.0/info HTTP/9.9", 505),
        (b"get /1.0/info HTTP/1.1", 400),
        (b"GET http://evil/1.0/info HTTP/1.1", 400),
        (b"CONNECT evil:80 HTTP/1.1", 405),
        (b"GET /" + b"a" * (MAX_HEADER_BYTES + 1) + b" HTTP/1.1", 414),
        (b"\x00\x01\x02 / HTTP/1.1", 405),
    ],
)
def test_a_request_line_that_is_none_is_refused(
    request_line: bytes, wanted: int, amphora: AgentProcess
) -> None:
    assert status(exchange(amphora, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")) == wanted


@pytest.mark.parametrize("politely", [True, False])
def test_half_a_body_is_not_taken_for_the_whole(politely: bool, amphora: AgentProcess) -> None:
    # The first half of a configuration is one that HAProxy would accept.
    text = haproxy_config(amphora, {}).encode()
    path = f"/1.0/loadbalancer/{amphora.id}/{amphora.lab.lb_id}/haproxy"
    with connect(amphora) as client:
        client.sendall(head("PUT", path, f"Content-Length: {len(text) + 500}") + text)
        if politely:
            with contextlib.suppress(ssl.SSLError):  # it hears an answer where it waited for a goodbye
                client.unwrap()
        else:
            socket.socket.shutdown(client, socket.SHUT_WR)
            until_closed(client)
    assert ask(amphora, "GET", f"/1.0/loadbalancer/{amphora.lab.lb_id}/haproxy") == 404


# Who is let in


def expired(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> bytes:
    class Earlier:
        @staticmethod
        def now(zone: tzinfo) -> datetime:
            return datetime.now(zone) - timedelta(days=10)

    monkeypatch.setattr(agent_lab, "datetime", Earlier)
    return lab.authority.bundle("controller")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    "who", ["nobody", "a stranger", "somebody of yesterday", "somebody old", "plain HTTP"]
)
def test_whoever_is_not_known_gets_no_further_than_the_handshake(
    who: str, amphora: AgentProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab = amphora.lab
    own = tmp_path / "own.pem"
    tls = ssl.create_default_context(cafile=lab.authority.path)
    tls.check_hostname = False
    request = head("GET", "/1.0/info", "Connection: close")
    if who == "plain HTTP":
        with socket.create_connection((amphora.address, PORT), timeout=GENEROUS) as plain:
            plain.sendall(request)
            assert b"api_version" not in until_closed(plain)
        return
    if who == "a stranger":
        (tmp_path / "other").mkdir()
        own.write_bytes(Authority(tmp_path / "other").bundle("controller"))
    elif who == "somebody of yesterday":
        own.write_bytes(expired(lab, monkeypatch))
    elif who == "somebody old":
        own.write_bytes(lab.authority.bundle("controller"))
        tls.minimum_version = ssl.TLSVersion.TLSv1
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
        tls.set_ciphers("ALL:@SECLEVEL=0")
    if who != "nobody":
        tls.load_cert_chain(own)
    said = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError), connect(amphora, tls) as client:
        # In TLS 1.3 a client has done its part before the server has seen who it is.
        client.sendall(request)
        said = until_closed(client)
    assert said == b""
    assert ask(amphora, "GET", "/1.0/info") == 200


# Who is slow


def _silent(amphora: AgentProcess) -> socket.socket:
    return socket.create_connection((amphora.address, PORT), timeout=GENEROUS)


def _half_a_hello(amphora: AgentProcess) -> socket.socket:
    client = _silent(amphora)
    client.sendall(b"\x16\x03\x01\x02\x00\x01")
    return client


def _idle(amphora: AgentProcess) -> socket.socket:
    return connect(amphora)


def _half_a_head(amphora: AgentProcess) -> socket.socket:
    client = connect(amphora)
    client.sendall(b"GET /1.0/info HTTP/1.1\r\nHost: x\r\nX-")
    return client


def _half_a_body(amphora: AgentProcess) -> socket.socket:
    client = connect(amphora)
    client.sendall(head("POST", "/1.0/plug/network", "Content-Length: 100") + b"{")
    return client


@pytest.mark.parametrize("slow", [_silent, _half_a_hello, _idle, _half_a_head, _half_a_body])
def test_slow_clients_are_cut_and_keep_nobody_waiting(slow: Any, amphora: AgentProcess) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(slow(amphora)) for _ in range(SLOW)]
        # More of them than there are threads: a good one is served all the same, and while they are there.
        assert ask(amphora, "GET", "/1.0/info") == 200
        assert any(not is_closed(one) for one in clients)
        for one in clients:
            one.settimeout(GENEROUS)
            until_closed(one)  # or it times out, and fails


def is_closed(client: socket.socket) -> bool:
    readable, _, _ = select.select([client], [], [], 0)
    return bool(readable) and socket.socket.recv(client, 1, socket.MSG_PEEK) == b""


@pytest.mark.parametrize(
    "first", [b"GET /1.0/info HTTP/1.1\r\n", head("POST", "/1.0/plug/network", "Content-Length: 9999")]
)
def test_a_byte_now_and_then_does_not_prolong_the_time(first: bytes, amphora: AgentProcess) -> None:
    with connect(amphora) as client:
        client.sendall(first)
        client.settimeout(SECONDS / 10)
        said = b""
        # It ends by the agent's doing, or never.
        with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
            while True:
                client.sendall(b"X")
                try:
                    said += (piece := client.recv(100))
                except TimeoutError:
                    continue
                if not piece:
                    break
        assert said == b"" or status(said) in (408, 400)


def test_an_answer_that_nobody_takes_holds_no_thread_for_good(amphora: AgentProcess) -> None:
    clients = []
    with contextlib.ExitStack() as stack:
        for _ in range(SLOW):
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            plain.settimeout(GENEROUS)
            plain.connect((amphora.address, PORT))
            client = stack.enter_context(context(amphora.lab).wrap_socket(plain))
            client.sendall(head("GET", "/1.0/details") * 400)  # one after another, none of them read
            clients.append(client)
        assert ask(amphora, "GET", "/1.0/info") == 200


def test_no_file_descriptor_is_left_of_all_of_them(amphora: AgentProcess) -> None:
    before = len(os.listdir(f"/proc/{amphora.pid}/fd"))
    for _ in range(50):
        with contextlib.suppress(OSError), _half_a_hello(amphora):
            pass
        assert ask(amphora, "GET", "/1.0/info") == 200
    assert len(os.listdir(f"/proc/{amphora.pid}/fd")) <= before + 5
