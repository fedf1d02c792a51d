# SPDX-License-Identifier: Apache-2.0
"""Every sample goes through the real ``haproxy -c``."""

import re
from dataclasses import replace

import pytest

from octavia.dataplane.haproxy.model import Directive, HaproxyConfig, lines, serialize
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.render import Rendered
from octavia.domain.tree import Protocol
from tests.haproxy.live import check, directory, needs_haproxy, rendered
from tests.unit.dataplane.samples import (
    everything,
    listener,
    listener_id,
    load_balancer,
    member_id,
    pair,
    pool,
    pool_id,
)

pytestmark = [pytest.mark.haproxy, needs_haproxy]


@pytest.mark.parametrize("name", everything())
def test_haproxy_accepts_each_sample_without_a_warning(name: str) -> None:
    with directory() as base:
        for lb in (everything()[name], pair(everything()[name])):
            made = rendered(lb, base)
            result = check(made.text, base)
            assert (result.returncode, result.stderr) == (0, "")
            assert parse(made.text) == made.config


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP])
@pytest.mark.parametrize("logging", [True, False])
def test_haproxy_accepts_the_log_format_in_both_modes(protocol: Protocol, logging: bool) -> None:
    lb = load_balancer((listener(protocol=protocol), pool(protocol=protocol)), project_id="100%[env(HOME)]")
    with directory() as base:
        made = rendered(lb, base, connection_logging=logging)
        result = check(made.text, base)
    assert (result.returncode, result.stderr) == (0, "")
    assert ("log-format" in made.text) is logging


def with_broken(made: Rendered, keyword: str, *extra: str) -> Rendered:
    """The first line of that keyword gets more words."""
    broken, sections = False, []
    for section in made.config.sections:
        directives = []
        for one in section.directives:
            hit = not broken and one.words[0] == keyword and one.owner is not None
            directives.append(Directive((*one.words, *extra), one.owner) if hit else one)
            broken = broken or hit
        sections.append(replace(section, directives=tuple(directives)))
    assert broken
    config = HaproxyConfig(tuple(sections))
    return Rendered(config, serialize(config), tuple(owner for _, owner in lines(config)))


@pytest.mark.parametrize(
    ("keyword", "extra", "guilty"),
    [
        ("server", ("no-such-keyword",), member_id(1)),
        ("bind", ("no-such-keyword",), listener_id(1)),
        ("http-reuse", ("no-such-parameter",), pool_id(1)),
        # Found only once everything is read, so that HAProxy names no line.
        ("default_backend", (), listener_id(1)),
    ],
)
def test_what_haproxy_refuses_leads_to_the_object(keyword: str, extra: tuple[str, ...], guilty: str) -> None:
    with directory() as base:
        made = rendered(everything()["http"], base)
        made = with_broken(made, keyword, *extra) if extra else _without_backend(made)
        result = check(made.text, base)
        assert result.returncode != 0
        assert made.blame(result.stderr) == guilty, result.stderr


def _without_backend(made: Rendered) -> Rendered:
    config = HaproxyConfig(tuple(one for one in made.config.sections if one.keyword != "backend"))
    return Rendered(config, serialize(config), tuple(owner for _, owner in lines(config)))


def test_there_are_warnings_to_be_missed() -> None:
    """The samples' silence means something: this HAProxy does print warnings."""
    with directory() as base:
        made = rendered(everything()["http"], base)
        result = check(re.sub(r"    timeout .*\n", "", made.text), base)
        assert "missing timeouts" in result.stderr
