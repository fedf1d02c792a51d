# SPDX-License-Identifier: Apache-2.0
"""What tenants do with a load balancer, by the page that tells them how: docs/user/recipes.md as it stands.

The page has the tenant's commands, the tests have the traffic on them and what ought to be true after each.
"""

import http.client
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from octavia.cmd.standalone import host
from octavia.cmd.standalone.state import State
from tests import pki
from tests.netns.own_network import network_of
from tests.scenario.name_servers import asking, name_server, who_answers
from tests.scenario.recipes import Recipe, Shell, recipe, recipes
from tests.scenario.test_up import _BIN, Machine, eventually, machine
from tests.scenario.visitors import Errand, Load, Visitor, WebServer

__all__ = ["machine"]  # a fixture

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    *(
        pytest.mark.skipif(
            shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None, reason=f"needs {program}"
        )
        for program in ("haproxy", "keepalived", "curl")
    ),
]
needs_dns = pytest.mark.skipif(
    not all(shutil.which(program) for program in ("dig", "dnsmasq", "dnsperf")),
    reason="needs dig, dnsmasq and dnsperf",
)

WWW, SHOP, BLOG = "www.example.org", "shop.example.org", "blog.example.org"
TLS, CANARY, STICKY, DRAIN, DNS = recipes()


@dataclass(frozen=True)
class Tenant:
    """Somebody with the page open, a shell, and a directory of files."""

    page: Recipe
    shell: Shell
    directory: Path
    machine: Machine

    @property
    def vip(self) -> str:
        return self.shell.run("echo $VIP")

    def file(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path


@pytest.fixture(scope="module")
def network(machine: Machine) -> Iterator[Machine]:
    """A standalone, and this thread in its network: members and clients are threads of the test."""
    done = machine.standalone("up", "--no-demo")
    assert done.returncode == 0, done.stdout + done.stderr
    with network_of(machine.holder):
        yield machine


@contextmanager
def tenant_reading(heading: str, machine: Machine, directory: Path) -> Iterator[Tenant]:
    environment = {
        "OCTAVIA_STATE_DIR": str(machine.state),
        "OS_CLIENT_CONFIG_FILE": str(machine.state / "clouds.yaml"),
        "OS_CLOUD": "octavia",
        "PATH": f"{_BIN}:{os.environ['PATH']}",
    }
    enter = ("nsenter", "--target", str(machine.holder), "--net", "--mount")
    with Shell(enter, directory, environment) as shell, recipe(heading, shell) as page:
        yield Tenant(page, shell, directory, machine)


# --- TLS -----------------------------------------------------------------------------------------


def trusting(tenant: Tenant, who: pki.Issued | None) -> ssl.SSLContext:
    """A browser that trusts the site's CA and shows that certificate."""
    context = ssl.create_default_context(cafile=str(tenant.directory / "ca.pem"))
    if who:
        context.load_cert_chain(tenant.file("client.pem", who.bundle))
    return context


def is_admitted(vip: str, context: ssl.SSLContext) -> bool:
    try:
        return bool(Visitor(vip, 443, tls=context, site=WWW).ask())
    except OSError:  # TLS alerts, and connections that end
        return False


def serial(vip: str, context: ssl.SSLContext, site: str) -> str:
    """Of the certificate that clients of that name are shown."""
    return str(Visitor(vip, 443, tls=context, site=site).certificate()["serialNumber"])


def test_a_site_with_tls_admits_its_people_while_certificates_come_and_go(
    network: Machine, tmp_path: Path
) -> None:
    ca, people = pki.Ca("the site's CA"), pki.Ca("people's CA")
    sites = {name: ca.issue(f"{name}.example.org") for name in ("www", "shop", "other", "blog")}
    renewed = ca.issue(WWW)
    alice, mallory, eve = (people.issue(name) for name in ("alice", "mallory", "eve"))
    with (
        tenant_reading(TLS, network, tmp_path) as tenant,
        WebServer("web-1", 8081),
        WebServer("web-2", 8082),
    ):
        for name, issued in {**sites, "www-renewed": renewed}.items():
            tenant.file(f"{name}.pem", issued.pem)
            tenant.file(f"{name}.key", issued.key_pem)
        tenant.file("ca.pem", ca.pem)
        tenant.file("people.pem", people.pem)
        tenant.file("alice.pem", alice.bundle)
        tenant.file("revoked.pem", people.revoke(eve))
        tenant.file("revoked-today.pem", people.revoke(eve, mallory))
        for has in ("secret add", "MANDATORY", "REDIRECT_PREFIX"):
            tenant.page.next(has)
        vip = tenant.vip
        assert set(tenant.page.next("curl").splitlines()) == {
            "web-1 alice",
            "web-2 alice",
            f"301 https://{WWW}/basket?item=7",
        }
        as_alice, as_mallory = trusting(tenant, alice), trusting(tenant, mallory)
        assert is_admitted(vip, as_mallory)
        assert not is_admitted(vip, trusting(tenant, eve))
        assert not is_admitted(vip, trusting(tenant, None))
        assert not is_admitted(vip, trusting(tenant, ca.issue("alice")))
        assert serial(vip, as_alice, WWW) == sites["www"].serial
        assert serial(vip, as_alice, SHOP) == sites["shop"].serial

        visitors = [
            Visitor(vip, 443, tls=as_alice, site=site, kept=kept)
            for site in (WWW, SHOP)
            for kept in (True, False)
            for _ in range(2)
        ]
        with Load(visitors) as load:
            load.next(50)
            tenant.page.next("secret update $REVOKED")
            assert eventually(lambda: serial(vip, as_alice, WWW) == renewed.serial, within=60)
            assert eventually(lambda: not is_admitted(vip, as_mallory), within=60)
            assert serial(vip, as_alice, SHOP) == sites["shop"].serial
            tenant.page.next("--sni-container-refs")
            assert serial(vip, as_alice, BLOG) == sites["blog"].serial
            assert set(load.next(50)) == {"web-1 alice", "web-2 alice"}
        assert load.failures == []
        tenant.page.next("secret rm")
        assert "secret" not in network.standalone("secret", "list").stdout


# --- canary --------------------------------------------------------------------------------------


def share(load: Load, name: str) -> float:
    """Of the next answers, how many are that member's."""
    answers = load.next(400)
    return answers[name] / answers.total()


def test_a_new_version_gets_the_share_that_was_asked_for_and_no_request_fails(
    network: Machine, tmp_path: Path
) -> None:
    with (
        tenant_reading(CANARY, network, tmp_path) as tenant,
        WebServer("v1", 8081),
        WebServer("v2", 8082),
    ):
        tenant.page.next("--weight 95")
        vip = tenant.vip
        with Load([Visitor(vip, kept=kept) for kept in (True, False) for _ in range(4)]) as load:
            assert 0.02 < share(load, "v2") < 0.10
            tenant.page.next("--weight 50")
            assert 0.40 < share(load, "v2") < 0.60
            tenant.page.next("--weight 0 --wait shop-pool v1")
            assert share(load, "v2") == 1
            tenant.page.next("--weight 0 --wait shop-pool v2")
            assert share(load, "v1") == 1
            assert tenant.page.next("X-Version").splitlines()[-1] == "v2"
            assert share(load, "v1") == 1
        assert load.failures == []
        tenant.page.next("delete")


# --- sessions ------------------------------------------------------------------------------------


def allocated(machine: Machine) -> list[str]:
    """The ids of the amphorae that serve."""
    listed = machine.openstack("loadbalancer", "amphora", "list")
    return [amphora["id"] for amphora in listed if amphora["status"] == "ALLOCATED"]


def test_clients_keep_their_member_when_the_amphora_dies_and_when_both_are_replaced(
    network: Machine, tmp_path: Path
) -> None:
    with (
        tenant_reading(STICKY, network, tmp_path) as tenant,
        WebServer("web-1", 8081),
        WebServer("web-2", 8082),
    ):
        tenant.page.next("add by-address")
        vip = tenant.vip
        sources = [f"198.19.16.{number}" for number in range(201, 207)]
        for source in sources:
            subprocess.run(["ip", "address", "add", f"{source}/32", "dev", "lo"], check=True)
        restless = [Visitor(vip) for _ in sources]
        by_cookie = [Visitor(vip, 81) for _ in sources]
        by_address = [Visitor(vip, 82, source=source) for source in sources]
        home = {visitor: visitor.ask() for visitor in (*restless, *by_cookie, *by_address)}
        for group in (restless, by_cookie, by_address):
            assert {home[visitor] for visitor in group} == {"web-1", "web-2"}

        def back_home() -> dict[str, int]:
            """How many of the clients that an amphora has to remember come back to their member."""
            named = {"by cookie": by_cookie, "by address": by_address}
            return {
                name: sum(answered(visitor) == home[visitor] for visitor in group)
                for name, group in named.items()
            }

        everybody = {"by cookie": len(sources), "by address": len(sources)}
        with Load(restless) as load:
            begun = load.now()
            load.next(40)
            before = allocated(network)
            active = host.owner_of(State(network.state), before, vip)
            assert active is not None
            host.kill_amphora(State(network.state), active)
            assert back_home() == everybody
            between = replaced(network, {active})
            assert back_home() == everybody
            tenant.page.next("failover")
            replaced(network, {*between})
            assert back_home() == everybody
            load.next(40)
            assert [body for who, body in load.since(begun, 80) if body != home[who]] == []
        tenant.page.next("delete")


def answered(visitor: Visitor) -> str:
    """Its next answer; while the VIP moves, connections are refused or reset."""
    answers: list[str] = []

    def asked() -> bool:
        with suppress(OSError, http.client.HTTPException):
            answers.append(visitor.ask())
        return bool(answers)

    assert eventually(asked, within=60)
    return answers[0]


def replaced(machine: Machine, gone: set[str]) -> list[str]:
    """The pair of now, once it is complete without those and nothing remains to be done."""

    def whole() -> bool:
        now = allocated(machine)
        return len(now) == 2 and not gone & {*now} and "waits for nothing" in why()

    def why() -> str:
        return machine.standalone("why", "forum").stdout

    assert eventually(whole, within=240), why()
    return allocated(machine)


# --- maintenance ---------------------------------------------------------------------------------


def sessions(vip: str, member_id: str) -> int:
    """How many requests are under way to a member, by the metrics."""
    text = Visitor(vip, 8088, path="/metrics").ask()
    (line,) = (
        line
        for line in text.splitlines()
        if line.startswith("octavia_member_current_sessions{") and member_id in line
    )
    return int(line.split()[-1])


def regulars(vip: str, name: str, count: int) -> list[Visitor]:
    """Clients with a session on that member."""
    found: list[Visitor] = []
    while len(found) < count:
        visitor = Visitor(vip)
        if visitor.ask() == name:
            found.append(visitor)
    return found


def test_a_member_is_drained_mended_and_replaced_and_nobody_notices(network: Machine, tmp_path: Path) -> None:
    with (
        tenant_reading(DRAIN, network, tmp_path) as tenant,
        WebServer("web-1", 8081) as first,
        WebServer("web-2", 8082),
        WebServer("web-3", 8083),
    ):
        tenant.page.next("PROMETHEUS")
        vip = tenant.vip
        of_first, of_second = regulars(vip, "web-1", 3), regulars(vip, "web-2", 3)
        patient = regulars(vip, "web-1", 3)
        for visitor in patient:
            visitor.path = "/long"
        strangers = [Visitor(vip, forgetful=True, kept=kept) for kept in (True, False) for _ in range(3)]
        with Load(strangers) as load:
            assert set(load.next(40)) == {"web-1", "web-2"}
            errands = [Errand(visitor) for visitor in patient]
            with Load([*of_first, *of_second]) as members_only:
                tenant.page.next("--weight 0")
                assert set(load.next(40)) == {"web-2"}
                moment = members_only.now()
                assert {(who in of_first, body) for who, body in members_only.since(moment, 40)} == {
                    (True, "web-1"),
                    (False, "web-2"),
                }

            tenant.page.begin("busy")
            member_id = network.openstack("loadbalancer", "member", "show", "office-pool", "web-1")["id"]
            assert sessions(vip, member_id) == len(errands)
            assert all(errand.runs for errand in errands)
            first.finish.set()
            tenant.shell.finish()
            assert [errand.answer() for errand in errands] == ["web-1"] * len(errands)

            with Load([*of_first, *of_second]) as returning:
                tenant.page.next("--disable")
                assert set(returning.next(40)) == {"web-2"}
                tenant.page.next("--enable")
                assert eventually(lambda: set(load.next(40)) == {"web-1", "web-2"}, within=30)
                tenant.page.next("member delete")
                assert set(load.next(40)) == {"web-2", "web-3"}
                tenant.page.next("curl -sS --fail-with-body -X PUT")
                assert eventually(lambda: set(load.next(40)) == {"web-1", "web-3"}, within=30)
                assert 0.55 < share(load, "web-1") < 0.78
                assert set(returning.next(40)) <= {"web-1", "web-3"}
        assert load.failures + members_only.failures + returning.failures == []
        tenant.page.next("delete")


# --- names ---------------------------------------------------------------------------------------


def statuses(machine: Machine, pool: str) -> dict[str, str]:
    listed = machine.openstack("loadbalancer", "member", "list", pool)
    return {member["name"]: member["operating_status"] for member in listed}


def both(machine: Machine) -> list[dict[str, str]]:
    return [statuses(machine, pool) for pool in ("pool-UDP", "pool-TCP")]


@needs_dns
def test_names_are_served_over_udp_and_tcp_whichever_server_lives(network: Machine, tmp_path: Path) -> None:
    with tenant_reading(DNS, network, tmp_path) as tenant, ExitStack() as servers:
        dying = servers.enter_context(name_server("dns-1", 5301))
        servers.enter_context(name_server("dns-2", 5302))
        tenant.page.next("UDP-CONNECT")
        vip = tenant.vip
        assert tenant.page.next("dig") == "192.0.2.80\n192.0.2.80"
        for transport in ((), ("+tcp",)):
            assert {who_answers(vip, 53, *transport) for _ in range(4)} == {"dns-1", "dns-2"}
        well = {"dns-1": "ONLINE", "dns-2": "ONLINE"}
        assert eventually(lambda: both(network) == [well, well], within=60)

        dying.kill()
        ill = {"dns-1": "ERROR", "dns-2": "ONLINE"}
        assert eventually(lambda: both(network) == [ill, ill], within=60)
        assert tenant.page.next("member list").splitlines() == ["dns-1 ERROR", "dns-2 ONLINE"] * 2
        for mode in ("udp", "tcp"):
            with asking(vip, tmp_path, mode, seconds=3) as counts:
                pass
            assert counts["completed"] == counts["sent"] > 0
        assert {who_answers(vip) for _ in range(4)} == {"dns-2"}

        with asking(vip, tmp_path, seconds=15) as counts:
            servers.enter_context(name_server("dns-1", 5301))
            assert eventually(lambda: both(network) == [well, well], within=60)
            assert {who_answers(vip) for _ in range(4)} == {"dns-1", "dns-2"}
            tenant.page.next("--weight 0")
            for transport in ((), ("+tcp",)):
                assert {who_answers(vip, 53, *transport) for _ in range(4)} == {"dns-2"}
        assert counts["completed"] == counts["sent"] > 0

        def counted() -> bool:
            udp, tcp = (
                network.openstack("loadbalancer", "listener", "stats", "show", f"dns-{protocol}")
                for protocol in ("UDP", "TCP")
            )
            return bool(udp["total_connections"] >= 20 and tcp["total_connections"] >= 10)

        assert eventually(counted, within=60)
        shown = tenant.page.next("stats show").split("}\n", 1)
        udp, tcp = json.loads(shown[0] + "}"), json.loads(shown[1])
        assert min(udp["bytes_in"], udp["bytes_out"], tcp["bytes_in"], tcp["bytes_out"]) > 1000
        tenant.page.next("delete")
