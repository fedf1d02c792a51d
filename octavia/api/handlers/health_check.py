# SPDX-License-Identifier: Apache-2.0
"""Is this process fit to be asked? For load balancers in front of the API (contract: api.md section 1.4)."""

import json
from dataclasses import dataclass
from typing import Final

import falcon

from octavia.api.service import Answer, Call
from octavia.db import views
from octavia.domain.errors import OctaviaError

PATH: Final = "/healthcheck"
_HTML: Final = "<!DOCTYPE html><html><head><title>Health</title></head><body><p>{}</p></body></html>"
_TYPES: Final = (falcon.MEDIA_TEXT, falcon.MEDIA_JSON, falcon.MEDIA_HTML)


@dataclass(slots=True)
class HealthCheck:
    """Asks the database, and not more often than it makes sense."""

    refresh_interval_s: float
    _checked_at: float | None = None
    _well: bool = False

    def __call__(self, call: Call) -> Answer:
        """GET and HEAD."""
        now = call.service.clock.monotonic()
        if self._checked_at is None or now - self._checked_at >= self.refresh_interval_s:
            # Several threads may ask at once: then several do, and each is right.
            self._well = _database_answers(call)
            self._checked_at = now
        word = "OK" if self._well else "UNAVAILABLE"
        media_type = call.req.client_prefers(_TYPES) or falcon.MEDIA_TEXT
        text = {
            falcon.MEDIA_JSON: json.dumps({"detailed": False, "reasons": [word]}),
            falcon.MEDIA_HTML: _HTML.format(word),
        }.get(media_type, word)
        return Answer(200 if self._well else 503, text, media_type=media_type)


def _database_answers(call: Call) -> bool:
    try:
        with call.service.database.read() as tx:
            views.ping(tx)
    except OctaviaError:
        return False
    return True
