# SPDX-License-Identifier: Apache-2.0
"""An HAProxy configuration as typed values, and the one serializer that makes text of them.

A configuration is sections, a section is directives, a directive is words. Whoever wrote a word,
it stays one word: the serializer quotes it (HAProxy's configuration manual, section 2.2), control
characters are refused when the value is made, and the first word of a directive cannot be the
keyword of a section. So no string of a tenant can become a directive, whatever renders it.

What the words mean is not here: see :mod:`octavia.dataplane.haproxy.render`. The way back from
text is :mod:`octavia.dataplane.haproxy.parse`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

SECTION_KEYWORDS: Final = frozenset(
    {
        "global",
        "defaults",
        "frontend",
        "backend",
        "listen",
        "peers",
        "resolvers",
        "mailers",
        "userlist",
        "program",
        "cache",
        "ring",
        "log-forward",
        "http-errors",
        "fcgi-app",
        "crt-store",
        "traces",
        "log-profile",
        "acme",
    }
)

_KEYWORD = re.compile(r"[a-z][a-z0-9._-]*")
_PLAIN_CHARACTERS: Final = r"A-Za-z0-9_./:,+=@%()|*?~&;<>^!\[\]{}-"
_PLAIN = re.compile(f"[{_PLAIN_CHARACTERS}]+")
_PLAIN_LINE = re.compile(f"[ {_PLAIN_CHARACTERS}]+")


class UnsafeWord(ValueError):
    """A word that no quoting makes safe; the text says why."""


# C0 but for the tabulator, DEL and C1. Surrogates cannot be encoded: the file could not be written.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


def check_words(words: tuple[str, ...]) -> None:
    """:raises UnsafeWord: one is empty, or has a control character or half a surrogate pair."""
    if "" in words:
        raise UnsafeWord("An empty word would end the directive that it stands in.")
    if found := _FORBIDDEN.search(" ".join(words)):
        raise UnsafeWord(f"The character U+{ord(found[0]):04X} cannot stand in a configuration.")


@dataclass(frozen=True, slots=True)
class Directive:
    """One line of a section.

    :param owner: id of the object that the line is there for; no part of the value.
    :raises UnsafeWord: a word cannot be written, or the line would start a section.
    """

    words: tuple[str, ...]
    owner: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_words(self.words)
        if not self.words or not _KEYWORD.fullmatch(self.words[0]):
            raise UnsafeWord(f"A directive must start with a keyword: {self.words!r}")
        if self.words[0] in SECTION_KEYWORDS:
            raise UnsafeWord(f"'{self.words[0]}' starts a section and cannot be a directive.")


@dataclass(frozen=True, slots=True)
class Section:
    """A keyword, perhaps a name, and what belongs to it.

    :raises UnsafeWord: the keyword is no section's, or a word cannot be written.
    """

    words: tuple[str, ...]
    directives: tuple[Directive, ...] = ()
    owner: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_words(self.words)
        if not self.words or self.words[0] not in SECTION_KEYWORDS:
            raise UnsafeWord(f"Not a section of HAProxy's configuration: {self.words!r}")

    @property
    def keyword(self) -> str:
        """What kind of section it is."""
        return self.words[0]

    @property
    def name(self) -> str:
        """Its name; empty for ``global`` and unnamed ``defaults``."""
        return self.words[1] if len(self.words) > 1 else ""


@dataclass(frozen=True, slots=True)
class HaproxyConfig:
    """A whole configuration, sections in the order of the file."""

    sections: tuple[Section, ...] = ()


def quote(word: str) -> str:
    """The word as HAProxy reads it back: bare where that is safe, else in strong quotes.

    Nothing is interpreted between strong quotes, neither ``$`` nor a backslash; only a strong
    quote itself has to stand outside of them.
    """
    if _PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def lines(config: HaproxyConfig) -> Iterator[tuple[str, str | None]]:
    """Each line of the text, without its end, with the id of the object that it is there for."""
    for number, section in enumerate(config.sections):
        if number:
            yield "", None
        yield _line(section.words), section.owner
        for directive in section.directives:
            yield "    " + _line(directive.words), directive.owner


def _line(words: tuple[str, ...]) -> str:
    bare = " ".join(words)
    # One look at the whole line, which with a thousand members is most of rendering.
    if _PLAIN_LINE.fullmatch(bare) and bare.count(" ") == len(words) - 1:
        return bare
    return " ".join(map(quote, words))


def serialize(config: HaproxyConfig) -> str:
    """The text of the file."""
    return "".join(f"{text}\n" for text, _ in lines(config))
