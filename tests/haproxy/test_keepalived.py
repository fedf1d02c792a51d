# SPDX-License-Identifier: Apache-2.0
"""The real keepalived reads the configuration, and two of them share a VIP by it."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from octavia.dataplane.keepalived.render import (
    KeepalivedSettings,
    VipSubnet,
    check_script,
    render,
    tracked_file,
)
from octavia.domain.tree import AdditionalVip, Amphora, LoadBalancer, Vip, VrrpGroup
from tests.haproxy.live import directory, eventually, needs_root
from tests.unit.dataplane.samples import amphorae, pair, simple

KEEPALIVED = shutil.which("keepalived") or "/usr/sbin/keepalived"

pytestmark = [
    pytest.mark.netns,
    needs_root,
    pytest.mark.skipif(not os.access(KEEPALIVED, os.X_OK), reason="keepalived is not installed"),
]

V4 = VipSubnet(
    vip_address="10.0.0.5", cidr="10.0.0.0/24", gateway="10.0.0.1", host_routes=(("10.8.0.0/16", "10.0.0.9"),)
)
V6 = VipSubnet(
    vip_address="2001:db8::5",
    cidr="2001:db8::/64",
    gateway="2001:db8::1",
    host_routes=(("2001:db8:9::/48", "2001:db8::9"),),
)


class Host:
    """A network namespace with one interface, for as long as its process lives."""

    def __init__(self, process: subprocess.Popen[bytes], base: Path) -> None:
        self.process = process
        self.base = base
        self.keepalived: subprocess.Popen[bytes] | None = None

    def run(self, *command: str) -> str:
        inside = ["nsenter", "-t", str(self.process.pid), "-n", *command]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert done.stderr == "", done.stderr
        return done.stdout

    def addresses(self) -> set[str]:
        (link,) = json.loads(self.run("ip", "-json", "address", "show", "dev", "eth1"))
        return {one["local"] for one in link["addr_info"]}

    def write(self, text: str) -> Path:
        path = self.base / "keepalived.conf"
        path.write_text(text)
        return path

    def start(self) -> None:
        files = ["-f", "keepalived.conf", "-p", "k.pid", "-r", "vrrp.pid", "-c", "check.pid"]
        command = [KEEPALIVED, "-n", "-P", "-l", *files]
        with (self.base / "log").open("ab") as log:
            self.keepalived = subprocess.Popen(
                ["nsenter", "-t", str(self.process.pid), "-n", *command],
                cwd=self.base,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Without a word to the peer, as a host dies."""
        assert self.keepalived is not None
        parent, vrrp = (int((self.base / name).read_text()) for name in ("k.pid", "vrrp.pid"))
        # Its parent's death would have it say goodbye, and its own would have the parent start another.
        for pid, number in ((parent, signal.SIGSTOP), (vrrp, signal.SIGKILL), (parent, signal.SIGKILL)):
            os.kill(pid, number)
        self.keepalived.wait(timeout=10)
        self.keepalived = None

    def proxy_is(self, state: str) -> None:
        """As the agent writes: whole, in one step."""
        path = Path(tracked_file(str(self.base)))
        path.with_suffix(".new").write_text(state)
        path.with_suffix(".new").replace(path)


@contextmanager
def host(base: Path) -> Iterator[Host]:
    script = Path(check_script(str(base)))
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    Path(tracked_file(str(base))).write_text("0")
    process = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
    own = os.readlink("/proc/self/ns/net")
    eventually(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own)
    made = Host(process, base)
    try:
        yield made
    finally:
        if made.keepalived is not None:
            made.keepalived.terminate()
            made.keepalived.wait(timeout=10)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=10)


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    with ExitStack() as stack:
        one, two = (stack.enter_context(host(stack.enter_context(directory()))) for _ in range(2))
        ends = ["eth1", "netns", str(one.process.pid)], ["eth1", "netns", str(two.process.pid)]
        subprocess.run(
            ["ip", "link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1]], check=True, timeout=10
        )
        for number, end in enumerate((one, two), start=2):
            end.run("ip", "link", "set", "lo", "up")
            end.run("ip", "link", "set", "eth1", "up")
            end.run("ip", "address", "add", f"10.0.0.{number}/24", "dev", "eth1")
            end.run("ip", "address", "add", f"2001:db8::{number}/64", "dev", "eth1", "nodad")
            end.run("sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.eth1.accept_dad=0")
        yield one, two


def load_balancer(**fields: Any) -> LoadBalancer:
    return replace(pair(simple()), vip=Vip(ip_address="10.0.0.5"), **fields)


def both() -> LoadBalancer:
    return load_balancer(additional_vips=(AdditionalVip(ip_address="2001:db8::5", subnet_id="s"),))


def text(
    lb: LoadBalancer, amphora: Amphora, base: Path, *, subnets: tuple[VipSubnet, ...] = (V4,), **kw: Any
) -> str:
    settings = KeepalivedSettings(base_path=str(base), track_file=True, check_interval_s=1)
    made = render(lb, amphora, kw.get("amphorae", amphorae()), settings, subnets)
    assert made is not None
    return made


MASTER, BACKUP = amphorae()
VERSION_2 = VrrpGroup(name="x", version=2, advert_int=1.0, auth_pass="abcdef1")
SIX = tuple(replace(one, vrrp_ip=f"2001:db8::{number}") for number, one in enumerate(amphorae(), start=2))


@pytest.mark.parametrize("name", ["version 3", "version 2", "both families", "IPv6", "no peer yet"])
def test_keepalived_accepts_it_without_a_word(name: str, hosts: tuple[Host, Host]) -> None:
    end = hosts[0]
    samples = {
        "version 3": lambda: text(load_balancer(), MASTER, end.base),
        "version 2": lambda: text(load_balancer(vrrp_group=VERSION_2), MASTER, end.base),
        "both families": lambda: text(both(), MASTER, end.base, subnets=(V4, V6)),
        "IPv6": lambda: text(
            replace(load_balancer(), vip=Vip(ip_address="2001:db8::5")),
            SIX[0],
            end.base,
            subnets=(V6,),
            amphorae=SIX,
        ),
        "no peer yet": lambda: text(load_balancer(), MASTER, end.base, amphorae=(MASTER,)),
    }
    end.run(KEEPALIVED, "--config-test", "-f", str(end.write(samples[name]())))


def test_a_pair_hands_the_vip_over_and_does_not_take_it_back(hosts: tuple[Host, Host]) -> None:
    one, two = hosts
    vips = {"10.0.0.5", "2001:db8::5"}
    for end, amphora in zip(hosts, (MASTER, BACKUP), strict=True):
        end.write(text(both(), amphora, end.base, subnets=(V4, V6)))
        end.start()
        # With nopreempt whoever is there first stays, so that priorities alone decide nothing.
        eventually(lambda: vips <= one.addresses())

    def owned_by(owner: Host, other: Host) -> None:
        eventually(lambda: vips <= owner.addresses() and not vips & other.addresses())

    owned_by(one, two)
    for family, route in (("-4", "10.8.0.0/16"), ("-6", "2001:db8:9::/48")):
        assert route in one.run("ip", family, "route", "show", "table", "1")
        assert "lookup 1" in one.run("ip", family, "rule")
    one.proxy_is("1")
    owned_by(two, one)
    one.proxy_is("0")
    eventually(lambda: "Entering BACKUP STATE" in (one.base / "log").read_text().rpartition("FAULT")[2])
    owned_by(two, one)
    two.stop()
    eventually(lambda: vips <= one.addresses())
