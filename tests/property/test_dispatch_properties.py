"""Properties of the dispatch kernels over random fleets, and the cost against an exact fluid simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.policy.dispatch import LOADING, MARGINAL, READY, Bools, FleetArrays, choose, empty_fleet, predict

SEEDS = st.integers(0, 2**32 - 1)
POLICIES = st.integers(0, 3)


def random_fleet(seed: int, nodes: int = 4, models: int = 3) -> tuple[FleetArrays, Bools]:
    rng = np.random.default_rng(seed)
    fleet = empty_fleet(nodes, models, 1)
    fleet.alive[:] = rng.random(nodes) < 0.8
    fleet.speed[:] = rng.choice([0.5, 1.0, 2.0], nodes)
    fleet.state[:] = rng.integers(0, 5, (nodes, models))
    fleet.state[rng.random((nodes, models)) < 0.5] = READY
    fleet.ready_in_s[:] = rng.exponential(5.0, (nodes, models))
    fleet.share[:] = rng.uniform(0.1, 3.0, (nodes, models))
    fleet.prompts[:] = rng.integers(0, 6, (nodes, models))
    fleet.work_s[:] = fleet.prompts * rng.exponential(2.0, (nodes, models))
    fleet.slots[:] = rng.integers(0, 3, models)
    fleet.latency_s[:] = rng.uniform(0, 0.1, (nodes, nodes))
    if rng.random() < 0.7:
        fleet.route_row[:, 0] = 0
        weights = rng.random(nodes) * (rng.random(nodes) < 0.6)
        fleet.route_weight[0] = weights / (weights.sum() or 1.0)
        fleet.route_sent[0] = rng.integers(0, 20, nodes)
    return fleet, rng.random(nodes) < 0.2


def allowed(fleet: FleetArrays, loading: bool) -> Bools:
    ready = fleet.state[:, 0] == READY
    can = fleet.alive & (ready | (loading & (fleet.state[:, 0] == LOADING)))
    row = int(fleet.route_row[0, 0])
    good: Bools = can & (fleet.route_weight[row] > 0) if row >= 0 else can
    return good


@given(SEEDS, POLICIES, st.booleans(), st.floats(0, 0.999), st.integers(0, 99), st.floats(0.01, 50))
@settings(max_examples=300, deadline=None)
def test_never_a_forbidden_dead_or_unready_node(
    seed: int, policy: int, loading: bool, uniform: float, turn: int, left_s: float
) -> None:
    fleet, tried = random_fleet(seed)
    node = choose(policy, fleet, 0, 0, 1.5, tried, loading, left_s, uniform, turn).node
    good = allowed(fleet, loading)
    if good.any():
        assert good[node]
        assert not tried[node] or tried[good].all(), "one that was not tried yet comes first"
    elif node >= 0:
        assert fleet.alive[node]
        assert fleet.state[node, 0] in (READY, LOADING)
    else:
        usable = (fleet.state[:, 0] == READY) | (loading & (fleet.state[:, 0] == LOADING))
        assert not (fleet.alive & usable).any()


@given(SEEDS, POLICIES)
@settings(max_examples=100, deadline=None)
def test_same_fleet_same_choice_and_nothing_is_changed(seed: int, policy: int) -> None:
    fleet, tried = random_fleet(seed)
    before = [array.copy() for array in fleet]
    first = choose(policy, fleet, 0, 0, 1.5, tried, True, 10.0, 0.4, 7)
    assert first == choose(policy, fleet, 0, 0, 1.5, tried, True, 10.0, 0.4, 7)
    assert all(np.array_equal(a, b) for a, b in zip(fleet, before, strict=True))


@given(SEEDS, st.integers(1, 2), st.floats(0.1, 20))
@settings(max_examples=300, deadline=None)
def test_more_work_never_makes_others_less_preferred(seed: int, other: int, more_s: float) -> None:
    fleet, tried = random_fleet(seed)
    chosen = choose(MARGINAL, fleet, 0, 0, 1.5, tried, True, math.inf, 0.0, 0)
    if chosen.node < 0:
        return
    rest = [n for n in range(4) if n != chosen.node]
    theirs = [predict(fleet, 0, 0, n, 1.5) for n in rest]
    own = predict(fleet, 0, 0, chosen.node, 1.5)
    fleet.work_s[chosen.node, other] += more_s
    fleet.prompts[chosen.node, other] += 1
    later = choose(MARGINAL, fleet, 0, 0, 1.5, tried, True, math.inf, 0.0, 0)
    assert [predict(fleet, 0, 0, n, 1.5) for n in rest] == theirs
    assert later.cost_s >= chosen.cost_s - 1e-9
    assert predict(fleet, 0, 0, chosen.node, 1.5)[0] >= own[0] - 1e-9
    fleet.work_s[chosen.node, 0] += more_s
    fleet.prompts[chosen.node, 0] += 1
    assert [predict(fleet, 0, 0, n, 1.5) for n in rest] == theirs


def finish_times(queues: list[list[float]], shares: list[float], speed: float) -> list[list[float]]:
    """Exact fluid simulation of one node: a FIFO per model, the speed shared between models with work."""
    left = [list(q) for q in queues]
    ended: list[list[float]] = [[] for _ in queues]
    now = 0.0
    while busy := [k for k, q in enumerate(left) if q]:
        total = sum(shares[k] for k in busy)
        rates = {k: speed * shares[k] / total for k in busy}
        step = min(left[k][0] / rates[k] for k in busy)
        now += step
        for k in busy:
            left[k][0] -= step * rates[k]
            if left[k][0] <= 1e-9:
                left[k].pop(0)
                ended[k].append(now)
    return ended


SIZES = st.lists(st.floats(0.1, 5.0), min_size=3, max_size=3)
COUNTS = st.lists(st.integers(0, 5), min_size=3, max_size=3)


@given(SIZES, COUNTS, st.lists(st.floats(0.2, 3.0), min_size=3, max_size=3), st.floats(0.1, 5.0), st.floats(0.5, 3))
@settings(max_examples=200, deadline=None)
def test_cost_is_what_a_fluid_simulation_finds(
    sizes: list[float], counts: list[int], shares: list[float], service_s: float, speed: float
) -> None:
    fleet = empty_fleet(1, 3)
    fleet.state[:], fleet.speed[:], fleet.share[0] = READY, speed, shares
    fleet.prompts[0], fleet.work_s[0] = counts, [s * c for s, c in zip(sizes, counts, strict=True)]
    queues = [[s] * c for s, c in zip(sizes, counts, strict=True)]
    before = finish_times(queues, shares, speed)
    after = finish_times([[*queues[0], service_s], queues[1], queues[2]], shares, speed)
    own, imposed = predict(fleet, 0, 0, 0, service_s)
    assert own == pytest.approx(after[0][-1], rel=1e-6)
    delayed = sum(sum(after[k]) - sum(before[k]) for k in (1, 2))
    assert imposed == pytest.approx(delayed, rel=1e-6, abs=1e-6)
