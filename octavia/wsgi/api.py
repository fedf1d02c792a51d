# SPDX-License-Identifier: Apache-2.0
"""``octavia.wsgi.api:application``: the REST API for gunicorn, uWSGI or mod_wsgi.

The configuration is searched where every process looks for it; where that is another file, the environment
names it in ``OS_OCTAVIA_CONFIG_FILES``, several with ``;`` between them. A server may import this module
before it forks: connections and threads are made by the process that answers, when it first does.
"""

import gc
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import falcon
from oslo_config import cfg

from octavia import config
from octavia.api import errors
from octavia.api.access import from_config as access_from_config
from octavia.api.settings import check_binding
from octavia.api.settings import from_config as settings_from_config
from octavia.cmd import daemon
from octavia.cmd.application import FILES
from octavia.cmd.application import application as make
from octavia.cmd.wiring import Wiring
from octavia.domain.errors import Transient

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Application:
    """A WSGI application for servers of several processes.

    While the database cannot be reached it answers 503, and looks again at the next request.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        try:
            answer = self._made or self._make()
        except Transient as error:
            return _unavailable(error, start_response)
        return answer(environ, start_response)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._made: Wsgi | None = None

    def _make(self) -> Wsgi:
        with self._lock:
            if self._made is None:
                self._made = make(Wiring(self._conf))
            return self._made


def load(environ: Mapping[str, str]) -> Application:
    """The application of the configuration that the environment names.

    :raises octavia.config.checks.Contradiction: two options that cannot both be meant.
    :raises Terminal: callers are not checked, and nobody says that this is wanted here.
    """
    files = [one for one in environ.get(FILES, "").split(";") if one]
    arguments = [word for file in files for word in ("--config-file", file)]
    # Third-party providers' drivers read and complete the global configuration.
    conf = config.load(arguments, program="octavia-api", conf=cfg.CONF)
    daemon.start_logging(conf, logging.INFO)
    # Which address the server listens on is not known here, so it might be any.
    check_binding(settings_from_config(conf), "")
    wiring = Wiring(conf)
    # Imported once for all processes; what is wrong is said now.
    _ = wiring.tenant_network, wiring.bell, access_from_config(conf)
    return Application(conf)


def _unavailable(error: Transient, start_response: Callable[..., Any]) -> Iterable[bytes]:
    answer = falcon.Response()
    errors.answer(answer, 503, error.why)
    body = answer.data or b""
    headers = [("Content-Type", falcon.MEDIA_JSON), ("Content-Length", str(len(body)))]
    start_response(falcon.HTTP_503, headers)
    return [body]


application = load(os.environ)
# What a server forks now is the same in all of its processes; the collector must not write into each object.
gc.collect()
gc.freeze()
