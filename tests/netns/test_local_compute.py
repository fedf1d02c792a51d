# SPDX-License-Identifier: Apache-2.0
"""Amphorae in namespaces: what they see, how they outlive us, and that a crash leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from octavia.domain.errors import Terminal
from octavia.domain.tree import Vip
from octavia.drivers.compute.contract import AmphoraSpec, ServerStatus
from octavia.drivers.compute.local import LocalCompute
from octavia.drivers.local import links
from octavia.drivers.local.addresses import network_id, subnet_id
from octavia.drivers.local.process import NamespacedProcess, ProcessSpec, ProcessState
from octavia.drivers.network.book import BookNetwork
from octavia.drivers.network.contract import Port
from tests.netns.local_world import (
    MANAGEMENT,
    LocalWorld,
    a_world,
    eventually,
    local_world,
    processes_naming,
)
from tests.netns.own_network import own_network
from tests.unit.drivers.compute_contract import ComputeContract, a_spec

pytestmark = pytest.mark.netns

# Whoever runs these tests at the same time has processes of his own.
SECONDS = f"86399.{os.getpid():08d}"
SLEEP = ("/bin/sleep", SECONDS)
SERVER = """
import os, socket, sys
print("pid", os.getpid(), "host", socket.gethostname(), flush=True)
with socket.create_server(("0.0.0.0", 8000)) as server:
    while True:
        connection, peer = server.accept()
        with connection:
            connection.sendall(socket.gethostname().encode())
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LocalWorld]:
    with local_world(tmp_path / "state", SLEEP) as world:
        yield world


def running(world: LocalWorld, command: tuple[str, ...]) -> LocalCompute:
    return LocalCompute(world.installation, world.network, MANAGEMENT, command)


def vrrp_port(world: LocalWorld, spec: AmphoraSpec) -> Port:
    return world.network.create_vrrp_port(
        spec.amphora_id, spec.load_balancer_id, Vip(subnet_id=subnet_id("demo")), ()
    )


class TestContract(ComputeContract):
    @pytest.fixture
    def compute(self, world: LocalWorld) -> LocalCompute:
        return world.compute

    @pytest.fixture
    def network(self, world: LocalWorld) -> BookNetwork:
        return world.network


def test_the_host_reaches_an_amphora_and_an_amphora_the_host(world: LocalWorld) -> None:
    compute = running(world, (sys.executable, "-I", "-S", "-c", SERVER))
    server = compute.create(a_spec())
    address = (server.lb_network_ip or "", 8000)

    def ask() -> bool:
        try:
            with socket.create_connection(address, timeout=1) as connection:
                return connection.recv(100).decode() == f"amphora-{server.amphora_id}"
        except ConnectionRefusedError:
            return False

    assert eventually(ask), world.output(server.compute_id)
    assert f"pid 1 host amphora-{server.amphora_id}" in world.output(server.compute_id)


LOOK = f"""
set -e
cat /etc/octavia/certs/server.pem; stat -c '%a %U' /etc/octavia/certs/server.pem
head -c 5 /etc/passwd; echo
echo changed > /etc/octavia/certs/server.pem
echo mine > /etc/only-here
echo kept > /run/amphora/kept
touch /run/only-here
mkdir /run/netns
mount -t tmpfs tmpfs /mnt
echo interfaces $(ls /sys/class/net)
echo links $(ip -br link | cut -d' ' -f1)
echo processes $(ls -d /proc/[0-9]* | wc -l)
echo looked
exec sleep {SECONDS}
"""


def test_an_amphora_sees_its_files_and_changes_nothing_of_the_host(world: LocalWorld) -> None:
    def host() -> object:
        """What the amphora would change; others may change more of /run and of the mounts meanwhile."""
        mounts = [line.split()[:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return (
            [Path(name).exists() for name in ("/etc/only-here", "/run/only-here", "/run/amphora/kept")],
            [each for each in mounts if re.fullmatch(r"/(etc/.*|run/amphora.*|[^/]*)", each[1])],
            socket.gethostname(),
        )

    before = host()
    compute = running(world, ("/bin/sh", "-c", LOOK))
    compute_id = compute.create(a_spec()).compute_id
    assert eventually(lambda: "looked" in world.output(compute_id)), world.output(compute_id)
    lines = world.output(compute_id).splitlines()
    assert lines[:3] == ["certificate and key", "600 root", "root:"]
    assert "interfaces eth0 lo" in lines
    assert "links lo eth0@if" in world.output(compute_id)
    # The shell itself and its pipeline, nothing of the host.
    (processes,) = (int(line.split()[1]) for line in lines if line.startswith("processes"))
    assert processes <= 4
    assert host() == before
    inside = world.process(compute_id).directory / "inside"
    assert (inside / "etc/octavia/certs/server.pem").read_text() == "changed\n"
    assert (inside / "kept").read_text() == "kept\n"


def test_what_an_amphora_has_on_disk_is_for_root_alone(world: LocalWorld) -> None:
    compute_id = world.compute.create(a_spec()).compute_id
    directory = world.process(compute_id).directory
    assert directory.stat().st_mode & 0o777 == 0o700
    files = [path for path in directory.rglob("*") if path.is_file()]
    # record, log, port, two injected, hosts and resolv.conf, syslog and its two rotations
    assert len(files) == 10
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_root_that_is_no_mount_point_will_do(tmp_path: Path) -> None:
    # As in a bare root directory that somebody entered with chroot.
    root = tmp_path / "root"
    script = f"""
set -e
mkdir {root}
for name in bin sbin lib lib64 usr; do
    if [ -L /$name ]; then cp -P /$name {root}/
    elif [ -d /$name ]; then mkdir {root}/$name; mount --bind /$name {root}/$name
    fi
done
mkdir {root}/etc {root}/proc {root}/sys {root}/dev {root}/run {root}/tmp {root}/root
cp /etc/passwd {root}/etc/
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
mkdir -p {root}{sys.prefix} {root}{sys.base_prefix} {root}{os.getcwd()}
mount --bind {os.getcwd()} {root}{os.getcwd()}
mount --bind {sys.base_prefix} {root}{sys.base_prefix}
[ {sys.prefix} = {os.getcwd()}/.venv ] || mount --bind {sys.prefix} {root}{sys.prefix}
cd {root}
exec chroot {root} /usr/bin/env PYTHONPATH={os.getcwd()} {sys.executable} -c '
from pathlib import Path
from tests.netns.local_world import a_world, eventually
from tests.unit.drivers.compute_contract import a_spec
show = "cat /etc/octavia/certs/server.pem; echo seen; exec sleep {SECONDS}"
world = a_world(Path("/tmp/state"), ("/bin/sh", "-c", show))
world.network.ensure()
server = world.compute.create(a_spec())
try:
    assert eventually(lambda: "seen" in world.output(server.compute_id)), world.output(server.compute_id)
    print(world.output(server.compute_id))
finally:
    world.compute.delete(server.compute_id)
'
"""
    with own_network():
        done = subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-c", script], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "certificate and key" in done.stdout
    assert not (root / "etc/octavia").exists()


def test_a_plugged_interface_has_the_ports_mac_address(world: LocalWorld) -> None:
    spec = a_spec()
    compute_id = world.compute.create(spec).compute_id
    port = vrrp_port(world, spec)
    world.compute.attach_port(compute_id, port)
    assert port.mac_address in inside(world, compute_id)
    world.compute.detach_port(compute_id, port.id)
    assert port.mac_address not in inside(world, compute_id)
    with pytest.raises(Terminal, match="not found"):
        world.compute.attach_port(compute_id, replace(port, id="no-such-port"))


def inside(world: LocalWorld, compute_id: str) -> set[str]:
    """The MAC addresses in an amphora."""
    pid = world.process(compute_id).pid
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        text = links.run_inside(namespace, lambda: subprocess.check_output(["ip", "-br", "link"], text=True))
    finally:
        os.close(namespace)
    return set(text.split())


def test_two_who_create_the_same_amphora_get_one(world: LocalWorld) -> None:
    spec = a_spec()
    children = [forked(lambda: world.compute.create(spec)) for _ in range(4)]
    assert [wait(child) for child in children] == [0, 0, 0, 0]
    (server,) = world.compute.list()
    assert server.status is ServerStatus.ACTIVE
    assert len(world.pairs()) == 1


def test_an_amphora_outlives_its_controller_and_is_found_again(world: LocalWorld) -> None:
    spec = a_spec()

    def create_and_die() -> None:
        world.compute.create(spec)
        os.kill(os.getpid(), signal.SIGKILL)

    assert wait(forked(create_and_die)) == -signal.SIGKILL
    successor = a_world(world.installation.state_directory, SLEEP)
    pid = successor.process(spec.amphora_id).pid
    assert pid is not None
    assert successor.compute.create(spec).status is ServerStatus.ACTIVE
    assert successor.process(spec.amphora_id).pid == pid
    assert os.getsid(pid) != os.getsid(0)


def test_killing_process_1_takes_down_everything_in_it(world: LocalWorld) -> None:
    child = SECONDS.replace("86399", "86398")
    compute = running(world, ("/bin/sh", "-c", f"sleep {child} & echo started; wait"))
    server = compute.create(a_spec())
    assert eventually(lambda: "started" in world.output(server.compute_id))
    assert len(processes_naming(child)) >= 1
    compute.delete(server.compute_id)
    assert processes_naming(child) == []


def test_an_amphora_that_ended_is_in_error_with_its_last_words(world: LocalWorld) -> None:
    compute = running(world, ("/bin/sh", "-c", "echo; echo no configuration, no service >&2; exit 3"))
    spec = a_spec()
    compute_id = compute.create(spec).compute_id

    def ended() -> bool:
        server = compute.get(compute_id)
        return server is not None and server.status is ServerStatus.ERROR

    assert eventually(ended)
    server = compute.create(spec)  # adopting, not reviving
    assert server.status is ServerStatus.ERROR
    assert "no configuration, no service" in (server.fault or "")
    with pytest.raises(Terminal):
        compute.attach_port(compute_id, vrrp_port(world, spec))
    compute.delete(compute_id)
    assert compute.get(compute_id) is None


@pytest.mark.parametrize("stale", ["start_ticks", "boot_id"])
def test_a_stranger_with_the_same_pid_is_neither_taken_for_it_nor_killed(
    world: LocalWorld, stale: str
) -> None:
    compute_id = world.compute.create(a_spec()).compute_id
    process = world.process(compute_id)
    process.stop()
    record = process.directory / "process.json"
    identity = json.loads(record.read_text())
    with subprocess.Popen(SLEEP) as stranger:
        start_ticks = int(Path(f"/proc/{stranger.pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
        forged = {**identity, "pid": stranger.pid, "start_ticks": start_ticks}
        record.write_text(json.dumps({**forged, stale: 1 if stale == "start_ticks" else "other"}))
        assert process.state() is ProcessState.ENDED
        world.compute.delete(compute_id)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize(
    ("command", "complaint"),
    [(("/no/such/program",), "/no/such/program"), (("/etc/passwd",), "Permission denied")],
)
def test_a_command_that_cannot_run_is_told(
    world: LocalWorld, command: tuple[str, ...], complaint: str
) -> None:
    compute = running(world, command)
    spec = a_spec()
    with pytest.raises(Terminal, match=complaint):
        compute.create(spec)
    compute.delete(spec.amphora_id)
    assert nothing_is_left(world, spec.amphora_id)


@pytest.mark.parametrize("path", ["/root/key", "etc/octavia/x", "/etc", "/etc/../root/key"])
def test_files_elsewhere_than_etc_are_refused(world: LocalWorld, path: str) -> None:
    with pytest.raises(Terminal, match="/etc"):
        world.compute.create(replace(a_spec(), files={path: b""}))


@pytest.mark.parametrize("hostile", ["", "..", "a/b", "x" * 65, "a\nb"])
def test_an_id_cannot_lead_out_of_the_state_directory(world: LocalWorld, hostile: str) -> None:
    with pytest.raises(Terminal):
        world.compute.delete(hostile)
    with pytest.raises(Terminal):
        world.compute.create(replace(a_spec(), amphora_id=hostile))


def test_the_sweep_takes_only_what_has_no_owner(world: LocalWorld) -> None:
    spec = a_spec()
    compute_id = world.compute.create(spec).compute_id
    world.compute.attach_port(compute_id, vrrp_port(world, spec))
    assert world.compute.sweep() == []
    assert len(world.pairs()) == 2
    # Its directory is lost, for whatever reason; what it had is nobody's.
    other = world.compute.create(a_spec()).compute_id
    process = world.process(other)
    process.stop()
    os.rename(process.directory, world.installation.state_directory / "elsewhere")
    swept = world.compute.sweep()
    assert f"octavia-mgmt-{other}" in swept
    assert world.network.management_port(other) is None
    assert len(world.pairs()) == 2
    assert world.compute.sweep() == []


def test_a_demo_server_is_a_process_like_an_amphora_and_not_swept(world: LocalWorld) -> None:
    port = world.network.ensure_port("web", network_id("members"))
    assert world.network.ensure_port("web", network_id("members")) == port
    spec = ProcessSpec(
        hostname="web",
        command=(sys.executable, "-I", "-S", "-c", SERVER),
        interfaces=(world.network.interface(port, "eth0", with_addresses=True),),
    )
    process = NamespacedProcess(world.installation.demo / "web", world.installation)
    process.start(spec)
    pid = process.pid
    process.start(spec)
    assert process.pid == pid is not None
    assert world.compute.sweep() == []
    assert list(world.compute.list()) == []

    def answers() -> bool:
        try:
            socket.create_connection((port.fixed_ips[0].ip_address, 8000), timeout=1).close()
        except ConnectionRefusedError:
            return False
        return True

    assert eventually(answers)
    process.remove()
    assert world.pairs() == []
    assert process.state() is ProcessState.UNSTARTED


def test_a_relative_state_directory_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with local_world(Path("state"), SLEEP) as world:
        assert world.compute.create(a_spec()).status is ServerStatus.ACTIVE


def test_a_record_lost_in_a_power_cut_means_that_the_process_ended(world: LocalWorld) -> None:
    compute_id = world.compute.create(a_spec()).compute_id
    process = world.process(compute_id)
    process.stop()
    (process.directory / "process.json").write_bytes(b"")
    server = world.compute.get(compute_id)
    assert server is not None
    assert server.status is ServerStatus.ERROR
    world.compute.delete(compute_id)
    assert nothing_is_left(world, compute_id)


# A crash at every call and every return of the drivers' code, one after the other.


def test_a_create_killed_anywhere_is_finished_by_the_next(world: LocalWorld) -> None:
    spec = a_spec()

    def check() -> None:
        assert world.compute.create(spec).status is ServerStatus.ACTIVE
        # One that waited for a word from its dead controller may still be on its way out.
        assert eventually(lambda: len(processes_naming(SECONDS)) == 1)
        assert len(world.pairs()) == 1
        world.compute.delete(spec.amphora_id)
        assert nothing_is_left(world, spec.amphora_id)

    assert kill_everywhere(lambda: world.compute.create(spec), check, every=2) >= 40


def test_a_create_killed_anywhere_can_be_deleted(world: LocalWorld) -> None:
    spec = a_spec()

    def check() -> None:
        world.compute.delete(spec.amphora_id)
        assert nothing_is_left(world, spec.amphora_id)

    assert kill_everywhere(lambda: world.compute.create(spec), check, every=3) >= 25


def test_an_attach_killed_anywhere_is_finished_by_the_next(world: LocalWorld) -> None:
    spec = a_spec()
    compute_id = world.compute.create(spec).compute_id
    port = vrrp_port(world, spec)

    def check() -> None:
        world.compute.attach_port(compute_id, port)
        assert port.mac_address in inside(world, compute_id)
        world.compute.detach_port(compute_id, port.id)
        assert len(world.pairs()) == 1

    assert kill_everywhere(lambda: world.compute.attach_port(compute_id, port), check, every=2) >= 15


def test_a_delete_killed_anywhere_is_finished_by_the_next(world: LocalWorld) -> None:
    spec = a_spec()

    def attached() -> None:
        world.compute.attach_port(world.compute.create(spec).compute_id, vrrp_port(world, spec))

    def check() -> None:
        world.compute.delete(spec.amphora_id)
        for port in world.network.ports_of_amphora(spec.amphora_id):
            world.network.delete_port(port.id)
        assert nothing_is_left(world, spec.amphora_id)
        attached()

    attached()
    assert kill_everywhere(lambda: world.compute.delete(spec.amphora_id), check, every=3) >= 15


def nothing_is_left(world: LocalWorld, amphora_id: str) -> bool:
    gone = not world.process(amphora_id).directory.exists()
    booked = [port.name for port in world.network.list_ports() if amphora_id in port.name]
    # A launcher whose controller died notices it by itself, soon.
    silent = eventually(lambda: not processes_naming(amphora_id) and not processes_naming(SECONDS))
    return gone and booked == [] and world.pairs() == [] and silent and world.compute.sweep() == []


def kill_everywhere(action: Callable[[], Any], check: Callable[[], None], *, every: int) -> int:
    """Run ``action`` in processes killed after 0, ``every``, ... events; how many there were."""
    for crash in range(10_000):
        outcome = wait(forked(action, kill_after=crash * every))
        check()
        if outcome == 0:
            return crash
        assert outcome == -signal.SIGKILL
    raise AssertionError("it never got to its end")


def forked(action: Callable[[], Any], *, kill_after: int | None = None) -> int:
    child = os.fork()
    if child != 0:
        return child
    try:
        if kill_after is not None:
            sys.setprofile(suicide_after(kill_after))
        action()
        os._exit(0)
    except BaseException as why:  # the child must never return into pytest
        os.write(2, repr(why).encode())
        os._exit(1)


def suicide_after(events: int) -> Callable[[FrameType, str, Any], None]:
    left = events

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event in {"call", "return"} and "/octavia/drivers/" in frame.f_code.co_filename:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    return profile


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
