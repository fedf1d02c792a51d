# SPDX-License-Identifier: Apache-2.0
"""What goes with what: tables of protocols, monitor types and inserted headers.

Contract: api.md sections 7.4 to 7.6 and 10.4. Who reads them is :mod:`octavia.domain.rules`.
"""

from collections.abc import Mapping
from typing import Final

from octavia.domain.tree import MonitorType as M
from octavia.domain.tree import Protocol as P

POOLS_OF_LISTENER: Final[Mapping[P, frozenset[P]]] = {
    P.TCP: frozenset({P.HTTP, P.HTTPS, P.PROXY, P.PROXYV2, P.TCP}),
    P.HTTP: frozenset({P.HTTP, P.PROXY, P.PROXYV2}),
    P.HTTPS: frozenset({P.HTTPS, P.PROXY, P.PROXYV2, P.TCP}),
    P.TERMINATED_HTTPS: frozenset({P.HTTP, P.PROXY, P.PROXYV2}),
    P.UDP: frozenset({P.UDP}),
    P.SCTP: frozenset({P.SCTP}),
    P.PROMETHEUS: frozenset(),
}

LISTENER_PROTOCOLS: Final = tuple(POOLS_OF_LISTENER)
POOL_PROTOCOLS: Final = (P.TCP, P.HTTP, P.HTTPS, P.PROXY, P.PROXYV2, P.UDP, P.SCTP)

DATAGRAMS: Final = frozenset({P.UDP, P.SCTP})
"""Protocols that have no stream to look into: no cookies, no headers, no TLS."""

_STREAM_MONITORS: Final = (M.HTTP, M.HTTPS, M.PING, M.TCP, M.TLS_HELLO)
_DATAGRAM_MONITORS: Final = (M.UDP_CONNECT, M.SCTP, M.TCP, M.HTTP)

HTTP_MONITORS: Final = frozenset({M.HTTP, M.HTTPS})
"""Monitors that send an HTTP request."""


def monitors_of_pool(protocol: P) -> tuple[M, ...]:
    """The monitor types that a pool of this protocol can have."""
    return _DATAGRAM_MONITORS if protocol in DATAGRAMS else _STREAM_MONITORS


def family(protocol: P) -> str:
    """Listeners of one family cannot share a port: there is one socket for it."""
    return protocol.value if protocol in DATAGRAMS else "TCP"


HEADERS: Final = frozenset(
    {
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
        "X-Forwarded-IP",
        "X-Client-IP",
        "X-Real-IP",
    }
)
TLS_HEADERS: Final = frozenset(
    {
        "X-SSL-Client-Verify",
        "X-SSL-Client-Has-Cert",
        "X-SSL-Client-DN",
        "X-SSL-Client-CN",
        "X-SSL-Issuer",
        "X-SSL-Client-SHA1",
        "X-SSL-Client-Not-Before",
        "X-SSL-Client-Not-After",
    }
)
"""Headers that only a listener that terminates TLS can fill."""

HEADERS_OF_LISTENER: Final[Mapping[P, frozenset[str]]] = {
    P.HTTP: HEADERS,
    P.TERMINATED_HTTPS: HEADERS | TLS_HEADERS,
}
