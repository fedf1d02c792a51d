# SPDX-License-Identifier: Apache-2.0
"""``noop_driver``: a third-party provider that accepts everything, logs it, and does nothing.

What it is told of is live at once: it says so in the way third parties do, without a driver agent.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from octavia_lib.api.drivers.exceptions import DriverError
from octavia_lib.api.drivers.provider_base import ProviderDriver

from octavia.db.tree import mapping
from octavia.domain.statuses import OperatingStatus as O
from octavia.domain.statuses import ProvisioningStatus as P
from octavia.domain.tree import LoadBalancer, Resource
from octavia.providers.models import ID, PLURAL
from octavia.providers.updates import Updates

LOG: Final = logging.getLogger(__name__)

_METADATA: Final = {"note": "Anything: it is logged, and has no effect."}


def _call(method: str, kind: mapping.Kind[Any]) -> Callable[..., None]:
    """A call whose last argument is the model of the object that it is about."""

    def accept(self: "NoopDriver", *models: Any) -> None:
        self.done(method, kind, getattr(models[-1], ID[kind.type]))

    return accept


class NoopDriver(ProviderDriver):  # type: ignore[misc]  # octavia-lib has no types
    """It makes no VIP ports: that is left to Octavia, as most drivers do.

    :ivar updates: how statuses are reported; None: nowhere.
    """

    name = "noop_driver"
    updates: Updates | None = None

    loadbalancer_create = _call("loadbalancer_create", mapping.LOAD_BALANCER)
    loadbalancer_update = _call("loadbalancer_update", mapping.LOAD_BALANCER)
    listener_create = _call("listener_create", mapping.LISTENER)
    listener_delete = _call("listener_delete", mapping.LISTENER)
    listener_update = _call("listener_update", mapping.LISTENER)
    pool_create = _call("pool_create", mapping.POOL)
    pool_delete = _call("pool_delete", mapping.POOL)
    pool_update = _call("pool_update", mapping.POOL)
    member_create = _call("member_create", mapping.MEMBER)
    member_delete = _call("member_delete", mapping.MEMBER)
    member_update = _call("member_update", mapping.MEMBER)
    health_monitor_create = _call("health_monitor_create", mapping.HEALTH_MONITOR)
    health_monitor_delete = _call("health_monitor_delete", mapping.HEALTH_MONITOR)
    health_monitor_update = _call("health_monitor_update", mapping.HEALTH_MONITOR)
    l7policy_create = _call("l7policy_create", mapping.L7_POLICY)
    l7policy_delete = _call("l7policy_delete", mapping.L7_POLICY)
    l7policy_update = _call("l7policy_update", mapping.L7_POLICY)
    l7rule_create = _call("l7rule_create", mapping.L7_RULE)
    l7rule_delete = _call("l7rule_delete", mapping.L7_RULE)
    l7rule_update = _call("l7rule_update", mapping.L7_RULE)

    def loadbalancer_delete(self, loadbalancer: Any, cascade: bool = False) -> None:
        """See octavia-lib, like everything here."""
        self.done(
            f"loadbalancer_delete(cascade={cascade})", mapping.LOAD_BALANCER, loadbalancer.loadbalancer_id
        )

    def loadbalancer_failover(self, loadbalancer_id: str) -> None:
        """See octavia-lib."""
        self.done("loadbalancer_failover", mapping.LOAD_BALANCER, loadbalancer_id)

    def member_batch_update(self, pool_id: str, members: list[Any]) -> None:
        """See octavia-lib."""
        self.done(f"member_batch_update({len(members)} members)", mapping.POOL, pool_id)

    def get_supported_flavor_metadata(self) -> dict[str, str]:
        """See octavia-lib."""
        return dict(_METADATA)

    def validate_flavor(self, flavor_metadata: Mapping[str, Any]) -> None:
        """See octavia-lib."""
        LOG.info("Provider %s: a flavor with %d keys", self.name, len(flavor_metadata))

    def get_supported_availability_zone_metadata(self) -> dict[str, str]:
        """See octavia-lib."""
        return dict(_METADATA)

    def validate_availability_zone(self, availability_zone_metadata: Mapping[str, Any]) -> None:
        """See octavia-lib."""
        LOG.info("Provider %s: a zone with %d keys", self.name, len(availability_zone_metadata))

    def done(self, call: str, kind: mapping.Kind[Any], object_id: str) -> None:
        """Log a call, and report everything that is pending with it as done."""
        LOG.info("Provider %s: %s of %s", self.name, call, object_id)
        lb = self.updates.tree_of(kind, object_id) if self.updates else None
        if lb and self.updates:
            answer = self.updates.statuses(settled(lb))
            if "fault_string" in answer:
                raise DriverError(user_fault_string=answer["fault_string"])


def settled(lb: LoadBalancer) -> dict[str, list[dict[str, str]]]:
    """Everything that is pending in a tree, as if it were done."""
    update: dict[str, list[dict[str, str]]] = {}
    for one in lb.walk():
        if one.provisioning_status is P.PENDING_DELETE:
            record = {"id": one.id, "provisioning_status": P.DELETED.value}
        elif one.provisioning_status.pending:
            record = {"id": one.id, "provisioning_status": P.ACTIVE.value, "operating_status": _works(one)}
        else:
            continue
        update.setdefault(PLURAL[type(one)], []).append(record)
    return update


def _works(one: Resource) -> str:
    if one.operating_status is O.NO_MONITOR:
        return O.NO_MONITOR.value  # a member that nobody asks
    return O.ONLINE.value if one.admin_state_up else O.OFFLINE.value


def agent(exit_event: Any) -> None:
    """``noop_agent``: a provider agent that waits for its end.

    :param exit_event: set when the driver agent ends.
    """
    LOG.info("noop_agent runs")
    exit_event.wait()
    LOG.info("noop_agent ends")
