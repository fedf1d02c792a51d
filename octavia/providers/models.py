# SPDX-License-Identifier: Apache-2.0
"""From our tree to octavia-lib's data models (contract: provider-drivers.md section 3).

The names of the tree's attributes are the ones of the API, and nearly all of octavia-lib's too; what differs
is in the functions of the seven models. Drivers get plain texts, lists and dictionaries, never our own types.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from inspect import signature
from typing import Any, Final

from octavia_lib.api.drivers import data_models as lib

from octavia.domain.tree import (
    AdditionalVip,
    HealthMonitor,
    L7Policy,
    L7Rule,
    Listener,
    LoadBalancer,
    Member,
    Pool,
    Resource,
    SessionPersistence,
    Vip,
)
from octavia.providers.secrets import NO_SECRETS, FoundSecrets

Data = Mapping[str, Any]

ID: Final[Mapping[type[Resource], str]] = {
    LoadBalancer: "loadbalancer_id",
    Listener: "listener_id",
    Pool: "pool_id",
    Member: "member_id",
    HealthMonitor: "healthmonitor_id",
    L7Policy: "l7policy_id",
    L7Rule: "l7rule_id",
}
PLURAL: Final[Mapping[type[Resource], str]] = {
    LoadBalancer: "loadbalancers",
    Listener: "listeners",
    Pool: "pools",
    Member: "members",
    HealthMonitor: "healthmonitors",
    L7Policy: "l7policies",
    L7Rule: "l7rules",
}
_CLASSES: Final[Mapping[type[Resource], type[Any]]] = {
    LoadBalancer: lib.LoadBalancer,
    Listener: lib.Listener,
    Pool: lib.Pool,
    Member: lib.Member,
    HealthMonitor: lib.HealthMonitor,
    L7Policy: lib.L7Policy,
    L7Rule: lib.L7Rule,
}
_KNOWN: Final = {type_: frozenset(signature(class_).parameters) for type_, class_ in _CLASSES.items()}


@dataclass(frozen=True, slots=True)
class Models:
    """Models of one tree.

    :param flavor: what the flavor says to the provider; the zone's alike.
    :param secrets: what the references to certificates stand for, as far as it is known.
    """

    lb: LoadBalancer
    flavor: Data
    availability_zone: Data
    secrets: FoundSecrets = NO_SECRETS

    def of(self, resource: Resource) -> Any:
        """The whole of one object, and what is below it."""
        make: Callable[[Any], Any] = getattr(self, f"_{ID[type(resource)].removesuffix('_id')}")
        return make(resource)

    def changed(self, resource: Resource, written: Iterable[str]) -> Any:
        """Only what a request has written of one object; everything else is Unset, but for its id."""
        whole, class_ = self.of(resource), _CLASSES[type(resource)]
        names = {ID[type(resource)], *written}
        names |= {_data_name(name) for name in names if "_ref" in name}
        return class_(**{name: value for name, value in vars(whole).items() if name in names})

    def _loadbalancer(self, one: LoadBalancer) -> Any:
        return _model(
            one,
            **vip(one.vip),
            additional_vips=[additional_vip(vip) for vip in one.additional_vips],
            flavor=dict(self.flavor),
            availability_zone=dict(self.availability_zone),
            listeners=[self._listener(listener) for listener in one.listeners],
            pools=[self._pool(pool) for pool in one.pools],
        )

    def _listener(self, one: Listener) -> Any:
        default_pool = self.lb.pool(one.default_pool_id)
        return _model(
            one,
            **self.secrets.of_listener(one),
            loadbalancer_id=self.lb.id,
            default_pool=self._pool(default_pool) if default_pool else None,
            l7policies=[self._l7policy(policy) for policy in one.l7_policies],
        )

    def _pool(self, one: Pool) -> Any:
        listeners = self.lb.listeners_using(one.id)
        return _model(
            one,
            **self.secrets.of_pool(one),
            loadbalancer_id=self.lb.id,
            listener_id=listeners[0].id if listeners else None,
            members=[self._member(member) for member in one.members],
            healthmonitor=self._healthmonitor(one.health_monitor) if one.health_monitor else None,
            session_persistence=_persistence(one.session_persistence),
        )

    def _member(self, one: Member) -> Any:
        return _model(one, pool_id=self._pool_of(one).id)

    def _healthmonitor(self, one: HealthMonitor) -> Any:
        return _model(one, pool_id=self._pool_of(one).id)

    def _l7policy(self, one: L7Policy) -> Any:
        owner = next(listener for listener in self.lb.listeners if _has(listener.l7_policies, one))
        return _model(one, listener_id=owner.id, rules=[self._l7rule(rule) for rule in one.rules])

    def _l7rule(self, one: L7Rule) -> Any:
        policies = (policy for listener in self.lb.listeners for policy in listener.l7_policies)
        return _model(one, l7policy_id=next(policy for policy in policies if _has(policy.rules, one)).id)

    def _pool_of(self, one: Resource) -> Pool:
        return next(
            pool for pool in self.lb.pools if _has(pool.members, one) or _has([pool.health_monitor], one)
        )


def vip(one: Vip) -> dict[str, Any]:
    """Also what ``create_vip_port`` is given (contract: provider-drivers.md section 5)."""
    return {
        "vip_address": one.ip_address,
        "vip_network_id": one.network_id,
        "vip_port_id": one.port_id,
        "vip_subnet_id": one.subnet_id,
        "vip_qos_policy_id": one.qos_policy_id,
        "vip_sg_ids": list(one.sg_ids),
    }


def additional_vip(one: AdditionalVip) -> dict[str, Any]:
    """Likewise."""
    return {name: getattr(one, name) for name in ("ip_address", "network_id", "port_id", "subnet_id")}


def _model(one: Resource, **more: Any) -> Any:
    """With what the installed octavia-lib knows of an object: any other keyword is an error to it."""
    class_ = _CLASSES[type(one)]
    known = _KNOWN[type(one)]
    values = {field.name: getattr(one, field.name) for field in fields(one)}
    values |= {ID[type(one)]: one.id, **more}
    return class_(**{name: _bare(value) for name, value in values.items() if name in known})


def _bare(value: Any) -> Any:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _persistence(one: SessionPersistence | None) -> dict[str, Any] | None:
    if one is None:
        return None
    names = ("type", "cookie_name", "persistence_timeout", "persistence_granularity")
    return {name: _bare(getattr(one, name)) for name in names}


def _data_name(name: str) -> str:
    """Of a reference, where what it stands for is."""
    return name.replace("_refs", "_data").replace("_ref", "_data")


def _has(among: Iterable[Resource | None], one: Resource) -> bool:
    return any(other is not None and other.id == one.id for other in among)
