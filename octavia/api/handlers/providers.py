# SPDX-License-Identifier: Apache-2.0
"""Providers, and what their flavors and availability zones can say (contract: api.md section 18)."""

from collections.abc import Mapping

from octavia.api import query
from octavia.api.service import Answer, Call
from octavia.domain.errors import Invalid


def index(call: Call) -> Answer:
    """GET /providers."""
    call.authorize("provider:get_all", call.identity.project_id)
    wanted = query.fields(call.query, call.settings)
    every = [
        query.select({"name": name, "description": text}, wanted)
        for name, text in call.service.providers.enabled.items()
    ]
    return Answer(200, {"providers": every})


def flavor_capabilities(call: Call, provider_name: str) -> Answer:
    """GET /providers/{name}/flavor_capabilities."""
    call.authorize("provider-flavor:get_all", call.identity.project_id)
    name = call.service.providers.choose(provider_name)
    return _capabilities(call, "flavor_capabilities", call.service.providers.flavor_capabilities(name))


def availability_zone_capabilities(call: Call, provider_name: str) -> Answer:
    """GET /providers/{name}/availability_zone_capabilities."""
    call.authorize("provider-availability-zone:get_all", call.identity.project_id)
    name = call.service.providers.choose(provider_name)
    found = call.service.providers.availability_zone_capabilities(name)
    return _capabilities(call, "availability_zone_capabilities", found)


def _capabilities(call: Call, plural: str, found: Mapping[str, str]) -> Answer:
    every = [{"name": name, "description": text} for name, text in found.items()]
    for name, value in query.listing(call.query, call.settings).filters:
        if name not in ("name", "description"):
            raise Invalid("One or more arguments are either duplicate or invalid")
        every = [one for one in every if one[name] == value]
    chosen = query.fields(call.query, call.settings)
    return Answer(200, {plural: [query.select(dict(one), chosen) for one in every]})
