# SPDX-License-Identifier: Apache-2.0
"""What is being rendered, and for whom: what of a load balancer an amphora serves, and what is left out.

Shared by the modules that make the sections; the text is put together in
:mod:`octavia.dataplane.haproxy.render`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from octavia.dataplane.haproxy import tls, values
from octavia.dataplane.haproxy.model import Directive, Section
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import (
    Amphora,
    HealthMonitor,
    Listener,
    LoadBalancer,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    Resource,
    Topology,
)

SERVED: Final = frozenset(
    {Protocol.HTTP, Protocol.HTTPS, Protocol.TCP, Protocol.TERMINATED_HTTPS, Protocol.PROMETHEUS}
)
GONE: Final = frozenset({ProvisioningStatus.PENDING_DELETE, ProvisioningStatus.DELETED})
PROXY: Final = {Protocol.PROXY: "send-proxy", Protocol.PROXYV2: "send-proxy-v2"}
MONITORED_BY_HTTP: Final = frozenset({MonitorType.HTTP, MonitorType.HTTPS})
MONITORED_OVER_TLS: Final = frozenset({MonitorType.HTTPS, MonitorType.TLS_HELLO})

_HTTP: Final = frozenset({Protocol.HTTP, Protocol.TERMINATED_HTTPS, Protocol.PROMETHEUS})
_MONITORS: Final = MONITORED_BY_HTTP | MONITORED_OVER_TLS | {MonitorType.TCP, MonitorType.PING}


def backend_name(pool: Pool, listener: Listener) -> str:
    """What the backend of a pool is called, for one of the listeners that use it."""
    return f"{pool.id}:{listener.id}"


def mode(listener: Listener) -> str:
    """HAProxy's mode of its frontend."""
    return "http" if listener.protocol in _HTTP else "tcp"


def pool_mode(pool: Pool, listener: Listener) -> str:
    """HAProxy's mode of its backend."""
    if pool.protocol in PROXY:
        return mode(listener)
    return "http" if pool.protocol == Protocol.HTTP else "tcp"


def directives(rows: Iterable[tuple[str, ...]], owner: str) -> tuple[Directive, ...]:
    """Lines that are there for one object."""
    return tuple(Directive(row, owner) for row in rows)


def section(words: tuple[str, ...], owner: str, rows: Iterable[tuple[str, ...]]) -> Section:
    """A section that is there for one object."""
    return Section(words, directives(rows, owner), owner=owner)


@dataclass(slots=True)
class Context:
    """One rendering: its arguments, who was refused, and the files that it names."""

    lb: LoadBalancer
    amphorae: Sequence[Amphora]
    settings: HaproxySettings
    amphora_id: str
    version: tuple[int, int]
    excluded: frozenset[str]
    refused: dict[str, str] = field(default_factory=dict)
    secret_files: dict[tls.SecretFile, None] = field(default_factory=dict)  # in their order, each once
    crt_lists: dict[str, str] = field(default_factory=dict)
    acl_ids: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        policies = [policy for one in self.lb.listeners for policy in one.l7_policies]
        self.acl_ids = values.acl_ids(rule.id for policy in policies for rule in policy.rules)

    @property
    def certificates(self) -> str:
        """The directory of this load balancer's certificates, in the amphora."""
        return f"{self.settings.base_cert_dir}/{self.lb.id}"

    def wanted(self, resource: Resource) -> bool:
        """Is it to be rendered, as far as itself goes?"""
        gone = resource.leaving or resource.provisioning_status in GONE
        return resource.id not in self.excluded and not gone

    def listeners(self) -> list[Listener]:
        """Those that HAProxy serves, or would if they were enabled."""
        return [one for one in self.lb.listeners if self.wanted(one) and one.protocol in SERVED]

    def enabled_listeners(self) -> list[Listener]:
        """Those that are open."""
        return [one for one in self.listeners() if one.admin_state_up and self.lb.admin_state_up]

    def pools(self, listener: Listener) -> list[Pool]:
        """Those that a listener sends traffic to."""
        return [one for one in self.lb.pools_used_by(listener) if self.wanted(one) and one.admin_state_up]

    def monitor(self, pool: Pool) -> HealthMonitor | None:
        """The pool's monitor, if it is one that is served, enabled and in order."""
        monitor = pool.health_monitor
        if monitor is None or not monitor.admin_state_up or not self.wanted(monitor):
            return None
        if monitor.type not in _MONITORS or monitor.id in self.refused:
            return None
        return monitor

    def connection_limit(self, listener: Listener) -> int:
        """Concurrent connections."""
        limit = listener.connection_limit
        return limit if limit and limit > 0 else self.settings.default_connection_limit

    @property
    def amphora(self) -> Amphora | None:
        """Whose configuration this is."""
        return next((one for one in self.amphorae if one.id == self.amphora_id), None)

    @property
    def peers_name(self) -> str:
        """What the section of the peers is called."""
        return f"{self.lb.id.replace('-', '')}_peers"

    def peers(self) -> list[Amphora]:
        """Sorted by id, so that the same pair always makes the same text."""
        return sorted((one for one in self.amphorae if one.is_peer), key=lambda one: one.id)

    def has_peers(self) -> bool:
        """A pair always has; a single amphora talks to itself across a reload, if it has a table."""
        if self.lb.topology == Topology.ACTIVE_STANDBY:
            return bool(self.peers())
        has_own = any(one.id == self.amphora_id for one in self.peers())
        return has_own and any(
            self.has_stick_table(pool, listener)
            for listener in self.enabled_listeners()
            for pool in self.pools(listener)
        )

    def has_stick_table(self, pool: Pool, listener: Listener) -> bool:
        """Is it remembered which member a client has?"""
        persistence = pool.session_persistence
        if persistence is None:
            return False
        by_cookie = persistence.type == PersistenceType.APP_COOKIE
        return persistence.type == PersistenceType.SOURCE_IP or (
            by_cookie and pool_mode(pool, listener) == "http"
        )
