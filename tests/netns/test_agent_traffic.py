# SPDX-License-Identifier: Apache-2.0
"""One amphora, steered over mutual TLS, with a real HAProxy and real traffic."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from octavia.domain.errors import Fenced, Refused, Transient, Unreachable
from octavia.drivers.amphora.contract import Applied, Configuration
from octavia.drivers.network.contract import FixedIp, HostRoute, Network, Port, Subnet
from tests.netns.agent_lab import (
    LISTENER,
    POOL,
    PORT,
    VIP,
    AgentProcess,
    Lab,
    eventually,
    haproxy_config,
    ip,
    needs_haproxy,
    needs_root,
    opened_lab,
)

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy]

Members = dict[str, tuple[str, int, int]]


@pytest.fixture(name="lab")
def _lab() -> Iterator[Lab]:
    with opened_lab() as one:
        yield one


@pytest.fixture
def amphora(lab: Lab) -> AgentProcess:
    """Listening, its VIP plugged."""
    one = lab.amphora()
    one.attach_vip()
    assert lab.driver.plug_vip(one.amphora, one.plug, fence=1) == "eth1"
    return one


@pytest.fixture
def members(lab: Lab, amphora: AgentProcess) -> Members:
    """Two, live."""
    both = {f"m{number}": (*lab.member(number), 1) for number in (1, 2)}
    apply(amphora, both, generation=1)
    assert eventually(lab.answers, within=20)
    return both


def apply(
    amphora: AgentProcess, members: Members, *, generation: int, fence: int = 1, extra: str = ""
) -> Applied:
    return amphora.lab.driver.apply(
        amphora.amphora,
        Configuration(
            load_balancer_id=amphora.lab.lb_id,
            generation=generation,
            haproxy=haproxy_config(amphora, members, extra=extra),
        ),
        fence=fence,
    )


def servers(amphora: AgentProcess) -> set[str]:
    rows = [line.split() for line in amphora.ask_haproxy("show servers state").splitlines()]
    return {row[3] for row in rows if len(row) > 6 and row[0] != "#"}


def await_next_requests(load: dict[str, Any]) -> None:
    """Those that were under way when it was called are over."""
    before = list(load["begun"])
    assert eventually(
        lambda: all(now > then for now, then in zip(load["begun"], before, strict=True)), within=20
    )


def test_an_interface_that_has_not_arrived_is_waited_for_and_plugging_twice_is_a_success(lab: Lab) -> None:
    one = lab.amphora()
    with pytest.raises(Transient, match="No suitable network interface found"):
        lab.driver.plug_vip(one.amphora, one.plug, fence=1)
    one.attach_vip()
    assert lab.driver.plug_vip(one.amphora, one.plug, fence=1) == "eth1"
    assert lab.driver.plug_vip(one.amphora, one.plug, fence=1) == "eth1"
    routes = one.inside("ip", "route", "show", "table", "1", netns="amphora-haproxy")
    assert f"10.88.0.0/24 dev eth1 proto static scope link src {VIP}" in routes
    assert f"from {VIP} lookup 1" in one.inside("ip", "rule", netns="amphora-haproxy")


def test_plugging_a_vip_again_makes_good_what_failed_half_way(lab: Lab) -> None:
    one = lab.amphora()
    one.attach_vip()
    assert lab.driver.plug_vip(one.amphora, one.plug, fence=1) == "eth1"
    one.inside("ip", "addr", "flush", "dev", "eth1", netns="amphora-haproxy")
    assert lab.driver.plug_vip(one.amphora, one.plug, fence=1) == "eth1"
    routes = one.inside("ip", "route", "show", "table", "1", netns="amphora-haproxy")
    assert f"10.88.0.0/24 dev eth1 proto static scope link src {VIP}" in routes


def test_an_ipv6_vip_is_reachable_at_once(lab: Lab) -> None:
    ip("addr", "add", "2001:db8:88::1/64", "dev", "vip", "nodad")
    one = lab.amphora()
    one.attach_vip()
    subnet = Subnet(
        id="s6", name="", network_id="n", cidr="2001:db8:88::/64", ip_version=6, gateway_ip="2001:db8:88::1"
    )
    plug = replace(one.plug, vip_address="2001:db8:88::100", vrrp_ip="2001:db8:88::b", subnet=subnet)
    assert lab.driver.plug_vip(one.amphora, plug, fence=1) == "eth1"
    assert "from 2001:db8:88::100 lookup 1" in one.inside("ip", "-6", "rule", netns="amphora-haproxy")
    with pytest.raises(ConnectionRefusedError):  # an answer: somebody has the address
        socket.create_connection(("2001:db8:88::100", 80), timeout=2)


def test_neighbours_learn_at_once_where_the_vip_is(lab: Lab) -> None:
    first, second = lab.amphora(), lab.amphora()
    for one in (first, second):  # the second announces the same address with another MAC
        one.attach_vip()
        lab.driver.plug_vip(one.amphora, one.plug, fence=1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
            anybody.sendto(b"", (VIP, 9))
        known = subprocess.run(("ip", "neigh", "show", VIP), capture_output=True, text=True, check=True)
        assert one.vip_mac in known.stdout


def test_members_come_change_and_go_without_a_reload_or_a_failed_request(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    worker = amphora.worker()
    with lab.load() as load:
        members["m3"] = (*lab.member(3), 1)
        assert apply(amphora, members, generation=2).reload_reason is None
        assert eventually(lambda: load["by"].get("3"), within=20)
        members["m1"] = (*members["m1"][:2], 0)
        assert apply(amphora, members, generation=3).reload_reason is None
        await_next_requests(load)
        drained_at = load["by"]["1"]
        assert eventually(lambda: load["by"]["3"] > 200, within=20)
        assert load["by"]["1"] == drained_at
        del members["m2"]
        assert apply(amphora, members, generation=4).reload_reason is None
        await_next_requests(load)
        removed_at = load["by"]["2"]
        assert eventually(lambda: load["by"]["3"] > 400, within=20)
        assert load["by"]["2"] == removed_at
    assert load["failures"] == []
    assert load["ok"] > 100
    assert amphora.worker() == worker
    on_disk = (amphora.base / lab.lb_id / "haproxy.cfg").read_text()
    assert on_disk == haproxy_config(amphora, members)


def test_the_same_configuration_again_changes_nothing(amphora: AgentProcess, members: Members) -> None:
    worker = amphora.worker()
    assert apply(amphora, members, generation=7) == Applied(generation=7)
    assert amphora.worker() == worker
    assert amphora.lab.driver.info(amphora.amphora).generation == 7


def test_a_reload_says_why_and_loses_no_request(lab: Lab, amphora: AgentProcess, members: Members) -> None:
    worker = amphora.worker()
    with lab.load() as load:
        await_next_requests(load)
        applied = apply(amphora, members, generation=2, extra="    timeout queue 5s\n")
        await_next_requests(load)
    assert applied.reload_reason is not None
    assert "differs in more than its servers" in applied.reload_reason
    assert load["failures"] == []
    assert amphora.worker() != worker


def test_a_member_that_a_reload_enables_is_enabled(lab: Lab, amphora: AgentProcess, members: Members) -> None:
    """What the runtime socket was told must not survive in the state file and beat the configuration."""
    text = haproxy_config(amphora, members)
    disabled = text.replace("weight 1 check", "weight 1 disabled check", 1)
    send = lab.driver.apply
    configuration: dict[str, Any] = {"load_balancer_id": lab.lb_id}
    assert (
        send(amphora.amphora, Configuration(**configuration, generation=2, haproxy=disabled), fence=1)
    ).reload_reason is None
    assert eventually(lambda: "MAINT" in amphora.ask_haproxy("show stat"), within=20)
    again = text.replace("    timeout check 1s\n", "    timeout check 1s\n    timeout queue 3s\n")
    assert (
        send(amphora.amphora, Configuration(**configuration, generation=3, haproxy=again), fence=1)
    ).reload_reason is not None
    assert eventually(lambda: {lab.get(), lab.get()} == {"1", "2"}, within=4)


def test_a_refused_configuration_leaves_traffic_alone_and_names_the_line(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    worker = amphora.worker()
    wrong = haproxy_config(amphora, members, extra="    no-such-keyword at all\n")
    line = wrong.splitlines().index("    no-such-keyword at all") + 1
    with lab.load() as load, pytest.raises(Refused, match="unknown keyword 'no-such-keyword'") as refused:
        apply(amphora, members, generation=2, extra="    no-such-keyword at all\n")
    assert refused.value.line == line
    assert load["failures"] == []
    assert amphora.worker() == worker
    assert lab.driver.info(amphora.amphora).generation == 1


def test_a_port_that_cannot_be_bound_is_refused_and_the_old_worker_goes_on(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    """`haproxy -c` accepts it; only the reload shows it."""
    program = (
        "import socket, time; s = socket.create_server(('0.0.0.0', 81)); print(s, flush=True); time.sleep(60)"
    )
    with amphora.running_inside(sys.executable, "-c", program) as squatter:
        assert squatter.stdout is not None
        assert squatter.stdout.readline()
        bind = f"    bind {VIP}:80\n"
        text = haproxy_config(amphora, members).replace(bind, f"{bind}    bind {VIP}:81\n")
        configuration = Configuration(load_balancer_id=lab.lb_id, generation=2, haproxy=text)
        with pytest.raises(Refused, match=f"{VIP}:81"):
            lab.driver.apply(amphora.amphora, configuration, fence=1)
    assert eventually(lab.answers, within=20)
    members["m3"] = (*lab.member(3), 1)
    assert apply(amphora, members, generation=3).reload_reason is None
    assert eventually(lambda: lab.get() == "3", within=20)


def test_a_removed_member_ends_its_session_before_it_is_deleted(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    both = dict(members)
    answers: list[str] = []
    slow = [threading.Thread(target=lambda: answers.append(lab.get("/slow", timeout=60))) for _ in range(2)]
    for thread in slow:
        thread.start()
    assert eventually(lambda: _sessions(amphora) == 2, within=20)
    del members["m2"]
    assert apply(amphora, members, generation=2).reload_reason is None
    assert "m2" in servers(amphora)
    assert {lab.get() for _ in range(6)} == {"1"}
    lab.finish.set()
    for thread in slow:
        thread.join()
    assert sorted(answers) == ["1", "2"]
    # HAProxy keeps the connection for reuse and lets go of it in three rounds of five seconds.
    assert eventually(lambda: servers(amphora) == {"m1"}, within=25, every=0.2)
    assert apply(amphora, both, generation=3).reload_reason is None
    assert eventually(lambda: {lab.get(), lab.get()} == {"1", "2"}, within=20)


def test_a_member_that_returns_while_it_drains_takes_traffic_again_without_a_reload(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    both = dict(members)
    slow = [threading.Thread(target=lambda: lab.get("/slow", timeout=60)) for _ in range(2)]
    for thread in slow:
        thread.start()
    assert eventually(lambda: _sessions(amphora) == 2, within=20)
    del members["m2"]
    apply(amphora, members, generation=2)
    assert apply(amphora, both, generation=3).reload_reason is None
    assert eventually(lambda: {lab.get(), lab.get()} == {"1", "2"}, within=20)
    lab.finish.set()
    for thread in slow:
        thread.join()


def test_a_member_that_moves_gets_no_more_requests_on_connections_that_were_busy(
    lab: Lab, amphora: AgentProcess
) -> None:
    apply(amphora, {"m": (*lab.member(1), 1)}, generation=1)
    assert eventually(lab.answers, within=20)
    kept = http.client.HTTPConnection(VIP, 80, timeout=60)

    def ask(path: str = "/") -> str:
        kept.request("GET", path)
        return kept.getresponse().read().decode()

    answers: list[str] = []
    with contextlib.closing(kept):
        assert [ask() for _ in range(3)] == ["1", "1", "1"]
        slow = threading.Thread(target=lambda: answers.append(ask("/slow")))
        slow.start()
        assert eventually(lambda: _sessions(amphora) == 1, within=20)
        applied = apply(amphora, {"m": (*lab.member(2), 1)}, generation=2)
        assert applied.reload_reason is not None
        lab.finish.set()
        slow.join()
        assert answers == ["1"]
        assert [ask() for _ in range(3)] == ["2", "2", "2"]


def _sessions(amphora: AgentProcess) -> int:
    rows = [line.split(",") for line in amphora.ask_haproxy("show stat -1 4 -1").splitlines()]
    return sum(int(row[4]) for row in rows if len(row) > 5 and not row[0].startswith("#"))


@pytest.mark.parametrize("victim", ["master", "worker"])
def test_a_haproxy_that_is_killed_is_started_again(
    lab: Lab, amphora: AgentProcess, members: Members, victim: str
) -> None:
    del members
    master = amphora.pid_of(f"{lab.lb_id}/{lab.lb_id}.pid")
    before = amphora.worker()
    pid = master if victim == "master" else int(_children(master)[0])
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: _other_worker(amphora, before) and lab.answers(), within=20)
    assert "starting it again" in amphora.log.read_text()


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _other_worker(amphora: AgentProcess, before: str) -> bool:
    try:
        return amphora.worker() != before
    except OSError:
        return False


def test_nothing_to_run_stops_haproxy_and_removes_what_was_its(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    del members
    nothing = Configuration(load_balancer_id=lab.lb_id, generation=2, haproxy=None)
    lab.driver.apply(amphora.amphora, nothing, fence=1)
    assert not lab.answers()
    assert not (amphora.base / lab.lb_id).exists()
    lab.driver.apply(amphora.amphora, nothing, fence=1)
    assert lab.driver.info(amphora.amphora).generation == 2


def test_a_lower_fence_is_refused_and_changes_nothing(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    apply(amphora, members, generation=2, fence=10)
    with pytest.raises(Fenced) as fenced:
        apply(amphora, {}, generation=3, fence=9)
    assert fenced.value.highest == 10
    with pytest.raises(Fenced):
        lab.driver.stop_vrrp(amphora.amphora, fence=9)
    assert lab.answers()
    info = lab.driver.info(amphora.amphora)
    assert (info.fence, info.generation) == (10, 2)


def test_a_delayed_older_generation_of_the_same_lease_is_not_applied(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    apply(amphora, members, generation=5, fence=3)
    with pytest.raises(Transient, match="overtaken"):
        apply(amphora, {}, generation=4, fence=3)
    assert lab.answers()
    apply(amphora, members, generation=4, fence=4)  # a later lease may: a restored database
    assert lab.driver.info(amphora.amphora).generation == 4


def test_a_restarted_amphora_comes_back_by_itself(lab: Lab, amphora: AgentProcess, members: Members) -> None:
    apply(amphora, members, generation=2, fence=10)
    amphora.kill()
    with pytest.raises(Unreachable):
        lab.driver.info(amphora.amphora)
    amphora.start(with_vip=True)
    amphora.await_listening()
    assert eventually(lab.answers, within=20)
    info = lab.driver.info(amphora.amphora)
    assert (info.fence, info.generation) == (10, 2)


def test_a_controller_without_our_extensions_steers_it_too(
    lab: Lab, amphora: AgentProcess, members: Members
) -> None:
    lab.driver._remember(amphora.amphora, frozenset())
    worker = amphora.worker()
    members["m3"] = (*lab.member(3), 1)
    apply(amphora, members, generation=9)
    assert eventually(lambda: lab.get() == "3", within=20)
    assert amphora.worker() == worker  # the gentlest change, behind the classic calls as well
    assert lab.driver.info(amphora.amphora).generation == 9
    with pytest.raises(Refused):
        apply(amphora, members, generation=10, extra="    nonsense\n")
    nothing = Configuration(load_balancer_id=lab.lb_id, generation=11, haproxy=None)
    lab.driver._remember(amphora.amphora, frozenset())
    lab.driver.apply(amphora.amphora, nothing, fence=1)
    assert not lab.answers()


def test_a_member_network_gets_an_interface_of_its_own(lab: Lab, amphora: AgentProcess) -> None:
    mac = "02:00:00:77:00:01"
    port = Port(
        id="p",
        name="",
        network_id="n2",
        mac_address=mac,
        fixed_ips=(FixedIp(subnet_id="s2", ip_address="10.77.0.5"),),
    )
    network = Network(id="n2", name="members", subnet_ids=("s2",), mtu=1400)
    routes = (HostRoute(destination="10.66.0.0/16", nexthop="10.77.0.9"),)
    subnet = Subnet(
        id="s2", name="s2", network_id="n2", cidr="10.77.0.0/24", ip_version=4, host_routes=routes
    )
    with pytest.raises(Transient):
        lab.driver.plug_network(amphora.amphora, port, network, [subnet], fence=1)
    name = f"{lab.prefix}w1"
    ip("link", "add", name, "type", "veth", "peer", "name", "x1", "address", mac, "netns", str(amphora.pid))
    for _ in range(2):
        lab.driver.plug_network(amphora.amphora, port, network, [subnet], fence=1)
    shown = amphora.inside("ip", "addr", "show", "dev", "eth2", netns="amphora-haproxy")
    assert "inet 10.77.0.5/24" in shown
    assert "mtu 1400" in shown
    routes_shown = amphora.inside("ip", "route", netns="amphora-haproxy")
    assert "10.66.0.0/16 via 10.77.0.9 dev eth2" in routes_shown
    assert routes_shown.count("default") == 1


def test_nobody_gets_in_without_the_controllers_certificate(lab: Lab, amphora: AgentProcess) -> None:
    stalled = [socket.create_connection((amphora.address, PORT)) for _ in range(4)]
    anonymous = ssl.create_default_context(cafile=str(lab.authority.path))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _get_info(anonymous, amphora)
    lab.driver.info(amphora.amphora)  # while four others stall in their handshakes
    for one in stalled:
        one.close()


def _get_info(context: ssl.SSLContext, amphora: AgentProcess) -> bytes:
    with (
        socket.create_connection((amphora.address, PORT), timeout=3) as raw,
        context.wrap_socket(raw, server_hostname=amphora.id) as tls,
    ):
        tls.sendall(b"GET /1.0/info HTTP/1.1\r\nHost: x\r\n\r\n")
        return tls.recv(1)


def test_an_amphora_with_another_ones_certificate_is_not_believed(lab: Lab, amphora: AgentProcess) -> None:
    with pytest.raises(Unreachable):
        lab.driver.info(replace(amphora.amphora, id="00000000-0000-4000-8000-000000000000"))


def test_the_next_connection_presents_the_new_certificate(lab: Lab, amphora: AgentProcess) -> None:
    def presented() -> bytes | None:
        context = ssl.create_default_context(cafile=str(lab.authority.path))
        context.load_cert_chain(lab.directory / "client.pem")
        with (
            socket.create_connection((amphora.address, PORT), timeout=3) as raw,
            context.wrap_socket(raw, server_hostname=amphora.id) as tls,
        ):
            return tls.getpeercert(binary_form=True)

    before = presented()
    lab.driver.update_certificate(amphora.amphora, lab.authority.bundle(amphora.id), fence=1)
    after = presented()
    assert before != after
    with pytest.raises(Exception, match="400"):
        lab.driver.update_certificate(amphora.amphora, b"no certificate", fence=1)
    assert presented() == after


def test_a_heartbeat_follows_a_change_at_once(lab: Lab, amphora: AgentProcess, members: Members) -> None:
    amphora.beat_every(3600)
    apply(amphora, members, generation=42)
    assert eventually(lambda: (hit := lab.latest(amphora)) and hit.generation == 42, within=20)
    heartbeat = lab.latest(amphora)
    assert heartbeat is not None
    assert heartbeat.listeners[LISTENER].status == "OPEN"
    assert {(pool.pool_id, pool.listener_id) for pool in heartbeat.pools} == {(POOL, LISTENER)}
    members["m1"] = (*members["m1"][:2], 0)
    apply(amphora, members, generation=43)
    assert eventually(lambda: "DRAIN" in _member_statuses(lab, amphora), within=20)
    amphora.beat_every(0.5)
    members["gone"] = ("10.88.0.250", 1, 1)
    apply(amphora, members, generation=44)
    assert eventually(lambda: "DOWN" in _member_statuses(lab, amphora), within=20)


def _member_statuses(lab: Lab, amphora: AgentProcess) -> list[str]:
    latest = lab.latest(amphora)
    return [status for pool in latest.pools for status in pool.members.values()] if latest else []


def test_orphans_are_buried(amphora: AgentProcess) -> None:
    amphora.inside("sh", "-c", "(sleep 0.2; exit 3) > /dev/null 2>&1 &")
    alive = "cat /proc/[0-9]*/comm 2> /dev/null || true"
    zombies = "cat /proc/[0-9]*/stat 2> /dev/null | grep -c ') Z ' || true"
    assert eventually(lambda: "sleep" not in amphora.inside("sh", "-c", alive), within=20)
    assert eventually(lambda: amphora.inside("sh", "-c", zombies).strip() == "0", within=20)


def test_sigterm_ends_it(amphora: AgentProcess, members: Members) -> None:
    del members
    amphora.terminate()  # or it is waited for in vain


def test_errors_are_json_in_the_contracts_shapes(lab: Lab, amphora: AgentProcess) -> None:
    context = ssl.create_default_context(cafile=str(lab.authority.path))
    context.load_cert_chain(lab.directory / "client.pem")
    context.check_hostname = False
    connection = http.client.HTTPSConnection(amphora.address, PORT, context=context, timeout=5)
    try:
        for method, path, body, status, key in (
            ("GET", "/1.0/nothing", None, 404, "error"),
            ("POST", "/1.0/info", None, 405, "error"),
            ("POST", "/1.0/plug/network", b"{", 400, "error"),
            ("POST", "/1.0/plug/vip/nonsense", b"{}", 400, "message"),
            ("PUT", f"/1.0/loadbalancer/{lab.lb_id}/dance", None, 400, "message"),
            ("PUT", f"/1.0/loadbalancer/{lab.lb_id}/start", None, 404, "message"),
            ("PUT", f"/1.0/loadbalancer/{lab.lb_id}/certificates/..%2f..%2fx.pem", b"x", 400, "message"),
            ("PUT", f"/1.0/listeners/a/{LISTENER}/udp_listener", b"", 404, "message"),
            ("PUT", f"/1.0/listeners/{amphora.id}/..%2fx/udp_listener", b"", 404, "message"),
            ("GET", f"/1.0/listeners/{LISTENER}/udp_listener", None, 404, "message"),
            *(
                [("PUT", f"/1.0/listeners/{amphora.id}/{LISTENER}/udp_listener", b"", 501, "error")]
                if not Path("/proc/net/ip_vs").exists()  # where the kernel has IPVS it is taken
                else []
            ),
            ("PUT", "/1.0/config", b"[amphora_agent]\n", 500, "message"),
        ):
            connection.request(method, path, body)
            response = connection.getresponse()
            text = response.read()
            assert response.status == status, (path, text)
            assert f'"{key}"'.encode() in text, (path, text)
    finally:
        connection.close()
