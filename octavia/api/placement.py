# SPDX-License-Identifier: Apache-2.0
"""What a flavor and an availability zone make of a new load balancer (contract: api.md section 5.4)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from octavia import providers
from octavia.api.schemas.types import excerpt, uuid
from octavia.api.service import Service
from octavia.api.settings import ApiSettings
from octavia.db import offers
from octavia.db.engine import Connection
from octavia.domain.errors import Invalid, NotFound
from octavia.domain.rules import invalid, not_allowed
from octavia.domain.tree import Topology
from octavia.providers.errors import UnsupportedOption

_DIRECT = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where and how a load balancer is to be made.

    :param settings: the operator's, with what flavor and zone say instead.
    """

    provider: str
    flavor_id: str | None
    availability_zone: str | None
    vnic_type: str
    settings: ApiSettings


def choose(service: Service, values: Mapping[str, Any]) -> Placement:
    """:raises RequestError: flavor, zone or provider is unknown, switched off, or does not fit another.
    :raises UnsupportedOption: the provider cannot do what is asked."""
    settings = service.settings
    flavor = _chosen(service, offers.FLAVORS, values["flavor_id"], "Invalid flavor_id.")
    zone = _chosen(service, offers.ZONES, values["availability_zone"], "Invalid availability zone.")
    wanted = values["provider"] or (flavor.provider_name if flavor else None)
    if flavor and wanted != flavor.provider_name:
        raise invalid(
            f"Flavor '{values['flavor_id']}' is of provider '{flavor.provider_name}', not of '{wanted}'."
        )
    provider = providers.choose(wanted, settings.default_provider_driver, settings.enabled_provider_drivers)
    flavor_data = _checked(service, offers.FLAVOR_PROFILES, provider, flavor)
    zone_data = _checked(service, offers.ZONE_PROFILES, provider, zone)
    if "loadbalancer_topology" in flavor_data:
        topology = Topology(flavor_data["loadbalancer_topology"])
        settings = replace(settings, loadbalancer_topology=topology)
    if zone_data.get("valid_vip_networks"):
        networks = frozenset(map(uuid, zone_data["valid_vip_networks"]))
        settings = replace(settings, valid_vip_networks=networks)
    return Placement(
        provider=provider,
        flavor_id=values["flavor_id"],
        availability_zone=values["availability_zone"],
        vnic_type=_DIRECT if flavor_data.get("sriov_vip") else "normal",
        settings=settings,
    )


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
    return check_data(service, profiles, provider, chosen.data) if chosen else {}


def check_profile(service: Service, profiles: offers.Profiles, provider: str, text: str) -> None:
    """:raises Invalid: the text is no JSON object, or the provider is not enabled.
    :raises UnsupportedOption: the provider does not know a key, or not the value of one."""
    settings = service.settings
    if provider not in settings.enabled_provider_drivers:
        raise Invalid(f"Provider '{excerpt(provider)}' is not enabled.")
    providers.choose(provider, settings.default_provider_driver, settings.enabled_provider_drivers)
    check_data(service, profiles, provider, text)


def check_data(service: Service, profiles: offers.Profiles, provider: str, text: str) -> dict[str, Any]:
    """What a profile's text says, if the provider can do it."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Invalid(f"{excerpt(text)} is not a valid option for {profiles.data}")
    if profiles is offers.FLAVOR_PROFILES:
        providers.check_flavor(provider, data)
        return data
    providers.check_availability_zone(provider, data)
    networks = [data.get("management_network"), *data.get("valid_vip_networks", ())]
    for network_id in filter(None, networks):
        try:
            service.network.get_network(uuid(network_id))
        except NotFound as error:
            raise UnsupportedOption.of(provider, error.why) from None
    return data


def hold(tx: Connection, flavor_id: str | None, availability_zone: str | None) -> None:
    """Keep both from being deleted until the load balancer is stored.

    :raises Invalid: one was deleted meanwhile.
    """
    if flavor_id is not None and not offers.hold(tx, offers.FLAVORS, flavor_id):
        raise invalid("Invalid flavor_id.")
    if availability_zone is not None and not offers.hold(tx, offers.ZONES, availability_zone):
        raise invalid("Invalid availability zone.")
