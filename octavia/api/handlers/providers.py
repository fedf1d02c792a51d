# SPDX-License-Identifier: Apache-2.0
"""The list of providers (contract: api.md section 18)."""

from octavia.api import query
from octavia.api.service import Answer, Call


def index(call: Call) -> Answer:
    """GET /providers."""
    wanted = query.fields(call.query, call.settings)
    every = [
        query.select({"name": name, "description": text}, wanted)
        for name, text in call.settings.enabled_provider_drivers.items()
    ]
    return Answer(200, {"providers": every})
