# SPDX-License-Identifier: Apache-2.0
"""Section ``[oslo_middleware]``: what stands between a server and the API. Names are oslo.middleware's."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "oslo_middleware"

OPTIONS: Final = (
    cfg.IntOpt(
        "max_request_body_size",
        default=114688,
        min=1,
        deprecated_opts=[
            cfg.DeprecatedOpt("osapi_max_request_body_size", group="DEFAULT"),
            cfg.DeprecatedOpt("max_request_body_size", group="DEFAULT"),
        ],
        help="Longest body of a request, bytes; longer ones get 413.",
    ),
    cfg.BoolOpt(
        "enable_proxy_headers_parsing",
        default=False,
        help="Believe the Forwarded and X-Forwarded-* headers about scheme, host, caller and prefix: only"
        " behind a proxy that sets or removes them itself.",
    ),
)
