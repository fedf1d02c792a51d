# SPDX-License-Identifier: Apache-2.0
"""What a flavor and an availability zone make of a new load balancer (contract: api.md section 5.4)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from octavia.api.schemas.types import excerpt, uuid
from octavia.api.service import Service
from octavia.api.settings import ApiSettings
from octavia.db import offers
from octavia.db.engine import Connection
from octavia.domain import rules
from octavia.domain.errors import Invalid, NotFound
from octavia.domain.rules import Values, invalid, not_allowed
from octavia.domain.tree import AMPHORA_PROVIDERS, LoadBalancer, Topology
from octavia.providers.errors import UnsupportedOption

_DIRECT = "direct"
_NORMAL = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a request chose, not yet shown to the provider."""

    provider: str
    flavor_id: str | None
    availability_zone: str | None
    flavor: offers.Chosen | None
    zone: offers.Chosen | None

    @property
    def has_amphorae(self) -> bool:
        """Is the provider ours?"""
        return self.provider in AMPHORA_PROVIDERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a load balancer is to be made.

    :param member_sriov: members may ask for SR-IOV ports.
    :param settings: the operator's, with what flavor and zone say instead.
    """

    vnic_type: str
    member_sriov: bool
    settings: ApiSettings


def choose(service: Service, values: Mapping[str, Any]) -> Choice:
    """:raises RequestError: flavor, zone or provider is unknown, switched off, or does not fit another.
    :raises UnsupportedOption: the provider does not exist."""
    flavor = _chosen(service, offers.FLAVORS, values["flavor_id"], "Invalid flavor_id.")
    zone = _chosen(service, offers.ZONES, values["availability_zone"], "Invalid availability zone.")
    wanted = values["provider"] or (flavor.provider_name if flavor else None)
    if flavor and wanted != flavor.provider_name:
        raise invalid(
            f"Flavor '{values['flavor_id']}' is of provider '{flavor.provider_name}', not of '{wanted}'."
        )
    provider = service.providers.choose(wanted)
    return Choice(
        provider=provider,
        flavor_id=values["flavor_id"],
        availability_zone=values["availability_zone"],
        flavor=flavor,
        zone=zone,
    )


def place(service: Service, choice: Choice) -> Placement:
    """:raises UnsupportedOption: the provider cannot do what flavor or zone say."""
    settings = service.settings
    flavor_data = _checked(service, offers.FLAVOR_PROFILES, choice.provider, choice.flavor)
    zone_data = _checked(service, offers.ZONE_PROFILES, choice.provider, choice.zone)
    if not choice.has_amphorae:
        # What is said to them is theirs to understand.
        return Placement(vnic_type=_NORMAL, member_sriov=False, settings=settings)
    if "loadbalancer_topology" in flavor_data:
        topology = Topology(flavor_data["loadbalancer_topology"])
        settings = replace(settings, loadbalancer_topology=topology)
    if zone_data.get("valid_vip_networks"):
        networks = frozenset(map(uuid, zone_data["valid_vip_networks"]))
        settings = replace(settings, valid_vip_networks=networks)
    vnic_type = _DIRECT if flavor_data.get("sriov_vip") else _NORMAL
    member_sriov = bool(flavor_data.get("allow_member_sriov"))
    return Placement(vnic_type=vnic_type, member_sriov=member_sriov, settings=settings)


def _chosen(service: Service, of: offers.Offers, key: str | None, unknown: str) -> offers.Chosen | None:
    if key is None:
        return None
    with service.database.read() as tx:
        found = offers.choose(tx, of, key)
    if found is None:
        raise invalid(unknown)
    if not found.enabled:
        raise not_allowed(of.option.removesuffix("_id"), key)
    return found


def _checked(
    service: Service, profiles: offers.Profiles, provider: str, chosen: offers.Chosen | None
) -> dict[str, Any]:
    """The data of a choice; the provider may think otherwise about it than when it was written."""
    if chosen is None or not _parsed(profiles, chosen.data):
        return {}  # a provider that has no such thing is not asked about nothing
    return check_data(service, profiles, provider, chosen.data)


def check_profile(service: Service, profiles: offers.Profiles, provider: str, text: str) -> None:
    """:raises Invalid: the text is no JSON object, or the provider is not enabled.
    :raises UnsupportedOption: the provider does not know a key, or not the value of one."""
    if provider not in service.providers.configured:
        raise Invalid(f"Provider '{excerpt(provider)}' is not enabled.")
    service.providers.choose(provider)
    check_data(service, profiles, provider, text)


def check_data(service: Service, profiles: offers.Profiles, provider: str, text: str) -> dict[str, Any]:
    """What a profile's text says, if the provider can do it."""
    data = _parsed(profiles, text)
    if profiles is offers.FLAVOR_PROFILES:
        service.providers.check_flavor(provider, data)
        return data
    service.providers.check_availability_zone(provider, data)
    if provider not in AMPHORA_PROVIDERS:
        return data  # its keys may mean anything
    networks = [data.get("management_network"), *data.get("valid_vip_networks", ())]
    for network_id in filter(None, networks):
        try:
            service.network.get_network(uuid(network_id))
        except NotFound as error:
            raise UnsupportedOption.of(provider, error.why) from None
    return data


def _parsed(profiles: offers.Profiles, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Invalid(f"{excerpt(text)} is not a valid option for {profiles.data}")
    return data


def check_member_ports(tx: Connection, lb: LoadBalancer, members: Sequence[Values]) -> None:
    """:raises Invalid: one asks for an SR-IOV port, which the load balancer's flavor does not allow."""
    if any(one["vnic_type"] == _DIRECT for one in members):
        data = offers.data(tx, offers.FLAVORS, lb.flavor_id)
        rules.check_ports(members, sriov=bool(data.get("allow_member_sriov")))


def hold(tx: Connection, flavor_id: str | None, availability_zone: str | None) -> None:
    """Keep both from being deleted until the load balancer is stored.

    :raises Invalid: one was deleted meanwhile.
    """
    if flavor_id is not None and not offers.hold(tx, offers.FLAVORS, flavor_id):
        raise invalid("Invalid flavor_id.")
    if availability_zone is not None and not offers.hold(tx, offers.ZONES, availability_zone):
        raise invalid("Invalid availability zone.")
