# SPDX-License-Identifier: Apache-2.0
"""A pool as a ``backend``, once a listener that uses it (contract: data-plane.md sections 4 and 5).

Its members are in :mod:`octavia.dataplane.haproxy.members`.
"""

from collections.abc import Iterator
from typing import Final

from octavia.dataplane.haproxy import members, values
from octavia.dataplane.haproxy.context import Context, backend_name, directives, mode, pool_mode, section
from octavia.dataplane.haproxy.model import Section, UnsafeWord
from octavia.dataplane.haproxy.values import Unrenderable
from octavia.domain.tree import Algorithm, Listener, PersistenceType, Pool, Protocol

_TLS_HEADERS: Final = {
    "X-SSL-Client-Verify": "%[ssl_c_verify]",
    "X-SSL-Client-Has-Cert": "%[ssl_c_used]",
    "X-SSL-Client-DN": "%{+Q}[ssl_c_s_dn]",
    "X-SSL-Client-CN": "%{+Q}[ssl_c_s_dn(cn)]",
    "X-SSL-Issuer": "%{+Q}[ssl_c_i_dn]",
    "X-SSL-Client-SHA1": "%[ssl_c_sha1,hex]",
    "X-SSL-Client-Not-Before": "%[ssl_c_notbefore]",
    "X-SSL-Client-Not-After": "%[ssl_c_notafter]",
}
_BALANCE: Final = {
    Algorithm.ROUND_ROBIN: "roundrobin",
    Algorithm.LEAST_CONNECTIONS: "leastconn",
    Algorithm.SOURCE_IP: "source",
}


def backend(context: Context, pool: Pool, listener: Listener) -> Section | None:
    """One pool as one listener uses it; None if the pool cannot be rendered."""
    name = backend_name(pool, listener)
    try:
        pooled = section(("backend", name), pool.id, _pool_rows(context, pool, listener))
        check = members.monitor_rows(context, pool)
        headers = directives(_header_rows(context, pool, listener), listener.id)
        limits = directives(_limit_rows(context, listener), listener.id)
    except (Unrenderable, UnsafeWord) as error:
        context.refused[pool.id] = str(error)
        return None
    servers = tuple(members.servers(context, pool, listener))
    return Section(
        pooled.words, (*pooled.directives, *check, *headers, *limits, *servers), owner=pooled.owner
    )


def _pool_rows(context: Context, pool: Pool, listener: Listener) -> Iterator[tuple[str, ...]]:
    mode = pool_mode(pool, listener)
    yield ("mode", mode)
    if mode == "http":
        yield ("http-reuse", "safe")
    algorithm = _BALANCE.get(pool.lb_algorithm, "roundrobin")
    yield ("balance", algorithm)
    if algorithm == "source":
        yield ("hash-type", "consistent")
    yield from _persistence_rows(context, pool, listener)
    yield ("option", "allbackups")


def _persistence_rows(context: Context, pool: Pool, listener: Listener) -> Iterator[tuple[str, ...]]:
    persistence = pool.session_persistence
    if persistence is None:
        return
    size = ("size", values.stick_size(context.settings.stick_size))
    peers = ("peers", context.peers_name) if context.has_peers() else ()
    if persistence.type == PersistenceType.SOURCE_IP:
        yield ("stick-table", "type", "ipv6", *size, *peers)
        yield ("stick", "on", "src")
    elif pool_mode(pool, listener) != "http":
        return  # there are no cookies in a stream of bytes
    elif persistence.type == PersistenceType.APP_COOKIE:
        cookie = values.cookie_name(persistence.cookie_name)
        yield ("stick-table", "type", "string", "len", "64", *size, *peers)
        yield ("stick", "store-response", f"res.cook({cookie})")
        yield ("stick", "match", f"req.cook({cookie})")
    else:
        yield ("cookie", "SRV", "insert", "indirect", "nocache", "dynamic")
        # The same on every amphora of the load balancer. It hides the addresses of members
        # from their clients, who do not know the pool's id.
        yield ("dynamic-cookie-key", pool.id)


def _header_rows(context: Context, pool: Pool, listener: Listener) -> Iterator[tuple[str, ...]]:
    if mode(listener) != "http" or pool_mode(pool, listener) != "http":
        return
    if pool.protocol == Protocol.HTTP and _wants_header(listener, "X-Forwarded-For"):
        yield ("option", "forwardfor")
    if pool.protocol == Protocol.HTTP and _wants_header(listener, "X-Forwarded-Port"):
        yield ("http-request", "set-header", "X-Forwarded-Port", "%[dst_port]")
    if _wants_header(listener, "X-Forwarded-Proto"):
        scheme = "http" if listener.protocol == Protocol.HTTP else "https"
        yield ("http-request", "set-header", "X-Forwarded-Proto", scheme)
    if listener.protocol is Protocol.TERMINATED_HTTPS:
        for header, value in _TLS_HEADERS.items():
            if _wants_header(listener, header):
                yield ("http-request", "set-header", header, value)


def _limit_rows(context: Context, listener: Listener) -> Iterator[tuple[str, ...]]:
    connect_ms = listener.timeout_member_connect or context.settings.timeout_member_connect_ms
    server_ms = listener.timeout_member_data or context.settings.timeout_member_data_ms
    yield ("fullconn", str(context.connection_limit(listener)))
    yield ("timeout", "connect", str(connect_ms))
    yield ("timeout", "server", str(server_ms))


def _wants_header(listener: Listener, header: str) -> bool:
    return str(listener.insert_headers.get(header, "")).lower() == "true"
