# SPDX-License-Identifier: Apache-2.0
"""The model, its serializer and the parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia.dataplane.haproxy.model import (
    SECTION_KEYWORDS,
    Directive,
    HaproxyConfig,
    Section,
    UnsafeWord,
    lines,
    quote,
    serialize,
)
from octavia.dataplane.haproxy.parse import ParseError, parse, split_words

NASTY = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs", "Cc")), st.sampled_from(" \t'\"\\#$%{}[]();,!|&<>-" * 3)
    ).filter(lambda char: char != "\t"),
    min_size=1,
    max_size=40,
)
KEYWORDS = st.from_regex(r"[a-z][a-z0-9._-]{0,12}", fullmatch=True).filter(
    lambda one: one not in SECTION_KEYWORDS
)
DIRECTIVES = st.builds(
    lambda keyword, rest: Directive((keyword, *rest)), KEYWORDS, st.lists(NASTY, max_size=5)
)
SECTIONS = st.builds(
    lambda keyword, rest, directives: Section((keyword, *rest), tuple(directives)),
    st.sampled_from(sorted(SECTION_KEYWORDS)),
    st.lists(NASTY, max_size=2),
    st.lists(DIRECTIVES, max_size=5),
)
CONFIGS = st.builds(lambda sections: HaproxyConfig(tuple(sections)), st.lists(SECTIONS, max_size=4))


@given(CONFIGS)
def test_whatever_the_words_are_the_text_says_exactly_them(config: HaproxyConfig) -> None:
    assert parse(serialize(config)) == config


@given(CONFIGS)
def test_there_is_one_line_of_text_for_each_directive_and_section(config: HaproxyConfig) -> None:
    text = [line for line in serialize(config).split("\n") if line]
    assert len(text) == sum(1 + len(section.directives) for section in config.sections)


@given(st.text(st.characters(exclude_characters="\n")) | st.text("ab \t\r\v\f\x1c\x85\u00a0$\\'\"#"))
def test_a_line_is_read_alike_the_fast_and_the_careful_way(line: str) -> None:
    def read(text: str) -> tuple[str, ...] | str:
        try:
            return split_words(text)
        except ParseError as error:
            return str(error)

    careful = f"'0' {line}"  # a quote takes the careful way
    words = read(line)
    assert read(careful) == (words if isinstance(words, str) else ("0", *words))


@given(NASTY)
def test_a_quoted_word_is_one_word(word: str) -> None:
    assert split_words(f"  keyword {quote(word)} end # a comment") == ("keyword", word, "end")


@pytest.mark.parametrize("bad", ["", "a\nb", "a\rb", "\x00", "\x7f", "a\x1b[0m", "\x85", "\ud800"])
def test_what_no_quoting_makes_safe_is_refused(bad: str) -> None:
    with pytest.raises(UnsafeWord):
        Directive(("option", bad))
    with pytest.raises(UnsafeWord):
        Section(("backend", bad))


@pytest.mark.parametrize(
    "keyword", ["global", "frontend", "peers", ".if", "#comment", "Server", "a b", "'x'"]
)
def test_a_directive_cannot_begin_like_a_section_a_comment_or_a_condition(keyword: str) -> None:
    with pytest.raises(UnsafeWord):
        Directive((keyword, "x"))


def test_only_a_known_section_can_be_made() -> None:
    with pytest.raises(UnsafeWord):
        Section(("servers", "x"))


def test_each_line_knows_for_whom_it_is_there() -> None:
    config = HaproxyConfig(
        (
            Section(("global",), (Directive(("maxconn", "5")),)),
            Section(("backend", "b"), (Directive(("server", "s", "1.2.3.4:5"), owner="m"),), owner="p"),
        )
    )
    assert list(lines(config)) == [
        ("global", None),
        ("    maxconn 5", None),
        ("", None),
        ("backend b", "p"),
        ("    server s 1.2.3.4:5", "m"),
    ]


# HAProxy's configuration manual, section 2.2.
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ()),
        ("   # nothing", ()),
        ("a b\tc", ("a", "b", "c")),
        (r"log-format %ci\ %cp", ("log-format", "%ci %cp")),
        (r"a \# b", ("a", "#", "b")),
        (r"a b\\ c", ("a", "b\\", "c")),
        (r"a \'b\"", ("a", "'b\"")),
        (r"a '$HOME \n' b", ("a", r"$HOME \n", "b")),
        ('a "b c" d', ("a", "b c", "d")),
        (r'a "b \" \$c # d"', ("a", 'b " $c # d')),
        (r"reg ^\d+\.", ("reg", r"^\d+\.")),
        ("""a b'c d'"e f"g""", ("a", "bc de fg")),
        ("a b#c", ("a", "b")),
        ("a ''", ("a", "")),
    ],
)
def test_lines_are_split_as_haproxy_does(line: str, words: tuple[str, ...]) -> None:
    assert split_words(line) == words


@pytest.mark.parametrize(
    "text",
    [
        "maxconn 5\n",
        "global\n  a 'b\n",
        'global\n  a "b\n',
        'global\n  a "${HOME}"\n',
        "global\n  .if 1\n",
        "global\n  a ''\n",
        "global\n  a \\",
        "global\n  a b\\nc\n",
    ],
)
def test_text_that_cannot_be_understood_by_itself_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(ParseError, match=r"^Line \d+: "):
        parse(text)
