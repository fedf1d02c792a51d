# SPDX-License-Identifier: Apache-2.0
"""From the text of an HAProxy configuration to its model: our own text or another controller's.

Follows HAProxy's own rules of quoting and escaping (configuration manual, section 2.2). Text
whose meaning depends on more than itself (environment variables, conditional blocks) is refused.
"""

import functools
import re
from typing import Final

from octavia.dataplane.haproxy.model import SECTION_KEYWORDS, Directive, HaproxyConfig, Section, UnsafeWord

_ESCAPED: Final = frozenset(" \\#\"'")
_VARIABLE = re.compile(r"\$[A-Za-z_{]")
_BARE = re.compile(r"[^\\#\"'\n\v\f\x1c-\x1f\x80-\U0010ffff]*")  # ASCII, nothing to unquote


class ParseError(ValueError):
    """The text cannot be understood without running HAProxy; the message names the line."""


@functools.lru_cache(maxsize=2)  # what runs is compared with each wanted one, and becomes that
def parse(text: str) -> HaproxyConfig:
    """The model of a text; comments, indentation and quoting are gone.

    :raises ParseError: a line that cannot be read by itself.
    """
    sections: list[tuple[tuple[str, ...], list[Directive]]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            words = split_words(line)
            if not words:
                continue
            if words[0] in SECTION_KEYWORDS:
                sections.append((words, []))
            elif sections:
                sections[-1][1].append(Directive(words))
            else:
                raise ParseError("a directive outside of any section")
        except (ParseError, UnsafeWord) as error:
            raise ParseError(f"Line {number}: {error}") from error
    return HaproxyConfig(tuple(Section(words, tuple(directives)) for words, directives in sections))


def split_words(line: str) -> tuple[str, ...]:
    """The words of one line, unquoted.

    :raises ParseError: a quote is not closed, or an environment variable is used.
    """
    if _BARE.fullmatch(line):
        return tuple(line.split())
    words: list[str] = []
    word: list[str] | None = None  # None between words, so that '' is a word and a space is none
    at = 0
    while at < len(line):
        char = line[at]
        if char in " \t\r":
            if word is not None:
                words.append("".join(word))
            word = None
            at += 1
            continue
        if char == "#":
            break
        word = [] if word is None else word
        at = _take(line, at, word)
    if word is not None:
        words.append("".join(word))
    return tuple(words)


def _take(line: str, at: int, word: list[str]) -> int:
    """Read one character, escape or quoted run into ``word``; where to go on."""
    char = line[at]
    if char == "'":
        end = line.find("'", at + 1)
        if end < 0:
            raise ParseError("a quote is not closed")
        word.append(line[at + 1 : end])
        return end + 1
    if char == '"':
        return _take_weakly_quoted(line, at + 1, word)
    if char == "\\":
        return _take_escape(line, at, word)
    word.append(char)
    return at + 1


def _take_weakly_quoted(line: str, at: int, word: list[str]) -> int:
    while at < len(line):
        if line[at] == '"':
            return at + 1
        if _VARIABLE.match(line, at):
            raise ParseError("environment variables are not known here")
        if line[at] == "\\" and line[at + 1 : at + 2] == "$":
            word.append("$")
            at += 2
        elif line[at] == "\\":
            at = _take_escape(line, at, word)
        else:
            word.append(line[at])
            at += 1
    raise ParseError("a quote is not closed")


def _take_escape(line: str, at: int, word: list[str]) -> int:
    following = line[at + 1 : at + 2]
    if following in ("", "n", "r", "t", "x"):
        raise ParseError(f"the escape '\\{following}' makes no printable character")
    if following in _ESCAPED:
        word.append(following)
        return at + 2
    word.append("\\")  # any other escape stands for itself, backslash included
    return at + 1
