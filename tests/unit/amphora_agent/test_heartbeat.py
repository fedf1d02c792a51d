# SPDX-License-Identifier: Apache-2.0
"""From HAProxy's statistics to reports and differences."""

import json
from pathlib import Path

import pytest

from octavia.amphora_agent.heartbeat import Counters, reports
from octavia.dataplane.haproxy.runtime import RowType, Stat
from octavia.wire.heartbeat import ListenerReport, PoolReport


def stat(
    proxy: str,
    server: str,
    kind: RowType,
    status: str,
    *,
    weight: int = 1,
    count: int = 0,
    limit: int | None = None,
) -> Stat:
    return Stat(
        proxy=proxy,
        server=server,
        type=kind,
        status=status,
        weight=weight,
        cookie="",
        current_sessions=count,
        session_limit=limit,
        total_sessions=count,
        bytes_in=count,
        bytes_out=2 * count,
        request_errors=0,
    )


def test_rows_become_reports() -> None:
    listeners, pools = reports(
        [
            stat("L", "FRONTEND", RowType.LISTENER, "OPEN", count=3),
            stat("P:L", "m1", RowType.MEMBER, "UP"),
            stat("P:L", "m2", RowType.MEMBER, "UP", weight=0),
            stat("P:L", "m3", RowType.MEMBER, "DOWN 1/2"),
            stat("P:L", "m4", RowType.MEMBER, "no check", weight=0),
            stat("P:L", "BACKEND", RowType.POOL, "UP"),
            stat("prometheus-exporter-internal-endpoint", "FRONTEND", RowType.LISTENER, "OPEN"),
            stat("prometheus-exporter-internal", "BACKEND", RowType.POOL, "UP"),
        ]
    )
    assert listeners == {"L": ListenerReport(status="OPEN", rx=3, tx=6, conns=3, totconns=3)}
    members = {"m1": "UP", "m2": "DRAIN", "m3": "DOWN 1/2", "m4": "no check"}
    assert pools == [PoolReport(pool_id="P", listener_id="L", status="UP", members=members)]


@pytest.mark.parametrize(
    ("status", "limit", "expected"),
    [("OPEN", 4, "OPEN"), ("OPEN", 3, "FULL"), ("OPEN", None, "OPEN"), ("STOP", 3, "STOP")],
)
def test_a_listener_with_as_many_sessions_as_it_may_have_is_full(
    status: str, limit: int | None, expected: str
) -> None:
    listeners, _ = reports([stat("L", "FRONTEND", RowType.LISTENER, status, count=3, limit=limit)])
    assert listeners["L"].status == expected


def absolute(rx: int, *, conns: int = 0) -> dict[str, ListenerReport]:
    return {"L": ListenerReport(status="OPEN", rx=rx, tx=2 * rx, totconns=rx, conns=conns)}


def test_counters_become_differences_over_restarts_of_haproxy_and_of_the_agent(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "stats_counters.json")
    first = counters.differences(absolute(100, conns=5))["L"]
    assert (first.rx, first.tx, first.conns) == (100, 200, 5)
    assert counters.differences(absolute(130, conns=7))["L"].rx == 30
    again = Counters(tmp_path / "stats_counters.json")
    assert again.differences(absolute(150))["L"].rx == 20
    assert again.differences(absolute(8))["L"].rx == 8  # HAProxy has been started again


def test_a_listener_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    counters = Counters(tmp_path / "stats_counters.json")
    counters.differences(absolute(100))
    counters.differences({})
    assert json.loads((tmp_path / "stats_counters.json").read_text()) == {}
    assert counters.differences(absolute(100))["L"].rx == 100


def test_a_damaged_file_of_counters_costs_counts_and_not_the_agent(tmp_path: Path) -> None:
    for damage in ("", "[]", '{"L": 1}', '{"L": {"rx": "x"}}'):
        (tmp_path / "stats_counters.json").write_text(damage)
        assert Counters(tmp_path / "stats_counters.json").differences(absolute(4))["L"].rx == 4
