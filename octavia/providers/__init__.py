# SPDX-License-Identifier: Apache-2.0
"""Whoever makes load balancers real, by the name that a request chooses.

Today that is the amphora provider under its two names; third-party drivers will plug in here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from octavia.domain.errors import Invalid
from octavia.domain.tree import LoadBalancer
from octavia.providers import amphora
from octavia.providers.errors import UnsupportedOption

Check = Callable[[LoadBalancer | None, LoadBalancer], None]
"""Raises what a provider refuses about the difference of two trees; None before a creation."""

_CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {"amphora": amphora.check, "amphorav2": amphora.check, "octavia": amphora.check}
)


def choose(name: str | None, default: str, enabled: Mapping[str, str]) -> str:
    """The provider of a new load balancer.

    :raises Invalid: it is not enabled.
    :raises UnsupportedOption: it is enabled and does not exist.
    """
    name = name or default
    if name not in enabled:
        raise Invalid(f"Provider '{name}' is not enabled.")
    if name not in _CHECKS:
        raise UnsupportedOption(f"Provider '{name}' was not found.")
    return name


def check(before: LoadBalancer | None, after: LoadBalancer) -> None:
    """Ask the provider of a load balancer whether it can do what changed.

    :raises UnsupportedOption: it cannot.
    """
    _CHECKS[after.provider](before, after)
