# SPDX-License-Identifier: Apache-2.0
"""HAProxy's metrics under their documented names (contract: amphora-agent.md section 14)."""

import pytest

from octavia.dataplane.haproxy.metrics import NAMES, counter, counters, gauge, renamed


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("haproxy_process_max_connections 7", "octavia_loadbalancer_max_connections 7"),
        ("haproxy_process_pool_used_bytes 7", "octavia_memory_pool_used_bytes 7"),
        (
            'haproxy_frontend_status{proxy="L",state="UP"} 1',
            'octavia_listener_status{listener="L",state="UP"} 1',
        ),
        ('haproxy_backend_bytes_in_total{proxy="P:L"} 1', 'octavia_pool_bytes_in_total{pool="P:L"} 1'),
        ('haproxy_backend_active_servers{proxy="P:L"} 1', 'octavia_pool_active_members{pool="P:L"} 1'),
        ('haproxy_backend_backup_servers{proxy="P:L"} 1', 'octavia_pool_backup_members{pool="P:L"} 1'),
        ('haproxy_backend_server_aborts_total{proxy="P"} 1', 'octavia_pool_member_aborts_total{pool="P"} 1'),
        (
            'haproxy_server_server_aborts_total{proxy="P:L",server="M"} 1',
            'octavia_member_server_aborts_total{pool="P:L",member="M"} 1',
        ),
        (
            'haproxy_frontend_http_responses_total{proxy="L",code="2xx"} 1',
            'octavia_listener_http_responses_total{listener="L",code="2xx"} 1',
        ),
        (
            "# TYPE haproxy_server_weight gauge",
            "# TYPE octavia_member_weight gauge",
        ),
        (
            "# HELP haproxy_backend_status Current status of the service, per state label value.",
            "# HELP octavia_pool_status Current status of the service, per state label value.",
        ),
        (
            "# HELP haproxy_backend_active_servers Total number of active UP servers with a non-zero weight",
            "# HELP octavia_pool_active_members Total number of active UP members with a non-zero weight",
        ),
    ],
)
def test_a_line_is_told_under_its_documented_name(theirs: str, ours: str) -> None:
    assert list(renamed([theirs])) == [ours]


@pytest.mark.parametrize(
    "line",
    [
        "haproxy_process_nbthread 4",
        "# HELP haproxy_process_nbthread Number of started threads",
        'haproxy_frontend_status{proxy="prometheus-exporter-internal-endpoint",state="UP"} 1',
        'haproxy_server_weight{proxy="prometheus-exporter-internal",server="prometheus-internal"} 1',
        "haproxy_exporter_something 1",
        "",
        "nonsense",
        "# nonsense",
    ],
)
def test_what_is_not_documented_is_left_out(line: str) -> None:
    assert list(renamed([line])) == []


def test_all_documented_metrics_have_a_name_of_their_own() -> None:
    assert len(NAMES) == 31 + 27 + 44 + 40
    ours = [name for name, _ in NAMES.values()]
    assert len(set(ours)) == len(ours)


def test_metrics_of_our_own_are_whole() -> None:
    assert list(gauge("g", "About.", 12.345)) == ["# HELP g About.", "# TYPE g gauge", "g 12.3"]
    assert list(counter("c", "About.", 3)) == ["# HELP c About.", "# TYPE c counter", "c 3"]
    assert list(counters("c", "About.", "why", {"a": 1, "b": 0})) == [
        "# HELP c About.",
        "# TYPE c counter",
        'c{why="a"} 1',
        'c{why="b"} 0',
    ]
