# SPDX-License-Identifier: Apache-2.0
"""The agent is killed before each thing that it does to the world, one after another, in every operation.

Under systemd HAProxy outlives it, and who was not concerned notices nothing. Where the agent is its own
supervisor, HAProxy dies with it or is nobody's child any more. The restarted agent finds the old
configuration or the new one, whole and running, once; what was interrupted succeeds when it is asked for
again. What holds in every case is :meth:`tests.netns.killed_world.World.is_whole`.
"""

import json
import shutil
import ssl
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octavia.amphora_agent.certificates import digest
from tests import pki
from tests.netns.agent_lab import eventually, needs_haproxy, needs_keepalived, needs_root
from tests.netns.killed_operations import Operation, config, play, runs
from tests.netns.killed_world import AMPHORA, EVERY, GENEROUS, LB, OTHER_LB, Kind, World

pytestmark = [pytest.mark.netns, needs_root, needs_haproxy, needs_keepalived]
if EVERY:
    pytestmark.append(pytest.mark.timeout(3600))


@pytest.fixture(scope="module", name="world", params=list(Kind))
def _world(request: pytest.FixtureRequest) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="agk") as directory:
        world = World(Path(directory), request.param)
        world.open()
        try:
            world.apply(config(world, "a"))
            yield world
        finally:
            world.close()


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


def test_killed_amid_its_own_start(world: World) -> None:
    text = config(world, "a", "b")
    fixed = [{"ip_address": "10.76.0.2", "subnet_cidr": "10.76.0.0/24"}]
    mac = world.attach()
    world.do("POST", "plug/network", {"mac_address": mac, "fixed_ips": fixed})
    world.apply(text)

    def serves() -> None:
        runs(world, text)
        assert world.addresses(mac) == {"10.76.0.2/24"}

    play(world, Operation(serves, world.restart, serves, serves), stride=1 if EVERY else 5)
    world.detach(mac)
    world.apply(config(world, "a"))


def test_killed_amid_runtime_commands(world: World) -> None:
    deaths = play(world, changing(world, config(world, "a"), config(world, "a", "b", "c")))
    if world.kind.stride == 1:
        assert sum(one.startswith("socket.connect") for one in deaths) >= 3, deaths
        assert any("rename" in one and "haproxy.cfg" in one for one in deaths), deaths


def test_killed_amid_a_reload(world: World) -> None:
    old = config(world, "a")
    deaths = play(world, changing(world, old, old.replace("maxconn 100", "maxconn 101")))
    if world.kind is Kind.SYSTEMD:
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
    place = world.base / "certs" / OTHER_LB / "site.pem"
    text = config(world, "x", lb=OTHER_LB, port=91, bind=f" ssl crt {place}")
    site = pki.Ca("tenant").issue("a.example").bundle
    files = {"certificates": {"site.pem": {"sha256": digest(site), "content": site.decode()}}}

    def start() -> None:
        world.apply(text, OTHER_LB, **files)

    def gone() -> None:
        world.do("DELETE", f"listeners/{OTHER_LB}")
        absent()

    def absent() -> None:
        assert world.servers(OTHER_LB) is None
        assert world.text(OTHER_LB) is None
        assert not (world.base / OTHER_LB).exists()
        assert not place.exists()

    def started() -> None:
        start()
        runs(world, text, lb=OTHER_LB)

    def either() -> None:
        if world.text(OTHER_LB) is None:
            assert world.servers(OTHER_LB) is None
        elif (world.base / OTHER_LB / "haproxy.cfg").exists():
            runs(world, text, lb=OTHER_LB)

    play(
        world,
        Operation(gone, start, either, lambda: runs(world, text, lb=OTHER_LB)),
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

    def after() -> None:
        runs(world, new)
        assert not (world.base / "certs" / LB / "x.pem").exists()

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
            after=after,
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
    fixed = [{"ip_address": "10.9.8.2", "subnet_cidr": "10.9.8.0/24"}]
    mac = world.attach()
    plugged = world.do("POST", "plug/network", {"mac_address": mac, "fixed_ips": fixed})
    interface = plugged["details"].split()[-1]
    settings = f"vrrp_instance x {{\n  interface {interface}\n  virtual_router_id 1\n  priority 100\n"
    settings += "  version 3\n  advert_int 0.1\n  virtual_ipaddress {\n    10.9.8.9\n  }\n}\n"

    def holds_vip() -> bool:
        return "10.9.8.9" in world.inside("ip", "addr", "show", "dev", interface)

    def either() -> None:
        runs(world, text)
        wanted = (world.base / "vrrp" / "octavia-keepalived.conf").exists()
        assert eventually(lambda: holds_vip() == wanted, within=GENEROUS)

    def without() -> None:
        world.apply(text)
        absent()

    def absent() -> None:
        assert eventually(lambda: not holds_vip(), within=GENEROUS)

    def with_keepalived() -> None:
        world.apply(text, keepalived=settings)
        present()

    def present() -> None:
        assert eventually(holds_vip, within=GENEROUS)

    play(world, Operation(without, lambda: world.apply(text, keepalived=settings), either, present))
    play(world, Operation(with_keepalived, lambda: world.apply(text), either, absent))
    without()
    world.detach(mac)


def test_killed_amid_plugging_a_network(world: World) -> None:
    number = 0
    mac = ""

    def attach() -> None:
        nonlocal number, mac
        number += 1
        if mac:
            world.detach(mac)
        mac = world.attach()

    def plug() -> None:
        fixed = [{"ip_address": f"10.70.{number}.2", "subnet_cidr": f"10.70.{number}.0/24"}]
        world.do("POST", "plug/network", {"mac_address": mac, "fixed_ips": fixed, "mtu": 1400})

    def has_address() -> bool:
        return world.addresses(mac) == {f"10.70.{number}.2/24"}

    def either() -> None:
        # Either it is still to be had, or it is inside with all that it should have.
        assert world.is_outside(mac) != has_address()

    def after() -> None:
        assert has_address()
        assert "mtu 1400" in world.inside("ip", "link", "show")

    play(world, Operation(attach, plug, either, after))
    world.detach(mac)


def test_killed_amid_a_change_of_the_addresses_of_a_network(world: World) -> None:
    mac = world.attach()

    def plug(route: str, *addresses: str) -> set[str]:
        routes = [{"destination": route, "nexthop": "10.71.0.1"}]
        fixed = [
            {"ip_address": one, "subnet_cidr": f"{one.rpartition('.')[0]}.0/24", "host_routes": routes}
            for one in addresses
        ]
        world.do("POST", "plug/network", {"mac_address": mac, "fixed_ips": fixed})
        return {f"{one}/24" for one in addresses}

    def plug_old() -> set[str]:
        return plug("10.73.0.0/24", "10.71.0.2", "10.71.0.3", "10.71.0.4", "10.72.0.2")

    def plug_new() -> set[str]:
        return plug("10.74.0.0/24", "10.71.0.4", "10.72.0.3")

    new, old = plug_new(), plug_old()

    def either() -> None:
        found = world.addresses(mac)
        assert found in (old, new)
        routes = world.inside("ip", "route", "show", "proto", "static")
        assert ("10.73.0.0/24" in routes, "10.74.0.0/24" in routes) == (found == old, found == new), routes
        files = [json.loads(file.read_text()) for file in (world.directory / "interfaces").glob("eth*.json")]
        written = [{f"{one['address']}/{one['prefixlen']}" for one in file["addresses"]} for file in files]
        assert found in written

    def after() -> None:
        either()
        assert world.addresses(mac) == new

    def before() -> None:
        plug_old()
        assert world.addresses(mac) == old

    play(world, Operation(before, plug_new, either, after))
    world.detach(mac)


def test_killed_amid_plugging_the_vip(world: World) -> None:
    mac = ""
    whole = {"10.75.0.2/24", "10.75.0.100/32", "10.75.0.101/32"}

    def attach() -> None:
        nonlocal mac
        if mac:
            world.detach(mac)
        mac = world.attach()

    def plug() -> None:
        subnet = {"subnet_cidr": "10.75.0.0/24", "gateway": "10.75.0.1"}
        more = [{"ip_address": "10.75.0.101", **subnet}]
        vip = {"mac_address": mac, "vrrp_ip": "10.75.0.2", "additional_vips": more, **subnet}
        # It answers 409 where an interrupted request has been finished by the restart.
        world.do("POST", "plug/vip/10.75.0.100", vip, also_fine=(409,))

    def either() -> None:
        if not world.is_outside(mac):
            after()

    def after() -> None:
        assert world.addresses(mac) == whole
        assert world.do("GET", "interface/10.75.0.100")["interface"] == "eth1"
        for address in ("10.75.0.100", "10.75.0.101"):
            assert f"from {address} lookup 1" in world.inside("ip", "rule", "show")
        for table in ("main", "1"):
            routes = world.inside("ip", "route", "show", "table", table)
            assert "default via 10.75.0.1" in routes, routes

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

    world.apply(config(world, "a"))
    play(world, Operation(before, does, either, after))
