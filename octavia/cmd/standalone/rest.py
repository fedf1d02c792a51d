# SPDX-License-Identifier: Apache-2.0
"""Reading the API from the command line. What tenants do, the demo does with their client instead."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

_TIMEOUT_SECONDS: Final = 10.0
NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})
# Never through a proxy of the environment: the API is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Does the API answer its version document?"""
    try:
        return "versions" in get(url, "/", timeout_seconds=2.0)
    except (OSError, ValueError):
        return False


def get(
    url: str, path: str, query: Mapping[str, str] = NO_QUERY, *, timeout_seconds: float = _TIMEOUT_SECONDS
) -> dict[str, Any]:
    """The JSON object at a path.

    :raises OSError: no connection, or an answer that is an error.
    :raises ValueError: not JSON.
    """
    asked = f"{url}{path}?{urllib.parse.urlencode(query)}" if query else f"{url}{path}"
    with _opener.open(asked, timeout=timeout_seconds) as response:
        found = json.load(response)
    if not isinstance(found, dict):
        raise ValueError(f"{asked} answered something that is not an object")
    return found
