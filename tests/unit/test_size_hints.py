"""Hints learned from service: right where the catalogue is, soon right where it is not, never noise."""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.domain.model import ModelSpec, PromptSize, ServiceProfile, Task
from edgewise.policy.hints import Hint, SizeHints

PROFILE = ServiceProfile(base_s=0.2, per_input_token_s=0.0005, per_output_token_s=0.02, cv=0.15)
SPEC = ModelSpec("gpt2-large", Task.TEXT_GENERATION, 3.5, 2.4, service=PROFILE)
BLIND = ModelSpec("any", Task.TEXT_GENERATION, 3.5, 2.4)


def sizes(rng: np.random.Generator, count: int) -> list[PromptSize]:
    pairs = zip(rng.integers(10, 900, count).tolist(), rng.integers(5, 250, count).tolist(), strict=True)
    return [PromptSize(input_tokens=a, output_tokens=b) for a, b in pairs]


def taught(spec: ModelSpec, times: float, count: int, noise: float = 0.15, seed: int = 1) -> SizeHints:
    rng = np.random.default_rng(seed)
    hints = SizeHints(spec)
    for size in sizes(rng, count):
        hints.learn(size, times * PROFILE.expected_s(size) * float(rng.lognormal(-(noise**2) / 2, noise)))
    return hints


def far_off(hints: SizeHints, times: float) -> float:
    fresh = sizes(np.random.default_rng(99), 200)
    true = np.array([times * PROFILE.expected_s(s) for s in fresh])
    return float(np.abs(np.array([hints.hint(s).service_s for s in fresh]) / true - 1).mean())


def test_the_catalogue_is_where_it_starts() -> None:
    size = PromptSize(input_tokens=400, output_tokens=100)
    hint = SizeHints(SPEC).hint(size)
    assert hint.service_s == pytest.approx(PROFILE.expected_s(size), rel=0.1)
    assert far_off(taught(SPEC, 1.0, 100), 1.0) < 0.05


@pytest.mark.parametrize("times", [0.6, 1.6, 4.0])
def test_a_wrong_catalogue_is_corrected(times: float) -> None:
    before, after = far_off(SizeHints(SPEC), times), far_off(taught(SPEC, times, 150), times)
    assert after < 0.12
    assert after < before / 3


def test_sizes_are_learned_where_the_catalogue_knows_only_a_mean() -> None:
    hints = taught(BLIND, 1.0, 300)
    short, long = (hints.hint(PromptSize(100, n)).service_s for n in (10, 240))
    assert long > 4 * short
    assert far_off(hints, 1.0) < 0.2


def test_an_unknown_size_has_the_mean_and_more_doubt() -> None:
    hints = taught(SPEC, 1.0, 200)
    unknown = hints.hint(None)
    assert unknown == hints.hint(PromptSize())
    assert unknown.service_s == hints.mean_s
    assert unknown.error > 1.5 * hints.hint(PromptSize(400, 100)).error


def test_sizes_that_say_nothing_end_at_the_mean() -> None:
    rng = np.random.default_rng(3)
    hints = SizeHints(BLIND)
    for size in sizes(rng, 400):
        hints.learn(size, float(rng.lognormal(0.5, 0.6)))
    told = np.array([hints.hint(s).service_s for s in sizes(rng, 100)])
    assert told.std() / told.mean() < 0.25


def test_it_follows_a_change() -> None:
    rng, hints = np.random.default_rng(4), taught(SPEC, 1.0, 300)
    for size in sizes(rng, 300):
        hints.learn(size, 3.0 * PROFILE.expected_s(size))
    assert far_off(hints, 3.0) < 0.15


def test_one_odd_prompt_changes_little() -> None:
    hints, size = taught(SPEC, 1.0, 200), PromptSize(400, 100)
    before = hints.hint(size).service_s
    hints.learn(size, 1e6)
    assert hints.hint(size).service_s == pytest.approx(before, rel=0.15)
    for nonsense in (0.0, -1.0, float("nan"), float("inf")):
        hints.learn(size, nonsense)
    assert isinstance(hints.hint(size), Hint)
    assert hints.hint(size).service_s > 0
