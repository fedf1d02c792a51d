# SPDX-License-Identifier: Apache-2.0
"""Section ``[cors]``: which web pages may call the API from a browser. Names are oslo.middleware's."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "cors"

OPTIONS: Final = (
    cfg.ListOpt(
        "allowed_origin",
        help="Origins of pages that may call the API, like https://horizon.example.com, or *; unset: none.",
    ),
    cfg.BoolOpt("allow_credentials", default=True, help="Such calls may carry cookies and the like."),
    cfg.ListOpt(
        "expose_headers",
        default=["X-Auth-Token", "X-Openstack-Request-Id"],
        help="Headers of answers that pages may read.",
    ),
    cfg.IntOpt("max_age", default=3600, help="Seconds for which a browser remembers what is allowed."),
    cfg.ListOpt(
        "allow_methods", default=["GET", "PUT", "POST", "DELETE"], help="Methods that pages may use."
    ),
    cfg.ListOpt(
        "allow_headers",
        default=["X-Auth-Token", "X-Openstack-Request-Id"],
        help="Headers of requests that pages may set.",
    ),
)
