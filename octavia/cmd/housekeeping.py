# SPDX-License-Identifier: Apache-2.0
"""``octavia-housekeeping``: forgets what is old and sweeps what nobody owns."""

import sys
from collections.abc import Sequence

from oslo_config import cfg

from octavia.cmd import daemon
from octavia.cmd.parts import Parts
from octavia.cmd.wiring import COMPUTE_LOCAL, Wiring
from octavia.drivers.bus.contract import Bell
from octavia.housekeeping.service import Housekeeping, from_config, jobs
from octavia.housekeeping.sweep import nothing


def housekeeping(conf: cfg.ConfigOpts, wiring: Wiring, bell: Bell) -> Housekeeping:
    """One that is ready to run.

    :raises OctaviaError: something cannot be made; with what to change.
    """

    def of_this_machine(known: frozenset[str]) -> Sequence[str]:
        del known  # the sweep finds the owners itself, in the directories of the amphorae
        return wiring.local_compute.sweep()

    leftovers = of_this_machine if conf.controller_worker.compute_driver == COMPUTE_LOCAL else nothing
    every = jobs(wiring.database, bell, wiring.compute, wiring.network, from_config(conf), leftovers)
    return Housekeeping(every, wiring.clock)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    return daemon.main("octavia-housekeeping", _run, argv)


def _run(conf: cfg.ConfigOpts) -> int:
    wiring = Wiring(conf)
    keeper = housekeeping(conf, wiring, wiring.bell)
    parts = Parts()
    parts.start("housekeeping", lambda: keeper.run(parts.stop))
    parts.wait(conf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
