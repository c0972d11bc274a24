"""PPO of Stable-Baselines3 with a policy that scores pairs. Needs torch and stable-baselines3, for training only.

The actor is evals.hdrl.network in torch: one perceptron for all pairs, plus the prior. Exploration adds Gaussian
noise to the scores, with one spread for all pairs; padded pairs count neither in the likelihood nor in the entropy.
The critic sees the mean and the maximum over pairs of their features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from evals.hdrl.env import PAIRS
from evals.hdrl.network import LAYERS, Network

WIDTH = 32


class PairsGaussian(DiagGaussianDistribution):  # type: ignore[misc]
    """Independent Gaussians of the pairs that count."""

    def of(self, scores: Tensor, log_std: Tensor, counts: Tensor) -> PairsGaussian:
        self.counts = counts
        self.proba_distribution(scores, log_std.expand(PAIRS))
        return self

    def log_prob(self, actions: Tensor) -> Tensor:
        found: Tensor = (self.distribution.log_prob(actions) * self.counts).sum(dim=1)
        return found

    def entropy(self) -> Tensor:
        found: Tensor = (self.distribution.entropy() * self.counts).sum(dim=1)
        return found


class PairScores(nn.Module):
    """Actor and critic on flattened tables [B, PAIRS · (2 + F)]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.latent_dim_pi, self.latent_dim_vf = 2 * PAIRS, 1
        self.features = features
        self.actor = nn.Sequential(
            nn.Linear(features, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)
        )
        self.critic = nn.Sequential(
            nn.Linear(2 * features, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)
        )

    def _table(self, flat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pairs = flat.view(-1, PAIRS, 2 + self.features)
        return pairs[..., 0], pairs[..., 1], pairs[..., 2:]

    def forward(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        return self.forward_actor(flat), self.forward_critic(flat)

    def forward_actor(self, flat: Tensor) -> Tensor:
        """[B, 2 · PAIRS]: scores, then whether each counts."""
        counts, prior, features = self._table(flat)
        at = counts > 0
        # Only pairs that count go through the network: most do not.
        learned = torch.zeros_like(prior).masked_scatter(at, self.actor(features[at])[:, 0])
        return torch.cat((prior + learned, counts), dim=1)

    def forward_critic(self, flat: Tensor) -> Tensor:
        counts, _, features = self._table(flat)
        at = counts[..., None]
        mean = (features * at).sum(dim=1) / at.sum(dim=1).clamp(min=1.0)
        most = (features - 100.0 * (1.0 - at)).amax(dim=1).clamp(min=-5.0)
        value: Tensor = self.critic(torch.cat((mean, most), dim=1))
        return value


class PairPolicy(ActorCriticPolicy):  # type: ignore[misc]
    """SB3's actor and critic with PairScores inside. spread: of the scores' noise, at the start."""

    def __init__(self, *arguments: Any, spread: float = 0.3, **options: Any) -> None:
        self.spread = spread  # building needs it
        super().__init__(*arguments, **options)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = PairScores(self.observation_space.shape[1] - 2)

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.action_net = nn.Identity()
        self.value_net = nn.Identity()
        self.log_std = nn.Parameter(torch.full((1,), float(np.log(self.spread))))
        self.action_dist = PairsGaussian(PAIRS)
        last = self.mlp_extractor.actor[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # nothing is learned yet: the prior alone
        nn.init.zeros_(last.bias)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _get_action_dist_from_latent(self, latent_pi: Tensor) -> Distribution:
        scores, counts = latent_pi[:, :PAIRS], latent_pi[:, PAIRS:]
        return PairsGaussian(PAIRS).of(scores, self.log_std, counts)


def exported(model: PPO) -> Network:
    """The actor as arrays."""
    layers = [layer for layer in model.policy.mlp_extractor.actor if isinstance(layer, nn.Linear)]
    assert len(layers) == LAYERS
    arrays = [(x.weight.detach().numpy().T.astype(float), x.bias.detach().numpy().astype(float)) for x in layers]
    return Network(tuple(w for w, _ in arrays), tuple(b for _, b in arrays))


def restore(model: PPO, network: Network) -> None:
    """Goes on from a trained actor."""
    layers = [layer for layer in model.policy.mlp_extractor.actor if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, w, b in zip(layers, network.weights, network.biases, strict=True):
            layer.weight.copy_(torch.from_numpy(w.T))
            layer.bias.copy_(torch.from_numpy(b))
