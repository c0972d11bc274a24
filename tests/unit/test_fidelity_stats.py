"""Intervals that hold what they promise, for prompts that are alike when they follow each other."""

from __future__ import annotations

import numpy as np
import pytest

from evals.fidelity.stats import block_draws, compare


def waits(seed: int, prompts: int, correlation: float = 0.8) -> np.ndarray:
    """Log-normal latencies whose logarithms are a stationary AR(1)."""
    random = np.random.default_rng(seed)
    x = np.empty(prompts)
    x[0] = random.standard_normal()
    for i in range(1, prompts):
        x[i] = correlation * x[i - 1] + np.sqrt(1 - correlation**2) * random.standard_normal()
    return np.exp(0.5 * x - 0.125)


def test_draws_are_blocks_of_neighbours() -> None:
    draws = block_draws(100, 50, np.random.default_rng(1))
    assert draws.shape == (50, 100)
    steps = np.diff(draws, axis=1) % 100
    assert (steps == 1).mean() > 0.7  # within a block of five the next prompt follows
    assert set(draws.ravel().tolist()) <= set(range(100))


def test_few_prompts_are_drawn_too() -> None:
    assert block_draws(1, 4, np.random.default_rng(1)).tolist() == [[0]] * 4
    assert block_draws(3, 4, np.random.default_rng(1)).shape == (4, 3)


def test_two_equal_sides_have_no_error() -> None:
    real = waits(1, 400)
    for figure in compare(real, np.stack([real] * 5), seed=1, draws=400).values():
        assert figure.error.value == pytest.approx(0.0)
        assert figure.error.low == pytest.approx(0.0)  # the same prompts on both sides: arrivals' chance cancels
        assert figure.real.low < figure.real.value < figure.real.high


def test_a_twin_that_is_a_tenth_too_slow_is_found_out() -> None:
    real = waits(2, 600)
    twin = np.stack([real * 1.1 * np.random.default_rng(s).lognormal(-0.005, 0.1, 600) for s in range(20)])
    error = compare(real, twin, seed=1, draws=800)["mean"].error
    assert error.value == pytest.approx(0.1, abs=0.02)
    assert error.low < 0.1 < error.high
    assert error.half_width < 0.05


def test_the_interval_of_a_mean_covers_it_nineteen_times_in_twenty() -> None:
    covered = 0
    for seed in range(100):
        real = waits(seed, 400)
        interval = compare(real, real[None], seed=seed, draws=300)["mean"].real
        covered += interval.low <= 1.0 <= interval.high
    assert covered >= 84  # iid draws of single prompts would cover about 50


def test_figures_are_mean_median_and_p95() -> None:
    real = np.arange(101.0)
    found = compare(real, real[None] * 2, seed=1, draws=50)
    assert (found["mean"].real.value, found["p50"].real.value, found["p95"].real.value) == (50.0, 50.0, 95.0)
    assert found["p95"].twin.value == 190.0
    assert found["p95"].error.value == pytest.approx(1.0)
