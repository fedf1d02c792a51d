# SPDX-License-Identifier: Apache-2.0
"""What a newcomer does: up, look around, kill things, up again, down. The real client, a private network."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_BIN = Path(sys.executable).parent

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(
        not all(
            shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
            for program in ("haproxy", "keepalived")
        ),
        reason="needs haproxy and keepalived",
    ),
]


@dataclass(frozen=True)
class Machine:
    """A machine with no way out: network and mount namespaces of its own, held by one process."""

    holder: int
    state: Path

    def run(
        self, *command: str, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", "--target", str(self.holder), "--net", "--mount", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OCTAVIA_STATE_DIR": str(self.state), **environment},
        )

    def standalone(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(_BIN / "octavia-standalone"), *words)

    def openstack(self, *words: str) -> Any:
        done = self.run(
            *(str(_BIN / "openstack"), "--os-cloud", "octavia", *words, "-f", "json"),
            OS_CLIENT_CONFIG_FILE=str(self.state / "clouds.yaml"),
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def openstack_plainly(self, *words: str) -> str:
        """For commands that take no ``-f``: they answer nothing, or JSON anyway."""
        done = self.run(
            *(str(_BIN / "openstack"), "--os-cloud", "octavia", *words),
            OS_CLIENT_CONFIG_FILE=str(self.state / "clouds.yaml"),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def links(self) -> set[str]:
        return {link["ifname"] for link in json.loads(self.run("ip", "-json", "link").stdout)}

    def answer(self, address: str) -> str | None:
        """The body of one request, or None."""
        program = (
            "import sys, urllib.request as u\n"
            "opener = u.build_opener(u.ProxyHandler({}))\n"
            "print(opener.open(f'http://{sys.argv[1]}/', timeout=2).read().decode())"
        )
        done = self.run(sys.executable, "-c", program, address)
        return done.stdout.strip() if done.returncode == 0 else None

    def controller(self) -> int:
        found = re.search(r"controller +runs \(pid (\d+)\)", self.standalone("status").stdout)
        assert found
        return int(found.group(1))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    order = "mount -t sysfs sysfs /sys && ip link set lo up && echo ready && exec sleep infinity"
    with subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", order], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        machine = Machine(holder.pid, tmp_path_factory.mktemp("octavia") / "state")
        try:
            yield machine
        finally:
            machine.standalone("down", "--purge")
            holder.kill()


@pytest.fixture(scope="module")
def played(machine: Machine) -> str:
    """The transcript of the first ``up``."""
    done = machine.standalone("up")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def eventually(claim: Callable[[], bool], *, within: float) -> bool:
    deadline = time.monotonic() + within
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def vip(machine: Machine) -> str:
    (lb,) = machine.openstack("loadbalancer", "list")
    return str(lb["vip_address"])


def is_active(machine: Machine) -> bool:
    shown = machine.openstack("loadbalancer", "show", "demo")
    return (shown["provisioning_status"], shown["operating_status"]) == ("ACTIVE", "ONLINE")


@pytest.mark.parametrize(
    "sentence",
    [
        r"the controller runs \(pid \d+\); its API answers at http://127\.0\.0\.1:9876",
        r"two web servers run",
        r"\$ openstack loadbalancer create --name demo --vip-subnet-id demo",
        r"load balancer demo is ACTIVE and http://198\.19\.16\.\d+/ answers",
        r"6 requests to the VIP: 3 x 'hello from web-1', 3 x 'hello from web-2'",
        r"killed the active amphora [0-9a-f-]{36}",
        r"the standby [0-9a-f-]{36} answers: the VIP was silent for \d+\.\d\d s",
        r"its replacement [0-9a-f-]{36} is up",
        r"done; everything is left running",
    ],
)
def test_up_tells_what_it_does(played: str, sentence: str) -> None:
    assert re.search(sentence, played), played


@pytest.mark.usefixtures("played")
def test_the_client_sees_the_load_balancer_and_everything_in_it(machine: Machine) -> None:
    assert eventually(lambda: is_active(machine), within=60)
    tree = json.loads(machine.openstack_plainly("loadbalancer", "status", "show", "demo"))
    (listener,) = tree["loadbalancer"]["listeners"]
    (pool,) = listener["pools"]
    assert {member["operating_status"] for member in pool["members"]} == {"ONLINE"}
    assert len(machine.openstack("loadbalancer", "amphora", "list")) == 2
    assert machine.openstack("loadbalancer", "stats", "show", "demo")["total_connections"] >= 0


@pytest.mark.usefixtures("played")
def test_a_member_can_be_drained_through_the_client(machine: Machine) -> None:
    address = vip(machine)
    machine.openstack_plainly("loadbalancer", "member", "set", "--weight", "0", "demo-pool", "web-1")
    assert eventually(lambda: {machine.answer(address) for _ in range(4)} == {"hello from web-2"}, within=60)
    machine.openstack_plainly("loadbalancer", "member", "set", "--weight", "1", "demo-pool", "web-1")
    assert eventually(
        lambda: {machine.answer(address) for _ in range(4)} == {"hello from web-1", "hello from web-2"},
        within=60,
    )


@pytest.mark.usefixtures("played")
def test_why_says_that_nothing_is_missing(machine: Machine) -> None:
    assert eventually(lambda: "waits for nothing" in machine.standalone("why", "demo").stdout, within=60)
    assert (
        len(re.findall(r"amphora [0-9a-f-]{36} \w+ ALLOCATED", machine.standalone("why", "demo").stdout)) == 2
    )


@pytest.mark.usefixtures("played")
def test_up_again_keeps_what_is_there(machine: Machine) -> None:
    before = machine.openstack("loadbalancer", "list")
    controller = machine.controller()
    done = machine.standalone("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "load balancer demo is already there" in done.stdout
    assert "loadbalancer create" not in done.stdout
    assert machine.controller() == controller
    assert [lb["id"] for lb in machine.openstack("loadbalancer", "list")] == [lb["id"] for lb in before]


@pytest.mark.usefixtures("played")
def test_a_failover_through_the_client_replaces_both_amphorae(machine: Machine) -> None:
    def ids() -> set[str]:
        return {
            amphora["id"]
            for amphora in machine.openstack("loadbalancer", "amphora", "list")
            if amphora["status"] == "ALLOCATED"
        }

    before = ids()
    assert len(before) == 2
    machine.openstack_plainly("loadbalancer", "failover", "demo")
    assert eventually(lambda: len(ids()) == 2 and not ids() & before, within=120)
    assert machine.answer(vip(machine))


@pytest.mark.usefixtures("played")
def test_traffic_does_not_need_the_controller(machine: Machine) -> None:
    address = vip(machine)
    amphorae = machine.openstack("loadbalancer", "amphora", "list")
    os.kill(machine.controller(), signal.SIGKILL)
    assert eventually(lambda: "does not run" in machine.standalone("status").stdout, within=60)
    assert all(machine.answer(address) for _ in range(10))
    done = machine.standalone("up", "--no-demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert eventually(lambda: is_active(machine), within=60)
    # Adopted, not built again.
    assert machine.openstack("loadbalancer", "amphora", "list") == amphorae


@pytest.mark.usefixtures("played")
def test_down_leaves_nothing_and_up_builds_the_load_balancer_again(machine: Machine) -> None:
    address = vip(machine)
    done = machine.standalone("down")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.links() == {"lo"}
    assert machine.run("ip", "route").stdout == ""
    assert machine.answer(address) is None
    done = machine.standalone("up")
    assert done.returncode == 0, done.stdout + done.stderr
    assert vip(machine) == address
    assert machine.answer(address)


@pytest.mark.usefixtures("played")
def test_purge_leaves_no_state_either(machine: Machine) -> None:
    done = machine.standalone("down", "--purge")
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.links() == {"lo"}
    assert not machine.state.exists()
    assert not processes_that_mention(str(machine.state))


def processes_that_mention(text: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in found if text in command]
