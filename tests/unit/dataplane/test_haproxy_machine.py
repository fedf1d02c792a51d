# SPDX-License-Identifier: Apache-2.0
"""What of a configuration follows from the machine that an amphora is."""

from dataclasses import replace

import pytest

from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.render import render
from octavia.dataplane.haproxy.settings import HaproxySettings
from octavia.domain.tree import LoadBalancer
from tests.unit.dataplane.samples import AMPHORA, amphorae, listener, load_balancer, pair, pool
from tests.unit.dataplane.tls_samples import site

KEYWORDS = ("maxconn", "tune.ssl.cachesize", "nbthread", "cpu-map")
PLAIN = load_balancer((listener(connection_limit=1000), pool()))
SITE = load_balancer((site(connection_limit=1000), pool()))


def tuned(lb: LoadBalancer, memory_kb: int | None = None, isolated_cpus: int | None = None) -> list[str]:
    """The lines of ``global`` that are about sizes, on one of two amphorae."""
    mine, other = amphorae()
    mine = replace(mine, memory_kb=memory_kb, isolated_cpus=isolated_cpus)
    other = replace(other, memory_kb=7, isolated_cpus=7)
    settings = HaproxySettings()
    made = render(lb, (other, mine), settings, amphora_id=AMPHORA, haproxy_version="2.6.12")
    assert made is not None
    lines = (" ".join(one.words) for one in parse(made.text).sections[0].directives)
    return [line for line in lines if line.split(" ")[0] in KEYWORDS]


@pytest.mark.parametrize(
    ("memory_kb", "blocks"),
    [
        (3_500_000, (3_500_000 - 32_000) * 2 // 5 * 4),
        (44_503, 5001 * 4),
        (44_502, None),  # 5000 kB are not worth it
        (32_000, None),
        (0, None),
        (None, None),
        (2**53, 2**31 - 1),
    ],
)
def test_the_cache_of_tls_sessions_is_two_fifths_of_what_connections_leave_free(
    memory_kb: int | None, blocks: int | None
) -> None:
    wanted = [] if blocks is None else [f"tune.ssl.cachesize {blocks}"]
    assert tuned(SITE, memory_kb) == ["maxconn 1000", *wanted]


def test_connections_are_those_of_all_listeners() -> None:
    two = load_balancer((site(connection_limit=1000), pool()), (listener(2), pool(2)))
    cache_kb = (3_500_000 - 32 * 51_000) * 2 // 5
    assert tuned(two, 3_500_000) == ["maxconn 51000", f"tune.ssl.cachesize {cache_kb * 4}"]


def test_there_is_no_cache_without_a_listener_that_terminates_tls() -> None:
    closed = replace(SITE, listeners=(replace(SITE.listeners[0], admin_state_up=False),))
    for lb in (PLAIN, closed):
        assert [line for line in tuned(lb, 3_500_000) if "maxconn" not in line] == []


@pytest.mark.parametrize(
    ("isolated_cpus", "wanted"),
    [
        (1, ["nbthread 1", "cpu-map 1/all 1-1"]),
        (3, ["nbthread 3", "cpu-map auto:1/1-3 1-3"]),
        (63, ["nbthread 63", "cpu-map auto:1/1-63 1-63"]),
        (200, ["nbthread 63", "cpu-map auto:1/1-63 1-63"]),
        (0, []),
        (None, []),
    ],
)
def test_threads_are_pinned_to_all_processors_but_the_first(
    isolated_cpus: int | None, wanted: list[str]
) -> None:
    assert tuned(PLAIN, None, isolated_cpus) == ["maxconn 1000", *wanted]


def test_each_of_a_pair_goes_by_its_own_machine() -> None:
    assert tuned(pair(SITE), 3_500_000, 3) == tuned(SITE, 3_500_000, 3)


def test_nothing_follows_from_a_machine_that_nobody_knows() -> None:
    made = render(SITE, (), HaproxySettings(), amphora_id=AMPHORA, haproxy_version="2.6.12")
    assert made is not None
    assert not any(keyword in made.text for keyword in KEYWORDS[1:])
