# SPDX-License-Identifier: Apache-2.0
"""The real HAProxy understands words as they were meant, whoever wrote them."""

import random
import re
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings

from octavia.api.schemas import types
from octavia.dataplane.haproxy.model import Directive, HaproxyConfig, Section, serialize
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.render import render
from octavia.domain.errors import Invalid
from octavia.domain.l7 import check_rule
from octavia.domain.tree import CompareType, L7Action, LoadBalancer, RuleType
from tests.corpus import hostile_strings
from tests.haproxy import live
from tests.haproxy.live import check, directory, needs_haproxy, needs_root, running
from tests.unit.dataplane.samples import (
    AMPHORA,
    LB,
    amphorae,
    listener,
    load_balancer,
    policy,
    pool,
    rule,
)
from tests.unit.dataplane.test_haproxy_render import hostile_load_balancers

pytestmark = [pytest.mark.haproxy, needs_haproxy]

ALPHABET = "abz059 \t'\"\\#$%{}[]()<>;,!|&~^`*?=+-_.:/@é\u2028\u00a0漢"


@needs_root
def test_haproxy_reads_a_quoted_word_as_it_was() -> None:
    rng = random.Random(2)
    words = ["".join(rng.choices(ALPHABET, k=rng.randint(1, 30))) for _ in range(60)]
    words += ["'", '"', "\\", "\\'", "'\\''", "$HOME", "${HOME}", "#", " ", "a\\", "\\x41", "\\n"]
    answers = tuple(
        Directive(
            (
                "http-request",
                "return",
                "content-type",
                "text/plain",
                "string",
                word,
                "if",
                "{",
                "path",
                f"/{n}",
                "}",
            )
        )
        for n, word in enumerate(words)
    )
    with directory() as base:
        config = HaproxyConfig(
            (
                Section(
                    ("global",), (Directive(("stats", "socket", f"{base}/{LB}.sock", "level", "admin")),)
                ),
                Section(
                    ("frontend", "f"),
                    (
                        Directive(("bind", "127.0.0.1:81")),
                        Directive(("mode", "http")),
                        Directive(("timeout", "client", "5s")),
                        *answers,
                    ),
                ),
            )
        )
        assert parse(serialize(config)) == config
        with running(serialize(config), base) as haproxy:
            urls = [f"http://127.0.0.1:81/{n}" for n in range(len(words))]
            command = haproxy.inside("curl", "-s", "-S", "--max-time", "10", "-w", "\\n", *urls)
            said = subprocess.run(command, capture_output=True, timeout=30, check=True).stdout.decode()
        assert said.split("\n")[:-1] == words


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile_load_balancers())
def test_haproxy_accepts_whatever_a_tenant_wrote(lb: LoadBalancer) -> None:
    with directory() as base:
        made = render(lb, amphorae()[:1], live.settings(base), amphora_id=AMPHORA, haproxy_version="2.6.12")
        assert made is not None
        result = check(made.text, base)
    assert (result.returncode, result.stderr) == (0, ""), made.text


def _takes_as_url(text: str) -> bool:
    try:
        types.url(text)
    except types.BadValue:
        return False
    return True


@needs_root
def test_a_redirect_says_what_the_tenant_wrote_to_the_letter() -> None:
    urls = [one for text in hostile_strings().values() for one in (text, f"https://a.example/{text}")]
    urls = [one for one in urls if _takes_as_url(one) and one.isascii()]
    assert "https://a.example/%[env(HOME)]" in urls
    assert "https://a.example/${HOME}" in urls
    actions = (L7Action.REDIRECT_TO_URL, L7Action.REDIRECT_PREFIX)
    policies = tuple(
        policy(
            number,
            action,
            redirect_url=url,
            redirect_prefix=url,
            rules=(rule(RuleType.PATH, CompareType.EQUAL_TO, f"/{number}", number),),
        )
        for number, (url, action) in enumerate(((url, one) for url in urls for one in actions), start=1)
    )
    lb = load_balancer((listener(l7_policies=policies), pool()))
    with directory() as base, running(live.rendered(lb, base).text, base) as haproxy:
        asked = [f"http://127.0.0.1:81/{one.position}" for one in policies]
        command = haproxy.inside("curl", "-s", "-S", "-i", "--max-time", "60", *asked)
        said = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode()
    told = [line.removeprefix("location: ") for line in said.split("\r\n") if line.startswith("location: ")]
    suffix = {L7Action.REDIRECT_PREFIX: "/{}", L7Action.REDIRECT_TO_URL: ""}
    wanted = [f"{one.redirect_url}{suffix[one.action].format(one.position)}" for one in policies]
    assert told == wanted


@needs_root
def test_a_regular_expression_that_explodes_ends_at_a_limit() -> None:
    """PCRE2 gives up after ten million steps: the rule does not match then, and everybody else is served.
    To ask for another limit takes a word that the API's own compiler does not know.
    """
    with pytest.raises(Invalid, match="no regular expression"):
        check_rule(
            {
                "type": RuleType.PATH,
                "compare_type": CompareType.REGEX,
                "key": None,
                "value": hostile_strings()["regular expression, no limit"],
            }
        )
    policies = tuple(
        policy(
            number,
            L7Action.REDIRECT_TO_URL,
            redirect_url=f"https://{number}.example/",
            rules=(rule(RuleType.PATH, CompareType.REGEX, expression, number),),
        )
        for number, expression in enumerate(("^/(a+)+$", "^/((b|bb)+)+$"), start=1)
    )
    lb = load_balancer((listener(l7_policies=policies, default_pool_id=None), pool()))
    with directory() as base, running(live.rendered(lb, base).text, base) as haproxy:
        for letter in "ab":
            urls = [f"http://127.0.0.1:81/{letter * 40}!", f"http://127.0.0.1:81/{letter}"]
            command = haproxy.inside("curl", "-s", "-S", "-i", "--max-time", "60", *urls)
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)
            said = re.findall(r"HTTP/1.1 \d+", done.stdout.decode())
            assert said == ["HTTP/1.1 503", "HTTP/1.1 302"], (letter, done)
            assert haproxy.process.poll() is None
