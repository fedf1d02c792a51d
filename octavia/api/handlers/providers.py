# SPDX-License-Identifier: Apache-2.0
"""Providers, and what their flavors and availability zones can say (contract: api.md section 18)."""

from collections.abc import Mapping

from octavia import providers
from octavia.api import query
from octavia.api.service import Answer, Call
from octavia.domain.errors import Invalid


def index(call: Call) -> Answer:
    """GET /providers."""
    wanted = query.fields(call.query, call.settings)
    every = [
        query.select({"name": name, "description": text}, wanted)
        for name, text in call.settings.enabled_provider_drivers.items()
    ]
    return Answer(200, {"providers": every})


def flavor_capabilities(call: Call, provider_name: str) -> Answer:
    """GET /providers/{name}/flavor_capabilities."""
    name = _enabled(call, provider_name)
    return _capabilities(call, "flavor_capabilities", providers.flavor_capabilities(name))


def availability_zone_capabilities(call: Call, provider_name: str) -> Answer:
    """GET /providers/{name}/availability_zone_capabilities."""
    name = _enabled(call, provider_name)
    found = providers.availability_zone_capabilities(name)
    return _capabilities(call, "availability_zone_capabilities", found)


def _enabled(call: Call, name: str) -> str:
    settings = call.settings
    return providers.choose(name, settings.default_provider_driver, settings.enabled_provider_drivers)


def _capabilities(call: Call, plural: str, found: Mapping[str, str]) -> Answer:
    every = [{"name": name, "description": text} for name, text in found.items()]
    for name, value in query.listing(call.query, call.settings).filters:
        if name not in ("name", "description"):
            raise Invalid("One or more arguments are either duplicate or invalid")
        every = [one for one in every if one[name] == value]
    chosen = query.fields(call.query, call.settings)
    return Answer(200, {plural: [query.select(dict(one), chosen) for one in every]})
