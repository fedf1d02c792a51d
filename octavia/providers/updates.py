# SPDX-License-Identifier: Apache-2.0
"""What third-party providers say and ask: statuses and statistics in, objects out.

Contract: provider-drivers.md sections 6 to 8. Requests and answers are dictionaries, as on the driver agent's
sockets; how they come there is in :mod:`octavia.driver_agent`.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from octavia.db import children, offers, provider_calls, statistics, statuses
from octavia.db.engine import Connection, Database
from octavia.db.statistics import Counted, Counters
from octavia.db.tree import loading, mapping
from octavia.domain.clock import Clock
from octavia.domain.errors import OctaviaError
from octavia.domain.statuses import OperatingStatus, ProvisioningStatus
from octavia.domain.tree import AMPHORA_PROVIDERS, LoadBalancer
from octavia.drivers.certificates.tenant import TenantCertificates
from octavia.drivers.network.contract import NetworkDriver
from octavia.providers.models import Models
from octavia.providers.secrets import FoundSecrets

LOG: Final = logging.getLogger(__name__)

Answer = dict[str, Any]

_OK: Final = 200
_FAILED: Final = 500
_LOAD_BALANCERS: Final = "loadbalancers"

# In this order they are written.
_KINDS: Final[Mapping[str, mapping.Kind[Any]]] = {
    "members": mapping.MEMBER,
    "healthmonitors": mapping.HEALTH_MONITOR,
    "pools": mapping.POOL,
    "l7rules": mapping.L7_RULE,
    "l7policies": mapping.L7_POLICY,
    "listeners": mapping.LISTENER,
    _LOAD_BALANCERS: mapping.LOAD_BALANCER,
}
# Whoever names one of these that there is not is told so; of the others nothing is said.
_MUST_EXIST: Final = frozenset({"listeners", "l7policies", "l7rules"})
_COUNTERS: Final = ("active_connections", "bytes_in", "bytes_out", "request_errors", "total_connections")


class _Refused(Exception):
    """An update cannot be written; the text is for the provider."""


@dataclass(frozen=True, slots=True)
class Updates:
    """One a process."""

    database: Database
    network: NetworkDriver
    clock: Clock
    certificates: TenantCertificates

    def statuses(self, update: Any) -> Answer:
        """Write statuses; the first that cannot be written ends it, and earlier ones stay."""
        for plural in _KINDS:
            for record in _records(update, plural):
                try:
                    self._write(plural, record)
                except (_Refused, OctaviaError) as error:
                    named = record.get("id") if isinstance(record, dict) else None
                    LOG.error("A provider's status of %s %s is refused: %s", plural, named, error)
                    return _failed(f"{plural} {named}: {error}", status_object=plural, status_object_id=named)
        return {"status_code": _OK}

    def _write(self, plural: str, record: Any) -> None:
        object_id = _id(record)
        provisioning = _member(ProvisioningStatus, record.get("provisioning_status"), "provisioning_status")
        operating = _member(OperatingStatus, record.get("operating_status"), "operating_status")
        if plural == _LOAD_BALANCERS and provisioning is ProvisioningStatus.DELETED:
            self._delete(object_id)
            return

        def write(tx: Connection) -> bool:
            lb_id = _owner(tx, _KINDS[plural], object_id)
            if lb_id is None:
                return False
            kind = _KINDS[plural]
            if provisioning is ProvisioningStatus.DELETED:
                children.remove(tx, lb_id, {kind.table: [object_id]})
            else:
                statuses.report(
                    tx,
                    kind,
                    object_id,
                    lb_id,
                    provisioning=provisioning,
                    operating=operating,
                    now=self.clock.now(),
                )
            return True

        found = self.database.write(write)
        if not found and plural in _MUST_EXIST and provisioning is not ProvisioningStatus.DELETED:
            raise _Refused("not found.")

    def _delete(self, load_balancer_id: str) -> None:
        """The load balancer is gone; what cannot be freed of its address now, the sweep frees later."""

        def delete(tx: Connection) -> LoadBalancer | None:
            lb = (
                loading.load(tx, load_balancer_id)
                if _owner(tx, mapping.LOAD_BALANCER, load_balancer_id)
                else None
            )
            if lb:
                statuses.delete_load_balancer(tx, lb.id, self.clock.now())
            return lb

        lb = self.database.write(delete)
        if lb and lb.vip.octavia_owned:
            try:
                self.network.release_vip_port(lb.id, lb.vip)
            except OctaviaError as error:
                LOG.warning("Load balancer %s is deleted; freeing its address failed: %s", lb.id, error)

    def statistics(self, update: Any) -> Answer:
        """Store counters of listeners, which are sums."""
        try:
            counted = [_counted(record) for record in _records(update, "listeners")]
            self.database.write(lambda tx: statistics.replace(tx, counted))
        except (_Refused, OctaviaError) as error:
            LOG.error("A provider's statistics are refused: %s", error)
            return _failed(str(error), stats_object="listeners")
        return {"status_code": _OK}

    def get(self, request: Any) -> Answer:
        """One object with what is below it, Unset as null; empty if there is none."""
        wanted = request if isinstance(request, dict) else {}
        kind = _KINDS.get(str(wanted.get("object")))
        if kind is None or not isinstance(wanted.get("id"), str):
            return {}
        found = self.model(kind, wanted["id"])
        return {} if found is None else dict(found.to_dict(recurse=True, render_unsets=True))

    def model(self, kind: mapping.Kind[Any], object_id: str) -> Any:
        """An object as octavia-lib's model; None if there is none."""
        with self.database.read() as tx:
            load_balancer_id = _load_balancer_id(tx, kind, object_id)
            lb = loading.load(tx, load_balancer_id) if load_balancer_id else None
            if lb is None:
                return None
            models = models_of(tx, lb, FoundSecrets(self.certificates, tolerant=True))
        one = next((one for one in lb.walk() if one.id == object_id), None)
        return None if one is None else models.of(one)

    def tree_of(self, kind: mapping.Kind[Any], object_id: str) -> LoadBalancer | None:
        """The load balancer that an object belongs to; None if there is none."""
        with self.database.read() as tx:
            load_balancer_id = _load_balancer_id(tx, kind, object_id)
            return loading.load(tx, load_balancer_id) if load_balancer_id else None


def models_of(tx: Connection, lb: LoadBalancer, secrets: FoundSecrets) -> Models:
    """What is told of a load balancer, with what its flavor and its availability zone say."""
    flavor = offers.data(tx, offers.FLAVORS, lb.flavor_id)
    return Models(lb, flavor, offers.data(tx, offers.ZONES, lb.availability_zone), secrets)


def _load_balancer_id(tx: Connection, kind: mapping.Kind[Any], object_id: str) -> str | None:
    return object_id if kind is mapping.LOAD_BALANCER else loading.load_balancer_id_of(tx, kind, object_id)


def _owner(tx: Connection, kind: mapping.Kind[Any], object_id: str) -> str | None:
    """The load balancer of an object, locked; None if there is no such object.

    :raises _Refused: it is not a third party's.
    """
    load_balancer_id = _load_balancer_id(tx, kind, object_id)
    provider = provider_calls.lock_for_report(tx, load_balancer_id) if load_balancer_id else None
    if provider in AMPHORA_PROVIDERS:
        raise _Refused(f"the statuses of provider {provider} are not for others to write.")
    return load_balancer_id if provider else None


def _records(update: Any, plural: str) -> Iterable[Any]:
    found = update.get(plural) if isinstance(update, dict) else None
    return found if isinstance(found, list) else []


def _id(record: Any) -> str:
    object_id = record.get("id") if isinstance(record, dict) else None
    if not isinstance(object_id, str):
        raise _Refused("a record without an id.")
    return object_id


def _member(kind: Any, value: Any, name: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, str) or value not in set(kind):
        raise _Refused(f"{str(value)[:64]!r} is no {name}.")
    return kind(value)


def _counted(record: Any) -> Counted:
    listener_id = _id(record)
    values = {name: record.get(name) for name in _COUNTERS}
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _Refused(f"listener {listener_id}: {name} is no count.")
    # A provider has no amphorae: what it counts is kept under the listener's own id.
    return Counted(listener_id, listener_id, Counters(**values))


def _failed(fault: str, **more: Any) -> Answer:
    return {"status_code": _FAILED, "fault_string": fault} | more
