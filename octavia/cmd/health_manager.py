# SPDX-License-Identifier: Apache-2.0
"""``octavia-health-manager``: hears amphorae and judges silence."""

import os
import socket
import sys
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from octavia import config
from octavia.cmd.parts import Parts
from octavia.cmd.wiring import Wiring
from octavia.config.checks import Contradiction
from octavia.domain.errors import OctaviaError
from octavia.drivers.bus.local import LocalDoorbell
from octavia.health.service import HealthManager
from octavia.health.settings import from_config


def health_manager(conf: cfg.ConfigOpts, wiring: Wiring, doorbell: LocalDoorbell) -> HealthManager:
    """One that is ready to run.

    :raises OctaviaError: something cannot be made; with what to change.
    """
    settings = from_config(conf, owner=f"{socket.gethostname()}:{os.getpid()}")
    return HealthManager(wiring.database, wiring.clock, doorbell, wiring.compute, wiring.amphora, settings)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    try:
        conf = config.load(sys.argv[1:] if argv is None else argv, program="octavia-health-manager")
        log.setup(conf, "octavia")
        # Nobody in this process waits for work: the worker's own sweep of the queue finds it.
        manager = health_manager(conf, Wiring(conf), LocalDoorbell())
        manager.open()
    except (Contradiction, OctaviaError) as why:
        print(f"octavia-health-manager: {why}", file=sys.stderr)
        return 1
    parts = Parts()
    parts.start("receiver", lambda: manager.receive(parts.stop))
    parts.start("judge", lambda: manager.judge(parts.stop))
    parts.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
