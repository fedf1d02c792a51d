# SPDX-License-Identifier: Apache-2.0
"""From the load balancer tree to its UDP and SCTP listeners (contract: data-plane.md sections 1 and 9)."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final
from urllib.parse import quote

from octavia.dataplane.l4 import model
from octavia.domain import tree
from octavia.domain.protocols import DATAGRAMS
from octavia.domain.statuses import ProvisioningStatus
from octavia.domain.tree import LoadBalancer, PersistenceType, Resource

_GONE: Final = frozenset({ProvisioningStatus.PENDING_DELETE, ProvisioningStatus.DELETED})
# What else is in a path is percent-encoded (RFC 3987 section 3.1).
_ASCII: Final = "".join(map(chr, range(0x20, 0x7F)))
_CODES: Final = re.compile(r"(\d{3})(?:-(\d{3}))?")


@dataclass(frozen=True, slots=True)
class Built:
    """What the amphorae should serve.

    :param config: None when there is nothing.
    :param refused: objects that nothing could be made of and that are left out, with the reason.
    """

    config: model.L4Config | None
    refused: dict[str, str] = field(default_factory=dict)


def build(lb: LoadBalancer, *, excluded: Collection[str] = frozenset()) -> Built:
    """The UDP and SCTP listeners of a load balancer; one that is disabled serves none.

    :param excluded: ids of listeners, pools, members and monitors to leave out.
    """
    return _Building(lb, excluded).built()


class _Building:
    """One call of :func:`build`."""

    def __init__(self, lb: LoadBalancer, excluded: Collection[str]) -> None:
        self._lb = lb
        self._excluded = excluded
        self._refused: dict[str, str] = {}

    def built(self) -> Built:
        lb = self._lb
        if lb.provisioning_status in _GONE or lb.leaving:
            return Built(None)
        wanted = [one for one in lb.listeners if one.protocol in DATAGRAMS and self._stays(one)]
        pools: dict[str, model.Pool] = {}
        for listener in wanted:
            pool = lb.pool(listener.default_pool_id)
            if pool and pool.id not in pools and self._stays(pool) and (made := self._pool(pool)):
                pools[pool.id] = made
        listeners = [opened for one in wanted if (opened := self._listener(one, pools))]
        if not listeners:
            return Built(None, self._refused)
        vips = tuple(map(model.canonical, lb.vip_addresses))
        config = model.L4Config(
            load_balancer_id=lb.id,
            vips=vips,
            listeners=tuple(listeners),
            pools=tuple(pools.values()),
            streams=any(one.protocol not in DATAGRAMS for one in lb.listeners),
        )
        return Built(config, self._refused)

    def _stays(self, one: Resource) -> bool:
        return not (one.leaving or one.provisioning_status in _GONE or one.id in self._excluded)

    def _listener(self, one: tree.Listener, pools: dict[str, model.Pool]) -> model.Listener | None:
        try:
            return model.Listener(
                id=one.id,
                protocol=one.protocol.value,
                port=one.protocol_port,
                enabled=one.admin_state_up and self._lb.admin_state_up,
                connection_limit=one.connection_limit if (one.connection_limit or 0) > 0 else None,
                allowed_cidrs=tuple(str(ip_network(cidr, strict=False)) for cidr in one.allowed_cidrs),
                pool_id=one.default_pool_id if one.default_pool_id in pools else None,
            )
        except ValueError as error:
            self._refused[one.id] = str(error)
            return None

    def _pool(self, one: tree.Pool) -> model.Pool | None:
        try:
            return model.Pool(
                id=one.id,
                algorithm=one.lb_algorithm.value,
                enabled=one.admin_state_up,
                persistence=_persistence(one),
                check=self._check(one.health_monitor),
                members=tuple(
                    made
                    for member in one.members
                    if self._stays(member) and (made := self._member(member)) is not None
                ),
            )
        except ValueError as error:
            self._refused[one.id] = str(error)
            return None

    def _check(self, one: tree.HealthMonitor | None) -> model.Check | None:
        if one is None or not one.admin_state_up or not self._stays(one):
            return None
        try:
            return model.Check(
                id=one.id,
                type=one.type.value,
                delay=one.delay,
                timeout=one.timeout,
                rise=one.max_retries,
                fall=one.max_retries_down,
                http_method=one.http_method or "GET",
                url_path=quote(one.url_path or "/", safe=_ASCII),
                http_version=str(one.http_version or "1.0"),
                domain_name=one.domain_name,
                expected_codes=_codes(one.expected_codes or "200"),
            )
        except ValueError as error:
            self._refused[one.id] = str(error)
            return None

    def _member(self, one: tree.Member) -> model.Member | None:
        try:
            return model.Member(
                id=one.id,
                address=model.canonical(one.address),
                port=one.protocol_port,
                weight=one.weight,
                backup=one.backup,
                enabled=one.admin_state_up,
                monitor_address=model.canonical(one.monitor_address) if one.monitor_address else None,
                monitor_port=one.monitor_port,
            )
        except ValueError as error:
            self._refused[one.id] = str(error)
            return None


def _persistence(pool: tree.Pool) -> model.Persistence | None:
    wanted = pool.session_persistence
    if wanted is None or wanted.type is not PersistenceType.SOURCE_IP:
        return None
    granularity = wanted.persistence_granularity
    return model.Persistence(
        timeout=wanted.persistence_timeout or model.DEFAULT_PERSISTENCE_SECONDS,
        granularity=model.canonical(granularity) if granularity else None,
    )


def _codes(text: str) -> tuple[int, ...]:
    found: set[int] = set()
    for word in text.split(","):
        matched = _CODES.fullmatch(word.strip())
        if not matched:
            raise model.BadModel(f"expected_codes {text!r} are no status codes")
        first = int(matched[1])
        found.update(range(first, int(matched[2] or first) + 1))
    return tuple(sorted(found))
