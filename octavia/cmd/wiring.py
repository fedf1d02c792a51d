# SPDX-License-Identifier: Apache-2.0
"""From octavia.conf to the things that the parts of a process work with.

Every daemon and standalone's controller are wired here, so that growing from one process to many is
configuration and never different code. What each process runs is not here: see its own module.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Final, TypeVar

from oslo_config import cfg

from octavia.cmd.failpoints import Failpoints, WatchedDatabase
from octavia.config.standalone import SubnetPlan, controller_address, parse_networks
from octavia.db.engine import Database, create_engine
from octavia.domain.clock import SystemClock
from octavia.domain.errors import Terminal
from octavia.drivers.amphora.contract import AmphoraDriver
from octavia.drivers.amphora.rest import RestAmphoraDriver, RestSettings
from octavia.drivers.certificates.local_ca import CertificateSettings, LocalCertificates
from octavia.drivers.compute.contract import ComputeDriver
from octavia.drivers.compute.local import LocalCompute
from octavia.drivers.local.addresses import NetworkSettings, SubnetSettings, Topology, network_id
from octavia.drivers.local.installation import Installation
from octavia.drivers.local.process import MOUNT_AT
from octavia.drivers.network.contract import NetworkDriver
from octavia.drivers.network.local import LocalNetwork
from octavia.drivers.network.tenant import without
from octavia.worker.settings import WorkerSettings
from octavia.worker.settings import from_config as worker_settings
from octavia.worker.world import World

_D = TypeVar("_D")

MANAGEMENT: Final = "management"
NETWORK_DRIVER: Final = "network_local_driver"
COMPUTE_DRIVER: Final = "compute_local_driver"


@dataclass(frozen=True)
class Wiring:
    """What one process needs of the outside, made when it is first asked for."""

    conf: cfg.ConfigOpts

    @cached_property
    def clock(self) -> SystemClock:
        """The machine's clock."""
        return SystemClock()

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
        )
        return WatchedDatabase(engine, self._points) if self._points else Database(engine)

    @cached_property
    def local_network(self) -> LocalNetwork:
        """``[controller_worker] network_driver``, with what only this machine's networks can do.

        :raises Terminal: this release has no such driver, or the networks make no sense.
        """
        _require(self.conf, "network_driver", NETWORK_DRIVER)
        return LocalNetwork(topology(self.conf), self._installation)

    @cached_property
    def local_compute(self) -> LocalCompute:
        """``[controller_worker] compute_driver``, with what only this machine's amphorae can do.

        :raises Terminal: this release has no such driver.
        """
        _require(self.conf, "compute_driver", COMPUTE_DRIVER)
        return LocalCompute(self._installation, self.local_network, network_id(MANAGEMENT))

    @cached_property
    def network(self) -> NetworkDriver:
        """Networks, as the contract has them."""
        return self._watched(self.local_network, "network")

    @cached_property
    def tenant_network(self) -> NetworkDriver:
        """The network driver as the API may use it."""
        return without(self.network, network_id(MANAGEMENT))

    @cached_property
    def compute(self) -> ComputeDriver:
        """Amphorae, as the contract has them."""
        return self._watched(self.local_compute, "compute")

    @cached_property
    def amphora(self) -> AmphoraDriver:
        """The way to the agents.

        :raises Terminal: the controller's certificate cannot be read.
        """
        return self._watched(RestAmphoraDriver(_rest_settings(self.conf)), "amphora")

    @cached_property
    def world(self) -> World:
        """All drivers; the worker alone needs the key of the CA.

        :raises Terminal: a driver cannot be made; with what to change.
        """
        certificates = LocalCertificates(_certificate_settings(self.conf), self.clock)
        return World(
            self.compute,
            self.network,
            self._watched(certificates, "certificates"),
            self.amphora,
            self.clock,
        )

    @cached_property
    def worker_settings(self) -> WorkerSettings:
        """What the worker reads; local amphorae keep their files where they may."""
        return worker_settings(
            self.conf,
            owner=f"{socket.gethostname()}:{os.getpid()}",
            base_path=f"{MOUNT_AT}/lib",
            network_dir=f"{MOUNT_AT}/interfaces",
            supervisor="children",
            log_socket=None,
        )

    @cached_property
    def _installation(self) -> Installation:
        return Installation(Path(self.conf.standalone.state_dir))

    @cached_property
    def _points(self) -> Failpoints | None:
        return Failpoints.from_environment()

    def _watched(self, driver: _D, family: str) -> _D:
        return self._points.around(driver, family) if self._points else driver


def topology(conf: cfg.ConfigOpts) -> Topology:
    """The management network, and the networks for VIPs and members.

    :raises Terminal: the configuration makes no sense; with what to change.
    """
    standalone = conf.standalone
    try:
        management = SubnetSettings(
            name=MANAGEMENT,
            cidr=str(ip_network(standalone.management_cidr)),
            gateway_ip=controller_address(standalone.management_cidr),
        )
        plans = parse_networks(standalone.networks)
        return Topology((NetworkSettings(name=MANAGEMENT, subnets=(management,)), *_networks(plans)))
    except ValueError as why:
        raise Terminal(f"{why} Change it in {standalone.state_dir}/octavia.conf.") from why


def _networks(plans: Sequence[SubnetPlan]) -> list[NetworkSettings]:
    return [
        NetworkSettings(
            name=name,
            subnets=tuple(
                SubnetSettings(name=plan.subnet, cidr=str(plan.cidr), gateway_ip=str(plan.cidr[1]))
                for plan in plans
                if plan.network == name
            ),
        )
        for name in dict.fromkeys(plan.network for plan in plans)
    ]


def _certificate_settings(conf: cfg.ConfigOpts) -> CertificateSettings:
    options = conf.certificates
    return CertificateSettings(
        ca_certificate=Path(options.ca_certificate),
        ca_private_key=Path(options.ca_private_key),
        ca_private_key_passphrase=options.ca_private_key_passphrase,
        client_ca=Path(conf.controller_worker.client_ca),
        signing_digest=options.signing_digest,
        cert_validity_time=timedelta(seconds=options.cert_validity_time),
    )


def _rest_settings(conf: cfg.ConfigOpts) -> RestSettings:
    options = conf.haproxy_amphora
    return RestSettings(
        client_cert=Path(options.client_cert),
        server_ca=Path(options.server_ca),
        port=options.bind_port,
        # Whoever waits for an agent must not outlive his lease.
        read_timeout_s=min(options.rest_request_read_timeout, conf.controller_worker.lease_seconds / 3),
    )


def _require(conf: cfg.ConfigOpts, option: str, supported: str) -> None:
    name = conf.controller_worker[option]
    if name != supported:
        raise Terminal(
            f"[controller_worker] {option} = {name} is not served by this release: set it to {supported},"
            " or run octavia-standalone."
        )
