"""The gate on scores written down by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgewise.control.gate import gain, judge
from edgewise.control.state import Proposed
from tests.support.control_world import plan_of


def pool(**rows: list[float]):  # type: ignore[no-untyped-def]
    """(incumbent, challengers, evaluate) for score rows by plan name; the first is the incumbent."""
    offered = [Proposed("optimiser" if i else "incumbent", plan_of([], name)) for i, name in enumerate(rows)]

    def evaluate(plans):  # type: ignore[no-untyped-def]
        return np.array([rows[p.id] for p in plans])

    return offered[0], offered[1:], evaluate


def fine(_plan: object) -> list[str]:
    return []


def test_a_clear_winner_is_accepted_and_the_margin_recorded() -> None:
    ruling = judge(*pool(old=[2.0, 2.0], new=[1.5, 1.5]), 0.03, fine)
    assert ruling.verdict.accepted
    assert (ruling.verdict.chosen, ruling.verdict.runner_up) == ("new", "old")
    assert ruling.verdict.margin == pytest.approx(0.5)  # half of the incumbent's excess over 1
    assert ruling.verdict.required == pytest.approx(0.03)


def test_a_gain_within_the_margin_changes_nothing() -> None:
    ruling = judge(*pool(old=[2.0, 2.0], new=[1.98, 1.98]), 0.03, fine)
    assert not ruling.verdict.accepted
    assert ruling.chosen.plan.id == "old"
    assert ruling.verdict.runner_up == "new"


def test_a_noisy_gain_must_beat_its_standard_error() -> None:
    # Mean gain 0.1 of excess 1; paired differences ±0.4 around it on 4 draws: error 0.4/√3... above the gain.
    old, new = [2.0] * 4, [1.5, 2.3, 1.5, 2.3]
    mean, error = gain(np.array(old), np.array(new))
    assert mean == pytest.approx(0.1)
    assert error > 0.1
    assert not judge(*pool(old=old, new=new), 0.0, fine).verdict.accepted


def test_pairing_sees_a_small_gain_through_common_noise() -> None:
    noise = [0.0, 3.0, 1.0, 7.0]
    old, new = [2.0 + x for x in noise], [1.8 + x for x in noise]
    assert judge(*pool(old=old, new=new), 0.03, fine).verdict.accepted


def test_the_best_of_several_wins_and_the_next_is_runner_up() -> None:
    ruling = judge(*pool(old=[3.0, 3.0], a=[2.0, 2.0], b=[1.5, 1.5]), 0.03, fine)
    assert (ruling.verdict.chosen, ruling.verdict.runner_up) == ("b", "a")
    assert ruling.verdict.margin == pytest.approx(0.5)


def test_a_plan_with_a_fault_never_wins_and_the_fault_is_shown() -> None:
    ruling = judge(*pool(old=[3.0, 3.0], new=[1.0, 1.0]), 0.0, lambda p: ["too big"] if p.id == "new" else [])
    assert not ruling.verdict.accepted
    assert ruling.candidates[1].note == "too big"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_prediction_that_is_no_number_never_wins(bad: float) -> None:
    ruling = judge(*pool(old=[3.0, 3.0], new=[bad, 1.0]), 0.0, fine)
    assert not ruling.verdict.accepted
    assert math.isfinite(ruling.verdict.margin)


def test_a_mended_incumbent_is_accepted_whatever_is_predicted() -> None:
    ruling = judge(*pool(old=[3.0, 3.0], new=[2.99, 2.99]), 0.03, fine, restored="edge-3 lost")
    assert ruling.verdict.accepted
    assert ruling.chosen.plan.id == "old"
    assert "edge-3 lost" in ruling.verdict.reason


def test_alone_the_incumbent_stays() -> None:
    ruling = judge(*pool(old=[3.0, 3.0]), 0.03, fine)
    assert (ruling.verdict.chosen, ruling.verdict.runner_up, ruling.verdict.accepted) == ("old", "", False)
