# SPDX-License-Identifier: Apache-2.0
"""Errors on their way to the client: which code, and the body (contract: api.md sections 2.5 and 2.6).

The body is always the union of the two shapes that clients know.
"""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import falcon

from octavia.domain import errors
from octavia.providers.errors import ProviderFailed, UnsupportedOption

_log = logging.getLogger(__name__)

CODES: Final[Mapping[type[errors.OctaviaError], HTTPStatus]] = {
    errors.Invalid: HTTPStatus.BAD_REQUEST,
    errors.Denied: HTTPStatus.FORBIDDEN,
    errors.QuotaMet: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Transient: HTTPStatus.SERVICE_UNAVAILABLE,
    UnsupportedOption: HTTPStatus.NOT_IMPLEMENTED,
    ProviderFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def install(app: falcon.App[Any, Any]) -> None:
    """Have every error of the application answered in our shape."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _http_error)
    app.add_error_handler(errors.OctaviaError, _octavia_error)


def answer(resp: falcon.Response, code: int, text: str, *, description: str | None = None) -> None:
    """Write an error's body.

    :param description: the routing errors' own text, where it differs.
    """
    body = {
        "faultcode": "Client" if code < HTTPStatus.INTERNAL_SERVER_ERROR else "Server",
        "faultstring": text,
        "debuginfo": None,
        "code": int(code),
        "title": HTTPStatus(code).phrase,
        "description": text if description is None else description,
    }
    resp.status = int(code)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = json.dumps(body).encode()


def _octavia_error(
    req: falcon.Request, resp: falcon.Response, error: errors.OctaviaError, _params: object
) -> None:
    for kind in type(error).__mro__:
        if kind in CODES:
            answer(resp, CODES[kind], error.why)
            return
    _unexpected(req, resp, error, _params)


def _http_error(
    _req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: object
) -> None:
    code = error.status_code
    resp.set_headers(dict(error.headers or {}))
    text = error.description or HTTPStatus(code).description or HTTPStatus(code).phrase
    answer(resp, code, text, description=error.description or "")


def _unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, _params: object) -> None:
    _log.error("%s %r failed", req.method, req.path, exc_info=error)
    answer(resp, HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed to answer; its log says why.")
