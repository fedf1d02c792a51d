# SPDX-License-Identifier: Apache-2.0
"""Strings that somebody might write to get out of where they belong, each with the reason why it is here.

``hostile_strings.json`` is a list of objects: ``why``, ``text``, and ``times`` where it is repeated. Whatever
once got through belongs in there.
"""

import json
from pathlib import Path


def hostile_strings() -> dict[str, str]:
    """Why it is here, to the string."""
    listed = json.loads((Path(__file__).parent / "hostile_strings.json").read_text(encoding="ascii"))
    made = {one["why"]: one["text"] * one.get("times", 1) for one in listed}
    assert len(made) == len(listed), "two strings are here for the same reason"
    return made
