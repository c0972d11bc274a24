"""One node, one model: the textbook's single-server queues.

Sources: Harchol-Balter, Performance Modeling and Design of Computer Systems (2013); Kleinrock, Queueing Systems I
(1975). Unless stated otherwise the mean service is 1 s. A mean over a million prompts of M/M/1 at load 0.5 has a
standard error of 0.32 % (by theory, and as measured over seeds); tests take as many as bring it to 0.1 to 0.25 %.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgewise.twin.arrays import SHED
from edgewise.twin.demand import NODE_SLOW
from edgewise.twin.run import Twin
from tests.support.twin_world import (
    Floats,
    Kind,
    Unit,
    constant,
    demand_of,
    drawn,
    exponential,
    happenings,
    latencies,
    lognormal,
    physics_for,
    poisson_times,
    rules_for,
    to_the_end,
    twin_of,
)

MILLION = 1_000_000
LOAD = 0.5


def served(unit: Unit, kind: Kind, seed: int, *, count: int = MILLION, load: float = LOAD) -> Twin:
    rng = np.random.default_rng(seed)
    twin = twin_of(
        physics_for([1.0], [kind]), demand_of(poisson_times(load, count, rng), drawn(unit, 1.0, count, rng))
    )
    to_the_end(twin)
    return twin


def mean_latency(unit: Unit, kind: Kind, seeds: int, *, count: int = MILLION, load: float = LOAD) -> float:
    """Over several runs: less memory than one long one."""
    means = [latencies(served(unit, kind, seed, count=count, load=load)).mean() for seed in range(seeds)]
    return float(np.mean(means))


def lindley(at_s: Floats, service_s: Floats) -> Floats:
    """Waits in a FIFO queue (Lindley 1952): W' = max(0, W + S − A), as a random walk less its running minimum."""
    steps = service_s[:-1] - np.diff(at_s)
    walk = np.concatenate(([0.0], np.cumsum(steps)))
    return np.asarray(walk - np.minimum.accumulate(walk))


@pytest.fixture(scope="module")
def mm1() -> list[Twin]:
    return [served(exponential, Kind(), seed) for seed in range(4)]


def test_mm1_mean(mm1: list[Twin]) -> None:
    assert np.mean([latencies(t).mean() for t in mm1]) == pytest.approx(1 / (1 - LOAD), rel=0.01)


def test_mm1_latency_is_exponential(mm1: list[Twin]) -> None:
    # P(T > t) = exp(−(μ − λ)t).
    latency = np.concatenate([latencies(t) for t in mm1])
    for t in (0.5, 2.0, 5.0):
        assert (latency > t).mean() == pytest.approx(np.exp(-(1 - LOAD) * t), rel=0.01)
    assert np.quantile(latency, 0.95) == pytest.approx(np.log(20) / (1 - LOAD), rel=0.01)


def test_mm1_waits(mm1: list[Twin]) -> None:
    # P(W > t) = ρ exp(−(μ − λ)t): half of all prompts start at once.
    waits = np.concatenate([t.state.started_s - t.demand.at_s for t in mm1])
    assert (waits > 0).mean() == pytest.approx(LOAD, rel=0.01)
    assert (waits > 2.0).mean() == pytest.approx(LOAD * np.exp(-(1 - LOAD) * 2.0), rel=0.01)


def test_every_wait_of_a_fifo_queue_is_lindleys(mm1: list[Twin]) -> None:
    d, s = mm1[0].demand, mm1[0].state
    expected = lindley(d.at_s, d.service_s)
    # 1e-6: cumulative sums over a million prompts lose digits on both sides.
    assert np.abs(s.started_s - d.at_s - expected).max() < 1e-6
    assert np.abs(s.finished_s - s.started_s - d.service_s).max() < 1e-6
    assert s.busy_s[0] == pytest.approx(d.service_s.sum(), rel=1e-9)


def test_md1_mean() -> None:
    # T = 1 + ρ / (2(1 − ρ)).
    load = 0.6
    found = mean_latency(constant, Kind(), 2, load=load)
    assert found == pytest.approx(1 + load / (2 * (1 - load)), rel=0.01)


def test_mg1_fifo_pollaczek_khinchine() -> None:
    # T = 1 + ρ(1 + cv²) / (2(1 − ρ)).
    cv = 1.5
    found = mean_latency(lognormal(cv), Kind(), 4)
    assert found == pytest.approx(1 + LOAD * (1 + cv * cv) / (2 * (1 - LOAD)), rel=0.01)


@pytest.mark.parametrize(
    "unit", [exponential, constant, lognormal(3.0)], ids=["exponential", "deterministic", "lognormal cv 3"]
)
def test_processor_sharing_knows_only_the_mean(unit: Unit) -> None:
    # Insensitivity: T = 1 / (1 − ρ), whatever the distribution.
    assert mean_latency(unit, Kind(slots=0), 2) == pytest.approx(1 / (1 - LOAD), rel=0.01)


def test_processor_sharing_delays_in_proportion_to_size() -> None:
    # E[T | S = s] = s / (1 − ρ): every size has the same slowdown.
    twin = served(lognormal(1.0), Kind(slots=0), 7)
    service, latency = twin.demand.service_s, latencies(twin)
    for low, high in ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 5.0)):
        sized = (service >= low) & (service < high)
        assert latency[sized].sum() / service[sized].sum() == pytest.approx(1 / (1 - LOAD), rel=0.01)


def test_several_at_a_time_with_exponential_sizes_are_still_mm1() -> None:
    # However many run at once, the node ends prompts at the rate μ while there are any: N is that of M/M/1.
    assert mean_latency(exponential, Kind(slots=3), 3) == pytest.approx(1 / (1 - LOAD), rel=0.01)


def test_shedding_by_expected_delay_is_mm1k() -> None:
    # Sizes unknown: each prompt there is expected to take 1 s more. A deadline of 4.5 s thus lets in a prompt that
    # meets at most 3: M/M/1/4, P(N = n) ∝ ρⁿ.
    load, most, count = 0.9, 4, 2 * MILLION
    rng = np.random.default_rng(5)
    twin = twin_of(
        physics_for([1.0], [Kind(left_scv=1.0, deadline_s=most + 0.5)]),
        demand_of(poisson_times(load, count, rng), rng.exponential(1.0, count), hint_s=1.0),
        rules_for(shedding=True),
    )
    to_the_end(twin)
    p = load ** np.arange(most + 1)
    p /= p.sum()
    shed = twin.state.status == SHED
    assert shed.mean() == pytest.approx(p[most], rel=0.01)
    n = np.arange(most + 1) @ p
    assert latencies(twin)[~shed].mean() == pytest.approx(n / (load * (1 - p[most])), rel=0.01)


def test_faster_node_farther_away() -> None:
    # Speed 2 halves the service; prompts enter at another node: 30 ms each way, 3 KiB there and 5 back at 10 ms each.
    rng = np.random.default_rng(2)
    kind = Kind(request_kib=3.0, response_kib=5.0)
    twin = twin_of(
        physics_for([1.0, 2.0], [kind]),
        demand_of(poisson_times(1.0, 2 * MILLION, rng), rng.exponential(1.0, 2 * MILLION)),
        standing=[[False], [True]],
        latency_s=0.06,
        s_per_kib=0.01,
    )
    to_the_end(twin)
    assert latencies(twin).mean() == pytest.approx(1 / (2 - 1) + 0.06 + 8 * 0.01, rel=0.01)


def test_a_slow_node_is_a_slow_server() -> None:
    rng = np.random.default_rng(3)
    twin = twin_of(
        physics_for([3.0], [Kind()]),
        demand_of(poisson_times(1.0, 2 * MILLION, rng), rng.exponential(1.0, 2 * MILLION)),
        events=happenings((0.0, NODE_SLOW, 0, 1.5)),
    )
    to_the_end(twin)
    assert latencies(twin).mean() == pytest.approx(1 / (2 - 1), rel=0.01)


def test_a_link_with_contention_is_md1() -> None:
    # Transfers of 0.6 s one at a time; the node is a thousand times faster than needed.
    rng = np.random.default_rng(4)
    twin = twin_of(
        physics_for([1.0, 1.0], [Kind(request_kib=1.0, slots=0)], contention=True),
        demand_of(poisson_times(1.0, MILLION, rng), 1e-6),
        standing=[[False], [True]],
        s_per_kib=0.6,
    )
    to_the_end(twin)
    assert latencies(twin).mean() == pytest.approx(0.6 + 0.36 / (2 * (1 - 0.6)), rel=0.01)
