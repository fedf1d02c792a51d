# SPDX-License-Identifier: Apache-2.0
"""The REST API of an octavia.conf, for whatever server serves it."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from octavia.api import app
from octavia.api.access import from_config as access_from_config
from octavia.api.settings import from_config
from octavia.cmd.wiring import Wiring
from octavia.config import service_auth
from octavia.domain.tree import AMPHORA_PROVIDERS

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

FILES: Final = "OS_OCTAVIA_CONFIG_FILES"
"""Environment variable of WSGI servers, which have no ``--config-file``: files with ``;`` between them."""


def application(wiring: Wiring) -> Wsgi:
    """Ready to answer.

    :raises Transient: the database does not answer.
    :raises Terminal: something cannot be made; with what to change.
    """
    settings = from_config(wiring.conf, serve_network=wiring.is_local)
    if set(settings.enabled_provider_drivers) - set(AMPHORA_PROVIDERS):
        service_auth.register(wiring.conf)  # which third-party drivers read
    access = access_from_config(wiring.conf)
    made = app.create(
        wiring.database,
        wiring.tenant_network,
        wiring.bell,
        wiring.clock,
        settings,
        access,
        wiring.tenant_certificates,
    )
    if not wiring.conf.audit.enabled:
        return made
    from octavia.api.audit import Audited  # noqa: PLC0415  # which few installations load

    return Audited(made, wiring.conf)
