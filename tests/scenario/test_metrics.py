# SPDX-License-Identifier: Apache-2.0
"""Metrics as a tenant has them: a PROMETHEUS listener by the command line, for some networks only."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.scenario.test_up import Machine, eventually, machine, vip

__all__ = ["machine"]  # a fixture

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs haproxy"),
]

_SCRAPE = """
import sys, urllib.request
print(urllib.request.urlopen(f"http://{sys.argv[1]}:8088/metrics", timeout=3).read().decode())
"""


def metrics(machine: Machine, address: str) -> str | None:
    """What Prometheus would read; None if it cannot."""
    done = machine.run(sys.executable, "-c", _SCRAPE, address)
    return done.stdout if done.returncode == 0 else None


def test_a_tenant_measures_its_load_balancer(machine: Machine) -> None:
    done = machine.standalone("up")
    assert done.returncode == 0, done.stdout + done.stderr
    address = vip(machine)
    create = ("loadbalancer", "listener", "create", "--name", "metrics", "--protocol", "PROMETHEUS")
    listener = machine.openstack(*create, "--protocol-port", "8088", "--wait", "demo")
    text = metrics(machine, address)
    assert text is not None
    assert f'octavia_listener_status{{listener="{listener["id"]}",state="UP"}} 1' in text
    assert "octavia_member_weight{" in text

    def status() -> str:
        shown = machine.openstack("loadbalancer", "listener", "show", "metrics")
        return str(shown["operating_status"])

    assert eventually(lambda: status() == "ONLINE", within=60)
    change = ("loadbalancer", "listener", "set", "--wait", "metrics", "--allowed-cidr")
    machine.openstack_plainly(*change, "192.0.2.0/24")
    assert metrics(machine, address) is None
    # What the load balancer served is in the flow log of the amphora that has the VIP, and why says where.
    said = machine.standalone("why", "demo").stdout
    logs = [Path(line.split()[-1]) for line in said.splitlines() if line.startswith("    flow log ")]
    assert logs, said
    assert eventually(lambda: any("GET /metrics" in log.read_text() for log in logs), within=60)
    records = [line for log in logs for line in log.read_text().splitlines() if "GET /metrics" in line]
    lb = machine.openstack("loadbalancer", "show", "demo")
    assert f"{lb['project_id']} {lb['id']} {listener['id']} " in records[0]
    machine.openstack_plainly(*change, "0.0.0.0/0")
    assert metrics(machine, address) is not None
