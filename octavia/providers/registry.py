# SPDX-License-Identifier: Apache-2.0
"""Providers by the names that octavia.conf enables: entry points of ``octavia.api.drivers``.

Contract: provider-drivers.md section 1. Whoever drives third-party load balancers gets a new driver for each
call.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from stevedore import driver

from octavia.domain.errors import Invalid
from octavia.domain.tree import AMPHORA_PROVIDERS, LoadBalancer
from octavia.providers import amphora
from octavia.providers.amphora import AmphoraDriver
from octavia.providers.errors import UnsupportedOption, translated
from octavia.providers.noop import NoopDriver
from octavia.providers.updates import Updates

LOG: Final = logging.getLogger(__name__)

GROUP: Final = "octavia.api.drivers"


@dataclass(frozen=True, slots=True)
class Providers:
    """Those of one process.

    :param configured: name to description, as octavia.conf says.
    :param default: the provider of requests that name none.
    :param enabled: those of ``configured`` that could be loaded when the process began.
    :param updates: how a driver of ours says what has become of its load balancers.
    """

    configured: Mapping[str, str]
    default: str
    enabled: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    updates: Updates | None = None

    @classmethod
    def load(cls, configured: Mapping[str, str], default: str, updates: Updates | None = None) -> "Providers":
        """Try each once; one that cannot be loaded is logged, and is not enabled."""
        every = cls(configured, default, updates=updates)
        enabled = {}
        for name, description in configured.items():
            try:
                every.driver(name)
            except UnsupportedOption:
                LOG.error("[api_settings] enabled_provider_drivers: %s is not enabled", name)
            else:
                enabled[name] = description
        return cls(configured, default, MappingProxyType(enabled), updates)

    def choose(self, name: str | None) -> str:
        """The provider of a new load balancer.

        :raises Invalid: octavia.conf does not name it.
        :raises UnsupportedOption: it does, and the provider cannot be loaded.
        """
        name = name or self.default
        if name not in self.configured:
            raise Invalid(f"Provider '{name}' is not enabled.")
        if name not in self.enabled:
            raise _not_found(name)
        return name

    def check(self, before: LoadBalancer | None, after: LoadBalancer) -> None:
        """Can our own provider do what changed? Others are asked when the change is stored.

        :param before: None: a creation.
        :raises UnsupportedOption: it cannot.
        """
        if not after.third_party:
            amphora.check(before, after)

    def driver(self, name: str) -> Any:
        """A new driver.

        :raises UnsupportedOption: it cannot be loaded.
        """
        made = AmphoraDriver() if name in AMPHORA_PROVIDERS else _load(name)
        made.name = name
        if isinstance(made, NoopDriver):
            made.updates = self.updates
        return made

    def flavor_capabilities(self, name: str) -> dict[str, str]:
        """What flavors of a provider can say, with descriptions.

        :raises UnsupportedOption: it has no flavors.
        """
        with translated(name):
            return dict(self.driver(name).get_supported_flavor_metadata())

    def availability_zone_capabilities(self, name: str) -> dict[str, str]:
        """What availability zones of a provider can say, with descriptions.

        :raises UnsupportedOption: it has no availability zones.
        """
        with translated(name):
            return dict(self.driver(name).get_supported_availability_zone_metadata())

    def check_flavor(self, name: str, data: Mapping[str, Any]) -> None:
        """:raises UnsupportedOption: the provider cannot do what a flavor's data say."""
        with translated(name):
            self.driver(name).validate_flavor(dict(data))

    def check_availability_zone(self, name: str, data: Mapping[str, Any]) -> None:
        """:raises UnsupportedOption: the provider cannot do what a zone's data say."""
        with translated(name):
            self.driver(name).validate_availability_zone(dict(data))


def _load(name: str) -> Any:
    try:
        found: Any = driver.DriverManager(
            GROUP,
            name,
            invoke_on_load=True,
            on_load_failure_callback=_raise,
        )
        return found.driver
    except Exception as error:  # whatever somebody else's constructor raises
        LOG.exception("Provider %s cannot be loaded", name)
        raise _not_found(name) from error


def _raise(_manager: object, _entry_point: object, error: BaseException) -> None:
    raise error


def _not_found(name: str) -> UnsupportedOption:
    return UnsupportedOption(f"Provider '{name}' was not found.")
