# SPDX-License-Identifier: Apache-2.0
"""``octavia-api``: serves the REST API on the address of octavia.conf.

A built-in server of one process. Everything in one process is not here: that is the controller, which
may borrow :func:`server`.
"""

import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from cheroot import wsgi
from oslo_config import cfg
from oslo_log import log

from octavia import config
from octavia.api import app
from octavia.api.body import LARGEST
from octavia.api.identity import check_strategy
from octavia.api.settings import ApiSettings, check_binding, from_config
from octavia.cmd.wiring import NETWORK_DRIVER, Wiring
from octavia.config.checks import Contradiction
from octavia.domain.errors import OctaviaError
from octavia.drivers.bus.local import LocalDoorbell

_THREADS: Final = 10


def server(application: Any, settings: ApiSettings, host: str, port: int) -> wsgi.Server:
    """A server that is ready to ``prepare()`` and ``serve()``, and ends with ``stop()``.

    :raises Terminal: callers are not checked and others than this machine could reach it.
    """
    check_binding(settings, host)
    made = wsgi.Server((host, port), application, numthreads=_THREADS, server_name="octavia-api")
    # Longer bodies are answered by the application, in its own words; this only bounds the damage.
    made.max_request_body_size = 16 * LARGEST
    made.max_request_header_size = LARGEST
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    try:
        conf = config.load(sys.argv[1:] if argv is None else argv, program="octavia-api")
        log.setup(conf, "octavia")
        _serve(conf)
    except (Contradiction, OctaviaError) as why:
        print(f"octavia-api: {why}", file=sys.stderr)
        return 1
    except OSError as why:
        print(f"octavia-api: cannot listen: {why}", file=sys.stderr)
        return 1
    return 0


def _serve(conf: cfg.ConfigOpts) -> None:
    wiring = Wiring(conf)
    local = conf.controller_worker.network_driver == NETWORK_DRIVER
    settings = from_config(conf, serve_network=local)
    check_strategy(settings.auth_strategy)
    check_binding(settings, str(conf.api_settings.bind_host))
    # Workers are other processes: until a bus rings them, their sweep finds the work.
    application = app.create(wiring.database, wiring.tenant_network, LocalDoorbell(), wiring.clock, settings)
    serving = server(application, settings, str(conf.api_settings.bind_host), conf.api_settings.bind_port)

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    serving.prepare()
    try:
        serving.serve()
    except KeyboardInterrupt:
        serving.stop()
