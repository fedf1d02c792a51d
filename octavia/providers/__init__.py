# SPDX-License-Identifier: Apache-2.0
"""Whoever makes load balancers real, by the name that a request chooses.

Today that is the amphora provider under its two names; third-party drivers will plug in here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from octavia.domain.errors import Invalid
from octavia.domain.tree import LoadBalancer
from octavia.providers import amphora, capabilities
from octavia.providers.errors import UnsupportedOption

Check = Callable[[LoadBalancer | None, LoadBalancer], None]
"""Raises what a provider refuses about the difference of two trees; None before a creation."""


@dataclass(frozen=True, slots=True)
class _Provider:
    check: Check
    flavor: Mapping[str, capabilities.Capability]
    availability_zone: Mapping[str, capabilities.Capability]


_AMPHORA: Final = _Provider(amphora.check, capabilities.FLAVOR, capabilities.AVAILABILITY_ZONE)
_PROVIDERS: Final[Mapping[str, _Provider]] = MappingProxyType(
    dict.fromkeys(("amphora", "amphorav2", "octavia"), _AMPHORA)
)


def choose(name: str | None, default: str, enabled: Mapping[str, str]) -> str:
    """The provider of a new load balancer.

    :raises Invalid: it is not enabled.
    :raises UnsupportedOption: it is enabled and does not exist.
    """
    name = name or default
    if name not in enabled:
        raise Invalid(f"Provider '{name}' is not enabled.")
    if name not in _PROVIDERS:
        raise UnsupportedOption(f"Provider '{name}' was not found.")
    return name


def check(before: LoadBalancer | None, after: LoadBalancer) -> None:
    """Ask the provider of a load balancer whether it can do what changed.

    :raises UnsupportedOption: it cannot.
    """
    _PROVIDERS[after.provider].check(before, after)


def flavor_capabilities(name: str) -> dict[str, str]:
    """What flavors of a provider can say, with descriptions; see :func:`choose` first."""
    return {key: one.description for key, one in _PROVIDERS[name].flavor.items()}


def availability_zone_capabilities(name: str) -> dict[str, str]:
    """What availability zones of a provider can say, with descriptions; see :func:`choose` first."""
    return {key: one.description for key, one in _PROVIDERS[name].availability_zone.items()}


def check_flavor(name: str, data: Mapping[str, Any]) -> None:
    """:raises UnsupportedOption: the provider cannot do what a flavor's data say."""
    capabilities.check(name, data, _PROVIDERS[name].flavor)


def check_availability_zone(name: str, data: Mapping[str, Any]) -> None:
    """:raises UnsupportedOption: the provider cannot do what a zone's data say."""
    capabilities.check(name, data, _PROVIDERS[name].availability_zone)
