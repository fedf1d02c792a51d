# SPDX-License-Identifier: Apache-2.0
"""Holds an answer against the OpenAPI document: is there such a code, and is the body of that shape?"""

import json
import re
from functools import cache
from typing import Any

import falcon.testing
import jsonschema_rs

from octavia.api import app
from octavia.api.openapi import document
from octavia.api.settings import ApiSettings

SETTINGS = ApiSettings(healthcheck_enabled=True)


@cache
def _written() -> Any:
    return json.loads(json.dumps(document.write(app.routes(SETTINGS), SETTINGS)))


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """The more a path says, the earlier."""
    every = sorted(_written()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in every]


@cache
def _validator(path: str, method: str, code: str) -> Any:
    answer = _written()["paths"][path][method]["responses"][code]
    if "$ref" in answer:
        answer = _written()["components"]["responses"][code]
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    return schema and jsonschema_rs.Draft202012Validator(schema | {"components": _written()["components"]})


def check(method: str, path: str, result: falcon.testing.Result) -> None:
    """:raises AssertionError: the document promises something else. Other paths are passed."""
    path = path.partition("?")[0].rstrip("/").removesuffix(".json")
    path = re.sub(r"^/v2(?:\.0)?(?:/lbaas|(?=/(?!octavia)))", "/v2.0/lbaas", path)
    path = re.sub("^/v2/octavia", "/v2.0/octavia", path)
    found = next((name for pattern, name in _paths() if pattern.fullmatch(path)), None)
    operation = _written()["paths"].get(found, {}).get(method.lower())
    if operation is None or result.status_code == 500:  # which tests provoke
        return
    assert str(result.status_code) in operation["responses"], (method, path, result.status_code, result.text)
    validator = _validator(str(found), method.lower(), str(result.status_code))
    if validator and result.headers.get("content-type") == "application/json":
        for error in validator.iter_errors(result.json):
            raise AssertionError(f"{method} {path} {result.status_code}: {error}")
