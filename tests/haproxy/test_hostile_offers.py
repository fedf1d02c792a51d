# SPDX-License-Identifier: Apache-2.0
"""Whatever a tenant writes over REST: what the API takes, the real HAProxy takes, or it names who is guilty.

Each string of the corpus, and random ones, is offered in every field of every object. What is accepted is
rendered as a whole and read back.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octavia.dataplane.haproxy.parse import parse
from octavia.dataplane.haproxy.render import Rendered, render
from octavia.dataplane.l4 import nftables
from octavia.dataplane.l4.build import build
from octavia.domain.tree import CompareType, L7Policy, L7Rule, Listener, LoadBalancer, Member, Pool
from tests import pki
from tests.corpus import hostile_strings
from tests.haproxy import live
from tests.haproxy.live import check, directory, needs_haproxy
from tests.haproxy.offers import Offers
from tests.unit.dataplane.samples import AMPHORA, amphorae
from tests.unit.dataplane.test_haproxy_render import SHAPES
from tests.unit.dataplane.test_l4_model import assert_only_what_was_intended

pytestmark = [pytest.mark.haproxy, needs_haproxy]


@pytest.fixture(scope="module", name="offers")
def _offers() -> Iterator[Offers]:
    made = Offers()
    yield made
    made.close()


# POSIX classes look like nested sets to Python, which the API asks first.
nested_sets = pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")


@nested_sets
@pytest.mark.parametrize("why", hostile_strings())
def test_what_the_api_takes_haproxy_takes(why: str, offers: Offers) -> None:
    lb, taken = offers.accepted(hostile_strings()[why])
    serve(lb, offers)
    if why in ("single quote", "log format, sample", "environment variable"):
        assert len({one.split()[-1] for one in taken}) >= 6, taken  # else the others would prove little


@cache
def _fragments() -> list[str]:
    return [one for one in hostile_strings().values() if 0 < len(one) < 60]


@nested_sets
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    text=st.text(max_size=40) | st.lists(st.sampled_from(_fragments()), min_size=2, max_size=5).map("".join)
)
def test_what_the_api_takes_of_random_strings_haproxy_takes(text: str, offers: Offers) -> None:
    lb, _ = offers.accepted(text)
    serve(lb, offers)


def serve(lb: LoadBalancer, offers: Offers) -> None:
    """What a worker does: without whoever HAProxy names, until it is content. Nobody else is left out."""
    built = build(lb)
    assert built.refused == {}
    assert built.config is not None
    assert_only_what_was_intended(nftables.render(built.config).text)
    objects = {one.id: one for one in lb.walk()}
    guilty: dict[str, str] = {}
    with directory() as base:
        while True:
            made = rendered(lb, base, frozenset(guilty))
            assert_only_what_was_meant(lb, made, objects.keys() - guilty.keys())
            refused = {one: why for one, why in made.refused.items() if one not in guilty}
            assert refused.keys() <= _policies_of(lb, guilty), [
                (objects[one], refused[one]) for one in refused
            ]
            pki.write(base / "certs" / lb.id, pki.files(made, offers.certificates))
            (base / lb.id).mkdir(exist_ok=True)
            (base / lb.id / "servers-state").write_text("1\n")
            result = check(made.text, base)
            if result.returncode == 0:
                assert result.stderr == "", made.text
                break
            blamed = made.blame(result.stderr)
            assert blamed is not None, result.stderr
            assert blamed not in guilty, result.stderr
            guilty[blamed] = result.stderr
    for one in objects.values():
        # Whoever wrote the same is as guilty; who wrote nothing that only HAProxy can judge is not.
        assert (one.id in guilty) == (judged(one) in {judged(objects[other]) for other in guilty} - {None}), (
            one,
            guilty,
        )


def judged(one: object) -> tuple[str, str] | None:
    """What only HAProxy can judge of an object."""
    if isinstance(one, L7Rule) and one.compare_type is CompareType.REGEX:
        return "regular expression", one.value
    if isinstance(one, Listener | Pool) and one.tls_ciphers and _speaks_tls(one):
        return type(one).__name__, one.tls_ciphers
    return None


def _speaks_tls(one: Listener | Pool) -> bool:
    return one.tls_enabled if isinstance(one, Pool) else bool(one.default_tls_container_ref)


def _policies_of(lb: LoadBalancer, rules: dict[str, str]) -> set[str]:
    every = [policy for one in lb.listeners for policy in one.l7_policies]
    return {one.id for one in every if any(rule.id in rules for rule in one.rules)}


def rendered(lb: LoadBalancer, base: Path, excluded: frozenset[str]) -> Rendered:
    made = render(
        lb,
        amphorae()[:1],
        live.settings(base),
        amphora_id=AMPHORA,
        haproxy_version="2.6.12",
        excluded=excluded,
    )
    assert made is not None
    return made


def assert_only_what_was_meant(lb: LoadBalancer, made: Rendered, innocent: set[str]) -> None:
    """The text is read back as the sections and directives of these objects, and none besides."""
    config = parse(made.text)
    assert config == made.config
    fronts = [one.id for one in lb.listeners if one.protocol != "UDP" and one.id in innocent]
    backs = [
        f"{pool.id}:{one.id}"
        for one in lb.listeners
        if one.id in fronts
        for pool in lb.pools_used_by(one)
        if pool.id in innocent
    ]
    assert [one.name for one in config.sections if one.keyword == "frontend"] == fronts
    assert sorted(one.name for one in config.sections if one.keyword == "backend") == sorted(backs)
    others = [one.keyword for one in config.sections if one.keyword not in ("frontend", "backend")]
    assert others in (["global", "defaults"], ["global", "defaults", "peers"])
    rows = [row.words for one in config.sections for row in one.directives]
    assert {row[0] for row in rows} <= SHAPES
    members = [one.id for one in lb.walk() if isinstance(one, Member)]
    assert {row[1] for row in rows if row[0] == "server"} <= set(members)
    rules = [one.id for one in lb.walk() if isinstance(one, L7Rule)]
    conditions = [row[1] for row in rows if row[0] == "acl" and row[1] != "allowed_cidrs"]
    assert len(conditions) == len(set(conditions))
    assert set(conditions) <= set(rules)
    policies = [one for one in lb.walk() if isinstance(one, L7Policy)]
    assert sum(
        row[0] in ("redirect", "use_backend") or row[:2] == ("http-request", "deny") for row in rows
    ) <= (len(policies))
