# SPDX-License-Identifier: Apache-2.0
"""A WSGI application out of a table of routes: as much of a web framework as two dozen URLs need.

Which URLs there are is not here: see :mod:`octavia.amphora_agent.handlers`.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

LOG = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 16 * 1024 * 1024  # a configuration with thousands of members is about a megabyte
SMALL_BODY_BYTES: Final = 256 * 1024
_SURROGATE: Final = re.compile(r"\\u[dD]")

Environ = Mapping[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


class HttpError(Exception):
    """An answer that is not a success; the body is the contract's shape for it."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


def refusal(status: int, message: str, details: str | None = None, **more: Any) -> HttpError:
    """An error of the agent's own: ``{"message", "details"}``."""
    return HttpError(
        status, {"message": message, **({"details": details} if details is not None else {}), **more}
    )


def framework_error(status: int, text: str) -> HttpError:
    """An error of HTTP itself: ``{"error", "http_code"}``."""
    return HttpError(status, {"error": text, "http_code": status})


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; a ``str`` body is plain text, anything else becomes JSON."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)


class Request:
    """What a handler may ask about a request."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        # PEP 3333: the bytes of the URL, disguised as Latin-1. No path of ours has anything but ASCII.
        self.path: str = environ.get("PATH_INFO", "")

    def header(self, name: str) -> str | None:
        """A header's value; None if it is absent."""
        value = self._environ.get("HTTP_" + name.upper().replace("-", "_"))
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        """A header that must be a number from 0 on, if it is there."""
        value = self.header(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 18):
            raise framework_error(400, f"The header {name} should be a number.")
        return int(value)

    def body(self, limit: int = MAX_BODY_BYTES) -> bytes:
        """The whole body. :param limit: bytes; more is a 413."""
        length = self._environ.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdigit()):
            raise framework_error(400, "Content-Length should be a number.")
        if int(length) > limit:
            raise framework_error(413, f"The body may have at most {limit} bytes.")
        try:
            data: bytes = self._environ["wsgi.input"].read(int(length))
        except TimeoutError:
            raise framework_error(408, "The body did not arrive in time.") from None
        except ConnectionError:
            data = b""  # nobody is there to be told
        if len(data) < int(length):
            # Half a configuration can be one that HAProxy likes.
            raise framework_error(400, "The body ended early.")
        return data

    def text(self, limit: int = MAX_BODY_BYTES) -> str:
        """The body as text."""
        try:
            return self.body(limit).decode()
        except UnicodeDecodeError:
            raise framework_error(400, "The body should be text in UTF-8.") from None

    def json(self, limit: int = SMALL_BODY_BYTES) -> object:
        """The body as JSON."""
        try:
            text = self.body(limit).decode()
            parsed: object = json.loads(text)
            if _SURROGATE.search(text):
                json.dumps(parsed, ensure_ascii=False).encode()  # half a pair can be written to no file
        except (ValueError, RecursionError):
            raise framework_error(400, "The body should be JSON in UTF-8.") from None
        return parsed


Handler = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table; ``{name}`` in the template matches one segment of a path."""

    method: str
    template: str
    handler: Handler

    @property
    def pattern(self) -> "re.Pattern[str]":
        """What matches the template."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.template))


class Application:
    """The WSGI callable. Of two routes that match, the first counts."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(route, route.pattern) for route in routes]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """PEP 3333."""
        begun = time.monotonic()
        request = Request(environ)
        try:
            response = self._dispatch(request)
        except HttpError as error:
            response = Response(error.status, error.body)
        except Exception:
            # The top of a request: whatever is wrong with this one, the next must be served.
            LOG.exception("%s %s failed", request.method, request.path)
            wrong = framework_error(500, "Internal Server Error: see the agent's log.")
            response = Response(wrong.status, wrong.body)
        took_ms = (time.monotonic() - begun) * 1000
        remote = environ.get("REMOTE_ADDR", "-")
        LOG.info("%s %s %r %s %.1f ms", remote, request.method, request.path, response.status, took_ms)
        return _send(response, start_response)

    def _dispatch(self, request: Request) -> Response:
        allowed = set()
        for route, pattern in self._routes:
            found = pattern.fullmatch(request.path)
            if found is None:
                continue
            if route.method == request.method:
                return route.handler(request, **found.groupdict())
            allowed.add(route.method)
        if allowed:
            raise framework_error(405, "The method is not allowed for the requested URL.")
        raise framework_error(404, "The requested URL was not found on the server.")


def _send(response: Response, start_response: StartResponse) -> Iterable[bytes]:
    if isinstance(response.body, str):
        content_type, body = "text/plain; charset=utf-8", response.body.encode()
    else:
        content_type, body = "application/json", json.dumps(response.body).encode()
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *response.headers.items()]
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", headers)
    return [body]
