# SPDX-License-Identifier: Apache-2.0
"""Section ``[database]``: oslo.db's options with our defaults.

Opening the database is not here: see :mod:`octavia.db.engine`.
"""

from oslo_config import cfg
from oslo_db import options


def register(conf: cfg.ConfigOpts) -> None:
    """Make oslo.db's options known to ``conf`` with the pool sizes that operators know."""
    options.set_defaults(conf, connection="sqlite://", max_pool_size=10, max_overflow=20, pool_timeout=10)
