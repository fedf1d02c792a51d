# SPDX-License-Identifier: Apache-2.0
"""A resource's shape as a table of fields: what a create and an update take, what a response shows.

What null means is told by the table too (contract: api.md section 2.4).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from octavia.api.schemas.types import BadValue, JsonSchema, Type, described, excerpt
from octavia.api.settings import ApiSettings
from octavia.domain.errors import Invalid


class Null(Enum):
    """What an explicit null does, where it is not simply a value."""

    ABSENT = "as if the field was not there"
    DEFAULT = "the field's default"
    MISSING = "a mandatory field is not there"
    REFUSED = "not a valid option"


@dataclass(frozen=True)
class Setting:
    """A default that the operator chooses; ``name`` is an attribute of :class:`ApiSettings`."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Field:
    """One row of the table.

    :param type: None: it is shown and never taken.
    :param stored: False: it is checked and then dropped, the response shows ``default``.
    :param default: for a create without it.
    :param null_on_create: what null becomes there: a value, or one of :class:`Null`.
    :param omitted: a response leaves it out where it is null.
    :param render: how the response shows a value, where JSON would not.
    :param answer: the response's value in JSON Schema, where neither ``render`` nor the type describes it.
    :param about: a sentence for the reader of the OpenAPI document.
    """

    name: str
    type: Type | None = None
    create: bool = True
    update: bool = True
    shown: bool = True
    stored: bool = True
    required: bool = False
    omitted: bool = False
    default: Any = None
    null_on_create: Any = Null.DEFAULT
    null_on_update: Any = Null.DEFAULT
    render: Callable[[Any], Any] | None = None
    answer: JsonSchema | None = None
    about: str = ""


def shown(
    name: str,
    render: Callable[[Any], Any] | None = None,
    *,
    answer: JsonSchema | None = None,
    about: str = "",
) -> Field:
    """A field of responses alone."""
    return Field(name=name, render=render, answer=answer, about=about)


def reference(schema: "Schema") -> dict[str, Any]:
    """An object of that shape, as part of a JSON Schema."""
    return {"$ref": schema}


def unread(schema: JsonSchema) -> Type:
    """A value as it was sent: the schemas that it refers to read it afterwards."""

    @described(**schema)
    def parse(value: Any) -> Any:
        return value

    return parse


class Schema:
    """The shape of one resource."""

    def __init__(self, root: str, *fields: Field) -> None:
        self.root = root
        self.fields: Final = fields
        self._create = {one.name: one for one in fields if one.type and one.create}
        self._update = {one.name: one for one in fields if one.type and one.update}
        self._response = tuple((one.name, one.render, one) for one in fields if one.shown)
        self.shown_names: Final = frozenset(name for name, _, _ in self._response)

    def create(self, body: object, settings: ApiSettings, path: str | None = None) -> dict[str, Any]:
        """The fields of a create, complete with defaults.

        :param path: where the object is in the body, for messages; default: the root.
        :raises Invalid: a field is unknown, missing or of the wrong type.
        """
        written = self._known(body, self._create, path)
        values: dict[str, Any] = {}
        for name, field in self._create.items():
            value = written.get(name)
            value = _absent(field, name in written, settings) if value is None else _typed(field, value)
            if field.stored:
                values[name] = value
        return values

    def update(self, body: object, settings: ApiSettings, path: str | None = None) -> dict[str, Any]:
        """The fields that an update sends; null is resolved to what it means.

        :raises Invalid: a field is unknown, immutable or of the wrong type.
        """
        written = self._known(body, self._update, path)
        values: dict[str, Any] = {}
        for name, value in written.items():
            field = self._update[name]
            typed = _null(field, field.null_on_update, settings) if value is None else _typed(field, value)
            if field.stored and typed is not Null.ABSENT:
                values[name] = typed
        return values

    def show(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A response's object: every field in order."""
        answer: dict[str, Any] = {}
        for name, render, field in self._response:
            value = record.get(name, field.default)
            if value is None:
                if field.omitted:
                    continue
                if field.default == "":
                    value = ""  # names and descriptions are never null, though an old row's may be
            answer[name] = value if render is None or value is None else render(value)
        return answer

    def _known(self, body: object, fields: Mapping[str, Field], path: str | None) -> Mapping[str, Any]:
        path = path or self.root
        if not isinstance(body, dict):
            raise _refused(path, body, "Value should be an object")
        for name in body:
            if name not in fields:
                raise Invalid(f"Unknown attribute for argument {path}: {excerpt(name)}")
        return body


def _absent(field: Field, written: bool, settings: ApiSettings) -> Any:
    if field.required:
        return _null(field, Null.MISSING, settings)
    return _null(field, field.null_on_create if written else Null.DEFAULT, settings)


def _typed(field: Field, value: Any) -> Any:
    assert field.type is not None
    try:
        return field.type(value)
    except BadValue as error:
        raise _refused(field.name, value, str(error)) from None


def _null(field: Field, meaning: Any, settings: ApiSettings) -> Any:
    if meaning is Null.MISSING:
        raise _refused(field.name, None, "Mandatory field missing.")
    if meaning is Null.REFUSED:
        raise Invalid(f"None is not a valid option for {field.name}")
    if isinstance(meaning, Setting):
        return getattr(settings, meaning.name)
    return _default(field, settings) if meaning is Null.DEFAULT else meaning


def _default(field: Field, settings: ApiSettings) -> Any:
    if isinstance(field.default, Setting):
        return getattr(settings, field.default.name)
    return field.default


def _refused(name: str, value: Any, reason: str) -> Invalid:
    return Invalid(f"Invalid input for field/attribute {name}. Value: '{excerpt(value)}'. {reason}")
