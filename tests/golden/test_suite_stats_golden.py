"""Intervals and ratios small enough to reckon by hand, and checks against textbook values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals.suite.adaptation import excess
from evals.suite.stats import MANY, bootstrap_interval, interval, paired, summary, t_interval

T2 = 4.302653  # 97.5 % point of Student's t with 2 degrees of freedom


def test_student_interval_of_three_values() -> None:
    low, high = t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - T2 / math.sqrt(3), 2 + T2 / math.sqrt(3)), rel=1e-6)


def test_a_summary_has_mean_interval_and_the_values_in_order() -> None:
    found = summary([10.0, 12.0, 11.0], "mean_latency_s")
    assert found["mean"] == pytest.approx(11.0)
    assert found["ci95"] == pytest.approx([11 - T2 / math.sqrt(3), 11 + T2 / math.sqrt(3)], rel=1e-6)
    assert found["per_seed"] == [10.0, 12.0, 11.0]
    assert "why" not in found


def test_intervals_stay_in_the_range_of_the_measure() -> None:
    assert summary([0.0, 0.5, 1.0], "jain")["ci95"] == [0.0, 1.0]
    assert summary([0.0, 0.0, 9.0], "mean_latency_s")["ci95"][0] == 0.0
    assert summary([-9.0, 0.0, 9.0], "adaptation")["ci95"][0] < 0


def test_one_seed_has_no_interval_and_says_why() -> None:
    assert summary([3.0], "mean_latency_s") == {
        "mean": 3.0, "ci95": None, "per_seed": [3.0], "why": "an interval needs two seeds"
    }  # fmt: skip
    assert paired([3.0], [2.0]) == {"ratio": pytest.approx(1.5), "ci95": None, "why": "an interval needs two seeds"}


def test_seeds_without_a_value_are_left_out_and_counted() -> None:
    found = summary([None, 2.0, math.inf, 4.0], "mean_latency_s")
    assert found["mean"] == 3.0
    assert found["per_seed"] == [None, 2.0, None, 4.0]
    assert found["why"] == "2 of 4 seeds have no value"
    assert summary([None, math.nan], "jain")["mean"] is None


def test_ratios_are_paired_by_seed_and_geometric() -> None:
    # Ratios 2 and 8: geometric mean 4; logs differ by ln 4, so their standard error is ln 2, and t of 1 df is 12.706.
    found = paired([2.0, 8.0], [1.0, 1.0])
    assert found["ratio"] == pytest.approx(4.0)
    assert found["ci95"] == pytest.approx([4 * 2**-12.7062, 4 * 2**12.7062], rel=1e-4)
    # What a seed makes hard for both does not widen the interval.
    assert paired([1.0, 100.0], [2.0, 200.0])["ci95"] == pytest.approx([0.5, 0.5])


def test_a_zero_has_no_ratio_but_a_difference() -> None:
    found = paired([0.0, 0.0], [1.0, 3.0])
    assert found["ratio"] is None
    assert found["ci95"] is None
    assert found["why"] == "a value is not above zero"
    assert found["difference"]["mean"] == -2.0
    assert paired([1.0, None], [1.0, 1.0]) == {"ratio": None, "ci95": None, "why": "a seed has no value"}


def test_the_bootstrap_is_used_for_skewed_measures_of_many_seeds_only() -> None:
    values = np.linspace(0.9, 1.0, MANY).tolist()
    assert interval(values, "jain") == bootstrap_interval(values)
    assert interval(values, "mean_latency_s") == t_interval(values)
    assert interval(values[:-1], "p99_latency_s") == t_interval(values[:-1])


def test_the_bootstrap_gives_the_same_each_time_and_nearly_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, 400).tolist()
    assert bootstrap_interval(values) == bootstrap_interval(values)
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / 20
    assert bootstrap_interval(values) == pytest.approx([mean - 1.96 * error, mean + 1.96 * error], abs=0.02)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert bootstrap_interval([0.7, 0.7, 0.7]) == [pytest.approx(0.7), pytest.approx(0.7)]
    assert summary([1.0] * MANY, "jain")["ci95"] == [1.0, 1.0]


def test_adaptation_is_the_excess_over_the_clairvoyant_by_seed() -> None:
    # Two seeds, two shifts: 10 + 20 more on the first, 30 − 10 on the second.
    found = excess({"clairvoyant": [[100, 100], [200, 50]], "lew-lru": [[110, 120], [230, 40]]})
    assert found["lew-lru"]["per_seed"] == [30, 20]
    assert found["lew-lru"]["mean"] == 25
    assert found["lew-lru"]["per_shift"] == [20, 5]
    assert found["clairvoyant"]["mean"] == 0
    assert excess({"lew-lru": [[110, 120]]}) == {}
    assert excess({"clairvoyant": [[], []], "lew-lru": [[], []]}) == {}
