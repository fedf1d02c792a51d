# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests: from bytes to the object under its root key (contract: api.md sections 1.3 and 2.3)."""

import json
from typing import Any, Final

import falcon

from octavia.api.schemas.types import excerpt
from octavia.domain.errors import Invalid

LARGEST: Final = 114_688  # bytes; the default of [oslo_middleware] max_request_body_size


def check_size(req: falcon.Request, largest: int) -> None:
    """:raises falcon.HTTPContentTooLarge: the body is longer than anybody needs."""
    if (req.content_length or 0) > largest:
        raise _too_large(largest)


def _too_large(largest: int) -> falcon.HTTPContentTooLarge:
    return falcon.HTTPContentTooLarge(description=f"A request has at most {largest} bytes.")


def read(req: falcon.Request, root: str, largest: int = LARGEST) -> Any:
    """What stands under the root key of a JSON object, which has no other key.

    :param largest: bytes of a body.
    :raises Invalid: there is no body, or it is not that.
    :raises falcon.HTTPUnsupportedMediaType: it says that it is something else.
    """
    raw = req.bounded_stream.read(largest + 1)
    if len(raw) > largest:
        raise _too_large(largest)
    if not raw.strip():
        raise Invalid(f"Missing argument: {root}")
    _check_type(req.content_type)
    body = _json(raw)
    if not isinstance(body, dict):
        raise Invalid("Request is not in valid JSON format: it must be an object")
    if body.get(root) is None:
        raise Invalid(f"Validation failure: Missing argument: {root}. The request supplies no {root}.")
    for name in body:
        if name != root:
            raise Invalid(f"Unknown argument: {excerpt(name)}")
    return body[root]


def check_none(req: falcon.Request) -> None:
    """:raises Invalid: the body says something; nothing, null and an empty object do not."""
    raw = req.bounded_stream.read(LARGEST + 1)
    if raw.strip() and _json(raw) not in (None, {}):
        raise Invalid("Unknown argument: this call takes no body")


def _check_type(content_type: str | None) -> None:
    if not content_type:
        raise Invalid("A request with a body needs the header Content-Type: application/json")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != falcon.MEDIA_JSON:
        raise falcon.HTTPUnsupportedMediaType(description=f"Unknown mimetype: {excerpt(media_type)}")


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _json(raw: bytes) -> Any:
    try:
        # RecursionError: somebody nested brackets a hundred thousand deep.
        return json.loads(raw.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Invalid("Request is not in valid JSON format") from None
