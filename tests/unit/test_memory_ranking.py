"""What is recalled, what is forgotten, and how far two situations are apart."""

from __future__ import annotations

import math

import pytest

from edgewise.domain.records import Situation
from memory.ranking import Stored, forget, pool, recall
from memory.vectors import DIMENSIONS, LIMIT, Axes, distance
from tests.support.planner_world import case_of

HERE = Situation((("load", 0.5), ("pressure", 0.5)))


def ids(cases: list[tuple[str, float, float | None]], count: int) -> list[str]:
    return [r.case.id for r in recall(HERE, [case_of(*c) for c in cases], count)]


def test_the_outcome_decides_between_near_twins_only() -> None:
    assert ids([("bad", 0.51, 9.0), ("good", 0.55, 1.0)], 1) == ["good"]
    assert ids([("bad", 0.51, 9.0), ("good", 0.65, 1.0)], 1) == ["bad"]
    assert ids([("open", 0.5, None), ("good", 0.65, 1.0)], 5) == ["good"]
    assert ids([("a", 0.5, 1.0)], -1) == []


def test_equal_cases_have_one_order() -> None:
    twins = [case_of(i, 0.5, 1.0, at_s) for i, at_s in (("b", 1.0), ("a", 1.0), ("newer", 2.0))]
    assert [r.case.id for r in recall(HERE, twins, 3)] == ["newer", "a", "b"]
    assert [r.case.id for r in recall(HERE, twins[::-1], 3)] == ["newer", "a", "b"]


def test_no_outcome_brings_a_case_into_the_pool() -> None:
    near = [(f"n{i}", 0.5, 9.0) for i in range(pool(1))]
    assert ids([*near, ("far-but-best", 0.51, 0.0)], 1) != ["far-but-best"]


def rows(count: int, objective: float | None = 1.0) -> list[Stored]:
    return [Stored(f"{i:03}", float(i), objective) for i in range(count)]


def test_nothing_is_forgotten_while_it_fits() -> None:
    assert forget(rows(10), 10) == []
    assert forget([], 1) == []


def test_the_oldest_go_first_and_make_a_little_room() -> None:
    assert forget(rows(101), 100) == [f"{i:03}" for i in range(6)]  # down to 95
    assert forget(rows(5), 4) == ["000"]


def test_a_bad_case_goes_before_a_good_one_somewhat_older() -> None:
    stored = [Stored("good", 0.0, 1.0), Stored("bad", 1.0, 9.0), *rows(8)[2:]]
    assert forget(stored, 7)[0] == "bad"


def test_a_case_without_outcome_goes_early_unless_it_is_new() -> None:
    stored = [*rows(10)[:5], Stored("lost", 5.0, None), *rows(10)[6:9], Stored("fresh", 9.0, None)]
    gone = forget(stored, 5)
    assert "lost" in gone
    assert "fresh" not in gone
    assert len(gone) == 5


def test_the_newest_is_never_forgotten() -> None:
    for objective in (None, 1.0, 99.0):
        stored = [*rows(20), Stored("newest", 20.0, objective)]
        assert "newest" not in forget(stored, 10)


def test_axes_never_change_their_meaning() -> None:
    axes = Axes().extended(HERE)
    wider = axes.extended(Situation((("new", 1.0), ("load", 0.1))))
    assert wider.names == ("load", "pressure", "new")
    assert wider.extended(HERE) is wider
    assert wider.vector(HERE)[:4] == [0.5, 0.5, 0.0, 0.0]
    assert len(wider.vector(HERE)) == DIMENSIONS
    full = wider.extended(Situation(tuple((f"f{i}", 1.0) for i in range(100))))
    assert (len(full.names), full.names[:3]) == (DIMENSIONS, wider.names)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_counts_as_nothing_and_the_far_out_is_clipped(odd: float) -> None:
    assert distance(Situation((*HERE.features, ("odd", odd))), HERE) == 0.0
    assert distance(Situation((("x", 1e9),)), Situation(())) == LIMIT
    assert Axes(("x",)).vector(Situation((("x", odd),)))[0] == 0.0
