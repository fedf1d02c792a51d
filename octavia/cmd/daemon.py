# SPDX-License-Identifier: Apache-2.0
"""How every daemon begins and ends. What each of them does is in its own module."""

import logging
import sys
from collections.abc import Callable, Sequence

from oslo_config import cfg
from oslo_log import log

from octavia import config
from octavia.config.checks import Contradiction
from octavia.domain.errors import OctaviaError

LOG = logging.getLogger(__name__)


def main(
    program: str,
    run: Callable[[cfg.ConfigOpts], int],
    argv: Sequence[str] | None,
    conf: cfg.ConfigOpts | None = None,
) -> int:
    """Read the configuration, run, and end.

    :param run: what the process does; its exit code. What it raises is why it cannot start.
    :param argv: arguments after the program's name; None: the process's.
    :param conf: the global configuration, where third-party drivers run; None: one of its own.
    """

    def begin() -> int:
        loaded = config.load(sys.argv[1:] if argv is None else argv, program=program, conf=conf)
        start_logging(loaded, logging.DEBUG)
        return run(loaded)

    return guarded(program, begin)


def guarded(program: str, run: Callable[[], int]) -> int:
    """The exit code of what is run, or 1 after one sentence on standard error."""
    try:
        return run()
    except (Contradiction, OctaviaError, cfg.Error) as why:
        print(f"{program}: {why}", file=sys.stderr)
        return 1


def start_logging(conf: cfg.ConfigOpts, level: int) -> None:
    """As oslo.log's options say; every option is logged with its value, secrets are masked.

    :param level: of what is said about the options (contract: config.md section 0).
    """
    log.setup(conf, "octavia")
    conf.log_opt_values(LOG, level)
