# SPDX-License-Identifier: Apache-2.0
"""A load balancer with everything that a test changes, and what its clients may then be answered."""

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from octavia.domain.tree import (
    HealthMonitor,
    L7Policy,
    Listener,
    LoadBalancer,
    Member,
    MonitorType,
    PersistenceType,
    Pool,
    Protocol,
    SessionPersistence,
)
from octavia.drivers.certificates.tenant_memory import MemoryTenantCertificates
from tests import pki
from tests.netns.valid import (
    APPLICATION_COOKIE,
    BY_COOKIE,
    BY_SESSION,
    BY_SOURCE,
    COOKIE,
    DATAGRAMS,
    DEFAULT_NAME,
    ENDPOINTS,
    HTTP,
    NAMES,
    OTHER,
    PLAIN,
    POOLS,
    SESSION,
    SIDE,
    SOURCE,
    STREAM,
    TCP,
    TLS,
    UDP,
    WEB,
    Valid,
    eligible,
    keepers,
)
from tests.unit.dataplane import samples

MEMBERS: Final = range(2, 8)  # that a pool may have
STREAMS: Final = tuple(one for one in POOLS if one != DATAGRAMS)  # what HAProxy serves
_PERSISTENCE: Final = {
    COOKIE: SessionPersistence(type=PersistenceType.HTTP_COOKIE),
    SESSION: SessionPersistence(type=PersistenceType.APP_COOKIE, cookie_name=APPLICATION_COOKIE),
    SOURCE: SessionPersistence(type=PersistenceType.SOURCE_IP),
}
_PROTOCOLS: Final = {STREAM: Protocol.TCP, DATAGRAMS: Protocol.UDP}


@dataclass
class Town:
    """A load balancer that changes.

    :ivar store: the certificates that it names.
    """

    rng: random.Random
    lb: LoadBalancer
    ca: pki.Ca
    store: MemoryTenantCertificates = field(default_factory=MemoryTenantCertificates)
    serials: dict[str, str] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        for name in NAMES:
            self.renew(name, name)
        for ref in ("default-1", "default-2"):
            self.renew(ref, DEFAULT_NAME)
        pools = tuple(map(self._new_pool, POOLS))
        secured = {"default_tls_container_ref": "default-1", "sni_container_refs": NAMES[:2]}
        self.lb = replace(
            self.lb,
            pools=pools,
            listeners=(
                samples.listener(1, protocol=Protocol.HTTP, protocol_port=HTTP, default_pool_id=WEB),
                samples.listener(
                    2,
                    protocol=Protocol.TERMINATED_HTTPS,
                    protocol_port=TLS,
                    default_pool_id=WEB,
                    tls_versions=("TLSv1.2", "TLSv1.3"),
                    alpn_protocols=("h2", "http/1.1"),
                    **secured,
                ),
                samples.listener(3, protocol=Protocol.TCP, protocol_port=TCP, default_pool_id=STREAM),
                samples.listener(4, protocol_port=PLAIN, default_pool_id=OTHER),
                samples.listener(5, protocol_port=BY_COOKIE, default_pool_id=COOKIE),
                samples.listener(6, protocol_port=BY_SESSION, default_pool_id=SESSION),
                samples.listener(7, protocol_port=BY_SOURCE, default_pool_id=SOURCE),
                samples.listener(8, protocol=Protocol.UDP, protocol_port=UDP, default_pool_id=DATAGRAMS),
            ),
        )

    def _new_pool(self, pool_id: str) -> Pool:
        pool = samples.pool(
            POOLS.index(pool_id) + 1,
            members=(),
            protocol=_PROTOCOLS.get(pool_id, Protocol.HTTP),
            session_persistence=_PERSISTENCE.get(pool_id),
        )
        pool = replace(pool, health_monitor=None if pool_id == OTHER else patient_monitor(pool, 10))
        for _ in range(4):
            pool = replace(pool, members=(*pool.members, self.new_member(pool)))
        return pool

    def new_member(self, pool: Pool) -> Member:
        """One of an endpoint that the pool has not got."""
        address, port = self.free_endpoint(pool)
        name = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
        weight = self.rng.choice((1, 1, 2, 5))
        return replace(samples.member(address=address, protocol_port=port, weight=weight), id=name)

    def free_endpoint(self, pool: Pool) -> tuple[str, int]:
        used = {(one.address, one.protocol_port) for one in pool.members}
        return self.rng.choice([one for one in ENDPOINTS[pool.id] if one not in used])

    def renew(self, ref: str, name: str) -> None:
        issued = self.ca.issue(name)
        self.store.keep(pki.tenant(issued), ref)
        self.serials[ref] = issued.serial

    @property
    def valid(self) -> Valid:
        """What is valid once the load balancer as it is now is live."""
        http, secured = self.lb.listeners[:2]
        default = self.serials[str(secured.default_tls_container_ref)]
        certificates = dict.fromkeys((DEFAULT_NAME, *NAMES), default)
        certificates |= {name: self.serials[name] for name in secured.sni_container_refs}
        members = {pool.id: eligible(pool) for pool in self.lb.pools}
        keeping = {pool.id: keepers(pool) for pool in self.lb.pools}
        return Valid(members, keeping, http.l7_policies, certificates)

    @property
    def side(self) -> tuple[Listener, ...]:
        """The listeners beside those under load."""
        return tuple(one for one in self.lb.listeners if one.protocol_port in SIDE)

    # --- writing --------------------------------------------------------------------------------------

    def put_members(self, pool: Pool, *members: Member) -> bool:
        """Give a pool these, if at least two of them can serve."""
        changed = replace(pool, members=members)
        able = [one for one in members if one.admin_state_up and one.weight > 0]
        if len(able) < 2 or len(members) not in MEMBERS or changed == pool:
            return False
        self.lb = self.lb.with_pool(changed)
        return True

    def pick(self, pool_ids: Sequence[str]) -> Pool:
        """One of these."""
        return self.rng.choice([one for one in self.lb.pools if one.id in pool_ids])

    def alter_member(
        self, make: Callable[[Pool, Member], dict[str, Any]], pool_ids: Sequence[str] = STREAMS
    ) -> bool:
        """Another form of one of the members of these pools."""
        pool = self.pick(pool_ids)
        chosen = self.rng.choice(pool.members)
        altered = replace(chosen, **make(pool, chosen))
        return self.put_members(pool, *(altered if one is chosen else one for one in pool.members))

    def alter_listener(self, number: int, **fields: Any) -> bool:
        changed = replace(self.lb.listeners[number], **fields)
        if changed == self.lb.listeners[number]:
            return False
        self.lb = self.lb.with_listener(changed)
        return True

    def put_policies(self, *policies: L7Policy) -> bool:
        """Give the HTTP listener these, numbered anew."""
        numbered = tuple(replace(one, position=at) for at, one in enumerate(policies, 1))
        return self.alter_listener(0, l7_policies=numbered)


def patient_monitor(pool: Pool, delay: int) -> HealthMonitor:
    """A slow machine must not look to it like a sick member."""
    datagrams = pool.protocol is Protocol.UDP
    return samples.monitor(
        MonitorType.UDP_CONNECT if datagrams else MonitorType.TCP,
        POOLS.index(pool.id) + 1,
        delay=delay,
        timeout=1 if datagrams else delay,  # silence is health
        max_retries=1,
        max_retries_down=10,
    )
