# SPDX-License-Identifier: Apache-2.0
"""``octavia-worker``: brings load balancers to their desired state."""

import sys
from collections.abc import Sequence
from typing import Final

from oslo_config import cfg

from octavia.cmd import daemon, processes
from octavia.cmd.parts import Parts
from octavia.cmd.wiring import COMPUTE_LOCAL, Wiring
from octavia.drivers.bus.contract import Doorbell
from octavia.drivers.bus.local import LocalDoorbell
from octavia.worker.service import Worker
from octavia.worker.settings import WorkerSettings, from_config
from octavia.worker.world import World

_PROGRAM: Final = "octavia-worker"


def worker(wiring: Wiring, doorbell: Doorbell) -> Worker:
    """One that is ready to run.

    :raises OctaviaError: something cannot be made; with what to change.
    """
    world = World(
        wiring.compute,
        wiring.network,
        wiring.certificates,
        wiring.amphora,
        wiring.clock,
        wiring.tenant_certificates,
    )
    return Worker(wiring.database, world, doorbell, _settings(wiring))


def _settings(wiring: Wiring) -> WorkerSettings:
    if wiring.conf.controller_worker.compute_driver != COMPUTE_LOCAL:
        return from_config(wiring.conf, owner=wiring.owner)
    from octavia.drivers.local.process import MOUNT_AT  # noqa: PLC0415
    from octavia.drivers.local.syslog import SYSLOG_CONF  # noqa: PLC0415

    # Local amphorae keep their files where they may, and have neither systemd nor an image's syslog.
    return from_config(
        wiring.conf,
        owner=wiring.owner,
        base_path=f"{MOUNT_AT}/lib",
        network_dir=f"{MOUNT_AT}/interfaces",
        supervisor="children",
        syslog_conf=SYSLOG_CONF,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    return daemon.main(_PROGRAM, _run, argv)


def _run(conf: cfg.ConfigOpts) -> int:
    count = conf.controller_worker.workers
    if count == 1:
        return _work(conf)
    wiring = Wiring(conf)
    # Imported once for all processes; what is wrong with them is said now.
    _ = wiring.compute, wiring.network, wiring.amphora, wiring.certificates, wiring.bell
    return processes.keep_running(count, lambda: daemon.guarded(_PROGRAM, lambda: _work(conf)))


def _work(conf: cfg.ConfigOpts) -> int:
    wiring = Wiring(conf)
    doorbell = LocalDoorbell()
    service = worker(wiring, doorbell)
    wiring.listen(doorbell)
    parts = Parts()
    parts.start("worker", lambda: service.run(parts.stop), doorbell.ring)
    parts.wait(conf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
