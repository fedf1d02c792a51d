# SPDX-License-Identifier: Apache-2.0
"""What a call takes and answers, codes included (contract: api.md sections 2.1, 2.5, 2.6 and 3.1).

Resources are of one manner, and so are their five calls. Which handler is which call is not here: see
:mod:`octavia.api.openapi.calls`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from octavia.api.openapi.shapes import Use, required
from octavia.api.schemas.common import STRING, array
from octavia.api.schemas.fields import Schema, reference
from octavia.api.schemas.types import JsonSchema
from octavia.db import views

ALWAYS: Final = frozenset({400, 406, 413})  # query string, Accept, Content-Length
ASKED: Final = ALWAYS | {401, 403, 503}  # who asks, may he, the database or the identity service is away
PROVIDER: Final = frozenset({500, 501})  # it failed; it cannot do this
TREE: Final = ASKED | PROVIDER | {404, 409}  # a write to a load balancer's tree
BODY: Final = frozenset({415})


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The parameters of a list.

    :param names: what can be filtered by.
    """

    schema: Schema
    names: tuple[str, ...]
    tagged: bool


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one handler takes and answers.

    :param code: of success.
    :param answer: JSON Schema of its body, which may hold schemas of resources; None: it has none.
    :param alike: further codes that are answered with such a body.
    :param takes: JSON Schema of the request's body, for the use that ``use`` says; None: none is read.
    :param faults: every other code.
    :param listing: its query parameters, if it is a list.
    :param query: further query parameters: name to schema and description.
    :param fields: the answer's attributes can be chosen.
    :param open: no token is needed.
    :param created: where its id is in the answer, as a JSON pointer; None: nothing is created.
    :param links: what can be done with it then, by operations' ids.
    """

    id: str
    tag: str
    summary: str
    code: int = 200
    answer: JsonSchema | None = None
    media_types: tuple[str, ...] = ("application/json",)
    alike: frozenset[int] = frozenset()
    takes: JsonSchema | None = None
    use: Use = Use.CREATE
    faults: frozenset[int]
    listing: Listing | None = None
    query: Mapping[str, tuple[JsonSchema, str]] = field(default_factory=dict)
    fields: bool = False
    open: bool = False
    links: tuple[str, ...] = ()
    created: str | None = None


Table: TypeAlias = dict[Callable[..., Any], Operation]


def exactly(properties: Mapping[str, JsonSchema], *optional: str) -> dict[str, Any]:
    """An object with these properties and no other.

    :param optional: names of those that may be missing.
    """
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def under(root: str, schema: Schema) -> dict[str, Any]:
    """A body or an answer: a resource under its root key."""
    return exactly({root: reference(schema)})


def whole(root: str, schema: Schema) -> dict[str, Any]:
    """An answer in which no attribute is missing."""
    return exactly({root: {"allOf": [reference(schema), {"required": required(schema)}]}})


LINKS: Final = array(
    exactly({"rel": {"type": "string", "enum": ["next", "previous"]}, "href": STRING}),
)


def resource(
    of: Any,
    schema: Schema,
    view: views.View,
    plural: str,
    *,
    links: str | None = None,
    key: str = "id",
    below: bool = False,
    in_tree: bool = True,
    created: Schema | None = None,
    more: frozenset[int] = frozenset(),
) -> Table:
    """The five calls of a resource.

    :param of: what has the handlers as attributes.
    :param links: name of the list of links, where it is not ``<plural>_links``.
    :param below: it is found below another one, which must exist.
    :param created: shape of the answer to its creation, where it is another one.
    :param more: further codes of writes.
    """
    noun, name, root = view.noun, view.noun.replace(" ", ""), schema.root
    writes = TREE if in_tree else ASKED | {404, 409} | more
    makes = writes if in_tree else writes - {404}
    one = Operation(id="", tag=plural, summary="", faults=ASKED)
    return listed(of.index, schema, view, plural, links, below=below) | {
        of.create: replace(
            one,
            id=f"create{name}",
            summary=f"Create: {noun}",
            code=201,
            answer=whole(root, created or schema),
            takes=under(root, schema),
            faults=makes | BODY,
            links=(f"show{name}", f"update{name}", f"delete{name}"),
            created=f"{root}/{key}",
        ),
        of.show: replace(
            one,
            id=f"show{name}",
            summary=f"Show: {noun}",
            answer=under(root, schema),
            faults=ASKED | {404},
            fields=True,
        ),
        of.update: replace(
            one,
            id=f"update{name}",
            summary=f"Update: {noun}",
            answer=whole(root, schema),
            takes=under(root, schema),
            use=Use.UPDATE,
            faults=writes | BODY,
        ),
        of.delete: replace(one, id=f"delete{name}", summary=f"Delete: {noun}", code=204, faults=writes),
    }


def listed(
    handler: Any,
    schema: Schema,
    view: views.View,
    plural: str,
    links: str | None = None,
    *,
    below: bool = False,
) -> Table:
    """The list of a resource; parameters as in :func:`resource`."""
    links = links or f"{plural}_links"
    name = "".join(word.capitalize() for word in plural.split("_"))
    return {
        handler: Operation(
            id=f"list{name}",
            tag=plural,
            summary=f"List: {view.noun}",
            # No links where the deployment does not page.
            answer=exactly({plural: array(reference(schema)), links: LINKS}, links),
            faults=ASKED | {404} if below else ASKED,
            listing=Listing(
                schema=schema, names=tuple(sorted({*view.columns, *view.hidden})), tagged=view.tagged
            ),
            fields=True,
        )
    }
