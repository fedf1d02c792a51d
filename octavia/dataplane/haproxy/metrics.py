# SPDX-License-Identifier: Apache-2.0
"""HAProxy's metrics under their documented names (contract: amphora-agent.md section 14).

The table is the whole list: what HAProxy tells beyond it, and the proxies that are there for measuring
alone, are left out. Pure: text in, text out; serving it is the amphora agent's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_PROCESS: Final = """
pool_allocated_bytes pool_used_bytes pool_failures_total max_connections current_connections
connections_total requests_total max_ssl_connections current_ssl_connections ssl_connections_total
current_connection_rate limit_connection_rate max_connection_rate current_session_rate
limit_session_rate max_session_rate current_ssl_rate limit_ssl_rate max_ssl_rate
current_frontend_ssl_key_rate max_frontend_ssl_key_rate frontend_ssl_reuse current_backend_ssl_key_rate
max_backend_ssl_key_rate ssl_cache_lookups_total ssl_cache_misses_total http_comp_bytes_in_total
http_comp_bytes_out_total limit_http_comp listeners dropped_logs_total
"""

_FRONTEND: Final = """
status current_sessions max_sessions limit_sessions sessions_total limit_session_rate max_session_rate
connections_rate_max connections_total bytes_in_total bytes_out_total requests_denied_total
responses_denied_total request_errors_total denied_connections_total denied_sessions_total
failed_header_rewriting_total http_requests_rate_max http_requests_total http_responses_total
intercepted_requests_total http_cache_lookups_total http_cache_hits_total http_comp_bytes_in_total
http_comp_bytes_out_total http_comp_bytes_bypassed_total http_comp_responses_total
"""

_BACKEND: Final = """
status current_sessions max_sessions limit_sessions sessions_total max_session_rate last_session_seconds
current_queue max_queue connection_attempts_total connection_reuses_total bytes_in_total bytes_out_total
queue_time_average_seconds connect_time_average_seconds response_time_average_seconds
total_time_average_seconds max_queue_time_seconds max_connect_time_seconds max_response_time_seconds
max_total_time_seconds requests_denied_total responses_denied_total connection_errors_total
response_errors_total retry_warnings_total redispatch_warnings_total failed_header_rewriting_total
client_aborts_total server_aborts_total active_servers backup_servers check_up_down_total
check_last_change_seconds downtime_seconds_total loadbalanced_total http_requests_total
http_responses_total http_cache_lookups_total http_cache_hits_total http_comp_bytes_in_total
http_comp_bytes_out_total http_comp_bytes_bypassed_total http_comp_responses_total
"""

_SERVER: Final = """
status current_sessions max_sessions limit_sessions sessions_total max_session_rate last_session_seconds
current_queue max_queue queue_limit bytes_in_total bytes_out_total queue_time_average_seconds
connect_time_average_seconds response_time_average_seconds total_time_average_seconds
max_queue_time_seconds max_connect_time_seconds max_response_time_seconds max_total_time_seconds
connection_attempts_total connection_reuses_total responses_denied_total connection_errors_total
response_errors_total retry_warnings_total redispatch_warnings_total failed_header_rewriting_total
client_aborts_total server_aborts_total weight check_failures_total check_up_down_total
downtime_seconds_total check_last_change_seconds current_throttle loadbalanced_total
http_responses_total idle_connections_current idle_connections_limit
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What HAProxy measures of one kind of thing.

    :param suffixes: of HAProxy's names; a name not in it is not told.
    :param labels: HAProxy's to ours; their values stay.
    :param renamed: suffixes that differ.
    """

    prefix: str
    suffixes: str
    labels: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)


_KINDS: Final[Mapping[str, _Kind]] = {
    "haproxy_process_": _Kind("octavia_loadbalancer_", _PROCESS),
    "haproxy_frontend_": _Kind("octavia_listener_", _FRONTEND, {"proxy": "listener"}),
    "haproxy_backend_": _Kind(
        "octavia_pool_",
        _BACKEND,
        {"proxy": "pool"},
        {
            "server_aborts_total": "member_aborts_total",
            "active_servers": "active_members",
            "backup_servers": "backup_members",
        },
    ),
    "haproxy_server_": _Kind("octavia_member_", _SERVER, {"proxy": "pool", "server": "member"}),
}
_OF_MEMORY: Final = {
    f"haproxy_process_pool_{rest}": f"octavia_memory_pool_{rest}"
    for rest in ("allocated_bytes", "used_bytes", "failures_total")
}


def _names() -> Iterator[tuple[str, tuple[str, _Kind]]]:
    for prefix, kind in _KINDS.items():
        for suffix in kind.suffixes.split():
            ours = kind.prefix + kind.renamed.get(suffix, suffix)
            yield prefix + suffix, (_OF_MEMORY.get(prefix + suffix, ours), kind)


NAMES: Final[Mapping[str, tuple[str, _Kind]]] = dict(_names())
"""HAProxy's name to ours, and what it is about."""

_COMMENT: Final = re.compile(r"# (HELP|TYPE) (\w+) (.*)")
_SAMPLE: Final = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_OURS: Final = {"frontend": "listener", "backend": "pool", "server": "member"}
_THEIRS: Final = re.compile(r"\b(frontend|backend|server)(s?)\b")
_OWN_PROXIES: Final = "prometheus-exporter"


def renamed(lines: Iterable[str]) -> Iterator[str]:
    """The exporter's text, a line at a time and without line ends, as ours."""
    for line in lines:
        if _OWN_PROXIES in line:
            continue
        told = _comment(line) if line.startswith("#") else _sample(line)
        if told:
            yield told


def gauge(name: str, about: str, value: float) -> Iterator[str]:
    """Three lines of a metric of our own."""
    yield from _own(name, about, "gauge", f"{value:.1f}")


def counter(name: str, about: str, value: int) -> Iterator[str]:
    """As :func:`gauge`."""
    yield from _own(name, about, "counter", str(value))


def counters(name: str, about: str, label: str, values: Mapping[str, int]) -> Iterator[str]:
    """As :func:`counter`, one for each value of a label.

    :param values: by words that need no quoting.
    """
    samples = (f'{name}{{{label}="{word}"}} {value}' for word, value in values.items())
    yield from _described(name, about, "counter", *samples)


def _own(name: str, about: str, kind: str, value: str) -> Iterator[str]:
    yield from _described(name, about, kind, f"{name} {value}")


def _described(name: str, about: str, kind: str, *samples: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    yield from samples


def _comment(line: str) -> str | None:
    found = _COMMENT.fullmatch(line)
    if not found or found[2] not in NAMES:
        return None
    text = found[3] if found[1] == "TYPE" else _THEIRS.sub(lambda one: _OURS[one[1]] + one[2], found[3])
    return f"# {found[1]} {NAMES[found[2]][0]} {text}"


def _sample(line: str) -> str | None:
    found = _SAMPLE.fullmatch(line)
    if not found or found[1] not in NAMES:
        return None
    name, kind = NAMES[found[1]]
    labels = ",".join(
        f'{kind.labels.get(key, key)}="{value}"' for key, value in _LABEL.findall(found[2] or "")
    )
    return f"{name}{{{labels}}} {found[3]}" if labels else f"{name} {found[3]}"
