"""The environments and the learner, where the libraries of training are installed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from evals.hdrl.network import PRIOR_ONLY
from evals.hdrl.worlds import MOST_MODELS, MOST_NODES, world

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is installed for training only")

from evals.hdrl.env import PAIRS, PlaceLevel, Pool, RouteLevel  # noqa: E402 — after the skip

SLOTS = 25


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(4, SLOTS, PRIOR_ONLY)


@pytest.mark.parametrize("level", [RouteLevel, PlaceLevel])
@pytest.mark.parametrize("index", [0, 1])
def test_the_prior_as_action_is_the_reference(level: type[RouteLevel], index: int, pool: Pool) -> None:
    """So an environment plays the policy itself, slot for slot, and its rewards are 0."""
    env = level(pool, PRIOR_ONLY, lambda: index)
    observed, _ = env.reset(seed=1)
    over, total = False, 0.0
    while not over:
        observed, reward, _, over, _ = env.step(observed[:, 1])
        total += abs(reward)
    assert total == pytest.approx(0.0, abs=1e-4)
    assert env.run.number == SLOTS


@pytest.mark.parametrize("level", [RouteLevel, PlaceLevel])
def test_observations_keep_their_space(level: type[RouteLevel], pool: Pool) -> None:
    env = level(pool, PRIOR_ONLY, lambda: 2)
    observed, _ = env.reset(seed=1)
    rng = np.random.default_rng(1)
    for _ in range(3):
        assert env.observation_space.contains(observed)
        assert not observed[observed[:, 0] == 0].any()
        observed, reward, _, over, _ = env.step(rng.normal(size=PAIRS).astype(np.float32))
        assert np.isfinite(reward)
        if over:
            break


def test_worlds_of_training_and_of_judging_differ() -> None:
    train, held = world("train", 3, 600.0), world("held-out", 3, 600.0)
    assert train.scenario.nodes != held.scenario.nodes
    assert train.arrivals.demand.at_s.tolist() != held.arrivals.demand.at_s.tolist()


def test_worlds_are_fixed_by_their_index_and_within_bounds() -> None:
    for index in range(20):
        one, other = world("train", index, 300.0), world("train", index, 300.0)
        assert one.scenario == other.scenario
        np.testing.assert_array_equal(one.arrivals.demand.at_s, other.arrivals.demand.at_s)
        assert len(one.scenario.nodes) <= MOST_NODES
        assert len(one.scenario.models) <= MOST_MODELS


def test_the_learner_is_the_network_that_is_kept(pool: Pool) -> None:
    """torch's scores, and numpy's of what is exported, are the same; a fresh learner is the prior."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is installed for training only")
    from stable_baselines3 import PPO

    from evals.hdrl.learner import PairPolicy, exported

    env = RouteLevel(pool, PRIOR_ONLY, lambda: 0)
    model = PPO(PairPolicy, env, n_steps=16, batch_size=16, device="cpu", seed=1)
    observed, _ = env.reset(seed=1)
    acted, _ = model.predict(observed, deterministic=True)
    counts = observed[:, 0] > 0
    np.testing.assert_allclose(acted[counts], observed[counts, 1], atol=1e-6)

    with torch.no_grad():
        for parameter in model.policy.mlp_extractor.actor.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    acted, _ = model.predict(observed, deterministic=True)
    network = exported(model)
    assert all(a.shape[1] == b.shape[0] for a, b in pairwise(network.weights))
    np.testing.assert_allclose(
        acted[counts],
        observed[counts, 1] + network.score(observed[counts, 2:].astype(np.float64)),
        rtol=1e-4,
        atol=1e-4,
    )


def test_padding_changes_no_likelihood(pool: Pool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is installed for training only")
    from stable_baselines3 import PPO

    from evals.hdrl.learner import PairPolicy

    env = RouteLevel(pool, PRIOR_ONLY, lambda: 0)
    model = PPO(PairPolicy, env, n_steps=16, batch_size=16, device="cpu", seed=1)
    observed, _ = env.reset(seed=1)
    flat = torch.from_numpy(observed)[None]
    action = torch.from_numpy(observed[:, 1])[None] + 0.1
    other = torch.where(torch.from_numpy(observed[:, 0])[None] > 0, action, action + 7.0)
    with torch.no_grad():
        _, one, _ = model.policy.evaluate_actions(flat, action)
        _, two, _ = model.policy.evaluate_actions(flat, other)
    torch.testing.assert_close(one, two)
