"""Measures hold their bounds for any run."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgewise.domain.measures import counted_latency_s, jain, jain_normalized, prompt_figures
from edgewise.domain.records import PromptRow, PromptStatus

seconds = st.floats(0, 1e4, allow_nan=False)


@st.composite
def prompts(draw: st.DrawFn) -> PromptRow:
    arrived = draw(seconds)
    status = draw(st.sampled_from(list(PromptStatus)))
    finished = None if status is PromptStatus.PENDING else arrived + draw(seconds)
    return PromptRow(
        str(draw(st.integers())), draw(st.sampled_from("abc")), "n", None, arrived, None, finished, status, None, 0,
        draw(st.floats(0.1, 100)), draw(st.floats(0.01, 10)),
    )  # fmt: skip


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    return [float(value)] if isinstance(value, int | float) else []


@given(st.lists(prompts(), max_size=30))
def test_figures_are_finite_counted_and_bounded(rows: list[PromptRow]) -> None:
    figures = prompt_figures(rows, end_s=2e4)
    assert all(math.isfinite(n) for n in numbers(figures))
    assert figures["prompts_accepted"] == len(rows)
    assert sum(f["prompts_accepted"] for f in figures["per_model"].values()) == len(rows)
    assert 0 <= figures["jain_normalized"] <= 1
    assert 0 <= figures["worst_attainment"] <= figures["service_ratio"] <= 1
    if rows:
        low, high = (f(counted_latency_s(r, 2e4) for r in rows) for f in (min, max))
        assert low - 1e-9 <= figures["mean_latency_s"] <= high + 1e-9


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(0.01, 100))
def test_jain_ignores_scale_and_order(values: list[float], factor: float) -> None:
    assert jain(values) <= 1 + 1e-9
    assert jain(values) >= 1 / len(values) - 1e-9
    assert abs(jain(values) - jain([v * factor for v in reversed(values)])) < 1e-6
    assert 0 <= jain_normalized(values) <= 1
