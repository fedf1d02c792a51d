# SPDX-License-Identifier: Apache-2.0
"""Section ``[compute]``: retries of calls to compute."""

from typing import Final

from oslo_config import cfg

GROUP: Final = "compute"

OPTIONS: Final = (
    cfg.IntOpt("max_retries", default=15, help="Attempts for Nova operations (port/attach/delete)."),
    cfg.IntOpt("retry_interval", default=1, help="First wait, seconds."),
    cfg.IntOpt("retry_backoff", default=1, help="Multiplier of the exponential wait."),
    cfg.IntOpt("retry_max", default=10, help="Longest wait, seconds."),
)
