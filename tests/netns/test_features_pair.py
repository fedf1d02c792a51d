# SPDX-License-Identifier: Apache-2.0
"""Clients keep their members when the VIP moves to the other amphora of a pair."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from octavia.dataplane.haproxy.render import render
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.dataplane.keepalived import render as keepalived
from octavia.dataplane.keepalived.render import KeepalivedSettings, VipSubnet
from octavia.domain.tree import (
    LoadBalancer,
    PersistenceType,
    Role,
    SessionPersistence,
    Topology,
    Vip,
    VrrpGroup,
)
from octavia.drivers.amphora.contract import Configuration
from tests.netns.agent_lab import (
    CLIENT,
    VIP,
    AgentProcess,
    Lab,
    eventually,
    ip,
    needs_haproxy,
    needs_keepalived,
    needs_root,
    opened_lab,
)
from tests.netns.feature_lab import ask, echo_server
from tests.unit.dataplane.samples import listener, listener_id, load_balancer, member, pool, pool_id

pytestmark = [pytest.mark.netns, pytest.mark.haproxy, needs_root, needs_haproxy, needs_keepalived]

SOURCES = [f"10.88.0.{number}" for number in range(30, 38)]
KINDS = (PersistenceType.SOURCE_IP, PersistenceType.HTTP_COOKIE, PersistenceType.APP_COOKIE)


class Pair:
    """A listener and a pool for each kind of session persistence, on two amphorae."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.both: list[AgentProcess] = []
        for _ in range(2):
            one = lab.amphora(topology="ACTIVE_STANDBY")
            one.attach_vip()
            lab.driver.plug_vip(one.amphora, one.plug, fence=1)
            self.both.append(one)
        for source in SOURCES:
            ip("addr", "add", f"{source}/24", "dev", "vip")
        for number in (1, 2):
            echo_server(lab, str(number), f"10.88.0.{200 + number}")
        self._serve()

    def _serve(self) -> None:
        members = tuple(
            member(number, address=f"10.88.0.{200 + number}", protocol_port=8080) for number in (1, 2)
        )
        pools = []
        for number, kind in enumerate(KINDS, start=1):
            name = "sid" if kind is PersistenceType.APP_COOKIE else None
            sticky = SessionPersistence(type=kind, cookie_name=name)
            pools.append(pool(number, members=members, session_persistence=sticky))
        lb: LoadBalancer = replace(
            load_balancer(*((listener(number), one) for number, one in enumerate(pools, start=1))),
            id=self.lab.lb_id,
            topology=Topology.ACTIVE_STANDBY,
            vip=Vip(ip_address=VIP, subnet_id="s"),
            vrrp_group=VrrpGroup(name="x", version=3, advert_int=0.25),
        )
        amphorae = [
            replace(one.amphora, role=role, vrrp_interface="eth1")
            for one, role in zip(self.both, (Role.MASTER, Role.BACKUP), strict=True)
        ]
        for one, amphora in zip(self.both, amphorae, strict=True):
            base = str(one.base)
            settings = HaproxySettings(base_path=base, base_cert_dir=f"{base}/certs", log_socket=None)
            made = render(lb, amphorae, settings, amphora_id=one.id, haproxy_version="2.6.12")
            assert made is not None
            vrrp = KeepalivedSettings(base_path=base, track_file=True)
            subnets = [VipSubnet(vip_address=VIP, cidr="10.88.0.0/24", gateway=CLIENT)]
            configuration = Configuration(
                load_balancer_id=lb.id,
                generation=1,
                haproxy=made.text,
                keepalived=keepalived.render(lb, amphora, amphorae, vrrp, subnets),
            )
            self.lab.driver.apply(one.amphora, configuration, fence=1)

    def owner(self) -> AgentProcess | None:
        states = [self.lab.driver.info(one.amphora).vrrp_state for one in self.both]
        return self.both[states.index("MASTER")] if states.count("MASTER") == 1 else None

    def remembered(self, one: AgentProcess, number: int) -> int:
        """Entries of the stick table of a pool, in one amphora."""
        text = one.ask_haproxy(f"show table {pool_id(number)}:{listener_id(number)}")
        return text.count("server_id=")


@pytest.fixture(name="pair")
def _pair() -> Iterator[Pair]:
    with opened_lab() as lab:
        yield Pair(lab)


def test_sessions_of_every_kind_survive_the_death_of_the_amphora(pair: Pair) -> None:
    found: list[AgentProcess] = []

    def is_owned() -> bool:
        found[:] = [owner] if (owner := pair.owner()) else []
        return bool(found)

    assert eventually(is_owned, within=20)
    (owner,) = found
    (standby,) = [one for one in pair.both if one is not owner]
    by_source = {source: ask(81, source=source).member for source in SOURCES}
    assert set(by_source.values()) == {"1", "2"}
    by_cookie, by_application = {}, {}
    for number in range(8):
        answer = ask(82)
        by_cookie[answer.headers["set-cookie"].partition(";")[0]] = answer.member
        by_application[f"sid=s{number}"] = ask(83, f"/cookie/sid=s{number}").member
    assert len(by_cookie) == len(set(by_application.values())) == 2
    # What the peers have not told each other yet would be lost.
    assert eventually(lambda: pair.remembered(standby, 1) == len(SOURCES), within=20)
    assert eventually(lambda: pair.remembered(standby, 3) == len(by_application), within=20)
    owner.kill()
    state = pair.lab.driver.info
    assert eventually(lambda: state(standby.amphora).vrrp_state == "MASTER", within=20)
    assert {source: ask(81, source=source).member for source in SOURCES} == by_source
    for port, cookies in ((82, by_cookie), (83, by_application)):
        for cookie, chosen in cookies.items():
            assert {ask(port, headers={"Cookie": cookie}).member for _ in range(3)} == {chosen}
