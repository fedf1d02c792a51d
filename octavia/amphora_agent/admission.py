# SPDX-License-Identifier: Apache-2.0
"""What a request has to pass before anything is done, and what the answers to all of them share."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from octavia.amphora_agent.agent import UUID, Agent
from octavia.amphora_agent.http import HttpError, Request, refusal
from octavia.amphora_agent.state import FencedOff
from octavia.wire.agent import HEADER_FENCE

OK: Final = {"message": "OK"}
_ACTIONS: Final = ("start", "stop", "reload")


class Gate:
    """Who gets in."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @contextmanager
    def mutation(self, request: Request) -> Iterator[None]:
        """The agent's lock with an admitted fencing number; else 409 with the highest."""
        fence = request.number(HEADER_FENCE)
        try:
            with self._agent.admitted(fence):
                yield
        except FencedOff as error:
            raise refusal(409, "Fenced", str(error), fence=error.highest) from None

    def require_us(self, amphora_id: str) -> None:
        """404 for what is meant for another amphora."""
        if amphora_id.lower() != self._agent.config.amphora_id.lower():
            ours = self._agent.config.amphora_id
            raise refusal(404, "Amphora Not Found", f"This is amphora {ours}, not the one asked for.")


def load_balancer_id(lb_id: str) -> str:
    """A path is made of it, so it is a UUID or nothing."""
    if not UUID.fullmatch(lb_id.lower()):
        raise no_load_balancer(lb_id)
    return lb_id.lower()


def no_load_balancer(lb_id: str) -> HttpError:
    """404, to be raised."""
    return refusal(404, "Loadbalancer Not Found", f"No loadbalancer with UUID: {lb_id}")


def known_action(action: str) -> str:
    """start, stop or reload; else 400."""
    if action.lower() not in _ACTIONS:
        raise refusal(400, "Invalid Request", f"Unknown action: {action}")
    return action.lower()


def md5(data: bytes) -> str:
    """For an ETag."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
