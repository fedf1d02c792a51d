# SPDX-License-Identifier: Apache-2.0
"""Names over UDP as a tenant serves them: two resolvers, maintenance, a dead one, a failover."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.netns.udp_lab import needs_programs
from tests.scenario.standalone import BACKEND_SUBNET, HOST_ON, SUBNET
from tests.scenario.test_up import Machine, eventually, machine, vip

__all__ = ["machine"]  # a fixture

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    *needs_programs,
]

_RESOLVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[2], int(sys.argv[3])))
print("ready", flush=True)
while True:
    question, client = s.recvfrom(4096)
    if question:
        s.sendto(sys.argv[1].encode(), client)
"""
_CLIENT = """
import collections, socket, sys
found = collections.Counter()
for _ in range(int(sys.argv[2])):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect((sys.argv[1], 53))
        s.send(b"www.example.org?")
        found[s.recv(100).decode()] += 1
print(" ".join(f"{name}={count}" for name, count in sorted(found.items())))
"""


@contextmanager
def resolver(machine: Machine, name: str, address: str, port: int) -> Iterator["subprocess.Popen[str]"]:
    """Somebody who answers every question with a name."""
    command = (sys.executable, "-c", _RESOLVER, name, address, str(port))
    where = ("nsenter", "--target", str(machine.holder), "--net", "--mount")
    with subprocess.Popen((*where, *command), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def answers(machine: Machine, address: str, count: int = 8) -> str | None:
    """Who answered how many of so many clients; None if one of them was not answered."""
    done = machine.run(sys.executable, "-c", _CLIENT, address, str(count))
    return done.stdout.strip() if done.returncode == 0 else None


def test_a_tenant_serves_names_over_udp(machine: Machine) -> None:
    done = machine.standalone("up")
    assert done.returncode == 0, done.stdout + done.stderr
    address = vip(machine)
    near, far = (HOST_ON[SUBNET], SUBNET, 5301), (HOST_ON[BACKEND_SUBNET], BACKEND_SUBNET, 5302)
    create = ("loadbalancer", "listener", "create", "--name", "dns", "--protocol", "UDP")
    machine.openstack(*create, "--protocol-port", "53", "--wait", "demo")
    pool = ("--name", "resolvers", "--protocol", "UDP", "--lb-algorithm", "ROUND_ROBIN", "--listener", "dns")
    machine.openstack("loadbalancer", "pool", "create", *pool, "--wait")
    with ExitStack() as stack:
        running = {}
        for name, (host, subnet, port) in (("near", near), ("far", far)):
            running[name] = stack.enter_context(resolver(machine, name, host, port))
            place = ("--address", host, "--protocol-port", str(port), "--subnet-id", subnet)
            words = ("--name", name, *place, "--wait", "resolvers")
            machine.openstack("loadbalancer", "member", "create", *words)
        monitor = ("--type", "UDP-CONNECT", "--delay", "3", "--timeout", "2", "--max-retries", "1")
        machine.openstack(
            "loadbalancer",
            "healthmonitor",
            "create",
            *monitor,
            "--max-retries-down",
            "1",
            "--wait",
            "resolvers",
        )
        assert eventually(lambda: answers(machine, address) == "far=4 near=4", within=60)
        assert eventually(lambda: status(machine, "near") == "ONLINE", within=60)

        machine.openstack_plainly(
            "loadbalancer", "member", "set", "--weight", "0", "--wait", "resolvers", "near"
        )
        assert eventually(lambda: answers(machine, address) == "far=8", within=60)
        assert eventually(lambda: status(machine, "near") == "DRAINING", within=60)
        machine.openstack_plainly(
            "loadbalancer", "member", "set", "--weight", "3", "--wait", "resolvers", "near"
        )
        assert eventually(lambda: answers(machine, address) == "far=2 near=6", within=60)

        running["far"].kill()
        assert eventually(lambda: status(machine, "far") == "ERROR", within=30)
        assert answers(machine, address) == "near=8"
        assert (
            machine.openstack("loadbalancer", "pool", "show", "resolvers")["operating_status"] == "DEGRADED"
        )

        machine.openstack_plainly("loadbalancer", "failover", "--wait", "demo")
        assert eventually(lambda: answers(machine, address) == "near=8", within=30)

        def counted() -> bool:
            shown = machine.openstack("loadbalancer", "listener", "stats", "show", "dns")
            return int(shown["total_connections"]) >= 24 and int(shown["bytes_in"]) > 24 * 44

        assert eventually(counted, within=30)


def status(machine: Machine, name: str) -> str:
    shown = machine.openstack("loadbalancer", "member", "show", "resolvers", name)
    return str(shown["operating_status"])
