# SPDX-License-Identifier: Apache-2.0
"""A configuration of keepalived as typed values, the one serializer for them, and the way back.

A configuration is blocks, lines and comments, a line is words. keepalived has no quoting to rely on (nothing
is escaped between its double quotes, and ``$``, ``!``, ``#``, ``@`` and braces mean something almost
everywhere), so a word is checked when its block is made: what could be more than a word is refused.

What the words mean is not here: see :mod:`octavia.dataplane.keepalived.render` and
:mod:`octavia.dataplane.l4.lvs`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Words: TypeAlias = tuple[str, ...]

_BARE: Final = re.compile(r"[A-Za-z0-9_./:-][A-Za-z0-9_./:,+=~%?&;@-]*")
_QUOTED: Final = re.compile(r'"[A-Za-z0-9_./: -]+"')
_WORD: Final = re.compile(r'"[^"]*"|[^\s"]+')
_COMMENT: Final = re.compile(r"[A-Za-z0-9 -]*")


class UnsafeWord(ValueError):
    """A word that keepalived would read as something else, or text that is no configuration."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A line that agents read and keepalived does not; an empty one is an empty line.

    :raises UnsafeWord: it is more than letters, digits, spaces and hyphens.
    """

    text: str

    def __post_init__(self) -> None:
        if not _COMMENT.fullmatch(self.text):
            raise UnsafeWord("A comment cannot be given to keepalived.")


BLANK: Final = Comment("")


@dataclass(frozen=True, slots=True)
class Block:
    """A keyword line and what stands between its braces.

    :raises UnsafeWord: a word could be more than one.
    """

    head: Words
    body: tuple["Item", ...] = ()

    def __post_init__(self) -> None:
        for words in (self.head, *(one for one in self.body if isinstance(one, tuple))):
            _check(words)


Item: TypeAlias = Words | Block | Comment


def line(text: str) -> Words:
    """The words of a line of ours; one between double quotes is one word."""
    return tuple(_WORD.findall(text))


def block(head: str, *body: "str | Block") -> Block:
    """A block out of lines of ours. :raises UnsafeWord:"""
    return Block(line(head), tuple(one if isinstance(one, Block) else line(one) for one in body))


def serialize(items: Sequence[Item]) -> str:
    """The text of the file, with an empty line between two blocks. :raises UnsafeWord:"""
    texts: list[str] = []
    for number, one in enumerate(items):
        if isinstance(one, tuple):
            _check(one)
        if number and isinstance(one, Block) and isinstance(items[number - 1], Block):
            texts.append("")
        texts.extend(_lines(one, ""))
    return "".join(f"{text}\n" for text in texts)


def parse(text: str) -> tuple[Block, ...]:
    """What :func:`serialize` made; comments and lines outside of blocks are passed over.

    :raises UnsafeWord: it is nothing that could have been made by it.
    """
    root: list[Item] = []
    open_blocks: list[tuple[Words, list[Item]]] = []
    for written in text.splitlines():
        stripped = written.strip()
        body = open_blocks[-1][1] if open_blocks else root
        if not stripped or stripped.startswith("#"):
            continue
        if stripped == "}":
            if not open_blocks:
                raise UnsafeWord("A brace closes nothing.")
            head, inner = open_blocks.pop()
            (open_blocks[-1][1] if open_blocks else root).append(Block(head, tuple(inner)))
        elif stripped.endswith(" {"):
            open_blocks.append((line(stripped.removesuffix(" {")), []))
        else:
            _check(words := line(stripped))
            body.append(words)
    if open_blocks:
        raise UnsafeWord(f"A block is not closed: {open_blocks[-1][0]}")
    return tuple(one for one in root if isinstance(one, Block))


def _lines(one: Item, indent: str) -> Iterator[str]:
    if isinstance(one, Comment):
        yield f"{indent}# {one.text}" if one.text else ""
    elif isinstance(one, Block):
        yield f"{indent}{' '.join(one.head)} {{"
        for item in one.body:
            yield from _lines(item, indent + "    ")
        yield f"{indent}}}"
    else:
        yield f"{indent}{' '.join(one)}"


def _check(words: Words) -> None:
    if not words:
        raise UnsafeWord("A line of keepalived has at least one word.")
    for word in words:
        if not (_BARE.fullmatch(word) or _QUOTED.fullmatch(word)):
            raise UnsafeWord("A word cannot be given to keepalived.")  # not repeated: it may be a password
