# SPDX-License-Identifier: Apache-2.0
"""Query strings: filters, sorting, paging, fields, links between pages (contract: api.md section 3)."""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlencode

from octavia.api.schemas.types import BadValue, boolean, excerpt, storable
from octavia.api.settings import ApiSettings
from octavia.db.views import Listing, TagFilter
from octavia.domain.errors import Invalid

Query = Sequence[tuple[str, str]]
"""Names and values of a query string, in order."""

_MOST_PARAMETERS: Final = 200
_PAGING: Final = frozenset({"limit", "marker", "page_reverse"})
_SORTING: Final = frozenset({"sort", "sort_key", "sort_dir"})
_TAGS: Final = {
    "tags": (False, False),
    "tags-any": (True, False),
    "not-tags": (False, True),
    "not-tags-any": (True, True),
}
_CONTROL: Final = _PAGING | _SORTING | {"fields"} | frozenset(_TAGS)


def parse(query_string: str) -> Query:
    """:raises Invalid: there are too many parameters, or text that nothing can be equal to."""
    if not query_string:
        return ()
    try:
        query = parse_qsl(query_string, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise Invalid(f"More than {_MOST_PARAMETERS} query parameters") from None
    if not all(storable(name) and storable(value) for name, value in query):
        raise Invalid("One or more arguments are not valid text")
    return query


def only(query: Query, *allowed: str) -> dict[str, str]:
    """The parameters of a call that takes few or none.

    :raises Invalid: there is another one.
    """
    for name, _ in query:
        if name not in allowed:
            raise Invalid(f"Unknown argument: {excerpt(name)}")
    return dict(query)


def flag(query: Query, name: str) -> bool:
    """A lenient boolean that is the only parameter; what cannot be understood is false.

    :raises Invalid: there is another parameter.
    """
    try:
        return boolean(only(query, name).get(name, "false"))
    except BadValue:
        return False


def fields(query: Query, settings: ApiSettings) -> frozenset[str] | None:
    """The fields to answer; None: all."""
    if not settings.allow_field_selection:
        return None
    return frozenset(value for name, value in query if name == "fields") or None


def select(answer: dict[str, object], wanted: frozenset[str] | None) -> dict[str, object]:
    """Keep the wanted fields; unknown ones are no error."""
    if wanted is None:
        return answer
    return {name: value for name, value in answer.items() if name in wanted and name != "tenant_id"}


def listing(query: Query, settings: ApiSettings) -> Listing:
    """What a list is asked for.

    :raises Invalid: a parameter is malformed or repeated.
    """
    last = dict(query)
    return Listing(
        filters=_filters(query) if settings.allow_filtering else (),
        tags=_tags(query) if settings.allow_filtering else (),
        sort=_sort(last) if settings.allow_sorting else (),
        limit=_limit(last.get("limit"), settings) if settings.allow_pagination else None,
        marker=last.get("marker") if settings.allow_pagination else None,
        backwards=last.get("page_reverse") == "True",
    )


def _filters(query: Query) -> tuple[tuple[str, str], ...]:
    found = tuple((name, value) for name, value in query if name not in _CONTROL)
    if len({name for name, _ in found}) < len(found):
        raise Invalid("One or more arguments are either duplicate or invalid")
    return found


def _tags(query: Query) -> tuple[TagFilter, ...]:
    found = []
    for parameter, (any_, negated) in _TAGS.items():
        values = [value for name, value in query if name == parameter]
        if values:
            tags = tuple(",".join(values).split(","))
            found.append(TagFilter(tags=tags, any=any_, negated=negated))
    return tuple(found)


def _limit(text: str | None, settings: ApiSettings) -> int | None:
    most = settings.pagination_max_limit
    if text is None or text == "infinite":
        return most
    try:
        limit = int(text[:20])
    except ValueError:
        raise Invalid(f"Supplied pagination limit '{excerpt(text)}' is not valid.") from None
    if limit < 1:
        return most
    return limit if most is None else min(limit, most)


def _sort(query: dict[str, str]) -> tuple[tuple[str, bool], ...]:
    if query.get("sort"):
        return tuple(_sort_item(item) for item in query["sort"].split(","))
    keys = [key for key in query.get("sort_key", "").split(",") if key]
    directions = [one for one in query.get("sort_dir", "").split(",") if one]
    directions += ["asc"] * (len(keys) - len(directions))
    return tuple((key, _descending(direction)) for key, direction in zip(keys, directions, strict=False))


def _sort_item(item: str) -> tuple[str, bool]:
    key, *direction = item.split(":")
    if len(direction) > 1:
        raise Invalid(f"Supplied sort '{excerpt(item)}' is not key:direction.")
    return key, _descending(direction[0] if direction else "asc")


def _descending(direction: str) -> bool:
    if direction.lower() not in ("asc", "desc"):
        raise Invalid(f"Supplied sort direction '{excerpt(direction)}' is not valid.")
    return direction.lower() == "desc"


def links(base: str, query: Query, limit: int | None, page: Sequence[str]) -> list[dict[str, str]]:
    """Links to the pages before and after one; they keep the query.

    :param base: URL of the list, without query.
    :param page: ids of the page's objects.
    """
    found: list[dict[str, str]] = []
    if not page:
        return found
    kept = [(name, value) for name, value in query if name not in ("marker", "page_reverse")]
    if any(name == "marker" for name, _ in query):
        previous = [("marker", page[0]), ("page_reverse", "True")]
        found.append({"rel": "previous", "href": _href(base, [*kept, *previous])})
    if limit is not None and len(page) == limit:
        if not any(name == "limit" for name, _ in kept):
            kept.append(("limit", str(limit)))
        found.append({"rel": "next", "href": _href(base, [*kept, ("marker", page[-1])])})
    return found


def _href(base: str, query: Iterable[tuple[str, str]]) -> str:
    return f"{base}?{urlencode(list(query))}"
