# SPDX-License-Identifier: Apache-2.0
"""Audit events of keystonemiddleware (contract: control-plane.md section 12).

Who asks is known only when the application has checked the token, so the middleware is told of a request
when it has been answered: it sees the request and the answer as if it stood around both. Whoever was not
let in is nobody, and no event tells of him.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from oslo_config import cfg

from octavia.domain.errors import Terminal
from octavia.drivers.bus.messaging import choose_threads

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_ANSWER: Final = "octavia.audited_answer"
_UNAUTHORIZED: Final = "401"


class Audited:
    """An application whose requests are told to the audit middleware.

    :raises Terminal: the audit map cannot be read, or events cannot be sent as is configured.
    """

    def __init__(self, application: Wsgi, conf: cfg.ConfigOpts) -> None:
        choose_threads()
        from keystonemiddleware import audit  # noqa: PLC0415  # imports oslo.messaging

        self._application = application
        path = conf.audit.audit_map_file
        try:
            self._middleware = audit.AuditMiddleware(
                _answered,
                oslo_config_config=conf,
                audit_map_file=path,
                ignore_req_list=conf.audit.ignore_req_list,
                service_name="octavia",
            )
        except Exception as why:  # of the map's parser, of a messaging driver: nothing of it can be served
            raise Terminal(f"[audit] enabled, but {path} or where events go is not usable: {why}") from why

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        said: list[tuple[str, list[tuple[str, str]]]] = []

        def remember(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
            said.append((status, headers))

        body = self._application(environ, remember)
        ((status, headers),) = said
        if not status.startswith(_UNAUTHORIZED):
            environ[_ANSWER] = (status, headers)
            for _ in self._middleware(environ, _ignore):
                pass
        start_response(status, headers)
        return body


def _answered(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """What stands behind the middleware: the answer that is there already."""
    status, _headers = environ[_ANSWER]
    start_response(status, [])
    return []


def _ignore(_status: str, _headers: list[tuple[str, str]], _exc_info: object = None) -> None:
    """The client has its answer from the application itself."""
