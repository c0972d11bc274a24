"""The forecast on demand written down by hand."""

from __future__ import annotations

import pytest

from edgewise.control.forecast import Track, follow, forecast
from edgewise.domain.observation import DemandFact
from edgewise.optimise.problem import Prices, problem
from tests.support.control_world import observe, seven, short_settings

WORLD = seven()
SETTINGS = short_settings()
WINDOW_S = SETTINGS.window_s


def ahead(counts: list[int]) -> tuple[float, float]:
    """Rate expected of gpt2 after these counts of windows that touch, and the shape of its draws."""
    track = Track()
    for i, count in enumerate(counts):
        at_s = (i + 1) * WINDOW_S
        rows = [DemandFact("edge-1", m.id, count if m.id == "gpt2" else 0, WINDOW_S) for m in WORLD.models]
        o = observe(WORLD, at_s=at_s, slot=i, demand_rows=rows)
        track = follow(track, o)
    found = forecast(track, problem(o, Prices()), WINDOW_S)
    return float(found.mean[:, 0].sum()), float(found.shape[0])


def test_steady_demand_is_expected_to_stay() -> None:
    rate, _ = ahead([24] * 12)
    assert rate == pytest.approx(24 / WINDOW_S, rel=0.01)


def test_of_what_comes_in_bursts_a_burst_is_expected_to_pass() -> None:
    """Every fourth window holds 80, the others 6, on average 24.5: after one of 80 that is nearer than 80."""
    rate, _ = ahead([6, 6, 6, 80] * 15)
    assert 20 < rate * WINDOW_S < 45


def test_a_shift_is_believed_within_a_few_windows() -> None:
    rate, _ = ahead([24, 20, 28, 22, 26] * 12 + [96] * 6)
    assert rate * WINDOW_S == pytest.approx(96, rel=0.15)


def test_a_slow_drift_is_followed_though_no_step_is_a_shift() -> None:
    rate, _ = ahead([24 + i for i in range(40)])
    assert rate * WINDOW_S > 50


def test_bursty_demand_is_less_certain_than_steady_demand() -> None:
    steady, bursty = ahead([24] * 20)[1], ahead([4, 44] * 10)[1]
    assert bursty < steady / 3
