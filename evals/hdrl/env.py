"""The two levels as gymnasium environments over the twin. Needs gymnasium, which only training has.

An observation is a table of padded pairs, [PAIRS, 2 + features]: whether the pair counts, its prior, its features. An
action is one score per pair, so that with the prior as action the policy is the untrained one.

The reward of a slot compares with that untrained policy in the same world with the same prompts:
    (N' − N) / (N0 + N'),
N prompts open on average in the slot, N' under the untrained policy, N0 when each prompt were served alone. The
reference depends on the world and its prompts alone, so it changes no gradient in expectation, and takes out most of
the noise that arrivals make (Mao et al., arXiv 1807.02264).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import gymnasium
import numpy as np

from edgewise.policy.dispatch import SLOT_WEIGHTS
from edgewise.twin.arrays import FIXED, NEXT_ARRIVAL
from edgewise.twin.demand import Bools, Floats, Ints
from evals.hdrl.features import (
    PLACE_FEATURES,
    ROUTE_FEATURES,
    Seen,
    placement_features,
    routing_features,
)
from evals.hdrl.network import Networks
from evals.hdrl.policy import Levels, levels, placement_scores, routing_scores
from evals.hdrl.worlds import MOST_MODELS, MOST_NODES, world
from evals.policies import rules
from evals.setting import Setting

PAIRS: Final = MOST_NODES * MOST_MODELS
LARGEST_SCORE: Final = 20.0
WORST: Final = -3.0  # of a slot's reward: one wrong decision must not drown all others
Table = np.ndarray[Any, np.dtype[np.float32]]


class Episode(NamedTuple):
    """A world, and what the untrained policy made of it: reference [slots], prompts open on average."""

    setting: Setting
    slots: int
    reference: Floats
    alone: float


class Run:
    """One run of the two levels, slot by slot."""

    def __init__(self, setting: Setting, networks: Networks) -> None:
        self.controller: Levels = levels(setting, networks)
        self.networks = networks
        self.twin = setting.twin(rules(SLOT_WEIGHTS, FIXED, setting))
        self.slot_s = setting.scenario.slot_s
        self.number = 0
        self.open: Ints = np.zeros(0, np.int64)
        self.arrived = 0

    def see(self) -> Seen:
        return self.controller.see(self.twin, self.number)

    def route(self, seen: Seen) -> None:
        """By the low level that is given."""
        self.controller.route(self.twin, routing_scores(self.networks.route, self.controller.knowns, seen))

    def go(self) -> float:
        """To the next slot; prompts open on average on the way."""
        begin_s, self.number = self.number * self.slot_s, self.number + 1
        end_s = self.number * self.slot_s
        self.twin.run_until(end_s, retake=True)
        state = self.twin.state
        came = int(state.tally[NEXT_ARRIVAL])
        there = np.concatenate((self.open, np.arange(self.arrived, came)))
        self.arrived = came
        until_s = state.finished_s[there]
        inside = np.minimum(until_s, end_s) - np.maximum(self.twin.demand.at_s[there], begin_s)
        self.open = there[until_s > end_s]
        return float(np.maximum(inside, 0.0).sum()) / self.slot_s


def whole_run(setting: Setting, networks: Networks, slots: int) -> Floats:
    """[slots] prompts open on average in each."""
    run = Run(setting, networks)
    found = np.zeros(slots)
    for i in range(slots):
        run.controller.slot(run.twin, run.number)
        found[i] = run.go()
    return found


@dataclass(slots=True)
class Pool:
    """Worlds that environments share, made when they are first met."""

    size: int
    slots: int
    reference: Networks
    slot_s: float = 30.0
    _made: dict[int, Episode] = field(default_factory=dict)

    def __getitem__(self, index: int) -> Episode:
        if index not in self._made:
            setting = world("train", index, self.slots * self.slot_s)
            load = setting.scenario.workload.target_load or 1.0
            speeds = [n.speed for n in setting.scenario.nodes]
            reference = whole_run(setting, self.reference, self.slots)
            self._made[index] = Episode(setting, self.slots, reference, load * sum(speeds) / max(speeds))
        return self._made[index]


def table(features: Floats, prior: Floats, counts: Bools) -> Table:
    """[PAIRS, 2 + F]; pairs beyond those that count are zeros."""
    found = np.zeros((PAIRS, 2 + features.shape[-1]), np.float32)
    n, m = counts.shape
    at = found[: n * m]
    at[:, 0] = counts.ravel()
    at[:, 1] = prior.ravel()
    at[:, 2:] = features.reshape(n * m, -1)
    at[~counts.ravel()] = 0.0
    return found


class _Level(gymnasium.Env):  # type: ignore[misc]
    """What both levels share. draw: the index of the next world."""

    features = 0

    def __init__(self, pool: Pool, networks: Networks, draw: Callable[[], int]) -> None:
        self.pool, self.networks, self.draw = pool, networks, draw
        shape = (PAIRS, 2 + self.features)
        self.observation_space = gymnasium.spaces.Box(-LARGEST_SCORE, LARGEST_SCORE, shape, np.float32)
        self.action_space = gymnasium.spaces.Box(-LARGEST_SCORE, LARGEST_SCORE, (PAIRS,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Table, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode = self.pool[self.draw()]
        self.run = Run(self.episode.setting, self.networks)
        self._begin()
        return self._observed(), {}

    def step(self, action: Table) -> tuple[Table, float, bool, bool, dict[str, Any]]:
        n, m = self.run.controller.first.shape
        reward = self._act(action[: n * m].reshape(n, m).astype(np.float64))
        return self._observed(), reward, False, self.run.number >= self.episode.slots, {}

    def _go(self) -> float:
        """One slot; its reward."""
        reference = self.episode.reference[self.run.number]
        came = self.run.go()
        return max(float((reference - came) / (self.episode.alone + reference)), WORST)

    def _begin(self) -> None:
        raise NotImplementedError

    def _observed(self) -> Table:
        raise NotImplementedError

    def _act(self, scores: Floats) -> float:
        raise NotImplementedError


class RouteLevel(_Level):
    """The low level: a step is a slot. Placement is by the high level that is given."""

    features = ROUTE_FEATURES

    def _begin(self) -> None:
        self._see()

    def _see(self) -> None:
        self.seen = self.run.see()
        control = self.run.controller
        if control.plans_at(self.seen, self.run.number):
            scores = placement_scores(self.networks.place, control.knowns, self.seen)
            control.place(self.run.twin, self.seen, scores)

    def _observed(self) -> Table:
        features, prior, self.possible = routing_features(self.run.controller.knowns, self.seen)
        return table(features, prior, self.possible)

    def _act(self, scores: Floats) -> float:
        self.run.controller.route(self.run.twin, (scores, self.possible))
        reward = self._go()
        self._see()
        return reward


class PlaceLevel(_Level):
    """The high level: a step lasts from one plan to the next. Routing is by the low level that is given."""

    features = PLACE_FEATURES

    def _begin(self) -> None:
        self._until_plan()

    def _until_plan(self) -> list[float]:
        """Rewards of the slots until a plan is due, or the episode is over."""
        rewards: list[float] = []
        while True:
            self.seen = self.run.see()
            if self.run.controller.plans_at(self.seen, self.run.number) or self.run.number >= self.episode.slots:
                return rewards
            self.run.route(self.seen)
            rewards.append(self._go())

    def _observed(self) -> Table:
        control = self.run.controller
        features, prior = placement_features(control.knowns, self.seen)
        fits = (control.knowns.need <= control.knowns.memory[:, None]) & self.seen.fleet.alive[:, None]
        return table(features, prior, fits)

    def _act(self, scores: Floats) -> float:
        control = self.run.controller
        control.place(self.run.twin, self.seen, scores)
        self.run.route(self.seen)
        rewards = [self._go(), *self._until_plan()]
        return float(np.mean(rewards))
