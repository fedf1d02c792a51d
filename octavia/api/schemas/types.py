# SPDX-License-Identifier: Apache-2.0
"""Types of fields: what a JSON value must be, and what becomes of it.

As lenient as clients need it, with the reasons that they look for (contract: api.md section 2.3).
A type is a function from a JSON value to a value of the domain; null is not its concern. Each says in JSON
Schema too what it takes (:func:`described`): the OpenAPI document is made of that.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address, ip_network
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

Type: TypeAlias = Callable[[Any], Any]
JsonSchema: TypeAlias = Mapping[str, Any]
_F = TypeVar("_F", bound=Callable[..., Any])


def described(**schema: Any) -> Callable[[_F], _F]:
    """Say in JSON Schema what a function of one value takes, or what it gives if it renders one.

    It is what a client should send; what is let pass besides (numbers as text, ``yes`` for true) is not told.
    """

    def mark(function: _F) -> _F:
        vars(function)["schema"] = schema
        return function

    return mark


def schema_of(function: Callable[..., Any]) -> JsonSchema:
    """What :func:`described` said; empty, which is anything, if it said nothing."""
    found: JsonSchema = vars(function).get("schema", {})
    return found


class BadValue(ValueError):
    """A value is not of its type; the text is the reason, as a sentence."""


def text(maximum: int, *, minimum: int = 0) -> Type:
    """A string of so many characters, which every database can store."""

    @described(type="string", maxLength=maximum, **({"minLength": minimum} if minimum else {}))
    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise BadValue("Value should be string")
        if len(value) > maximum:
            raise BadValue(f"Value should have a maximum character requirement of {maximum}")
        if len(value) < minimum:
            raise BadValue(f"Value should have a minimum character requirement of {minimum}")
        if not storable(value):
            raise BadValue("Value should be Unicode text without NUL characters")
        return value

    return parse


def storable(value: str) -> bool:
    """Can every database store and compare this text? NUL and halves of surrogate pairs no."""
    return (value.isascii() and "\x00" not in value) or not _UNSTORABLE.search(value)


_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def matching(pattern: str, maximum: int, reason: str, *, minimum: int = 0) -> Type:
    """A string that matches a regular expression as a whole."""
    compiled, string = re.compile(pattern), text(maximum, minimum=minimum)

    @described(**schema_of(string), pattern=_ecma(pattern))
    def parse(value: Any) -> str:
        found: str = string(value)
        if not compiled.fullmatch(found):
            raise BadValue(reason)
        return found

    return parse


def _ecma(pattern: str) -> str:
    """The same expression, matching as a whole, in the dialect of JSON Schema."""
    return f"^(?:{pattern})$"


_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]{1,20}\s*", re.ASCII)


def integer(minimum: int, maximum: int = 2**31 - 1) -> Type:
    """A whole number; as a numeric string too, and a float is truncated."""

    @described(type="integer", minimum=minimum, maximum=maximum)
    def parse(value: Any) -> int:
        number = _whole(value)
        if number < minimum:
            raise BadValue(f"Value should be greater or equal to {minimum}")
        if number > maximum:
            raise BadValue(f"Value should be lower or equal to {maximum}")
        return number

    return parse


def integer_of(*allowed: int) -> Type:
    """One of some whole numbers, as lenient as the others."""
    reason = f"Value should be one of: {', '.join(map(str, allowed))}"

    @described(type="integer", enum=list(allowed))
    def parse(value: Any) -> int:
        number = _whole(value)
        if number not in allowed:
            raise BadValue(reason)
        return number

    return parse


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise BadValue("Value should be an integer")
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise BadValue("Value should be an integer")


_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})


@described(type="boolean")
def boolean(value: Any) -> bool:
    """JSON's, an integer, or one of the usual words in any case."""
    if isinstance(value, int):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValue(f"Value not an unambiguous boolean: {excerpt(value)}")


def one_of(enum: type[StrEnum], only: Sequence[StrEnum] | None = None) -> Type:
    """A word of an enumeration, exactly."""
    words = {one.value: one for one in (only or enum)}
    reason = f"Value should be one of: {', '.join(sorted(words))}"

    @described(type="string", enum=sorted(words))
    def parse(value: Any) -> StrEnum:
        if not isinstance(value, str) or value not in words:
            raise BadValue(reason)
        return words[value]

    return parse


def words(*allowed: str) -> Type:
    """One of some strings, exactly."""
    reason = f"Value should be one of: {', '.join(sorted(allowed))}"

    @described(type="string", enum=sorted(allowed))
    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise BadValue(reason)
        return value

    return parse


_UUID: Final = re.compile(
    "[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)


@described(type="string", format="uuid")
def uuid(value: Any) -> str:
    """With or without dashes, in any case; becomes lower-case and dashed."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise BadValue("Value should be UUID format")
    plain = value.replace("-", "").lower()
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


@described(type="string", anyOf=[{"format": "ipv4"}, {"format": "ipv6"}])
def address(value: Any) -> str:
    """IPv4 or IPv6, kept character for character; no prefix, no zone."""
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        ip_address(value)
    except ValueError:
        raise BadValue("Value should be IPv4 or IPv6 format") from None
    return value


_URL: Final = text(255)
# Neither in a header nor in a configuration file would it stay one word with these.
_NOT_IN_URL: Final = re.compile(r"[\x00-\x20\x7f-\x9f]")


@described(**schema_of(_URL), pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f-\x9f]+$")
def url(value: Any) -> str:
    """HTTP or HTTPS with a host; kept character for character."""
    string: str = _URL(value)
    try:
        parts = urlsplit(string)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        valid = False
    if not valid or _NOT_IN_URL.search(string):
        raise BadValue("Value must be a valid URL string")
    return string


@described(type="string", format="cidr", description="An IPv4 or IPv6 network, or an address.")
def cidr(value: Any) -> str:
    """A network or an address; host bits are masked off."""
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return str(ip_network(value, strict=False))
    except ValueError:
        raise BadValue("Value should be IPv4 or IPv6 CIDR format") from None


def list_of(item: Type) -> Type:
    """A JSON list; becomes a tuple."""

    @described(type="array", items=schema_of(item))
    def parse(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise BadValue("Value should be a list")
        return tuple(item(one) for one in value)

    return parse


def set_of(item: Type) -> Type:
    """A JSON list in which a repetition says nothing; the order stays."""
    listed = list_of(item)

    @described(**schema_of(listed))
    def parse(value: Any) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(listed(value)))

    return parse


_tag_set: Final = set_of(text(255))


@described(**schema_of(_tag_set))
def tags(value: Any) -> tuple[str, ...]:
    """Strings, each once; sorted, as they are read back."""
    return tuple(sorted(_tag_set(value)))


_HEADER: Final = text(255)


@described(type="object", additionalProperties=schema_of(_HEADER))
def headers(value: Any) -> Mapping[str, str]:
    """A JSON object with strings for values."""
    if not isinstance(value, dict):
        raise BadValue("Value should be an object")
    return MappingProxyType({_HEADER(name): _HEADER(content) for name, content in value.items()})


@described(type="number", enum=[1.0, 1.1])
def http_version(value: Any) -> float:
    """1.0 or 1.1, as a number or as text."""
    if isinstance(value, str) and re.fullmatch(r"1(\.[01]0?)?", value, re.ASCII):
        value = float(value)
    if isinstance(value, bool) or value not in (1.0, 1.1):
        raise BadValue("Value should be one of: 1.0, 1.1")
    return float(value)


def nothing_but(*empty: Any, reason: str) -> Type:
    """A field that this deployment does not serve: only what means "none" is taken."""

    @described(enum=list(empty))
    def parse(value: Any) -> None:
        if not any(type(value) is type(one) and value == one for one in empty):
            raise BadValue(reason)

    return parse


def excerpt(value: Any) -> str:
    """A value as a message can repeat it."""
    shown = str(value)
    return shown if len(shown) <= 100 else shown[:100] + "…"
