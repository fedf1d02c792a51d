# SPDX-License-Identifier: Apache-2.0
"""Standalone's controller: API, worker, health manager and housekeeping in one process.

The same parts as the daemons run, with what a first start on a machine has to make. They meet in
the database only.
"""

import logging
from pathlib import Path

from oslo_config import cfg

from octavia.api import app as api
from octavia.api import settings as api_settings
from octavia.api.access import from_config as access_from_config
from octavia.cmd.api import server
from octavia.cmd.health_manager import health_manager, start
from octavia.cmd.housekeeping import housekeeping
from octavia.cmd.parts import Parts
from octavia.cmd.wiring import Wiring
from octavia.cmd.worker import worker
from octavia.db import schema
from octavia.domain.errors import Terminal, Transient
from octavia.drivers.bus.local import LocalDoorbell
from octavia.drivers.certificates.local_ca import ensure_authority
from octavia.worker.startup import doubt_absent_amphorae, forget_last_controller

LOG = logging.getLogger(__name__)


def run(conf: cfg.ConfigOpts) -> None:
    """Be the controller until SIGTERM.

    :raises OctaviaError: it cannot start; with what to change.
    """
    wiring = Wiring(conf)
    ensure_authority(Path(conf.standalone.state_dir) / "certificates")
    wiring.local_network.ensure()
    schema.upgrade(wiring.database.engine)
    doorbell = LocalDoorbell()
    service = worker(wiring, doorbell)
    settings = api_settings.from_config(conf, serve_network=True)
    application = api.create(
        wiring.database,
        wiring.tenant_network,
        doorbell,
        wiring.clock,
        settings,
        access_from_config(conf),
        certificates=wiring.tenant_certificates,
    )
    host, port = str(conf.api_settings.bind_host), conf.api_settings.bind_port
    serving = server(application, settings, host, port)
    try:
        serving.prepare()
    except OSError as error:
        raise Terminal(f"The API cannot listen on {host}:{port}: {error}") from error
    forget_last_controller(wiring.database)
    manager = health_manager(conf, wiring, doorbell)
    manager.open()
    keeper = housekeeping(conf, wiring, doorbell)
    try:
        doubt_absent_amphorae(wiring.database, wiring.compute, wiring.clock)
    except Transient as error:
        LOG.warning("Which amphorae survived is not known yet: %s", error)
    parts = Parts()
    parts.start("worker", lambda: service.run(parts.stop), doorbell.ring)
    parts.start("api", serving.serve, serving.stop)
    start(manager, wiring, parts)
    parts.start("housekeeping", lambda: keeper.run(parts.stop))
    LOG.info("The controller runs")
    parts.wait()
    LOG.info("The controller has ended")
