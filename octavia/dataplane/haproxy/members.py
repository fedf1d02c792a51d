# SPDX-License-Identifier: Apache-2.0
"""Members as ``server`` lines, and how they are monitored (contract: data-plane.md section 4)."""

from collections.abc import Iterator, Sequence

from octavia.dataplane.haproxy import tls, values
from octavia.dataplane.haproxy.context import (
    MONITORED_BY_HTTP,
    MONITORED_OVER_TLS,
    PROXY,
    Context,
    directives,
)
from octavia.dataplane.haproxy.model import Directive, UnsafeWord
from octavia.dataplane.haproxy.values import Unrenderable
from octavia.domain.tree import HealthMonitor, Listener, Member, MonitorType, Pool, Protocol


def monitor_rows(context: Context, pool: Pool) -> tuple[Directive, ...]:
    """What the monitor adds to the backend; a monitor that cannot be rendered is as absent."""
    monitor = context.monitor(pool)
    if monitor is None:
        return ()
    try:
        _check_words(context, monitor, pool)
        return directives(_check_rows(context, monitor), monitor.id)
    except (Unrenderable, UnsafeWord) as error:
        context.refused[monitor.id] = str(error)
        return ()


def _check_rows(context: Context, monitor: HealthMonitor) -> Iterator[tuple[str, ...]]:
    yield ("timeout", "check", values.seconds(monitor.timeout, "timeout"))
    yield ("load-server-state-from-file", "global")
    if monitor.type in MONITORED_BY_HTTP:
        yield from _http_check_rows(context, monitor)
    elif monitor.type == MonitorType.PING:
        yield ("option", "external-check")
        yield ("external-check", "command", context.settings.ping_command)


def _http_check_rows(context: Context, monitor: HealthMonitor) -> Iterator[tuple[str, ...]]:
    method = values.http_method(monitor.http_method or "GET")
    path = values.url_path(monitor.url_path or "/")
    http_version = (f"HTTP/{monitor.http_version:.1f}",) if monitor.http_version else ()
    yield ("option", "httpchk", method, path, *http_version)
    # Before 2.2 the header could only be smuggled in behind the version, with a line end.
    if monitor.domain_name and monitor.http_version == 1.1 and context.version >= (2, 2):
        host = values.log_format_literal(values.host_name(monitor.domain_name))
        yield ("http-check", "send", "hdr", "Host", host)
    yield ("http-check", "expect", "rstatus", values.status_pattern(monitor.expected_codes or "200"))


def servers(context: Context, pool: Pool, listener: Listener) -> Iterator[Directive]:
    """A line a member; members that cannot be rendered are among the refused."""
    numbers = values.server_ids(member.id for member in pool.members)
    monitor = context.monitor(pool)
    checked = _check_words(context, monitor, pool) if monitor else None
    spoken = _protocol_words(context, pool, listener)
    for member in pool.members:
        if not context.wanted(member):
            continue
        try:
            words = _server_words(member, checked, spoken)
            yield Directive((*words, "id", str(numbers[member.id])), owner=member.id)
        except (Unrenderable, UnsafeWord) as error:
            context.refused[member.id] = str(error)


def _server_words(member: Member, checked: Sequence[str] | None, spoken: Sequence[str]) -> tuple[str, ...]:
    """The words of a member, between which those stand that all members of its pool have.

    :param checked: how it is monitored; None if it is not.
    :param spoken: how HAProxy talks to it.
    """
    words = ["server", member.id, values.endpoint(member.address, member.protocol_port, "member")]
    words += ["weight", values.count(member.weight, 0, 256, "weight")]
    if checked is not None:
        words += checked
        if member.monitor_address is not None:
            words += ["addr", values.bracketed(member.monitor_address, "monitor address")]
        if member.monitor_port is not None:
            words += ["port", values.port(member.monitor_port, "monitor port")]
    if member.backup:
        words.append("backup")
    if not member.admin_state_up:
        words.append("disabled")
    return (*words, *spoken)


def _protocol_words(context: Context, pool: Pool, listener: Listener) -> list[str]:
    words = []
    if pool.protocol is Protocol.PROXYV2 and listener.protocol is Protocol.TERMINATED_HTTPS:
        words.append("send-proxy-v2-ssl-cn")
    elif pool.protocol in PROXY:
        words.append(PROXY[pool.protocol])
    return words + tls.server_words(pool, context.certificates, context.settings.default_pool_ciphers)


def _check_words(context: Context, monitor: HealthMonitor, pool: Pool) -> list[str]:
    words = ["check", "inter", values.seconds(monitor.delay, "delay")]
    words += ["rise", values.count(monitor.max_retries, 1, 10000, "number of retries")]
    words += ["fall", values.count(monitor.max_retries_down, 1, 10000, "number of retries down")]
    if monitor.type in MONITORED_OVER_TLS:
        words.append("check-ssl")
        # There is one "verify" for checks and traffic: of a pool that speaks TLS it is the pool's.
        words += [] if pool.tls_enabled else ["verify", "none"]
    return words + tls.check_words(pool)
