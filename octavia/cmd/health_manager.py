# SPDX-License-Identifier: Apache-2.0
"""``octavia-health-manager``: hears amphorae and judges silence."""

import logging
import sys
from collections.abc import Sequence

from oslo_config import cfg

from octavia.cmd import daemon
from octavia.cmd.parts import Parts
from octavia.cmd.wiring import Wiring
from octavia.drivers.bus.contract import Bell
from octavia.health.service import HealthManager
from octavia.health.settings import from_config

LOG = logging.getLogger(__name__)


def health_manager(conf: cfg.ConfigOpts, wiring: Wiring, bell: Bell) -> HealthManager:
    """One that is ready to run.

    :raises OctaviaError: something cannot be made; with what to change.
    """
    settings = from_config(conf, owner=wiring.owner)
    return HealthManager(wiring.database, wiring.clock, bell, wiring.compute, wiring.amphora, settings)


def start(manager: HealthManager, wiring: Wiring, parts: Parts) -> None:
    """Its two loops; there is no silence to judge where nobody is to be heard."""
    parts.start("receiver", lambda: manager.receive(parts.stop))
    if wiring.has_agents:
        parts.start("judge", lambda: manager.judge(parts.stop))
    else:
        LOG.info("No agent sends heartbeats ([controller_worker] amphora_driver): silence is not judged")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    return daemon.main("octavia-health-manager", _run, argv)


def _run(conf: cfg.ConfigOpts) -> int:
    wiring = Wiring(conf)
    manager = health_manager(conf, wiring, wiring.bell)
    manager.open()
    parts = Parts()
    start(manager, wiring, parts)
    parts.wait(conf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
