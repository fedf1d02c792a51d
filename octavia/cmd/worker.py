# SPDX-License-Identifier: Apache-2.0
"""``octavia-worker``: brings load balancers to their desired state."""

import sys
from collections.abc import Sequence

from oslo_log import log

from octavia import config
from octavia.cmd.parts import Parts
from octavia.cmd.wiring import Wiring
from octavia.config.checks import Contradiction
from octavia.domain.errors import OctaviaError
from octavia.drivers.bus.local import LocalDoorbell
from octavia.worker.service import Worker


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    try:
        conf = config.load(sys.argv[1:] if argv is None else argv, program="octavia-worker")
        log.setup(conf, "octavia")
        wiring = Wiring(conf)
        # Until a bus rings it from other processes, the sweep finds their work.
        doorbell = LocalDoorbell()
        worker = Worker(wiring.database, wiring.world, doorbell, wiring.worker_settings)
    except (Contradiction, OctaviaError) as why:
        print(f"octavia-worker: {why}", file=sys.stderr)
        return 1
    parts = Parts()
    parts.start("worker", lambda: worker.run(parts.stop), doorbell.ring)
    parts.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
