# SPDX-License-Identifier: Apache-2.0
"""What a PROMETHEUS listener leads to (contract: data-plane.md section 3, amphora-agent.md section 14).

A listener's requests go to a proxy inside the amphora, which asks HAProxy's own exporter and gives its
metrics their documented names. The sections are here; the names are in
:mod:`octavia.dataplane.haproxy.metrics`, the proxy is the amphora agent's.
"""

from typing import Final

from octavia.dataplane.haproxy.model import Directive, Section

SINCE: Final = (2, 0)  # HAProxy's version
EXPORTER: Final = ("127.0.0.1", 9101)
PROXY: Final = ("127.0.0.1", 9102)
BACKEND: Final = "prometheus-exporter-internal"
FRONTEND: Final = "prometheus-exporter-internal-endpoint"
CONNECTIONS: Final = 32  # at once, inside; whoever measures is seldom

_ROWS: Final = (
    ("no", "log"),
    ("maxconn", str(CONNECTIONS)),
    ("bind", f"{EXPORTER[0]}:{EXPORTER[1]}"),
    ("mode", "http"),
    ("timeout", "http-request", "5s"),
    ("timeout", "client", "5s"),
    ("http-request", "use-service", "prometheus-exporter", "if", "{", "path", "/metrics", "}"),
    ("http-request", "reject"),
)
_BACKEND_ROWS: Final = (
    ("mode", "http"),
    ("balance", "first"),
    ("timeout", "connect", "5s"),
    ("timeout", "server", "5s"),
    ("server", "prometheus-internal", f"{PROXY[0]}:{PROXY[1]}"),
)

SECTIONS: Final = (
    Section(("frontend", FRONTEND), tuple(map(Directive, _ROWS))),
    Section(("backend", BACKEND), tuple(map(Directive, _BACKEND_ROWS))),
)
"""Once a load balancer that has such a listener."""
