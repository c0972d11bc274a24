"""Profiles that keep the sum of what was measured, and blocks that tell a slower machine from a larger prompt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.domain.errors import BadInput
from edgewise.domain.model import PromptSize, ServiceProfile
from evals.calibrate import Point
from evals.fidelity.calibration import Block, Doubt, calibrated
from evals.fidelity.gateway_door import Saturated, Sent
from evals.profiles.fit import fit_mean, lack_of_fit, scaled

TRUE = ServiceProfile(0.01, per_input_token_s=1e-4, per_output_token_s=2e-3)
SIZES = [PromptSize(i, o) for i in (8, 100, 300) for o in (2, 20, 60)]


def points(factor: float = 1.0, cv: float = 0.0, seed: int = 1, sizes: list[PromptSize] = SIZES) -> tuple[Point, ...]:
    random = np.random.default_rng(seed)
    return tuple(Point(s, TRUE.expected_s(s) * factor * (1 + cv * random.standard_normal())) for s in sizes)


def test_a_profile_without_chance_is_found() -> None:
    found = fit_mean(points())
    assert found.base_s == pytest.approx(0.01, rel=1e-6)
    assert found.per_input_token_s == pytest.approx(1e-4, rel=1e-6)
    assert found.per_output_token_s == pytest.approx(2e-3, rel=1e-6)
    assert found.cv == pytest.approx(0.0, abs=1e-6)


@given(st.lists(st.floats(1e-3, 10.0), min_size=len(SIZES), max_size=len(SIZES)))
def test_the_sum_is_kept_whatever_was_measured(took: list[float]) -> None:
    found = fit_mean([Point(s, t) for s, t in zip(SIZES, took, strict=True)])
    assert sum(found.expected_s(s) for s in SIZES) == pytest.approx(sum(took), rel=1e-6)


def test_the_spread_is_that_of_the_work() -> None:
    found = fit_mean(points(cv=0.2, sizes=SIZES * 200))
    assert found.cv == pytest.approx(0.2, rel=0.05)


def test_what_a_line_cannot_say_shows() -> None:
    bent = [Point(PromptSize(0, o), 0.01 + 1e-5 * o * o) for o in (2, 20, 60, 100) for _ in range(2)]
    assert lack_of_fit(bent, fit_mean(bent)) > 0.1
    straight = points() + points()
    assert lack_of_fit(straight, fit_mean(straight)) == pytest.approx(0.0, abs=1e-6)


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(BadInput, match="at least one"):
        fit_mean([])


def test_scaled_is_slower_by_the_factor_and_later_by_the_rest() -> None:
    size = PromptSize(10, 10)
    assert scaled(TRUE, 2.0, 0.5).expected_s(size) == pytest.approx(2 * TRUE.expected_s(size) + 0.5)


def block(factor: float = 1.0, crowding: float = 1.0) -> Block:
    """All sizes alone, and with all nodes busy the largest only."""
    one = [Sent(f"a{i}", "gpt2", p.size, p.service_s) for i, p in enumerate(points(factor))]
    many = [Sent("m", "gpt2", SIZES[-1], TRUE.expected_s(SIZES[-1]) * factor * crowding)] * 3
    return Block(tuple(one), Saturated(tuple(many), {"n1": 0.5}))


def test_blocks_tell_how_fast_the_machine_was() -> None:
    found = calibrated([block(1.0), block(1.2), block(1.1)])
    levels = np.array([level["gpt2"] for level in found.levels])
    assert levels / levels[0] == pytest.approx([1.0, 1.2, 1.1])
    expected = found.shape["gpt2"].expected_s(SIZES[0]) * found.around(0, 1, 0.0)["gpt2"]
    assert expected == pytest.approx(1.1 * TRUE.expected_s(SIZES[0]), rel=1e-6)
    assert found.worst_fit["gpt2"] == pytest.approx(0.0, abs=1e-6)


def test_a_machine_that_changes_between_blocks_is_no_spread_within_them() -> None:
    found = calibrated([block(1.0), block(2.0)])
    assert found.shape["gpt2"].cv == pytest.approx(0.0, abs=1e-6)
    assert found.means["gpt2"] == pytest.approx(1.5 * np.mean([TRUE.expected_s(s) for s in SIZES]))
    assert found.crowding == pytest.approx(1.0)


def test_levels_are_doubted_by_what_changed_and_by_chance() -> None:
    found = calibrated([block(1.0), block(1.2)])
    doubt = found.doubt(0, 1, 0.5)
    assert doubt.drift["gpt2"] == pytest.approx(0.1 / 1.1)
    assert doubt.chance["gpt2"] == pytest.approx(0.0, abs=1e-6)
    assert found.doubt(1, 1, 0.5).drift["gpt2"] == 0.0
    random = np.random.default_rng(1)
    factors = [Doubt({"a": 0.1, "b": -0.1}, {"a": 0.0, "b": 0.0}).factors(random) for _ in range(500)]
    assert all(0.9 <= f["a"] <= 1.1 and f["a"] - 1 == pytest.approx(1 - f["b"]) for f in factors)
    by_chance = [Doubt({"a": 0.0}, {"a": 0.05}).factors(random)["a"] for _ in range(2000)]
    assert np.std(by_chance) == pytest.approx(0.05, rel=0.1)
    both = [Doubt({"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, 0.05).factors(random) for _ in range(2000)]
    assert np.std([f["a"] for f in both]) == pytest.approx(0.05, rel=0.1)
    assert all(f["a"] == f["b"] for f in both)


def test_crowding_is_not_a_slower_machine_and_not_larger_prompts() -> None:
    found = calibrated([block(1.0, 1.1), block(3.0, 1.2), block(1.0, 1.15), block(1.0, 9.0), block(1.0, 1.0)])
    assert found.crowding == pytest.approx(1.15)  # the block that somebody disturbed has no part in it
    assert found.doubt(0, 1, 0.5).crowding == pytest.approx(found.crowding_error / 2)
    idle, half, full, over = (found.around(0, 0, load)["gpt2"] for load in (0.0, 0.5, 1.0, 2.0))
    assert (half / idle, full / idle) == (pytest.approx(1.075), pytest.approx(1.15))
    assert over == full
