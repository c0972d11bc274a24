"""Calibration figures keep what they promise on any ledger; the backtest's scores on any forecast."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.control.calibration import calibration
from edgewise.control.regret import Entry, optimism, trust
from evals.backtest.scores import LEVELS, Predicted, score

GAIN = st.floats(-3, 3)
LINES = st.lists(
    st.builds(
        Entry,
        decision=st.sampled_from([f"d-{i}" for i in range(12)]),
        epoch=st.integers(0, 20),
        source=st.sampled_from(["optimiser", "llm", "case", "roll-back"]),
        predicted=GAIN,
        realised=GAIN,
        accepted=st.booleans(),
        required=st.floats(0, 0.5),
    ),
    max_size=30,
)


@given(LINES)
def test_parts_are_parts_and_nothing_is_nan(lines: list[Entry]) -> None:
    c = calibration(lines)
    for part in (c.right, c.right_accepted, c.regretted):
        assert part is None or 0 <= part <= 1
    assert all(x is None or math.isfinite(x) for x in (c.slope, c.intercept, c.bias, c.spread))
    assert (c.regretted is None) == (c.accepted == 0)
    assert c.accepted <= c.lines == len(lines)
    if c.right_accepted is not None and c.regretted is not None:
        assert c.right_accepted + c.regretted <= 1  # who is regretted was not right


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=20), st.floats(-0.9, 0.9), st.floats(-0.05, 0.05))
def test_a_line_is_found_again(xs: list[float], slope: float, intercept: float) -> None:
    lines = [Entry(f"d-{i}", 0, "optimiser", x, intercept + slope * x, True, 0.0) for i, x in enumerate(xs)]
    c = calibration(lines)
    if max(xs) - min(xs) > 1e-3:
        assert c.slope == pytest.approx(slope, abs=1e-6)
        assert c.intercept == pytest.approx(intercept, abs=1e-6)


@given(LINES, st.integers(0, 30))
def test_what_is_asked_more_is_bounded_and_never_negative(lines: list[Entry], epoch: int) -> None:
    found = trust(tuple(lines), epoch)
    assert 0 <= found.optimism <= 0.15
    assert all(0 < more <= 0.2 for _, more in found.handicaps)
    assert found.handicap("roll-back") == 0


@given(LINES)
def test_perfect_predictions_ask_for_nothing(lines: list[Entry]) -> None:
    exact = tuple(Entry(e.decision, e.epoch, e.source, e.predicted, e.predicted, e.accepted, 0.0) for e in lines)
    assert optimism(exact) == pytest.approx(0, abs=1e-12)


@given(st.lists(st.floats(0.01, 50), min_size=4, max_size=30), st.floats(-0.5, 2))
def test_scores_of_a_scaled_forecast_are_known(truth: list[float], factor: float) -> None:
    t = np.array(truth)
    mean = t * (1 + max(-1.0, factor))
    everything = {level: np.zeros_like(t) for level in LEVELS}, {level: np.full_like(t, 1e6) for level in LEVELS}
    found = score(Predicted(mean, *everything), t, naive=t * 2)
    assert found.wape == pytest.approx(abs(factor))
    assert found.bias == pytest.approx(factor)
    assert found.mase == pytest.approx(abs(factor))
    assert found.coverage80 == found.coverage95 == 1.0
