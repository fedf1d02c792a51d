# SPDX-License-Identifier: Apache-2.0
"""Steps that concern a load balancer as a whole."""

from dataclasses import dataclass

from octavia.worker.outcome import Done, Outcome
from octavia.worker.world import Branch


@dataclass(frozen=True, slots=True)
class ReleaseVip:
    """The VIP port is gone if it was ours, or left to its owner."""

    def apply(self, branch: Branch) -> Outcome:
        """Ask the network to release it."""
        branch.world.network.release_vip_port(branch.lb.id, branch.lb.vip)
        return Done(further=True)
