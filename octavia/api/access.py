# SPDX-License-Identifier: Apache-2.0
"""From ``[api_settings] auth_strategy`` to how a process tells its callers apart."""

from oslo_config import cfg

from octavia.api.identity import Access, NoAuth


def from_config(conf: cfg.ConfigOpts) -> Access:
    """What a process's octavia.conf asks for.

    :raises Terminal: it cannot be had; with what to change.
    """
    if conf.api_settings.auth_strategy == "noauth":
        return NoAuth()
    from octavia.api import checked  # noqa: PLC0415  # where everybody is admin it is never needed

    return checked.from_config(conf)
