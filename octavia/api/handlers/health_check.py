# SPDX-License-Identifier: Apache-2.0
"""Is this process fit to be asked? For load balancers in front of the API (contract: api.md section 1.4)."""

import json
from dataclasses import dataclass
from typing import Final

import falcon

from octavia.api.health import Health
from octavia.api.service import Answer, Call
from octavia.db import views
from octavia.domain.errors import OctaviaError

PATH: Final = "/healthcheck"
_HTML: Final = "<!DOCTYPE html><html><head><title>Health</title></head><body><p>{}</p></body></html>"
_TYPES: Final = (falcon.MEDIA_TEXT, falcon.MEDIA_JSON, falcon.MEDIA_HTML)
_WELL: Final = "OK"


@dataclass(slots=True)
class HealthCheck:
    """Asks the database not more often than it makes sense, and the others each time.

    :param refresh_interval_s: for how long the database's last answer is good enough.
    """

    health: Health
    refresh_interval_s: float
    _checked_at: float | None = None
    _database_is_well: bool = False

    def __call__(self, call: Call) -> Answer:
        """GET and HEAD."""
        if not self.health.answers(call.req.env):
            raise falcon.HTTPNotFound
        trouble = self.health.trouble(call.req.env, lambda: self._database_answers(call))
        words = list(dict.fromkeys(trouble.values())) or [_WELL]
        if self.health.detailed:
            words = [f"{name}: {trouble.get(name, _WELL)}" for name in self.health.backends] or [_WELL]
        media_type = call.req.client_prefers(_TYPES) or falcon.MEDIA_TEXT
        lines = "\n".join(words)
        text = {
            falcon.MEDIA_JSON: json.dumps({"detailed": self.health.detailed, "reasons": words}),
            falcon.MEDIA_HTML: _HTML.format("<br>".join(words)),
        }.get(media_type, lines)
        return Answer(503 if trouble else 200, text, media_type=media_type)

    def _database_answers(self, call: Call) -> bool:
        now = call.service.clock.monotonic()
        if self._checked_at is None or now - self._checked_at >= self.refresh_interval_s:
            # Several threads may ask at once: then several do, and each is right.
            self._database_is_well = _asked(call)
            self._checked_at = now
        return self._database_is_well


def _asked(call: Call) -> bool:
    try:
        with call.service.database.read() as tx:
            views.ping(tx)
    except OctaviaError:
        return False
    return True
