# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of a table of URLs, and the handler that serves it."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import falcon

from octavia.api.handlers.discovery import VERSIONS
from octavia.api.openapi import calls, parameters
from octavia.api.openapi.operations import Operation
from octavia.api.openapi.shapes import Components, Use
from octavia.api.service import Answer, Call
from octavia.api.settings import ApiSettings

PATH: Final = "/openapi.json"

Routes: TypeAlias = Mapping[str, Mapping[str, Callable[..., Any]]]

_ABOUT: Final = """\
Load balancers, listeners, pools, members, health monitors, L7 policies and rules.

- Every path below `/v2.0` exists below `/v2` too, and those below `/v2.0/lbaas` without `lbaas`; a path may
  end in `/` or in `.json`.
- A method that a path does not have is answered 405, an unknown path 404, both with a Fault.
- Types are told as a client should send them. Let pass besides: numbers as text, `yes`, `no`, `1` and `0` for
  booleans, UUIDs without dashes.
- Nothing is negotiated: every feature of every version is always on.
"""
_FAULT: Final = {
    "type": "object",
    "description": "Two shapes in one: clients read the first three keys, or the last three.",
    "properties": {
        "faultcode": {"type": "string", "enum": ["Client", "Server"]},
        "faultstring": {"type": "string", "description": "What is wrong, naming the field if it is one."},
        "debuginfo": {"type": "null"},
        "code": {"type": "integer"},
        "title": {"type": "string"},
        "description": {"type": "string"},
    },
    "required": ["faultcode", "faultstring", "debuginfo", "code", "title", "description"],
}
_WHY: Final[Mapping[int, str]] = {
    400: "A field or a parameter is wrong; the text names it.",
    401: "There is no valid token.",
    403: "Policy does not allow it, or the project's quota is met.",
    404: "There is no such object, or none that the path or the body names.",
    406: "The client does not accept JSON.",
    409: "It clashes with another object, or with a status. Try again later.",
    413: "The request is too long.",
    415: "The body is said not to be JSON.",
    500: "The provider failed; its words are in the text.",
    501: "The provider cannot do this.",
    503: "The database, or a service that is needed, cannot be asked just now. Try again later.",
}


def write(routes: Routes, settings: ApiSettings) -> dict[str, Any]:
    """The document.

    :param routes: path to method to handler; a handler's other paths are its aliases.
    """
    components = Components(settings)
    paths: dict[str, dict[str, Any]] = {}
    every = list(_canonical(routes))
    path_of = {operation.id: path for path, _, operation in every}
    for path, method, operation in every:
        found = paths.setdefault(path, parameters.of_path(path))
        found[method.lower()] = _operation(operation, components, path_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Octavia", "version": VERSIONS[-1][0], "description": _ABOUT},
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": {"Fault": _FAULT, **dict(sorted(components.schemas.items()))},
            "parameters": parameters.SHARED,
            "headers": {"RequestId": {"schema": {"type": "string"}, "description": "Names it in the logs."}},
            "responses": {str(code): _fault(code) for code in _WHY},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
    }


def _canonical(routes: Routes) -> Iterator[tuple[str, str, Operation]]:
    """Each call once, under the path that clients use."""
    seen: set[str] = set()
    for path in sorted(routes, key=_rank):
        for method, handler in routes[path].items():
            operation = calls.of(handler)
            if operation and operation.id not in seen:
                seen.add(operation.id)
                yield path, method, operation


def _rank(path: str) -> int:
    # Sorting is stable: otherwise the table's order stays.
    return next(n for n, start in enumerate(("/v2.0/lbaas", "/v2.0/octavia", "")) if path.startswith(start))


def _operation(operation: Operation, components: Components, path_of: Mapping[str, str]) -> dict[str, Any]:
    # An identifier that no database can hold is of nothing, even where every other one is of something.
    faults = operation.faults | ({404} if parameters.names_of(path_of[operation.id]) else set())
    found: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters.of_query(operation),
        "responses": {
            **{str(code): _answer(code, operation, components, path_of) for code in operation.alike},
            str(operation.code): _answer(operation.code, operation, components, path_of),
            **{str(code): {"$ref": f"#/components/responses/{code}"} for code in sorted(faults)},
        },
    }
    if operation.open:
        found["security"] = []
    if operation.takes is not None:
        schema = components.plain(operation.takes, operation.use)
        found["requestBody"] = {"required": True, "content": {falcon.MEDIA_JSON: {"schema": schema}}}
    return found


def _answer(
    code: int, operation: Operation, components: Components, path_of: Mapping[str, str]
) -> dict[str, Any]:
    found: dict[str, Any] = {"description": HTTPStatus(code).phrase, "headers": _HEADERS}
    if operation.answer is not None:
        schema = components.plain(operation.answer, Use.ANSWER)
        found["content"] = {
            kind: {"schema": schema if kind == falcon.MEDIA_JSON else {"type": "string"}}
            for kind in operation.media_types
        }
    if operation.created:
        found["links"] = {
            one: {"operationId": one, "parameters": _follow(path_of[one], operation.created)}
            for one in operation.links
        }
    return found


def _follow(path: str, created: str) -> dict[str, str]:
    """Where the placeholders of a path come from, after what it leads to was created."""
    *above, own = parameters.names_of(path)
    return {name: f"$request.path.{name}" for name in above} | {own: f"$response.body#/{created}"}


_HEADERS: Final = {"x-openstack-request-id": {"$ref": "#/components/headers/RequestId"}}


def _fault(code: int) -> dict[str, Any]:
    found: dict[str, Any] = {"description": _WHY[code]}
    if code != HTTPStatus.UNAUTHORIZED:  # whose body is the identity middleware's own
        found["content"] = {falcon.MEDIA_JSON: {"schema": {"$ref": "#/components/schemas/Fault"}}}
    return found


class Document:
    """GET /openapi.json; written when it is first asked for."""

    def __init__(self, routes: Routes, settings: ApiSettings) -> None:
        self._routes = routes
        self._settings = settings

    @cached_property
    def _text(self) -> bytes:
        return json.dumps(write(self._routes, self._settings)).encode()

    def __call__(self, _call: Call) -> Answer:
        """The same bytes each time."""
        return Answer(HTTPStatus.OK, self._text, media_type=falcon.MEDIA_JSON)
