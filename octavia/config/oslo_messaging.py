# SPDX-License-Identifier: Apache-2.0
"""Section ``[oslo_messaging]``, and whether there is a message bus at all.

oslo.messaging registers its own options, such as ``[DEFAULT] transport_url``, when it is used; where there is
no bus it is not even imported. Using the bus is not here: see :mod:`octavia.drivers.bus.messaging`.
"""

from typing import Final

from oslo_config import cfg

GROUP: Final = "oslo_messaging"

OPTIONS: Final = (
    cfg.StrOpt(
        "topic",
        help="Topic on which API, health manager and housekeeping ring for workers; unset means"
        " octavia_doorbell. All processes of a deployment need the same.",
    ),
)


def transport_url(conf: cfg.ConfigOpts) -> str | None:
    """``[DEFAULT] transport_url`` of the files that ``conf`` was read from; None if it is not set.

    oslo.messaging's own default is a RabbitMQ on this machine, whether there is one or not.
    """
    # Not registered on conf itself: there, oslo.messaging's definition has to be the only one.
    apart = cfg.ConfigOpts()
    apart.register_opt(cfg.StrOpt("transport_url", secret=True))
    apart([], default_config_files=conf.config_file, default_config_dirs=conf.config_dir)
    return apart.transport_url or None
