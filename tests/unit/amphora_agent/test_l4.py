# SPDX-License-Identifier: Apache-2.0
"""Members of UDP pools: thresholds, what a check says, what a heartbeat says, what conntrack says."""

import json
from dataclasses import dataclass
from typing import cast

import pytest

from octavia.amphora_agent.l4 import pool_report
from octavia.amphora_agent.l4_checks import Target, _Asked, request
from octavia.amphora_agent.l4_table import Table, TableRefused, _known
from octavia.amphora_agent.processes import Processes
from octavia.dataplane.l4.ruleset import Named
from tests.unit.dataplane.l4_samples import check, member, pool, uuid


def asked(*, rise: int, fall: int) -> _Asked:
    return _Asked(Target("10.0.0.1", 53, check(rise=rise, fall=fall)), due=0.0)


def test_the_first_failure_counts_at_once_and_later_ones_by_fall() -> None:
    one = asked(rise=1, fall=3)
    assert one.take(False)
    assert not one.up
    assert one.take(True)
    assert [one.take(False) for _ in range(3)] == [False, False, True]


def test_successes_in_a_row_bring_a_member_back() -> None:
    one = asked(rise=3, fall=1)
    assert one.take(False)
    assert [one.take(well) for well in (True, True, False, True, True, True)] == [False] * 5 + [True]
    assert one.up


def test_a_success_between_failures_starts_the_count_anew() -> None:
    one = asked(rise=1, fall=2)
    assert [one.take(well) for well in (True, False, True, False, False)] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n"),
        (
            {"http_version": "1.1", "http_method": "HEAD", "url_path": "/x"},
            b"HEAD /x HTTP/1.1\r\nHost: [fd00::1]:80\r\nConnection: close\r\n\r\n",
        ),
        (
            {"http_version": "1.1", "domain_name": "a.example"},
            b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n",
        ),
    ],
)
def test_the_request_of_a_check(more: dict[str, str], expected: bytes) -> None:
    assert request(Target("fd00::1", 80, check("HTTP", **more))) == expected


def test_members_are_reported_in_the_words_of_the_contract() -> None:
    members = (member(1), member(2), member(3, weight=0), member(4, enabled=False))
    report = pool_report(pool(*members, check=check()), frozenset({uuid(2)}))
    assert (report.pool_id, report.listener_id, report.status) == (uuid(500), None, "UP")
    assert report.members == {uuid(1): "UP", uuid(2): "DOWN", uuid(3): "DRAIN", uuid(4): "MAINT"}
    unasked = pool_report(pool(*members), frozenset())
    assert set(unasked.members.values()) == {"no check", "DRAIN", "MAINT"}


def test_a_pool_is_down_when_its_monitor_finds_nobody() -> None:
    down = frozenset({uuid(1), uuid(2)})
    assert pool_report(pool(member(1), member(2), check=check()), down).status == "DOWN"
    assert pool_report(pool(member(1), member(2)), frozenset()).status == "UP"
    assert pool_report(pool(check=check()), frozenset()).status == "UP"


def test_conntrack_lines_are_read() -> None:
    line = (
        b"udp      17 27 src=10.0.0.1 dst=10.9.9.9 sport=5 dport=53 [UNREPLIED] src=10.0.0.5 dst=10.0.0.2"
        b" sport=5353 dport=5 mark=77 use=1\n"
    )
    flow = _known(line)
    assert flow
    assert (flow.protocol, flow.vip, flow.port, flow.mark) == ("UDP", "10.9.9.9", 53, 77)
    six = _known(line.replace(b"10.9.9.9", b"2001:0db8:0000::0001"))
    assert six
    assert six.vip == "2001:db8::1"
    assert _known(line.replace(b"mark=77", b"mark=0")) is None
    assert _known(line.replace(b"udp ", b"tcp ")) is None
    assert _known(b"icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=1 mark=5 use=1\n") is None


@dataclass
class _Lists:
    """A kernel that has these objects."""

    output: str
    returncode: int = 0

    def run(self, *_: object) -> "_Lists":
        return self


def test_an_object_that_nft_cannot_name_is_told_about_and_never_written() -> None:
    def found(name: str) -> frozenset[Named]:
        one = {"chain": {"family": "inet", "table": "octavia_l4", "name": name}}
        kernel = cast(Processes, _Lists(json.dumps({"nftables": [{"metainfo": {}}, one]})))
        return Table(kernel).present()

    assert found("dispatch") == {Named("chain", "dispatch")}
    with pytest.raises(TableRefused, match="Somebody put a chain into our table"):
        found("x; flush ruleset")
