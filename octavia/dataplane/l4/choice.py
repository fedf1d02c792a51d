# SPDX-License-Identifier: Apache-2.0
"""Which member of a UDP or SCTP pool new flows go to: who may be chosen, in turn, or by the source's address.

As rules for the kernel: see :mod:`octavia.dataplane.l4.nftables`.
"""

import hashlib
import math
import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, repeat
from typing import Final

from octavia.dataplane.l4.model import Member, Pool

SOURCE_SLOTS: Final = 1024

_DRAWS: Final = struct.Struct(f">{SOURCE_SLOTS}I")
_NOBODY: Final = (-math.inf, "")


def choosable(pool: Pool, version: int, *, down: Collection[str] = frozenset()) -> tuple[Member, ...]:
    """The members that new flows may go to: backups only where nobody else is left."""
    able = [
        one
        for one in pool.members
        if one.enabled and one.weight > 0 and one.id not in down and one.version == version
    ]
    first = [one for one in able if not one.backup]
    return tuple(first or able)


def turns(weights: Sequence[int]) -> list[int]:
    """Indexes in an order that gives each its share and spreads it over the round.

    As nginx's smooth weighted round robin, between groups of one weight; within a group it is a turn each.
    5, 1, 1 gives 0 1 0 0 0 2 0. One that looked at each member for each turn would take a million looks.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for index, weight in enumerate(weights):
        groups[weight].append(index)
    of_group = {weight: cycle(group) for weight, group in groups.items()}
    share = {weight: weight * len(group) for weight, group in groups.items()}
    current = dict.fromkeys(groups, 0)
    order, total = [], sum(weights)
    for _ in range(total):
        for weight in current:
            current[weight] += share[weight]
        chosen = max(current, key=current.__getitem__)
        current[chosen] -= total
        order.append(next(of_group[chosen]))
    return order


@dataclass(frozen=True, slots=True)
class SourceSlots:
    """Who has each slot, and by which score, so that the next change costs no more than what it moves.

    :param best: score and id of a member for each slot.
    """

    weights: Mapping[str, int]
    best: Sequence[tuple[float, str]] = field(repr=False)

    @property
    def owners(self) -> list[str]:
        """Id of the member of each slot."""
        return [owner for _, owner in self.best]


_FREE: Final = SourceSlots({}, (_NOBODY,) * SOURCE_SLOTS)


def source_slots(members: Sequence[Member], before: SourceSlots = _FREE) -> SourceSlots:
    """Weighted rendezvous hashing (Schindelhauer, Schomaker 2005): each change moves only its own share.

    :param before: of other members or weights of the same pool; the answer is the same without it.
    """
    kept = [one for one in members if before.weights.get(one.id) == one.weight]
    stays = {one.id for one in kept}
    best = list(before.best)
    lost = [slot for slot, (_, owner) in enumerate(best) if owner not in stays]
    for slot, won in zip(lost, _best(kept, lost), strict=True):
        best[slot] = won
    fresh = _best([one for one in members if one.id not in stays], range(SOURCE_SLOTS))
    return SourceSlots({one.id: one.weight for one in members}, tuple(map(max, best, fresh)))


def _best(members: Iterable[Member], slots: Sequence[int]) -> list[tuple[float, str]]:
    """Score and id of whoever wins each of these slots."""
    by_weight: dict[int, list[Member]] = defaultdict(list)
    for member in members:
        by_weight[member.weight].append(member)
    best = [_NOBODY] * len(slots)
    for weight, equals in by_weight.items():
        # Among equals the draws decide: a logarithm of each would take most of the time.
        highest = [(-1, "")] * len(slots)
        for member in equals if slots else ():
            draws = _DRAWS.unpack(hashlib.shake_128(member.id.encode()).digest(_DRAWS.size))
            highest = list(map(max, highest, zip([draws[one] for one in slots], repeat(member.id))))
        scored = [(math.log((draw + 0.5) / 2**32) / weight, owner) for draw, owner in highest]
        best = list(map(max, best, scored))
    return best
