# SPDX-License-Identifier: Apache-2.0
"""From octavia.conf to the things that the parts of a process work with.

Every daemon and standalone's controller are wired here, so that growing from one process to many is
configuration and never different code. What each process runs is not here: see its own module.
"""

import os
import socket
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

from oslo_config import cfg

from octavia.cmd.failpoints import Failpoints, WatchedDatabase
from octavia.config.oslo_messaging import transport_url
from octavia.db.engine import Database, create_engine
from octavia.domain.clock import SystemClock
from octavia.domain.errors import Terminal
from octavia.drivers import registry
from octavia.drivers.amphora.contract import AmphoraDriver
from octavia.drivers.bus.contract import Bell
from octavia.drivers.bus.local import LocalDoorbell
from octavia.drivers.certificates.contract import AmphoraCertificates
from octavia.drivers.certificates.tenant import TenantCertificates
from octavia.drivers.compute.contract import ComputeDriver
from octavia.drivers.network.contract import NetworkDriver
from octavia.drivers.network.tenant import without

if TYPE_CHECKING:  # they import netlink, which no production needs
    from octavia.drivers.compute.local import LocalCompute
    from octavia.drivers.network.local import LocalNetwork

COMPUTE_LOCAL: Final = "compute_local_driver"
NETWORK_LOCAL: Final = "network_local_driver"
AMPHORA_NOOP: Final = "amphora_noop_driver"


@dataclass(frozen=True)
class Wiring:
    """What one process needs of the outside, made when it is first asked for."""

    conf: cfg.ConfigOpts

    @cached_property
    def clock(self) -> SystemClock:
        """The machine's clock."""
        return SystemClock()

    @property
    def owner(self) -> str:
        """Who this process is, where processes take turns."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @cached_property
    def database(self) -> Database:
        """``[database] connection``.

        :raises Transient: it does not answer.
        """
        options = self.conf.database
        engine = create_engine(
            options.connection,
            max_pool_size=options.max_pool_size,
            max_overflow=options.max_overflow,
            pool_timeout=options.pool_timeout,
            connection_recycle_time=options.connection_recycle_time,
        )
        return WatchedDatabase(engine, self._points) if self._points else Database(engine)

    @cached_property
    def bell(self) -> Bell:
        """Rings for workers, wherever they are; without a bus it rings for nobody, and they find the work."""
        if transport_url(self.conf) is None:
            return LocalDoorbell()
        from octavia.drivers.bus.messaging import MessagingBell  # noqa: PLC0415

        return MessagingBell(self.conf)

    def listen(self, doorbell: LocalDoorbell) -> None:
        """Have it ring when another process rings, if there is a bus."""
        if transport_url(self.conf) is not None:
            from octavia.drivers.bus.messaging import Listener  # noqa: PLC0415

            Listener(self.conf, doorbell.ring).start()

    @property
    def is_local(self) -> bool:
        """Are the networks this machine's own?"""
        return bool(self.conf.controller_worker.network_driver == NETWORK_LOCAL)

    @property
    def has_agents(self) -> bool:
        """Is there anybody who sends heartbeats?"""
        return bool(self.conf.controller_worker.amphora_driver != AMPHORA_NOOP)

    @cached_property
    def network(self) -> NetworkDriver:
        """``[controller_worker] network_driver``.

        :raises Terminal: there is no such driver, or it cannot be made of this configuration.
        """
        return cast(NetworkDriver, self._watched(self._network, "network"))

    @cached_property
    def tenant_network(self) -> NetworkDriver:
        """The network driver as the API may use it."""
        if not self.is_local:
            return self.network
        from octavia.drivers.local.addresses import network_id  # noqa: PLC0415
        from octavia.drivers.local.configured import MANAGEMENT  # noqa: PLC0415

        return without(self.network, network_id(MANAGEMENT))

    @cached_property
    def compute(self) -> ComputeDriver:
        """``[controller_worker] compute_driver``.

        :raises Terminal: as :attr:`network`.
        """
        return cast(ComputeDriver, self._watched(self._compute, "compute"))

    @cached_property
    def amphora(self) -> AmphoraDriver:
        """``[controller_worker] amphora_driver``: the way to the agents.

        :raises Terminal: as :attr:`network`.
        """
        return cast(AmphoraDriver, self._watched(registry.make(self.conf, registry.AMPHORA), "amphora"))

    @cached_property
    def certificates(self) -> AmphoraCertificates:
        """``[certificates] cert_generator``: only the worker needs the key of the CA.

        :raises Terminal: as :attr:`network`.
        """
        made = registry.make(self.conf, registry.CERT_GENERATOR)
        return cast(AmphoraCertificates, self._watched(made, "certificates"))

    @cached_property
    def tenant_certificates(self) -> TenantCertificates:
        """``[certificates] cert_manager``: where tenants keep theirs.

        :raises Terminal: as :attr:`network`.
        """
        made = registry.make(self.conf, registry.CERT_MANAGER)
        return cast(TenantCertificates, self._watched(made, "tenant_certificates"))

    @property
    def local_network(self) -> "LocalNetwork":
        """The network driver with what only this machine's networks can do.

        :raises Terminal: another one is configured.
        """
        self._require_local("network_driver", NETWORK_LOCAL)
        return cast("LocalNetwork", self._network)

    @property
    def local_compute(self) -> "LocalCompute":
        """The compute driver with what only this machine's amphorae can do.

        :raises Terminal: another one is configured.
        """
        self._require_local("compute_driver", COMPUTE_LOCAL)
        return cast("LocalCompute", self._compute)

    @cached_property
    def _network(self) -> Any:
        return registry.make(self.conf, registry.NETWORK)

    @cached_property
    def _compute(self) -> Any:
        return registry.make(self.conf, registry.COMPUTE)

    def _require_local(self, option: str, local: str) -> None:
        name = self.conf.controller_worker[option]
        if name != local:
            raise Terminal(f"[controller_worker] {option} = {name}: octavia-standalone needs {local}.")

    @cached_property
    def _points(self) -> Failpoints | None:
        return Failpoints.from_environment()

    def _watched(self, driver: Any, family: str) -> Any:
        return self._points.around(driver, family) if self._points else driver
