"""Measures on prompts small enough to reckon by hand."""

from __future__ import annotations

import math

import pytest

from edgewise.domain.measures import PROMPT_KEYS, jain, jain_normalized, prompt_figures, quantile
from edgewise.domain.records import PromptRow, PromptStatus


def prompt(
    number: int,
    model: str,
    arrived: float,
    finished: float | None,
    status: PromptStatus = PromptStatus.COMPLETED,
    deadline: float = 10.0,
    ideal: float = 1.0,
) -> PromptRow:
    node = "edge-1" if finished is not None else None
    return PromptRow(
        f"p-{number}", model, "edge-1", node, arrived, arrived, finished, status, "d-0", 1, deadline, ideal
    )


def test_jain_of_equals_is_one_and_of_one_hog_is_one_over_n() -> None:
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain_normalized([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.0)
    assert jain_normalized([0.3]) == 1.0
    assert jain_normalized([]) == 1.0


def test_quantiles_interpolate() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == pytest.approx(2.5)
    assert quantile([], 0.5) is None


def test_two_models_by_hand() -> None:
    rows = [prompt(1, "text", 0.0, 2.0), prompt(2, "text", 1.0, 5.0), prompt(3, "image", 0.0, 6.0, ideal=3.0)]
    figures = prompt_figures(rows, end_s=6.0)
    assert figures["mean_latency_s"] == pytest.approx((2 + 4 + 6) / 3)
    assert figures["per_model"]["text"]["mean_slowdown"] == pytest.approx(3.0)  # 6 / 2
    assert figures["per_model"]["image"]["mean_slowdown"] == pytest.approx(2.0)  # 6 / 3
    x = [1 / 3, 1 / 2]
    expected = sum(x) ** 2 / (2 * sum(v * v for v in x))
    assert figures["jain"] == pytest.approx(expected)
    assert figures["jain_normalized"] == pytest.approx((expected - 0.5) / 0.5)
    assert figures["jain_inverse_latency"] == pytest.approx(jain([1 / 3, 1 / 6]))
    assert figures["service_ratio"] == 1.0


def test_nobody_leaves_the_mean_early() -> None:
    rows = [
        prompt(1, "text", 0.0, 1.0),
        prompt(2, "text", 2.0, 3.0, PromptStatus.SHED),  # 1 s old, counts as its deadline
        prompt(3, "text", 0.0, 30.0, PromptStatus.FAILED),  # older than its deadline, counts as its age
        prompt(4, "text", 5.0, None, PromptStatus.PENDING),  # 15 s old at the end
    ]
    figures = prompt_figures(rows, end_s=20.0)
    assert figures["mean_latency_s"] == pytest.approx((1 + 10 + 30 + 15) / 4)
    naive = 1.0
    assert figures["mean_latency_s"] > naive
    assert figures["censored"] == 3
    assert figures["prompts_lost"] == 1
    assert figures["service_ratio"] == pytest.approx(0.25)


def test_late_answers_miss_their_deadline() -> None:
    rows = [prompt(1, "text", 0.0, 10.0), prompt(2, "text", 0.0, 10.1)]
    assert prompt_figures(rows, 11.0)["service_ratio"] == pytest.approx(0.5)


def test_an_empty_run_has_every_key_and_no_nan() -> None:
    figures = prompt_figures([], 0.0)
    assert set(PROMPT_KEYS) <= set(figures)
    assert not any(isinstance(v, float) and math.isnan(v) for v in figures.values())
