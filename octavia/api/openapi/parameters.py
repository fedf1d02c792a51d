# SPDX-License-Identifier: Apache-2.0
"""Parameters of paths and of query strings (contract: api.md section 3)."""

import re
from collections.abc import Mapping
from typing import Any, Final

from octavia.api.openapi.operations import Listing, Operation
from octavia.api.openapi.shapes import filters
from octavia.api.schemas.types import JsonSchema

_NAME: Final = re.compile(r"\{(\w+)\}")
_TEXT: Final = {"type": "string"}


def _parameter(name: str, schema: JsonSchema, about: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": about}


_TAGS: Final[Mapping[str, str]] = {
    "tags": "Objects that have all of the tags, a comma list.",
    "tags-any": "Objects that have at least one of the tags.",
    "not-tags": "Objects that do not have all of the tags.",
    "not-tags-any": "Objects that have none of the tags.",
}
_PAGES: Final[Mapping[str, tuple[JsonSchema, str]]] = {
    "limit": ({"type": "integer"}, "Size of a page; 0 or less: as large as the deployment allows."),
    "marker": (_TEXT, "Id of the last object of the page before."),
    "page_reverse": ({"type": "string", "enum": ["True", "False"]}, "The page before the marker."),
    "sort": (_TEXT, "`key[:asc|desc],key2...`; keys are scalar attributes."),
    "sort_key": (_TEXT, "A comma list; with sort_dir the older form of sort."),
    "sort_dir": (_TEXT, "A comma list of asc and desc, in the order of sort_key."),
}
_FIELDS: Final = _parameter(
    "fields", {"type": "array", "items": _TEXT}, "Answer these attributes alone; may be repeated."
)

SHARED: Final[dict[str, Any]] = {
    "fields": _FIELDS,
    **{name: _parameter(name, schema, about) for name, (schema, about) in _PAGES.items()},
    **{name: _parameter(name, _TEXT, about) for name, about in _TAGS.items()},
}
"""Those that many calls have, by name."""


def names_of(path: str) -> list[str]:
    """The placeholders of a path."""
    return _NAME.findall(path)


def of_path(path: str) -> dict[str, Any]:
    """What all methods of a path have in common."""
    named = [
        # What is not the id of anything is simply not found, whatever it looks like.
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in names_of(path)
    ]
    return {"parameters": named} if named else {}


def of_query(operation: Operation) -> list[dict[str, Any]]:
    """The query parameters of a call."""
    own = [_parameter(name, schema, about) for name, (schema, about) in operation.query.items()]
    chosen = [_shared("fields")] if operation.fields else []
    return own + chosen + (_of_list(operation.listing) if operation.listing else [])


def _of_list(listing: Listing) -> list[dict[str, Any]]:
    shared = [_shared(name) for name in (*_PAGES, *(_TAGS if listing.tagged else ()))]
    filtering = filters(listing.schema, listing.names)
    return shared + [_parameter(name, schema, f"Filter: {name}.") for name, schema in filtering.items()]


def _shared(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/parameters/{name}"}
