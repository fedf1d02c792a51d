# SPDX-License-Identifier: Apache-2.0
"""Drivers by the names that octavia.conf gives them (contract: drivers.md section 1).

An entry point of a family's group is a callable that takes the configuration and returns the driver. Nothing
of a driver that nobody chose is imported.
"""

from dataclasses import dataclass
from typing import Any, Final

from oslo_config import cfg
from stevedore import driver, exception, extension

from octavia.domain.errors import Terminal


@dataclass(frozen=True, slots=True)
class Family:
    """Drivers that can take each other's place, and the option that chooses one of them."""

    group: str
    section: str
    option: str


AMPHORA: Final = Family("octavia.amphora.drivers", "controller_worker", "amphora_driver")
COMPUTE: Final = Family("octavia.compute.drivers", "controller_worker", "compute_driver")
NETWORK: Final = Family("octavia.network.drivers", "controller_worker", "network_driver")
IMAGE: Final = Family("octavia.image.drivers", "controller_worker", "image_driver")
VOLUME: Final = Family("octavia.volume.drivers", "controller_worker", "volume_driver")
CERT_GENERATOR: Final = Family("octavia.cert_generator", "certificates", "cert_generator")
CERT_MANAGER: Final = Family("octavia.cert_manager", "certificates", "cert_manager")


def make(conf: cfg.ConfigOpts, family: Family) -> Any:
    """The driver that the family's option names.

    :raises Terminal: there is no driver of that name, or something that it needs is not installed.
    :raises OctaviaError: the driver cannot be made of this configuration; with what to change.
    """
    name = conf[family.section][family.option]
    what = f"[{family.section}] {family.option} = {name}"
    try:
        found: Any = driver.DriverManager(family.group, name, on_load_failure_callback=_raise)
    except exception.NoMatches:
        known = ", ".join(sorted(extension.ExtensionManager(family.group).entry_points_names())) or "none"
        raise Terminal(f"{what}: there is no such driver here. There are: {known}.") from None
    except ImportError as error:
        raise Terminal(f"{what} cannot be loaded: {error}.") from error
    return found.driver(conf)


def _raise(_manager: object, _entry_point: object, error: BaseException) -> None:
    raise error
