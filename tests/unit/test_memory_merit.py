"""How well a case went: never by the objective alone; what the optimiser takes of it; feasibility; merging."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edgewise.control.merit import GOOD, is_good, merit, regret
from edgewise.control.planning import worth
from edgewise.domain.decision import Decision, Hindsight, Mode, Replayed, Rung, Verdict
from edgewise.domain.plan import Plan, ReplicaGoal, Source
from edgewise.domain.records import Case, CaseOutcome, Reach, RecalledCase, Situation
from memory.consolidate import SAME, merged, repeated, scored
from memory.feasible import feasible_part
from memory.ranking import merits_of, recall
from memory.vectors import distance, distances
from tests.support.planner_world import case_of, recalled

HERE = Situation((("load", 0.5), ("pressure", 0.5)))


def test_a_heavy_hour_that_went_as_predicted_is_no_worse_than_a_light_one() -> None:
    light, heavy = case_of("light", 0.2, 1.1), replace(case_of("heavy", 0.9, 8.0), predicted=8.0)
    assert merit(light) == pytest.approx(math.log(1.1))
    assert merit(heavy) == 0.0
    assert merit(case_of("open", 0.5)) is None
    assert merit(replace(heavy, predicted=0.0)) is None
    assert merit(replace(heavy, predicted=float("inf"))) is None


def test_hindsight_overrules_the_prediction() -> None:
    surprised = replace(case_of("a", 0.5), outcome=CaseOutcome(9.0, 9.0, 0.5, 2, regret=0.0, regrets=1))
    assert merit(surprised) == 0.0  # nine times worse than predicted, yet nothing at hand was better


def test_without_a_prediction_the_neighbours_say_what_is_usual() -> None:
    cases = [replace(case_of(n, 0.5, o), predicted=0.0) for n, o in (("a", 2.0), ("b", 8.0))]
    good, bad = merits_of(cases, distances([c.situation for c in cases]))
    assert (good, bad) == pytest.approx((-math.log(2), math.log(2)))
    far = [cases[0], replace(cases[1], situation=Situation((("load", 3.0),)))]
    assert merits_of(far, distances([c.situation for c in far])) == pytest.approx([0.0, 0.0])


def test_the_optimiser_takes_only_what_went_well() -> None:
    assert worth([recalled("bad", 5.0)]) is None
    assert worth([]) is None
    found = worth([recalled("bad", 5.0), recalled("fine", 1.05), recalled("best", 0.9)])
    assert found is not None
    assert found.case.id == "best"
    told = [replace(recalled("best", 0.9), merit=GOOD + 0.01), replace(recalled("fine", 1.05), merit=0.0)]
    assert [is_good(r) for r in told] == [False, True]  # what recall says of the neighbourhood counts


def test_regret_is_held_against_the_best_plan_then_at_hand() -> None:
    plan = Plan("p-2", Source.OPTIMISER, 0.0, 1.0, ())
    decision = Decision("d", 1, 0, 0.0, Rung.OPTIMISER, Mode.ACTIVE, "p-1", "p-2", "", plan,
                        Verdict("p-2", "", 0.0, 0.0, True, ""), ())  # fmt: skip
    base = Replayed("incumbent", "p-1", 2.0, 2.0, 0.0, 0.0)
    seen = Hindsight(60.0, 10, (base, Replayed("optimiser", "p-2", 1.0, 4.0, 0.0, 0.0)))
    assert regret(decision, seen) == pytest.approx(math.log(2))
    assert regret(replace(decision, chosen="p-1"), seen) == 0.0
    assert regret(replace(decision, chosen="p-9"), seen) is None


def goals(*pairs: str) -> tuple[ReplicaGoal, ...]:
    return tuple(ReplicaGoal(*p.split("/")) for p in pairs)


@pytest.mark.parametrize(
    ("placement", "part"),
    [
        (goals("a/x", "b/y"), 1.0),
        (goals("a/x", "b/y", "gone/x", "a/y"), 0.75),
        (goals("a/x", "a/y", "b/x", "b/y", "b/z"), 0.8),  # a model that is no longer known
        (goals("a/x", "b/x", "gone/y"), 0.0),  # y would stand nowhere
        (goals("a/x", "a/y", "c/y"), 2 / 3),  # c is too small
        ((), 0.0),
    ],
)
def test_what_can_be_carried_out(placement: tuple[ReplicaGoal, ...], part: float) -> None:
    reach = Reach((("a", 2.0), ("b", 2.0), ("c", 0.5)), (("x", 1.0), ("y", 1.0)))
    assert feasible_part(placement, reach) == pytest.approx(part)


def test_only_the_same_placement_in_the_same_situation_is_a_repetition() -> None:
    old = case_of("old", 0.5, 1.0)
    assert repeated(case_of("new", 0.5 + SAME - 0.01, 1.0), [old]) is old
    assert repeated(case_of("new", 0.5 + SAME + 0.01, 1.0), [old]) is None
    assert repeated(replace(case_of("new", 0.5, 1.0), placement=goals("edge-2/gpt2")), [old]) is None
    assert repeated(old, [old, case_of("open", 0.5)]) is None


def test_a_merged_case_keeps_its_name_and_place_and_the_later_time() -> None:
    old = replace(case_of("old", 0.5, 1.0, at_s=1.0), predicted=0.0)
    one = merged(old, case_of("new", 0.52, 4.0, at_s=9.0))
    assert (one.id, one.situation, one.at_s, one.predicted) == ("old", old.situation, 9.0, 1.0)
    assert one.outcome is not None
    assert (one.outcome.objective, one.outcome.times) == (2.5, 2)
    with pytest.raises(ValueError, match="scored"):
        merged(old, case_of("open", 0.5))


def test_a_single_case_measured_again_takes_the_new_figures() -> None:
    once = scored(case_of("a", 0.5), CaseOutcome(1.0, 1.0, 1.0, 2))
    again = scored(once, CaseOutcome(1.0, 1.0, 1.0, 2, regret=0.1))
    assert again.outcome == CaseOutcome(1.0, 1.0, 1.0, 2, 0.1, 1, 1)


def test_features_of_a_later_version_do_not_part_a_case_from_before_them() -> None:
    new = Situation((*HERE.features, ("memory", 0.9), ("load:gpt2", 0.3)))
    assert distance(HERE, new) == 0.0
    assert distance(new, Situation((*HERE.features, ("memory", 0.5), ("load:gpt2", 0.3)))) == pytest.approx(0.4)
    assert distance(new, Situation((*HERE.features, ("memory", 0.9), ("load:blip", 0.4)))) == pytest.approx(0.5)


def test_a_partly_feasible_case_must_be_nearer_to_be_chosen() -> None:
    reach = Reach((("edge-1", 9.0), ("edge-2", 9.0), ("edge-3", 9.0)), (("gpt2", 1.0),))
    part = replace(case_of("part", 0.5, 1.0), placement=goals("edge-1/gpt2", "edge-2/gpt2", "edge-3/gpt2", "x/gpt2"))
    near, far = case_of("whole", 0.55, 1.0), case_of("whole", 0.75, 1.0)

    def first(*cases: Case) -> RecalledCase:
        return recall(HERE, cases, 1, reach)[0]

    assert first(part, near).case.id == "whole"
    assert first(part, far).case.id == "part"
