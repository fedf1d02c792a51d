# SPDX-License-Identifier: Apache-2.0
"""The real HAProxy understands words as they were meant, whoever wrote them."""

import random
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings

from octavia.dataplane.haproxy.model import Directive, HaproxyConfig, Section, serialize
from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.render import render
from octavia.domain.tree import LoadBalancer
from tests.haproxy import live
from tests.haproxy.live import check, directory, needs_haproxy, needs_root, running
from tests.unit.dataplane.samples import AMPHORA, LB, amphorae
from tests.unit.dataplane.test_haproxy_render import hostile_load_balancers

pytestmark = [pytest.mark.haproxy, needs_haproxy]

ALPHABET = "abz059 '\"\\#$%{}[]()<>;,!|&~^`*?=+-_.:/@é\u2028\u00a0漢"


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
