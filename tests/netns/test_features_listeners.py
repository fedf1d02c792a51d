# SPDX-License-Identifier: Apache-2.0
"""Every option of a listener, with traffic through a real amphora."""

import contextlib
import http.client
import shlex
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octavia.dataplane.haproxy.reload import Cause
from octavia.domain.tree import L7Action, Protocol
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from tests import pki
from tests.netns.agent_lab import CLIENT, VIP, eventually, needs_haproxy, needs_root
from tests.netns.feature_lab import (
    CLIENT_6,
    ELSEWHERE,
    ELSEWHERE_6,
    OTHER_CLIENT,
    VIP_6,
    World,
    ask,
    is_refused,
    opened_world,
)
from tests.netns.tls_lab import TlsMember
from tests.unit.dataplane.samples import listener, listener_id, policy, pool, pool_id

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]

METRICS = Protocol.PROMETHEUS


@pytest.fixture(scope="module", name="world")
def _world() -> Iterator[World]:
    with opened_world() as one:
        yield one


def plain(world: World, **fields: Any) -> Any:
    """A pool with one member."""
    return pool(members=(world.echoes(1)[0].member(1),), **fields)


def metrics(number: int, **fields: Any) -> Any:
    return listener(number, protocol=METRICS, default_pool_id=None, **fields)


# --- PROMETHEUS -------------------------------------------------------------------------------------


def test_a_prometheus_listener_tells_the_documented_metrics_of_its_load_balancer(world: World) -> None:
    world.serve(listener(1), metrics(2), pools=(plain(world),))
    for _ in range(3):
        assert ask(81).status == 200
    counted = f'octavia_listener_http_responses_total{{listener="{listener_id(1)}",code="2xx"}} 3'
    # HAProxy counts an answer a moment after its client has it.
    assert eventually(lambda: counted in ask(82, "/metrics").body.splitlines(), within=20)
    answer = ask(82, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    lines = answer.body.splitlines()
    backend = f"{pool_id(1)}:{listener_id(1)}"
    member = world.lb.pools[0].members[0].id
    assert counted in lines
    assert f'octavia_pool_active_members{{pool="{backend}"}} 1' in lines
    assert f'octavia_member_weight{{pool="{backend}",member="{member}"}} 1' in lines
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    assert {
        "octavia_loadbalancer_cpu",
        "octavia_loadbalancer_memory",
        "octavia_memory_pool_used_bytes",
    } <= names
    total = next(one for one in lines if one.startswith("octavia_loadbalancer_reloads_total "))
    by_reason = [one for one in lines if one.startswith("octavia_loadbalancer_reloads_by_reason_total{")]
    assert {one.split('"')[1] for one in by_reason} == set(Cause)
    assert sum(int(one.split()[1]) for one in by_reason) == int(total.split()[1])
    assert all(name.startswith("octavia_") for name in names)
    assert "prometheus-exporter" not in answer.body
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert names == typed


def test_only_the_loopback_inside_reaches_the_exporter(world: World) -> None:
    world.serve(metrics(2))
    for address in (VIP, VIP_6, world.amphora.vrrp_ip, f"{ELSEWHERE}.5"):
        for port in (9101, 9102):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, port), timeout=2)


def test_a_metrics_listener_with_a_limit_of_one_connection_still_answers(world: World) -> None:
    world.serve(metrics(2, connection_limit=1))
    assert ask(82, "/metrics").status == 200


def test_metrics_can_be_had_over_tls_alone(world: World) -> None:
    ca = pki.Ca("metrics' CA")
    kept = MemoryTenantCertificates()
    kept.keep(pki.tenant(ca.issue("site.example.org")), "site")
    secured = metrics(2, default_tls_container_ref="site")
    world.serve(secured, certificates=lambda made: pki.files(made, kept))
    file = world.lab.directory / "metrics-ca.pem"
    file.write_bytes(ca.pem)
    context = ssl.create_default_context(cafile=str(file))
    with (
        socket.create_connection((VIP, 82), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="site.example.org") as tls,
    ):
        tls.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        response = http.client.HTTPResponse(tls)
        response.begin()
        assert response.status == 200
        assert b"octavia_listener_status" in response.read()
    assert is_refused(82, path="/metrics")


def test_the_proxy_of_metrics_bears_whatever_reaches_it(world: World) -> None:
    # A tenant may call anything a member; what is asked there is answered or cut, and the next one served.
    member = world.echoes(1)[0].member(1, address="127.0.0.1", protocol_port=9102)
    straight = listener(1, protocol=Protocol.TCP)
    pools = (pool(protocol=Protocol.TCP, members=(member,)),)
    world.serve(straight, pools=pools)
    assert ask(81).status == 502  # without a listener for them there are no metrics
    assert ask(81, method="POST").status == 405
    with socket.create_connection((VIP, 81), timeout=5) as endless:
        endless.sendall(b"x" * 40000)
        assert is_over(endless)
    with socket.create_connection((VIP, 81), timeout=15) as silent_one:
        silent_one.sendall(b"GET / HTTP/1.1\r\n")
        assert is_over(silent_one)
    world.serve(straight, metrics(2), pools=pools)
    assert ask(82, "/metrics").status == 200
    assert ask(82, "/anything").status == 200  # as documented, any path does
    assert ask(81).status == 200


def is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


# --- who may connect --------------------------------------------------------------------------------


def silent(port: int, **where: Any) -> bool:
    """Does the listener hang up before a word is said?"""
    source = (where["source"], 0) if "source" in where else None
    try:
        with socket.create_connection((where.get("vip", VIP), port), timeout=5, source_address=source) as one:
            return is_cut(one, within=0.3)
    except ConnectionError:
        return True


def test_only_allowed_cidrs_get_in_on_every_kind_of_listener(world: World) -> None:
    ca = pki.Ca("sites' CA")
    kept = MemoryTenantCertificates()
    kept.keep(pki.tenant(ca.issue("site.example.org")), "site")
    # So many that one line of HAProxy's cannot have them, the one that counts last.
    allowed = (*(f"192.0.2.{number}/32" for number in range(80)), f"{OTHER_CLIENT}/32", f"{CLIENT_6}/128")
    listeners = [
        listener(1, allowed_cidrs=allowed),
        listener(2, allowed_cidrs=allowed, protocol=Protocol.TCP, default_pool_id=pool_id(2)),
        listener(3, allowed_cidrs=allowed, protocol=Protocol.HTTPS, default_pool_id=pool_id(3)),
        metrics(4, allowed_cidrs=allowed),
        listener(
            5,
            allowed_cidrs=allowed,
            protocol=Protocol.TERMINATED_HTTPS,
            default_tls_container_ref="site",
            default_pool_id=pool_id(1),
        ),
    ]
    member = world.echoes(1)[0].member(1)
    pools = (
        pool(1, members=(member,)),
        pool(2, protocol=Protocol.TCP, members=(member,)),
        pool(3, protocol=Protocol.HTTPS, members=(member,)),
    )
    world.serve(*listeners, pools=pools, certificates=lambda made: pki.files(made, kept))
    for port in range(81, 86):
        assert silent(port, source=CLIENT), port
        assert not silent(port, source=OTHER_CLIENT), port
        assert not silent(port, vip=VIP_6, source=CLIENT_6), port
    assert ask(81, source=OTHER_CLIENT).seen["client"]
    assert ask(81, vip=VIP_6).status == 200
    assert ask(84, "/metrics", source=OTHER_CLIENT).status == 200
    # The other family is not let in by a list that does not name it.
    world.serve(listener(1, allowed_cidrs=("0.0.0.0/0",)), pools=(plain(world),))
    assert ask(81).status == 200
    assert silent(81, vip=VIP_6)
    world.serve(listener(1), pools=(plain(world),))
    assert ask(81, vip=VIP_6).status == 200


# --- limits and timeouts ------------------------------------------------------------------------------


def get(connection: socket.socket) -> bytes:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return connection.recv(65536)


def test_a_connection_above_the_limit_waits_until_one_ends_and_the_listener_is_degraded(world: World) -> None:
    world.serve(listener(1, connection_limit=2), pools=(plain(world),))
    with contextlib.ExitStack() as stack:
        first, second, third = (
            stack.enter_context(socket.create_connection((VIP, 81), timeout=5)) for _ in range(3)
        )
        assert b"200" in get(first)
        assert b"200" in get(second)
        third.settimeout(0.3)
        with pytest.raises(TimeoutError):
            get(third)
        assert world.become_statuses({listener_id(1): "DEGRADED", world.lb.id: "DEGRADED"})
        first.close()
        third.settimeout(5)
        assert b"200" in third.recv(65536)
    world.serve(listener(1, connection_limit=-1), pools=(plain(world),))
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(socket.create_connection((VIP, 81), timeout=5)) for _ in range(20)]
        assert all(b"200" in get(one) for one in many)


def is_cut(connection: socket.socket, *, within: float) -> bool:
    """Is the connection ended by the other side, in time?"""
    connection.settimeout(within)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


def test_clients_that_say_nothing_are_cut_after_timeout_client_data(world: World) -> None:
    quick = listener(1, protocol=Protocol.TCP, timeout_client_data=200)
    patient = listener(2, protocol=Protocol.TCP, default_pool_id=pool_id(1))
    world.serve(quick, patient, pools=(plain(world, protocol=Protocol.TCP),))
    with (
        socket.create_connection((VIP, 81), timeout=5) as cut,
        socket.create_connection((VIP, 82), timeout=5) as kept,
    ):
        assert is_cut(cut, within=5)
        assert not is_cut(kept, within=0.1)


def test_a_member_that_does_not_accept_is_given_up_after_timeout_member_connect(world: World) -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("10.88.0.1", 8099), backlog=0))
        for _ in range(4):  # fill its queue: from now on it answers to no SYN
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        member = world.echoes(1)[0].member(1, address="10.88.0.1", protocol_port=8099)
        world.serve(listener(1, timeout_member_connect=150), pools=(pool(members=(member,)),))
        assert ask(81, timeout=10).status == 503
        world.serve(listener(1, timeout_member_connect=20000), pools=(pool(members=(member,)),))
        with pytest.raises(TimeoutError):
            ask(81, timeout=2)


def test_a_member_that_does_not_answer_is_given_up_after_timeout_member_data(world: World) -> None:
    world.serve(
        listener(1, timeout_member_data=200), listener(2, default_pool_id=pool_id(1)), pools=(plain(world),)
    )
    (echo,) = world.echoes(1)
    assert ask(81, "/hang").status == 504
    with pytest.raises(TimeoutError):
        ask(82, "/hang", timeout=0.6)
    echo.release.set()


def test_timeout_tcp_inspect_holds_no_request_back(world: World) -> None:
    # HAProxy waits for content only where a rule looks into it; a request that is there is not waited for.
    inspected = listener(1, timeout_tcp_inspect=60000)
    streamed = listener(2, timeout_tcp_inspect=60000, protocol=Protocol.TCP, default_pool_id=pool_id(1))
    world.serve(inspected, streamed, pools=(plain(world),))
    text = (world.amphora.base / world.lb.id / "haproxy.cfg").read_text()
    assert text.count("tcp-request inspect-delay 60000") == 2
    assert ask(81, timeout=2).status == ask(82, timeout=2).status == 200


# --- headers ------------------------------------------------------------------------------------------


def test_inserted_headers_tell_the_truth_whatever_the_client_says(world: World) -> None:
    names = ("X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto")
    lies = {
        "X-Forwarded-For": "6.6.6.6",
        "x-forwarded-port": "666",
        "X-FORWARDED-PROTO": "https",
        "X-Real-IP": "6.6.6.6",
    }
    told = dict.fromkeys((*names, "X-Real-IP", "X-Client-IP", "X-Forwarded-IP"), "true")
    world.serve(
        listener(1, insert_headers=told),
        listener(2, insert_headers=dict.fromkeys(names, "false"), default_pool_id=pool_id(1)),
        pools=(plain(world),),
    )
    answer = ask(81, headers=lies, source=OTHER_CLIENT)
    # Proxies in front of us may have written theirs: it is a list, and its last entry is ours.
    assert answer.header("X-Forwarded-For") == ["6.6.6.6", OTHER_CLIENT]
    assert answer.header("X-Forwarded-Port") == ["81"]
    assert answer.header("X-Forwarded-Proto") == ["http"]
    # Names that the API takes and the amphora, as documented, does not write.
    assert answer.header("X-Client-IP") == answer.header("X-Forwarded-IP") == []
    assert ask(81, vip=VIP_6).header("X-Forwarded-For") == [CLIENT_6]
    silent_one = ask(82)
    assert [silent_one.header(name) for name in names] == [[], [], []]


# --- several of everything, on and off ------------------------------------------------------------------


def test_several_listeners_share_a_pool_and_each_has_its_own_besides(world: World) -> None:
    one, two = world.echoes(2)
    shared, own = pool(1, members=(one.member(1),)), pool(2, members=(two.member(2),))
    leads = policy(1, L7Action.REDIRECT_TO_POOL, redirect_pool_id=pool_id(1))
    world.serve(
        listener(1),
        listener(2, default_pool_id=pool_id(1)),
        listener(3, default_pool_id=pool_id(2), l7_policies=(leads,)),
        listener(4, default_pool_id=None),
        pools=(shared, own),
    )
    assert [ask(port).member for port in (81, 82, 83)] == ["1", "1", "2"]
    assert ask(83, "/x").member == "1"
    assert ask(84).status == 503


def test_what_is_switched_off_takes_no_traffic_and_says_so(world: World) -> None:
    one, two = world.echoes(2)
    members = (one.member(1), two.member(2))
    off = {"admin_state_up": False}
    leads = policy(1, L7Action.REDIRECT_TO_POOL, redirect_pool_id=pool_id(2))
    refuses = policy(2, rules=(policy(2).rules[0],))

    def serve(lb: Any = (), first: Any = (), pooled: Any = (), second: Any = (), **policies: Any) -> None:
        made = (
            policy(1, L7Action.REDIRECT_TO_POOL, redirect_pool_id=pool_id(2), **policies.get("leads", {})),
            policy(2, rules=refuses.rules, **policies.get("refuses", {})),
        )
        world.serve(
            listener(1, l7_policies=made, **dict(first)),
            listener(2, default_pool_id=pool_id(1)),
            pools=(
                pool(1, members=members, **dict(pooled)),
                pool(2, members=(two.member(3),), **dict(second)),
            ),
            **dict(lb),
        )

    del leads
    serve(first=off)
    assert is_refused(81)
    assert ask(82).status == 200
    assert world.become_statuses({listener_id(1): "OFFLINE", listener_id(2): "ONLINE"})
    serve(pooled=off, refuses=off)
    assert ask(81).status == 503
    assert world.become_statuses({pool_id(1): "OFFLINE", listener_id(1): "ONLINE"})
    serve(refuses=off)
    assert ask(81, "/x").member == "2"
    serve(refuses=off, second=off)  # its policy leads nowhere, so it is as if it were not
    assert {ask(81, "/x").member for _ in range(4)} == {"1", "2"}
    serve(leads=off)
    assert ask(81, "/x").status == 403
    serve(leads=off, refuses=off)
    assert ask(81, "/x").status == 200
    serve(lb=off)
    assert is_refused(81)
    assert is_refused(82)
    assert world.become_statuses({world.lb.id: "OFFLINE", listener_id(1): "OFFLINE"})
    serve(leads=off, refuses=off)
    assert ask(81).status == 200


# --- addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
def test_both_families_of_vip_reach_members_of_both(world: World, protocol: Protocol) -> None:
    echoes = [
        world.echo("near", "10.88.0.201"),
        world.echo("far", f"{ELSEWHERE}.9"),
        world.echo("far 6", f"{ELSEWHERE_6}9"),
    ]
    members = tuple(one.member(number) for number, one in enumerate(echoes, start=1))
    world.serve(listener(1, protocol=protocol), pools=(pool(protocol=protocol, members=members),))
    for vip in (VIP, VIP_6):
        answers = {one.member: one.seen["client"] for one in (ask(81, vip=vip) for _ in range(6))}
        assert answers.keys() == {"near", "far", "far 6"}
        assert (answers["far"], answers["far 6"]) == (f"{ELSEWHERE}.5", f"{ELSEWHERE_6}5")


def test_https_is_passed_through_unread(world: World) -> None:
    ca = pki.Ca("members' CA")
    shown = ca.issue("site.example.org")
    server = TlsMember(world.lab, 1, shown)
    member = world.echoes(1)[0].member(1, address=server.address, protocol_port=server.port)
    world.serve(
        listener(1, protocol=Protocol.HTTPS), pools=(pool(protocol=Protocol.HTTPS, members=(member,)),)
    )
    file = world.lab.directory / "members-ca.pem"
    file.write_bytes(ca.pem)
    context = ssl.create_default_context(cafile=str(file))
    with (
        socket.create_connection((VIP, 81), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="site.example.org") as tls,
    ):
        certificate = tls.getpeercert()
        assert certificate
        assert certificate["serialNumber"] == shown.serial
        assert b"200" in get(tls)


# --- logs --------------------------------------------------------------------------------------------------


def test_each_connection_is_logged_in_the_documented_format(world: World) -> None:
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with tempfile.TemporaryDirectory(prefix="log") as directory, log:
        path = f"{directory}/log"
        log.bind(path)
        Path(directory).chmod(0o711)
        Path(path).chmod(0o666)
        log.settimeout(5)
        world.serve(
            listener(1),
            listener(2, protocol=Protocol.TCP, default_pool_id=pool_id(1)),
            pools=(plain(world),),
            settings={"log_socket": path},
        )
        ask(81, "/x%20y", source=OTHER_CLIENT)
        fields = flow(log)
        assert fields[:4] == [world.lb.project_id, world.lb.id, listener_id(1), OTHER_CLIENT]
        assert fields[6:9] == ["GET /x%20y HTTP/1.1", "200", fields[8]]
        assert fields[12:14] == [f"{pool_id(1)}:{listener_id(1)}", world.lb.pools[0].members[0].id]
        ask(82)
        fields = flow(log)
        assert (fields[2], fields[6], fields[7]) == (listener_id(2), "-", "-")
        world.serve(listener(1), pools=(plain(world),))
        # Nothing is sent any more, so what is next is what we send.
        ask(81)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as marker:
            marker.sendto(b"marker", path)
        while (line := log.recv(65536)) != b"marker":
            assert listener_id(1).encode() + b" 10." not in line


def flow(log: socket.socket) -> list[str]:
    """The fields of the next flow; what HAProxy says of itself is passed over."""
    while True:
        line = log.recv(65536).decode()
        _, tag, message = line.partition("haproxy[")
        fields = shlex.split(message.partition("]: ")[2]) if tag else []
        if len(fields) > 10:
            return fields
