# SPDX-License-Identifier: Apache-2.0
"""Two amphorae that share a VIP through a real keepalived, and what happens when one fails."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Pair:
    lab: Lab
    master: AgentProcess
    backup: AgentProcess

    def apply(self, one: AgentProcess, *, generation: int) -> None:
        members = {f"m{number}": (f"10.88.0.{200 + number}", 8080, 1) for number in (1, 2)}
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
        # One after the other: of two that begin together either may be the first to miss a master.
        pair.apply(pair.master, generation=1)
        assert eventually(lambda: pair.state(pair.master) == "MASTER", within=20)
        pair.apply(pair.backup, generation=1)
        assert eventually(lambda: pair.state(pair.backup) == "BACKUP", within=20)
        assert eventually(lab.answers, within=20)
        yield pair


ETH_P_ALL, VRRP = 3, 112
GIVEN_UP = 0  # RFC 5798, section 5.2.4: the priority of who gives the VIP up, and is not waited for


def _taken_over(pair: Pair, strike: Callable[[], object]) -> set[int]:
    """The priorities that were advertised from the strike until the backup answers on the VIP.

    How soon it does is for ``benchmarks.takeover`` to say.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as wire:
        strike()
        assert eventually(lambda: pair.state(pair.backup) == "MASTER", within=20)
        assert eventually(pair.lab.answers, within=20)
        return set(_priorities(wire))


def _priorities(wire: socket.socket) -> Iterator[int]:
    with contextlib.suppress(BlockingIOError):
        while packet := wire.recv(65536, socket.MSG_DONTWAIT):
            if packet[0] >> 4 == 4 and packet[9] == VRRP:
                yield packet[4 * (packet[0] & 0xF) + 2]


def test_the_backup_answers_on_the_vip_when_the_master_dies(pair: Pair) -> None:
    _taken_over(pair, pair.master.kill)
    assert pair.state(pair.backup) == "MASTER"


def test_the_backup_takes_over_when_haproxy_dies_and_keeps_the_vip(pair: Pair) -> None:
    master = pair.master.pid_of(f"{pair.lab.lb_id}/{pair.lab.lb_id}.pid")
    # It does not come back before keepalived has looked, which has to wait for a processor too.
    config = pair.master.base / pair.lab.lb_id / "haproxy.cfg"
    away = config.rename(config.with_name("away"))
    _taken_over(pair, lambda: os.kill(master, signal.SIGKILL))
    away.rename(config)
    # Well again, and it does not take the VIP back.
    assert eventually(lambda: pair.state(pair.master) == "BACKUP", within=60)
    assert pair.state(pair.backup) == "MASTER"


def test_stopping_keepalived_hands_the_vip_over_at_once(pair: Pair) -> None:
    assert GIVEN_UP in _taken_over(pair, lambda: pair.lab.driver.stop_vrrp(pair.master.amphora, fence=1))
    assert pair.state(pair.master) is None


def test_ending_the_agent_hands_the_vip_over_at_once(pair: Pair) -> None:
    assert GIVEN_UP in _taken_over(pair, lambda: os.kill(pair.master.pid, signal.SIGTERM))


def test_without_keepalived_an_amphora_is_silent_and_with_it_it_says_its_state(pair: Pair) -> None:
    lab = pair.lab
    for one in (pair.master, pair.backup):
        one.beat_every(0.5)
    assert eventually(lambda: (beat := lab.latest(pair.master)) and beat.vrrp_state == "MASTER", within=20)
    assert eventually(lambda: (beat := lab.latest(pair.backup)) and beat.vrrp_state == "BACKUP", within=20)
    lab.driver.stop_vrrp(pair.backup.amphora, fence=1)
    seen = len(lab.heartbeats)

    def told() -> list[str]:
        """Who has said something since."""
        return [amphora_id for amphora_id, _ in lab.heartbeats[seen:]]

    assert eventually(lambda: told().count(pair.master.id) > 5, within=60)
    assert told().count(pair.backup.id) <= 1  # that was being made


def test_a_keepalived_that_dies_is_started_again(pair: Pair) -> None:
    before = pair.backup.pid_of("vrrp/octavia-keepalived.pid")
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: _is_another(pair.backup, before), within=20)
    assert eventually(lambda: pair.state(pair.backup) == "BACKUP", within=20)
    assert pair.state(pair.master) == "MASTER"


def _is_another(one: AgentProcess, before: int) -> bool:
    try:
        return one.pid_of("vrrp/octavia-keepalived.pid") != before
    except (AssertionError, OSError, ValueError):
        return False


def test_the_same_again_leaves_keepalived_alone(pair: Pair) -> None:
    before = pair.master.pid_of("vrrp/octavia-keepalived.pid")
    reloads = pair.master.log.read_text().count("Reloading")
    for one in (pair.master, pair.backup):
        pair.apply(one, generation=2)
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
