# SPDX-License-Identifier: Apache-2.0
"""What the agent remembers for its controllers: fencing number and generations.

One small JSON file, replaced atomically and synchronised before anybody acts on it. An amphora
serves one load balancer for its whole life, so one fencing number guards everything in it: a worker
that lost its lease must not plug an interface either.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from octavia.amphora_agent import durable

LOG = logging.getLogger(__name__)


class FencedOff(Exception):
    """The caller's lease has been taken over by somebody whose number is ``highest``."""

    def __init__(self, given: int, highest: int) -> None:
        super().__init__(f"fencing number {given} is lower than {highest}, which has been seen")
        self.highest = highest


class Overtaken(Exception):
    """A request older than what is live, delayed on its way; doing it would bring back the past."""


@dataclass(frozen=True, slots=True)
class LoadBalancerState:
    """One load balancer.

    :param generation: the newest that is live; None where the controller never said one.
    :param generation_fence: the fencing number it came with; a higher one may go back in generations
        (a restored database), the same one may not (a delayed request).
    :param staged_generation: of what waits for ``reload``.
    :param certificates_changed: a certificate file is newer than what HAProxy has loaded.
    """

    generation: int | None = None
    generation_fence: int | None = None
    staged_generation: int | None = None
    certificates_changed: bool = False


class AgentState:
    """The file, and its content in memory. Callers hold the agent's lock to change it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fence: int | None = None
        self._load_balancers: dict[str, LoadBalancerState] = {}
        self._read()

    def load_balancer(self, load_balancer_id: str) -> LoadBalancerState:
        """What is known of one; nothing yet is an empty state."""
        return self._load_balancers.get(load_balancer_id, LoadBalancerState())

    @property
    def generation(self) -> int | None:
        """The live generation of the amphora's load balancer; None if unknown or ambiguous."""
        known = list(self._load_balancers.values())
        return known[0].generation if len(known) == 1 else None

    def admit(self, fence: int | None) -> None:
        """Let a mutating request in; its number is on the disk when this returns.

        :param fence: None from controllers that do not know fencing; always admitted.
        :raises FencedOff: a higher number has been seen.
        """
        if fence is None or fence == self.fence:
            return
        if self.fence is not None and fence < self.fence:
            raise FencedOff(fence, self.fence)
        before, self.fence = self.fence, fence
        try:
            self._write()
        except OSError:
            self.fence = before  # not promised, so not remembered
            raise

    def check_order(self, load_balancer_id: str, generation: int, fence: int | None) -> None:
        """Refuse what a newer request of the same lease has overtaken.

        :raises Overtaken: the same lease has already applied a higher generation.
        """
        known = self.load_balancer(load_balancer_id)
        if fence is None or known.generation is None or fence != known.generation_fence:
            return
        if generation < known.generation:
            raise Overtaken(f"generation {generation} was overtaken by {known.generation}, which is live")

    def change(self, load_balancer_id: str, **changes: Any) -> None:
        """Remember something about one load balancer; on the disk when this returns."""
        before = self.load_balancer(load_balancer_id)
        after = replace(before, **changes)
        if after != before or load_balancer_id not in self._load_balancers:
            self._load_balancers[load_balancer_id] = after
            self._write()

    def forget(self, load_balancer_id: str) -> None:
        """Forget a load balancer that is gone; the fencing number stays."""
        if self._load_balancers.pop(load_balancer_id, None) is not None:
            self._write()

    def _write(self) -> None:
        document = {
            "fence": self.fence,
            "load_balancers": {key: asdict(value) for key, value in self._load_balancers.items()},
        }
        durable.write(self._path, json.dumps(document))

    def _read(self) -> None:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        # A damaged file must stop the agent: starting with no fence would let the past back in.
        self.fence = document["fence"]
        self._load_balancers = {key: _state(value) for key, value in document["load_balancers"].items()}


def _state(document: Mapping[str, Any]) -> LoadBalancerState:
    known = LoadBalancerState.__dataclass_fields__
    return LoadBalancerState(**{key: value for key, value in document.items() if key in known})
