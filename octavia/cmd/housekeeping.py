# SPDX-License-Identifier: Apache-2.0
"""``octavia-housekeeping``: forgets what is old and sweeps what nobody owns."""

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
from octavia.housekeeping.service import Housekeeping, from_config, jobs


def housekeeping(conf: cfg.ConfigOpts, wiring: Wiring, doorbell: LocalDoorbell) -> Housekeeping:
    """One that is ready to run.

    :raises OctaviaError: something cannot be made; with what to change.
    """

    def leftovers(known: frozenset[str]) -> Sequence[str]:
        del known  # the sweep finds the owners itself, in the directories of the amphorae
        return wiring.local_compute.sweep()

    every = jobs(wiring.database, doorbell, wiring.compute, wiring.network, from_config(conf), leftovers)
    return Housekeeping(every, wiring.clock)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    try:
        conf = config.load(sys.argv[1:] if argv is None else argv, program="octavia-housekeeping")
        log.setup(conf, "octavia")
        # Nobody in this process waits for work: the worker's own sweep of the queue finds it.
        keeper = housekeeping(conf, Wiring(conf), LocalDoorbell())
    except (Contradiction, OctaviaError) as why:
        print(f"octavia-housekeeping: {why}", file=sys.stderr)
        return 1
    parts = Parts()
    parts.start("housekeeping", lambda: keeper.run(parts.stop))
    parts.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
