# SPDX-License-Identifier: Apache-2.0
"""``octavia-api``: serves the REST API on the address of octavia.conf.

A built-in server of one process, for trying out; in production a WSGI server has many: see
:mod:`octavia.wsgi.api`. Everything in one process is not here: that is the controller, which may borrow
:func:`server`.
"""

import signal
from collections.abc import Sequence
from typing import Any, Final

from cheroot import wsgi
from oslo_config import cfg

from octavia.api.body import LARGEST
from octavia.api.settings import ApiSettings, check_binding, from_config
from octavia.cmd import daemon
from octavia.cmd.application import application
from octavia.cmd.wiring import Wiring
from octavia.domain.errors import Terminal

_THREADS: Final = 10
_DRAIN_S: Final = 15


def server(application: Any, settings: ApiSettings, host: str, port: int) -> wsgi.Server:
    """A server that is ready to ``prepare()`` and ``serve()``, and ends with ``stop()``.

    :raises Terminal: callers are not checked and others than this machine could reach it.
    """
    check_binding(settings, host)
    made = wsgi.Server(
        (host, port), application, numthreads=_THREADS, server_name="octavia-api", shutdown_timeout=_DRAIN_S
    )
    # Longer bodies are answered by the application, in its own words; this only bounds the damage.
    made.max_request_body_size = 16 * settings.max_request_body_size
    made.max_request_header_size = LARGEST
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 after one sentence on standard error."""
    # Third-party providers' drivers read and complete the global configuration.
    return daemon.main("octavia-api", _serve, argv, conf=cfg.CONF)


def _serve(conf: cfg.ConfigOpts) -> int:
    host, port = str(conf.api_settings.bind_host), conf.api_settings.bind_port
    settings = from_config(conf)
    check_binding(settings, host)
    serving = server(application(Wiring(conf)), settings, host, port)

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        serving.prepare()
    except OSError as why:
        raise Terminal(f"cannot listen on {host}:{port}: {why}") from why
    try:
        serving.serve()
    except KeyboardInterrupt:
        serving.stop()  # when the requests under way have been answered
    return 0
