# SPDX-License-Identifier: Apache-2.0
"""Two amphorae that share a VIP through a real keepalived, and what happens when one fails."""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from octavia.dataplane.keepalived import render
from octavia.dataplane.keepalived.render import KeepalivedSettings, VipSubnet
from octavia.domain.tree import LoadBalancer, Role, Topology, Vip, VrrpGroup
from octavia.drivers.amphora.contract import Configuration
from tests.netns.agent_lab import (
    CLIENT,
    VIP,
    AgentProcess,
    Lab,
    eventually,
    haproxy_config,
    needs_haproxy,
    needs_keepalived,
    needs_root,
    opened_lab,
)

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy, needs_keepalived]

TAKEOVER_SECONDS = 1.0
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    lab: Lab
    master: AgentProcess
    backup: AgentProcess

    def apply(self, *, generation: int) -> None:
        members = {f"m{number}": (f"10.88.0.{200 + number}", 8080, 1) for number in (1, 2)}
        for one in (self.master, self.backup):
            configuration = Configuration(
                load_balancer_id=self.lab.lb_id,
                generation=generation,
                haproxy=haproxy_config(one, members),
                keepalived=self.keepalived(one),
            )
            self.lab.driver.apply(one.amphora, configuration, fence=1)

    def keepalived(self, one: AgentProcess) -> str | None:
        both = [
            replace(amphora.amphora, role=role, vrrp_interface="eth1")
            for amphora, role in ((self.master, Role.MASTER), (self.backup, Role.BACKUP))
        ]
        lb = LoadBalancer(
            id=self.lab.lb_id,
            topology=Topology.ACTIVE_STANDBY,
            vip=Vip(ip_address=VIP),
            vrrp_group=VrrpGroup(name="x", version=3, advert_int=0.25),
        )
        settings = KeepalivedSettings(base_path=str(one.base), track_file=True)
        subnets = [VipSubnet(vip_address=VIP, cidr="10.88.0.0/24", gateway=CLIENT)]
        me = both[0] if one is self.master else both[1]
        return render.render(lb, me, both, settings, subnets)

    def state(self, one: AgentProcess) -> str | None:
        return self.lab.driver.info(one.amphora).vrrp_state


@pytest.fixture(name="pair")
def _pair() -> Iterator[Pair]:
    with opened_lab() as lab:
        both = []
        for _ in range(2):
            one = lab.amphora(topology="ACTIVE_STANDBY")
            one.attach_vip()
            lab.driver.plug_vip(one.amphora, one.plug, fence=1)
            both.append(one)
        lab.member(1)
        lab.member(2)
        pair = Pair(lab, *both)
        pair.apply(generation=1)
        assert eventually(lab.answers, within=5)
        assert eventually(lambda: pair.state(pair.master) == "MASTER", within=5)
        assert pair.state(pair.backup) == "BACKUP"
        yield pair


def _silence(pair: Pair, strike: Callable[[], object]) -> float:
    """The longest time in seconds without an answer from the VIP, from the strike until the backup has it."""
    stop = threading.Event()
    answered_at = [time.monotonic()]

    def probe() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection((VIP, 80), timeout=0.1) as connection:
                connection.settimeout(0.2)
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if connection.recv(64).startswith(b"HTTP/1.1 200"):
                    answered_at.append(time.monotonic())
            time.sleep(0.01)

    prober = threading.Thread(target=probe)
    prober.start()
    try:
        strike()
        assert eventually(lambda: pair.state(pair.backup) == "MASTER", within=5)
        count = len(answered_at)
        assert eventually(lambda: len(answered_at) > count + 3, within=5), "the VIP stays silent"
    finally:
        stop.set()
        prober.join()
    silence = max(later - earlier for earlier, later in pairwise(answered_at))
    LOG.info("The VIP was silent for %.0f ms", silence * 1000)
    return silence


def test_the_backup_answers_on_the_vip_within_a_second_when_the_master_dies(pair: Pair) -> None:
    silence = _silence(pair, pair.master.kill)
    assert silence < TAKEOVER_SECONDS + 0.5  # this machine does other things too
    assert pair.state(pair.backup) == "MASTER"


def test_the_backup_takes_over_when_haproxy_dies_and_keeps_the_vip(pair: Pair) -> None:
    master = pair.master.pid_of(f"{pair.lab.lb_id}/{pair.lab.lb_id}.pid")
    silence = _silence(pair, lambda: os.kill(master, signal.SIGKILL))
    assert silence < TAKEOVER_SECONDS + 0.5
    # Well again, and it does not take the VIP back.
    assert eventually(lambda: pair.state(pair.master) == "BACKUP", within=3)
    assert pair.state(pair.backup) == "MASTER"


def test_stopping_keepalived_hands_the_vip_over_at_once(pair: Pair) -> None:
    silence = _silence(pair, lambda: pair.lab.driver.stop_vrrp(pair.master.amphora, fence=1))
    assert silence < TAKEOVER_SECONDS
    assert pair.state(pair.master) is None


def test_ending_the_agent_hands_the_vip_over_at_once(pair: Pair) -> None:
    silence = _silence(pair, lambda: os.kill(pair.master.pid, signal.SIGTERM))
    assert silence < TAKEOVER_SECONDS


def test_without_keepalived_an_amphora_is_silent_and_with_it_it_says_its_state(pair: Pair) -> None:
    lab = pair.lab
    assert eventually(lambda: (beat := lab.latest(pair.master)) and beat.vrrp_state == "MASTER", within=5)
    assert eventually(lambda: (beat := lab.latest(pair.backup)) and beat.vrrp_state == "BACKUP", within=5)
    lab.driver.stop_vrrp(pair.backup.amphora, fence=1)
    time.sleep(0.1)  # one that was being made
    lab.heartbeats.clear()
    assert eventually(lambda: lab.latest(pair.master), within=5)
    assert lab.latest(pair.backup) is None


def test_a_keepalived_that_dies_is_started_again(pair: Pair) -> None:
    before = pair.backup.pid_of("vrrp/octavia-keepalived.pid")
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: _is_another(pair.backup, before), within=5)
    assert eventually(lambda: pair.state(pair.backup) == "BACKUP", within=5)
    assert pair.state(pair.master) == "MASTER"


def _is_another(one: AgentProcess, before: int) -> bool:
    try:
        return one.pid_of("vrrp/octavia-keepalived.pid") != before
    except (AssertionError, OSError, ValueError):
        return False


def test_the_same_again_leaves_keepalived_alone(pair: Pair) -> None:
    before = pair.master.pid_of("vrrp/octavia-keepalived.pid")
    reloads = pair.master.log.read_text().count("Reloading")
    pair.apply(generation=2)
    assert pair.master.pid_of("vrrp/octavia-keepalived.pid") == before
    assert pair.master.log.read_text().count("Reloading") == reloads
    assert pair.state(pair.master) == "MASTER"


def test_the_check_script_of_rest_1_0_says_whether_haproxy_answers(pair: Pair) -> None:
    script = str(pair.master.base / "vrrp" / "check_script.sh")
    pair.master.inside(script)
    master = pair.master.pid_of(f"{pair.lab.lb_id}/{pair.lab.lb_id}.pid")
    os.kill(master, signal.SIGSTOP)  # alive, but the socket of its worker still answers
    os.kill(master, signal.SIGCONT)
    (pair.master.base / f"{pair.lab.lb_id}.sock").rename(pair.master.base / "away")
    with pytest.raises(AssertionError):
        pair.master.inside(script)
