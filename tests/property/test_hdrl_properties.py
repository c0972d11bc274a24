"""Whatever the scores: placements fit, weights are weights, and the order of nodes and models does not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.policy.dispatch import ABSENT, READY, empty_fleet
from evals.hdrl.features import Knowns, Seen
from evals.hdrl.fill import fill, weights
from evals.hdrl.network import load
from evals.hdrl.policy import placement_scores, routing_scores

sizes = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(0, 2**32 - 1))


@given(sizes)
@settings(max_examples=100, deadline=None)
def test_a_fill_fits_and_is_full(size: tuple[int, int, int]) -> None:
    nodes, models, seed = size
    rng = np.random.default_rng(seed)
    memory, need = rng.uniform(0, 8, nodes), rng.uniform(0.5, 6, models)
    placed = fill(memory, need, rng.uniform(0.3, 2, nodes), rng.normal(0, 3, (nodes, models)))
    left = memory - placed @ need
    assert (left >= -1e-9).all()
    assert not ((need <= left[:, None] - 1e-9) & ~placed).any()


@given(sizes)
@settings(max_examples=100, deadline=None)
def test_weights_are_distributions(size: tuple[int, int, int]) -> None:
    nodes, models, seed = size
    rng = np.random.default_rng(seed)
    possible = rng.random((nodes, models)) < 0.5
    found = weights(rng.normal(0, 300, (nodes, models)), possible)
    assert (found >= 0).all()
    assert not found[~possible].any()
    np.testing.assert_allclose(found.sum(axis=0), possible.any(axis=0))


def seen_of(nodes: int, models: int, seed: int) -> tuple[Knowns, Seen]:
    rng = np.random.default_rng(seed)
    fleet = empty_fleet(nodes, models)._replace(
        alive=rng.random(nodes) < 0.9,
        speed=rng.uniform(0.3, 2, nodes),
        state=rng.choice([ABSENT, READY], (nodes, models)),
        work_s=rng.exponential(5, (nodes, models)),
        prompts=np.floor(rng.exponential(3, (nodes, models))),
        payload_kib=rng.uniform(1, 400, models),
        latency_s=(delay := rng.uniform(0, 0.1, (nodes, nodes))) + delay.T,
    )
    knowns = Knowns(
        rng.uniform(2, 9, nodes), rng.uniform(0.5, 5, models), rng.uniform(0.2, 9, models),
        rng.uniform(3, 30, models), 30.0, 300.0,
    )  # fmt: skip
    entering = rng.random(nodes) + 0.1
    routed = weights(rng.normal(size=(nodes, models)), fleet.state == READY)
    return knowns, Seen(
        fleet, rng.exponential(0.5, models), rng.exponential(0.5, models), entering / entering.sum(),
        rng.integers(0, 3, models).astype(float), routed, np.zeros((nodes, models)),
    )  # fmt: skip


def turned(knowns: Knowns, seen: Seen, n: Any, m: Any) -> tuple[Knowns, Seen]:
    """The same cluster with its nodes and models in another order."""
    fleet, pair = seen.fleet, np.ix_(n, m)
    fleet = fleet._replace(
        alive=fleet.alive[n], speed=fleet.speed[n], state=fleet.state[pair], work_s=fleet.work_s[pair],
        prompts=fleet.prompts[pair], payload_kib=fleet.payload_kib[m], latency_s=fleet.latency_s[np.ix_(n, n)],
    )  # fmt: skip
    knowns = Knowns(
        knowns.memory[n], knowns.need[m], knowns.size_s[m], knowns.load_s[m], knowns.slot_s, knowns.epoch_s
    )
    return knowns, Seen(
        fleet, seen.fast[m], seen.slow[m], seen.entering[n], seen.held[m], seen.routed[pair], seen.ready_in_s[pair]
    )


@given(sizes)
@settings(max_examples=50, deadline=None)
def test_scores_follow_nodes_and_models_into_any_order(size: tuple[int, int, int]) -> None:
    nodes, models, seed = size
    knowns, seen = seen_of(nodes, models, seed)
    rng = np.random.default_rng(seed + 1)
    n, m = rng.permutation(nodes), rng.permutation(models)
    other_knowns, other = turned(knowns, seen, n, m)
    networks = load()
    place = placement_scores(networks.place, knowns, seen)
    np.testing.assert_allclose(placement_scores(networks.place, other_knowns, other), place[np.ix_(n, m)], rtol=1e-7)
    scores, possible = routing_scores(networks.route, knowns, seen)
    scores_other, possible_other = routing_scores(networks.route, other_knowns, other)
    np.testing.assert_allclose(scores_other, scores[np.ix_(n, m)], rtol=1e-7)
    np.testing.assert_array_equal(possible_other, possible[np.ix_(n, m)])
    assert np.isfinite(place).all()
    assert np.isfinite(scores).all()
