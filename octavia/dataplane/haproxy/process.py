# SPDX-License-Identifier: Apache-2.0
"""What concerns the whole process: ``global``, ``defaults``, ``peers``.

Contract: data-plane.md section 2.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from octavia.dataplane.haproxy import prometheus
from octavia.dataplane.haproxy.context import Context
from octavia.dataplane.haproxy.model import Directive, Section
from octavia.dataplane.haproxy.peer import PEER_PORT, peer_name
from octavia.domain.tree import Listener, Protocol, Topology

MAX_CONNECTIONS: Final = 1_000_000
CONNECTION_KB: Final = 32
WORTHWHILE_CACHE_KB: Final = 5000
BLOCKS_PER_KB: Final = 4
MAX_BLOCKS: Final = 2**31 - 1  # HAProxy reads more as a negative number
MAX_THREADS: Final = 63  # HAProxy before 2.7 has at most 64, and CPUs from 0 to 63


def global_section(context: Context, enabled: Sequence[Listener], proxies: Sequence[Section]) -> Section:
    """``global``.

    :param enabled: the listeners that are open.
    :param proxies: all frontends and backends.
    """
    settings, base = context.settings, f"{context.settings.base_path}/{context.lb.id}"
    rows: list[tuple[str, ...]] = []
    if settings.user:
        rows.append(("user", settings.user))
    if settings.log_socket:
        # A long URL must not cut off what stands behind it; rsyslog takes no more.
        rows.append(("log", settings.log_socket, "len", "8192", f"local{settings.user_log_facility}"))
        facility = f"local{settings.administrative_log_facility}"
        rows.append(("log", settings.log_socket, facility, "notice"))
    rows.append(
        ("stats", "socket", f"{base}.sock", "mode", "0600", "level", "admin", "expose-fd", "listeners")
    )
    rows.append(("server-state-file", f"{base}/servers-state"))
    total = sum(context.connection_limit(listener) for listener in enabled)
    if any(one.protocol is Protocol.PROMETHEUS for one in enabled):
        total += prometheus.CONNECTIONS
    if context.version >= (2, 1):
        # Where fewer file descriptors are to be had, fewer connections beat not starting.
        rows.append(("no", "strict-limits"))
    connections = total if 0 < total < MAX_CONNECTIONS else MAX_CONNECTIONS
    rows.append(("maxconn", str(connections)))
    rows.extend(_machine(context, enabled, connections))
    if any(row.words == ("option", "external-check") for one in proxies for row in one.directives):
        rows.append(("external-check",))
        if context.version >= (2, 2):
            rows.append(("insecure-fork-wanted",))
    return Section(("global",), tuple(map(Directive, rows)))


def _machine(context: Context, enabled: Sequence[Listener], connections: int) -> Iterator[tuple[str, ...]]:
    """What follows from the machine: nothing else may, for whatever changes here is a reload."""
    amphora = context.amphora
    if amphora is None:
        return
    if amphora.memory_kb is not None and any(one.protocol is Protocol.TERMINATED_HTTPS for one in enabled):
        cache_kb = (amphora.memory_kb - CONNECTION_KB * connections) * 2 // 5
        if cache_kb > WORTHWHILE_CACHE_KB:
            yield ("tune.ssl.cachesize", str(min(cache_kb * BLOCKS_PER_KB, MAX_BLOCKS)))
    if amphora.isolated_cpus:
        threads = min(amphora.isolated_cpus, MAX_THREADS)
        yield ("nbthread", str(threads))
        # HAProxy 2.6 does not pin the only thread of a process by its number.
        yield ("cpu-map", f"auto:1/1-{threads}" if threads > 1 else "1/all", f"1-{threads}")


def defaults_section(context: Context) -> Section:
    """``defaults``."""
    # Not splice-auto: over TCP it copies long streams all the same (measured with HAProxy 2.6).
    options = ("redispatch", "splice-request", "splice-response", "http-keep-alive")
    rows: list[tuple[str, ...]] = [("log", "global") if context.settings.logs_connections else ("no", "log")]
    rows.append(("retries", "3"))
    rows.extend(("option", option) for option in options)
    return Section(("defaults",), tuple(map(Directive, rows)))


def peers_section(context: Context) -> Section:
    """Who exchanges stick tables."""
    rows = []
    for one in context.peers():
        if context.lb.topology == Topology.ACTIVE_STANDBY or one.id == context.amphora_id:
            rows.append(Directive(("peer", peer_name(one.id), f"{one.vrrp_ip}:{PEER_PORT}")))
    return Section(("peers", context.peers_name), tuple(rows))
