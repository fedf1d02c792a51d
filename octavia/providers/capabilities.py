# SPDX-License-Identifier: Apache-2.0
"""What flavors and availability zones of the amphora provider can say (contract: api.md 15, 17, 18)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from octavia.domain.tree import Topology
from octavia.providers.errors import UnsupportedOption

_UUID: Final = re.compile("[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Capability:
    """A key of a profile's data.

    :param wanted: what a value must be, in words.
    """

    description: str
    wanted: str
    fits: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_uuid(value: Any) -> bool:
    return isinstance(value, str) and bool(_UUID.fullmatch(value))


def _is_uuid_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_uuid, value))


FLAVOR: Final[Mapping[str, Capability]] = {
    "loadbalancer_topology": Capability(
        "The load balancer topology. One of: SINGLE - One amphora per load balancer. ACTIVE_STANDBY - Two"
        " amphora per load balancer.",
        f"one of {', '.join(Topology)}",
        lambda value: isinstance(value, str) and value in set(Topology),
    ),
    "compute_flavor": Capability("The compute flavor of amphorae.", "text", _is_text),
    "amp_image_tag": Capability("The tag by which the image of amphorae is found.", "text", _is_text),
    "sriov_vip": Capability("The VIP is on an SR-IOV port.", "true or false", _is_flag),
    "allow_member_sriov": Capability("Members may ask for SR-IOV ports.", "true or false", _is_flag),
}
AVAILABILITY_ZONE: Final[Mapping[str, Capability]] = {
    "compute_zone": Capability("The compute availability zone.", "text", _is_text),
    "volume_zone": Capability("The volume availability zone.", "text", _is_text),
    "management_network": Capability("The management network of the zone.", "a network's id", _is_uuid),
    "valid_vip_networks": Capability(
        "Networks for VIPs in the zone, in place of the configured ones.",
        "a list of networks' ids",
        _is_uuid_list,
    ),
}


def check(provider: str, data: Mapping[str, Any], capabilities: Mapping[str, Capability]) -> None:
    """:raises UnsupportedOption: a key is unknown, or its value is none; it names the key."""
    for name, value in data.items():
        known = capabilities.get(name)
        if known is None:
            raise UnsupportedOption.of(provider, f"'{name[:100]}' is none of {', '.join(capabilities)}.")
        if not known.fits(value):
            raise UnsupportedOption.of(provider, f"'{name}' must be {known.wanted}.")
