# SPDX-License-Identifier: Apache-2.0
"""Listeners of keepalived's LVS as heartbeats see them (contract: heartbeat.md section 3)."""

from dataclasses import replace
from pathlib import Path

import pytest

from octavia.amphora_agent import l4_lvs
from octavia.amphora_agent.config import AgentConfig
from octavia.amphora_agent.l4_lvs import Lvs, NoIpvs, Real
from octavia.amphora_agent.processes import Processes
from octavia.amphora_agent.supervisor import Service
from octavia.dataplane.l4 import lvs
from tests.unit.dataplane.l4_samples import EVERYTHING, check, config, member, pool, uuid

TABLE = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A090909:0035 wrr
  -> 0A000009:0035      Masq    1      5          0
UDP  0A090909:0035 sh
  -> 0A000001:0035      Masq    3      2          1
  -> 0A000002:0035      Masq    0      1          0
UDP  [fd00:0000:0000:0000:0000:0000:0000:0009]:0035 sh
  -> [fd00:0000:0000:0000:0000:0000:0000:0003]:0035      Masq    1      4          0
"""
COUNTERS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
UDP  10.9.9.9:53                        10      100       90     6000    9000
  -> 10.0.0.1:53                        10      100       90     6000    9000
UDP  [fd00::9]:53                        1       10        9      600     900
"""
TWO = config(pool(member(1), member(2, weight=0), member(3), member(4, enabled=False), check=check()))


def test_the_kernels_table_is_read() -> None:
    table = l4_lvs.kernel_table(TABLE)
    assert table == {
        ("10.9.9.9", 53): {("10.0.0.1", 53): Real(3, 2), ("10.0.0.2", 53): Real(0, 1)},
        ("fd00::9", 53): {("fd00::3", 53): Real(1, 4)},
    }


def test_a_file_that_we_render_is_understood() -> None:
    conf = l4_lvs.parse(lvs.render(EVERYTHING)[uuid(700)])
    assert conf.vips == [("10.9.9.9", 53), ("fd00::9", 53)]
    assert conf.pool_id == uuid(500)
    assert conf.monitored
    assert conf.members == {
        uuid(1): ("10.0.0.1", 53),
        uuid(2): ("10.0.0.2", 53),
        uuid(3): ("fd00::3", 53),
        uuid(4): None,
    }
    closed = replace(EVERYTHING, listeners=(replace(EVERYTHING.listeners[0], enabled=False),))
    assert l4_lvs.parse(lvs.render(closed)[uuid(700)]).disabled


def test_counters_are_summed_over_the_vips() -> None:
    conf = l4_lvs.parse(lvs.render(EVERYTHING)[uuid(700)])
    report = l4_lvs.listener_report(conf, l4_lvs.kernel_table(TABLE), l4_lvs.kernel_counters(COUNTERS))
    assert (report.status, report.conns, report.totconns) == ("OPEN", 7, 11)
    assert (report.rx, report.tx, report.ereq) == (6600, 9900, 0)


def test_members_are_up_as_long_as_keepalived_leaves_them_in_the_table() -> None:
    conf = l4_lvs.parse(lvs.render(TWO)[uuid(700)])
    table = l4_lvs.kernel_table(TABLE)
    report = l4_lvs.pool_report(conf, table, restarting=False)
    assert (report.pool_id, report.listener_id, report.status) == (uuid(500), None, "UP")
    assert report.members == {uuid(1): "UP", uuid(2): "DRAIN", uuid(3): "DOWN", uuid(4): "MAINT"}
    assert l4_lvs.pool_report(conf, table, restarting=True).members[uuid(3)] == "RESTARTING"
    nobody = l4_lvs.pool_report(conf, {}, restarting=False)
    assert (nobody.status, nobody.members[uuid(1)]) == ("DOWN", "DOWN")
    unasked = l4_lvs.parse(lvs.render(config(pool(member(1))))[uuid(700)])
    report = l4_lvs.pool_report(unasked, {}, restarting=False)
    assert (report.status, report.members) == ("UP", {uuid(1): "no check"})


class Recorder:
    """A supervisor that starts nothing."""

    reload_is_synchronous = ends_with_agent = True

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.services: dict[str, Service] = {}

    def adopt(self, service: Service) -> bool:
        return service.name in self.services

    def start(self, service: Service) -> None:
        self.calls.append("start")
        self.services[service.name] = service

    def reload(self, service: Service) -> None:
        raise AssertionError("a reload would forget the members")

    def stop(self, service: Service) -> None:
        self.calls.append("stop")
        self.services.pop(service.name, None)

    def main_pid(self, service: Service) -> int | None:
        return 5 if service.name in self.services else None

    def last_words(self, service: Service) -> str:
        del service
        return ""


def test_without_ipvs_a_listener_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(l4_lvs, "IP_VS", tmp_path / "nowhere")
    here = Lvs(AgentConfig(amphora_id="a", base_path=tmp_path), Recorder(), Processes())
    with pytest.raises(NoIpvs, match="IPVS"):
        here.upload(uuid(700), "x")
    assert here.listeners() == []


def test_with_ipvs_a_listener_is_stored_restarted_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(l4_lvs, "IP_VS", tmp_path / "ip_vs")
    (tmp_path / "ip_vs").write_text(TABLE)
    supervisor = Recorder()
    here = Lvs(AgentConfig(amphora_id="a", base_path=tmp_path), supervisor, Processes())
    here.upload(uuid(700), "text")
    assert here.text(uuid(700)) == "text"
    assert (here.listeners(), here.running()) == ([uuid(700)], [])
    script = tmp_path / "lvs" / "check" / "udp_check.sh"
    assert script.stat().st_mode & 0o111
    here.act(uuid(700), "reload")
    assert supervisor.calls == ["stop", "start"]
    assert here.running() == [uuid(700)]
    (service,) = supervisor.services.values()
    assert str(tmp_path / "lvs" / f"octavia-keepalivedlvs-{uuid(700)}.conf") in service.argv
    here.act(uuid(700), "stop")
    assert here.running() == []
    here.delete(uuid(700))
    assert here.listeners() == []
