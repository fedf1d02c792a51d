# SPDX-License-Identifier: Apache-2.0
"""Servers and ports that no row owns, and rows of amphorae that no load balancer owns.

A crash between asking a cloud and writing down its answer leaves them. The sweep must never hit what
is just being created, so the cloud is listed *before* the rows are read, and only what is ownerless
in two passes at least an interval apart is deleted. Nor may a wrong or empty database cost a fleet
its life: see :func:`condemned`; nor an older one, put back from a backup, the service of a load balancer
whose amphorae it does not know (``docs/decisions/0012-restored-database.md``).
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import octavia.db.purge as rows
from octavia.db import amphorae, reservations
from octavia.db.engine import Database
from octavia.domain.errors import OctaviaError
from octavia.domain.tree import Amphora
from octavia.drivers.compute.contract import ComputeDriver, Server
from octavia.drivers.network.contract import NetworkDriver, Port, member_port_name, vrrp_port_name

LOG: Final = logging.getLogger(__name__)

_FEW: Final = 10  # below it, shares mean nothing
_SHARE: Final = 0.1  # of what there is, at most this much is deleted in a pass
_TOO_MANY: Final = 0.5  # ownerless: then it is not the resources that are wrong
# So long an amphora that nobody knows may go on serving while its load balancer gets others.
_SPARED: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, order=True)
class Orphan:
    """Something in the cloud; servers sort before the ports that they hold."""

    kind: str  # "1 server", "2 port"
    id: str
    load_balancer_id: str = ""
    amphora_id: str = ""

    def __str__(self) -> str:
        owner = f"amphora {self.amphora_id}" if self.amphora_id else f"load balancer {self.load_balancer_id}"
        return f"{self.kind[2:]} {self.id} of {owner}"


class Leftovers(Protocol):
    """What a driver leaves on its own host: processes, files, interfaces."""

    def __call__(self, known: frozenset[str]) -> Iterable[str]:
        """Remove what is of none of ``known`` (ids of load balancers and amphorae); say what it was."""


def nothing(known: frozenset[str]) -> Iterable[str]:
    """Where drivers leave nothing on their own host."""
    return ()


def orphans(
    servers: Iterable[Server], ports: Iterable[tuple[str, Port]], known: frozenset[str]
) -> list[Orphan]:
    """What belongs to none of the known load balancers, reservations and amphorae."""
    found = [
        Orphan("1 server", one.compute_id, amphora_id=one.amphora_id)
        for one in servers
        if one.amphora_id not in known
    ]
    for load_balancer_id, port in ports:
        amphora_id = _amphora_of(port)
        if amphora_id is None and load_balancer_id not in known:
            found.append(Orphan("2 port", port.id, load_balancer_id))
        elif amphora_id is not None and amphora_id not in known:
            found.append(Orphan("2 port", port.id, load_balancer_id, amphora_id))
    return sorted(found)


def condemned(
    found: Sequence[Orphan], seen: Mapping[Orphan, datetime], listed: int, now: datetime, interval: timedelta
) -> tuple[list[Orphan], str | None]:
    """Which orphans to delete in this pass, and why not more, if there is something to say.

    :param seen: orphans of the previous pass with when they were first seen.
    :param listed: how much there is altogether.
    """
    ripe = [one for one in found if one in seen and now - seen[one] >= interval]
    if len(found) > _FEW and len(found) > listed * _TOO_MANY:
        return [], (
            f"{len(found)} of {listed} servers and ports have no row in this database, so it is not theirs:"
            " nothing is deleted. Check [database] connection; delete them by hand if they are garbage."
        )
    most = max(_FEW, int(listed * _SHARE))
    if len(ripe) > most:
        return ripe[:most], f"{len(ripe)} servers and ports have no owner; {most} are deleted in this pass"
    return ripe, None


class Sweep:
    """One a housekeeping process."""

    def __init__(
        self,
        database: Database,
        compute: ComputeDriver,
        network: NetworkDriver,
        *,
        interval: timedelta = timedelta(seconds=30),
        leftovers: Leftovers = nothing,
    ) -> None:
        self._database = database
        self._compute = compute
        self._network = network
        self._interval = interval
        self._leftovers = leftovers
        self._seen: dict[Orphan, datetime] = {}

    def once(self, now: datetime) -> list[Orphan]:
        """One pass; what was deleted.

        :raises Transient: the cloud or the database cannot be asked; nothing is known to be ownerless.
        """
        self._delete_strays(now)
        servers = list(self._compute.list())
        ports = list(self._network.owned_ports())
        # Read after the listing: whatever was listed and has an owner has its row by now.
        known = self._known()
        found = orphans(servers, ports, known)
        needed = self._needed(servers, ports, known)
        doomed, why = condemned(found, self._seen, len(servers) + len(ports), now, self._interval)
        if why:
            LOG.error("%s", why)
        self._seen = {one: self._seen.get(one, now) for one in found}
        gone = [one for one in doomed if not self._spares(one, needed, now) and self._delete(one)]
        for what in self._leftovers(known | needed):
            LOG.warning("Left over and removed: %s", what)
        return gone

    def _known(self) -> frozenset[str]:
        with self._database.read() as tx:
            return frozenset(reservations.known_load_balancers(tx) | amphorae.all_ids(tx))

    def _needed(
        self, servers: Sequence[Server], ports: Sequence[tuple[str, Port]], known: frozenset[str]
    ) -> frozenset[str]:
        """Amphorae without a row that may be all that serves their load balancer, which has one."""
        present = {one.amphora_id for one in servers}
        strangers = {(lb_id, _amphora_of(port)) for lb_id, port in ports if lb_id in known}
        strangers = {(lb_id, one) for lb_id, one in strangers if one in present and one not in known}
        if not strangers:
            return frozenset()
        with self._database.read() as tx:
            unserved = amphorae.unserved(tx, present)
        return frozenset(one for lb_id, one in strangers if one and lb_id in unserved)

    def _spares(self, orphan: Orphan, needed: frozenset[str], now: datetime) -> bool:
        return orphan.amphora_id in needed and now - self._seen[orphan] < _SPARED

    def _delete(self, orphan: Orphan) -> bool:
        delete: Callable[[str], None]
        delete = self._compute.delete if orphan.kind == "1 server" else self._network.delete_port
        try:
            delete(orphan.id)
        except OctaviaError as error:
            LOG.warning("Nobody owns %s, but it cannot be deleted yet: %s", orphan, error)
            return False
        self._seen.pop(orphan, None)
        LOG.warning("Nobody owns %s: it was deleted", orphan)
        return True

    def _delete_strays(self, now: datetime) -> None:
        """Amphorae whose load balancer is gone: no worker will ever look at them."""
        with self._database.read() as tx:
            strays = rows.strays(tx)
        for stray in strays:
            try:
                self._delete_stray(stray)
            except OctaviaError as error:
                LOG.warning("Amphora %s has no load balancer, but stays for now: %s", stray.id, error)
                continue
            self._database.write(lambda tx, one=stray.id: amphorae.delete(tx, one, now))  # type: ignore[misc]
            LOG.warning("Amphora %s had no load balancer: it was deleted", stray.id)

    def _delete_stray(self, stray: Amphora) -> None:
        if stray.compute_id:
            self._compute.delete(stray.compute_id)
        for port in self._network.ports_of_amphora(stray.id):
            self._network.delete_port(port.id)


def _amphora_of(port: Port) -> str | None:
    """The amphora that a port was made for; None where it holds a load balancer's VIP."""
    for name in (vrrp_port_name, member_port_name):
        if port.name.startswith(name("")):
            return port.name.removeprefix(name(""))
    return None
