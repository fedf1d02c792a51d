# SPDX-License-Identifier: Apache-2.0
"""The values of L7 rules, as far as they can change in a running process.

A condition that carries a number of its own (``acl NAME SAMPLE FLAGS -u NUMBER -- VALUE``, see
:mod:`octavia.dataplane.haproxy.l7`) is found by that number, whatever has become of the lines of the file
since the process read it. Its value is added to, then taken out of the patterns that it compares with: in
between either matches, so each request is decided as before or as after. Any other ``acl`` is left alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from octavia.dataplane.haproxy import runtime
from octavia.dataplane.haproxy.model import Section
from octavia.dataplane.haproxy.reload import Cause, OnlyReload
from octavia.dataplane.haproxy.runtime import Command

_NUMBER = re.compile(r"[1-9]\d{0,9}")


@dataclass(frozen=True, slots=True)
class SetPattern:
    """What one condition compares with; the process is read before and after."""

    acl_id: int
    old: str
    new: str

    @property
    def commands(self) -> tuple[Command, ...]:
        """In doubt, the first or the last of them fails."""
        return (
            runtime.expect_pattern(self.acl_id, self.old),
            runtime.add_pattern(self.acl_id, self.new),
            runtime.delete_pattern(self.acl_id, self.old),
            runtime.expect_pattern(self.acl_id, self.new),
        )


def without_values(section: Section) -> tuple[tuple[str, ...], ...]:
    """The words of a section's lines, with nothing where a value can change in a running process."""
    lines = (one.words for one in section.directives)
    return tuple(words if _number(words) is None else (*words[:-1], "") for words in lines)


def changes(old: Section, new: Section) -> Iterator[SetPattern]:
    """What leads from one to the other, where they are equal but for values.

    :raises OnlyReload: a value cannot be taken out.
    """
    for before, after in zip(old.directives, new.directives, strict=True):
        if before == after or (number := _number(before.words)) is None:
            continue
        if before.words[-1].startswith("#"):  # HAProxy would take it for an entry's address
            raise OnlyReload(Cause.L7_RULE, f"the value of L7 rule {before.words[1]} begins with '#'")
        yield SetPattern(number, before.words[-1], after.words[-1])


def _number(words: tuple[str, ...]) -> int | None:
    """That of a condition of exactly our shape."""
    match words:
        case ("acl", _, _, *flags, "-u", number, "--", _) if _are_flags(flags) and _NUMBER.fullmatch(number):
            return int(number)
    return None


def _are_flags(words: list[str]) -> bool:
    rest = words[1:] if words[:1] == ["-i"] else words
    return not rest or (len(rest) == 2 and rest[0] == "-m")
