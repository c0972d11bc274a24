"""The planner looks again when what stands is predicted to do much worse, shift or no shift."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.control.carry import Carry, predicted, troubled
from edgewise.domain.decision import Candidate, Decision, Mode, Rung, Score, Verdict
from edgewise.domain.plan import Plan, Source

PLAN = Plan("p-1", Source.OPTIMISER, 0.0, 10.0, ())


def decision(score: float | None) -> Decision:
    candidates = () if score is None else (Candidate("incumbent", PLAN, Score(score, score, score)),)
    verdict = Verdict("p-1", "", 0.0, 0.0, False, "kept")
    return Decision("d-1", 1, 0, 4.0, Rung.OPTIMISER, Mode.ACTIVE, "p-1", "p-1", "", PLAN, verdict, candidates)


@pytest.mark.parametrize(
    ("calm", "now", "expected"),
    [(1.1, 1.2, False), (1.1, 1.4, True), (1.4, 1.7, False), (1.4, 1.9, True), (5.0, 8.0, False), (5.0, 9.5, True)],
)
def test_trouble_is_measured_from_the_last_look(calm: float, now: float, expected: bool) -> None:
    assert troubled(replace(Carry(), calm=calm), decision(now)) is expected


def test_without_a_comparison_nothing_is_known() -> None:
    assert predicted(decision(None)) is None
    assert not troubled(Carry(), decision(None))
    assert not troubled(Carry(), None)
