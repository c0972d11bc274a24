"""Two models on one node: generalised processor sharing where it has closed forms.

The node always works at its full speed while there is work, whatever the shares. With exponential sizes the work that
is there is Σ N_i/μ_i in the mean, so that this sum does not depend on the shares (Kleinrock's conservation law):
Σ ρ_i T_i = Σ λ_i E[S_i²]/2 / (1 − ρ). Shares far apart are preemptive priority.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.twin.run import Twin
from tests.support.twin_world import (
    Floats,
    Kind,
    demand_of,
    latencies,
    physics_for,
    poisson_times,
    to_the_end,
    twin_of,
)

MILLION = 1_000_000


def two_kinds(
    rates: tuple[float, float], means: tuple[float, float], share: tuple[float, float], seed: int, slots: int = 1
) -> Twin:
    rng = np.random.default_rng(seed)
    total = sum(rates)
    count = 2 * MILLION
    model = (rng.random(count) >= rates[0] / total).astype(np.int64)
    service = rng.exponential(1.0, count) * np.array(means)[model]
    d = demand_of(poisson_times(total, count, rng), service, model=model)
    twin = twin_of(physics_for([1.0], [Kind(slots=slots)] * 2), d, share=share)
    to_the_end(twin)
    return twin


def means_of(twin: Twin) -> Floats:
    return np.array([latencies(twin)[twin.demand.model == m].mean() for m in range(2)])


def test_equals_with_equal_shares() -> None:
    # Same rates, same sizes: N together is M/M/1, half of it each.
    found = means_of(two_kinds((0.2, 0.2), (1.0, 1.0), (1.0, 1.0), 1))
    assert found == pytest.approx([1 / 0.6, 1 / 0.6], rel=0.01)


@pytest.mark.parametrize("share", [(1.0, 3.0), (20.0, 1.0)], ids=str)
def test_work_is_conserved_whatever_the_shares(share: tuple[float, float]) -> None:
    rates, means = np.array([0.6, 0.1]), np.array([0.4, 2.0])
    load = rates * means
    found = means_of(two_kinds((0.6, 0.1), (0.4, 2.0), share, 2))
    expected = (rates * means**2).sum() / (1 - load.sum())
    assert (load * found).sum() == pytest.approx(expected, rel=0.01)


def test_far_shares_are_priority() -> None:
    # The short kind sees nobody else: M/M/1. The long one is interrupted (preemptive resume; Harchol-Balter, ch. 32):
    # T₂ = (1/μ₂ + R/(1 − ρ)) / (1 − ρ₁) with R = Σ λ_i E[S_i²]/2.
    rates, means = np.array([0.6, 0.08]), np.array([0.5, 2.5])
    load = rates * means
    found = means_of(two_kinds((0.6, 0.08), (0.5, 2.5), (1e6, 1.0), 3))
    rest = (rates * means**2).sum()
    long_s = (means[1] + rest / (1 - load.sum())) / (1 - load[0])
    assert found == pytest.approx([means[0] / (1 - load[0]), long_s], rel=0.01)


def test_ps_inside_equal_shares_between() -> None:
    # Exponential sizes: how a model's part is divided inside changes no mean. The same prompts, both ways.
    one = means_of(two_kinds((0.2, 0.15), (1.0, 1.5), (1.0, 2.0), 4))
    all_at_once = means_of(two_kinds((0.2, 0.15), (1.0, 1.5), (1.0, 2.0), 4, slots=0))
    assert all_at_once == pytest.approx(one, rel=0.01)
