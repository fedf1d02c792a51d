# SPDX-License-Identifier: Apache-2.0
"""The judge's decisions as a table: no database, no time but the one that is given."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from octavia.db.silence import Fleet, Silent
from octavia.health.stale import Limits, Ruling, deafness, judge, slots
from octavia.health.witness import Testimony as Said
from tests.fleet import NOW

LIMITS = Limits(timeout=timedelta(seconds=60))
GONE, DEAD, ALIVE = Said.ABSENT, Said.UNREACHABLE, Said.ALIVE
CRIPPLED, UNKNOWN = Said.CRIPPLED, Said.UNKNOWN


def silent(name: str, seconds: int = 70, *, stopped: bool = False) -> Silent:
    """Amphora ``name`` of the load balancer that its first letter names."""
    return Silent(name, name[0], NOW - timedelta(seconds=seconds), stopped)


@dataclass(frozen=True)
class Case:
    """What the fleet looks like, what was said, who is ruled on how."""

    name: str
    total: int
    said: dict[str, Said]
    expected: dict[str, Ruling]
    seconds: int = 70
    failed: frozenset[str] = frozenset()
    unfinished: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=lambda: LIMITS)


REPLACE, HOLD_BACK, REPAIR = Ruling.REPLACE, Ruling.HOLD_BACK, Ruling.REPAIR

CASES = [
    Case("the only one is dead", 1, {"a1": DEAD}, {"a1": REPLACE}),
    Case("the only one is alive but unheard", 1, {"a1": ALIVE}, {"a1": REPAIR}),
    Case("nobody knows", 1, {"a1": UNKNOWN}, {}),
    Case("a keepalived that died is started again first", 2, {"a1": CRIPPLED}, {"a1": REPAIR}),
    Case(
        "and its amphora replaced when that did not help", 2, {"a1": CRIPPLED}, {"a1": REPLACE}, seconds=121
    ),
    Case("never both of a pair at once", 2, {"a1": DEAD, "a2": DEAD}, {"a1": REPLACE}),
    Case(
        "not while its peer is being replaced",
        2,
        {"a2": DEAD},
        {},
        failed=frozenset("a"),
        unfinished=frozenset("a"),
    ),
    Case(
        "both that are gone: nothing is destroyed",
        2,
        {"a1": GONE, "a2": GONE},
        {"a1": REPLACE, "a2": REPLACE},
    ),
    Case(
        "a peer that is gone comes before one that cannot be asked",
        2,
        {"a1": DEAD, "a2": GONE},
        {"a2": REPLACE},
    ),
    Case(
        "a small fleet: two load balancers at a time",
        6,
        {"a1": DEAD, "b1": DEAD, "c1": DEAD},
        {"a1": REPLACE, "b1": REPLACE, "c1": HOLD_BACK},
    ),
    Case(
        "a small fleet goes on when one is done",
        6,
        {"c1": DEAD},
        {"c1": REPLACE},
        failed=frozenset("ab"),
        unfinished=frozenset("b"),
    ),
    Case(
        "held back is said once",
        6,
        {"c1": DEAD},
        {},
        failed=frozenset("ab"),
        unfinished=frozenset("ab"),
        stopped=frozenset({"c1"}),
    ),
    Case(
        "the limit is not for what is gone",
        6,
        dict.fromkeys(("a1", "b1", "c1", "d1"), GONE),
        dict.fromkeys(("a1", "b1", "c1", "d1"), REPLACE),
    ),
    Case(
        "of a hundred, five within the window",
        100,
        dict.fromkeys(("a1", "b1", "c1", "d1", "e1", "f1"), DEAD),
        {"a1": REPLACE, "b1": REPLACE, "c1": REPLACE, "d1": REPLACE, "e1": REPLACE, "f1": HOLD_BACK},
    ),
    Case(
        "the window remembers what is done",
        100,
        {"a1": DEAD, "b1": DEAD},
        {"a1": REPLACE, "b1": HOLD_BACK},
        failed=frozenset("wxyz"),
    ),
    Case(
        "most of the fleet is silent: the judge is deaf",
        10,
        dict.fromkeys(("a1", "b1", "c1", "d1", "e1"), DEAD),
        {},
    ),
    Case(
        "a deaf judge still believes compute",
        10,
        {"a1": DEAD, "b1": GONE, "c1": DEAD, "d1": ALIVE, "e1": DEAD},
        {"b1": REPLACE, "d1": REPAIR},
    ),
    Case(
        "in a small fleet the witness decides",
        4,
        dict.fromkeys(("a1", "b1"), DEAD),
        {"a1": REPLACE, "b1": REPLACE},
    ),
    Case(
        "the operator's threshold stops everything",
        50,
        {"a1": GONE, "b1": DEAD, "c1": DEAD},
        {"a1": HOLD_BACK, "c1": HOLD_BACK},
        stopped=frozenset({"b1"}),
        limits=Limits(threshold=3),
    ),
    Case(
        "below the threshold",
        50,
        {"a1": DEAD, "b1": DEAD},
        {"a1": REPLACE, "b1": REPLACE},
        limits=Limits(threshold=3),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_ruling(case: Case) -> None:
    fleet = Fleet(
        total=case.total,
        silent=tuple(silent(name, case.seconds, stopped=name in case.stopped) for name in case.said),
        failed=case.failed,
        unfinished=case.unfinished,
    )
    verdicts = judge(fleet, case.said, case.limits, NOW)
    assert {one.amphora_id: one.ruling for one in verdicts} == case.expected
    assert len(verdicts) == len(case.expected)


def test_who_was_not_asked_about_is_left_alone() -> None:
    assert judge(Fleet(total=1, silent=(silent("a1"),)), {}, LIMITS, NOW) == []


def test_what_is_gone_does_not_count_towards_the_limit() -> None:
    fleet = Fleet(total=3, silent=(silent("a1"), silent("b1")))
    verdicts = judge(fleet, {"a1": GONE, "b1": DEAD}, LIMITS, NOW)
    assert {one.amphora_id: one.limited for one in verdicts} == {"a1": False, "b1": True}


def test_who_is_heard_again_is_allocated_again_whatever_else_happens() -> None:
    fleet = Fleet(total=5, silent=(silent("a1"),), resumed=(("b1", "b"),))
    verdicts = judge(fleet, {}, Limits(threshold=1), NOW)
    assert [(one.amphora_id, one.ruling) for one in verdicts] == [("b1", Ruling.RESUME), ("a1", HOLD_BACK)]


def test_the_longest_silent_comes_first() -> None:
    fleet = Fleet(total=3, silent=(silent("a1", 300), silent("b1", 200), silent("c1", 100)))
    verdicts = judge(fleet, dict.fromkeys(("a1", "b1", "c1"), DEAD), LIMITS, NOW)
    assert [one.amphora_id for one in verdicts if one.ruling is REPLACE] == ["a1", "b1"]


def test_a_sentence_says_who_how_long_and_why() -> None:
    verdict = judge(Fleet(total=1, silent=(silent("a1"),)), {"a1": DEAD}, LIMITS, NOW)[0]
    assert verdict.why == "Amphora a1 was last heard 70 s ago and its agent does not answer: it is replaced"


def test_who_never_reported_is_judged_from_when_it_was_made() -> None:
    never = Silent("a1", "a", NOW - timedelta(seconds=90), heard_before=False)
    verdict = judge(Fleet(total=1, silent=(never,)), {"a1": GONE}, LIMITS, NOW)[0]
    assert verdict.ruling is REPLACE
    assert "was never heard, and was made 90 s ago and compute has no such server" in verdict.why


@pytest.mark.parametrize(
    ("total", "silent_ones", "deaf"),
    [(9, 9, False), (10, 4, False), (10, 5, True), (1000, 499, False), (1000, 500, True), (0, 0, False)],
)
def test_a_judge_is_deaf_when_half_of_a_large_fleet_is_silent(
    total: int, silent_ones: int, deaf: bool
) -> None:
    fleet = Fleet(total=total, silent=tuple(silent(f"a{number}") for number in range(silent_ones)))
    assert (deafness(fleet, LIMITS) is not None) == deaf


@pytest.mark.parametrize(("total", "expected"), [(1, 2), (9, 2), (10, 2), (40, 2), (60, 3), (1000, 50)])
def test_the_limit_grows_with_the_fleet_and_never_is_below_two(total: int, expected: int) -> None:
    assert slots(Fleet(total=total), LIMITS) == expected
