# SPDX-License-Identifier: Apache-2.0
"""Section ``[DEFAULT]``: what every process needs to know of itself."""

import socket
from typing import Final

from oslo_config import cfg

GROUP: Final = "DEFAULT"

OPTIONS: Final = (
    cfg.HostnameOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<host name>",
        help="Name this node announces; used as the RPC server name of the worker.",
    ),
)
