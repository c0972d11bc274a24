"""Trains the two levels of hdrl in the twin with PPO of Stable-Baselines3.

    python -m evals.hdrl.train --minutes 20 --out evals/hdrl/checkpoint.npz

Needs `pip install stable-baselines3` (with torch), which neither the product nor its tests need. The levels take
turns: routing under the untrained placement, placement under that routing, routing again under that placement. Worlds
and draws are fixed by the seed; how far a stage gets is bounded by time, so two trainings differ.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from evals.hdrl.env import PlaceLevel, Pool, RouteLevel
from evals.hdrl.judge import log_ratios
from evals.hdrl.learner import PairPolicy, exported, restore
from evals.hdrl.network import CHECKPOINT, PRIOR_ONLY, Network, Networks, save

CHECK_EVERY_S = 60.0
CHECK_WORLDS = 24
CHECK_LENGTH_S = 2400.0
RATE = 1e-3  # learning rate at the start of a stage; it falls to a tenth


class Stage(NamedTuple):
    """level: of Networks; part: of the time; slots: of an episode; worlds: in the pool; steps: per environment and
    update; spread: of the noise on scores at the start (placement gets less: each slip of it costs a load)."""

    level: str
    part: float
    slots: int
    worlds: int
    environments: int
    steps: int
    batch: int
    gamma: float
    spread: float


STAGES = (
    Stage("route", 0.40, 60, 512, 32, 64, 512, 0.9, 0.3),
    Stage("place", 0.35, 120, 192, 16, 64, 256, 0.6, 0.15),
    Stage("route", 0.25, 60, 512, 32, 64, 512, 0.9, 0.22),
)


@dataclass(frozen=True, slots=True)
class Point:
    """One row of the learning curve. ratio: mean latency over the untrained policy's on the check worlds."""

    stage: int
    level: str
    minutes: float
    steps: int
    reward: float
    spread: float
    ratio: float


class Watch(BaseCallback):  # type: ignore[misc]
    """Stops a stage when its time is over, and keeps the network that did best on the check worlds."""

    def __init__(self, number: int, stage: Stage, networks: Networks, limit_s: float, begun_s: float) -> None:
        super().__init__()
        self.number, self.stage, self.networks, self.limit_s = number, stage, networks, limit_s
        self.begun_s, self.stage_s = begun_s, time.monotonic()
        self.curve: list[Point] = []
        self.checked_s = -np.inf
        self.best, self.best_ratio = networks, np.inf

    def elapsed(self) -> float:
        """Part of the stage's time that is over."""
        return (time.monotonic() - self.stage_s) / self.limit_s

    def rate(self, _: float) -> float:
        return RATE * max(1 - 0.9 * self.elapsed(), 0.1)

    def _on_step(self) -> bool:
        return self.elapsed() < 1.0

    def _on_rollout_end(self) -> None:
        if time.monotonic() - self.checked_s > CHECK_EVERY_S:
            self.check()

    def check(self) -> None:
        learned = self.networks._replace(**{self.stage.level: exported(self.model)})
        ratio = float(np.exp(log_ratios(range(CHECK_WORLDS), "check", learned, CHECK_LENGTH_S).mean()))
        if ratio < self.best_ratio:
            self.best, self.best_ratio = learned, ratio
        point = Point(
            self.number, self.stage.level, round((time.monotonic() - self.begun_s) / 60, 1), self.num_timesteps,
            round(float(self.model.rollout_buffer.rewards.mean()), 3),
            round(float(self.model.policy.log_std.detach().exp()), 3), round(ratio, 3),
        )  # fmt: skip
        self.curve.append(point)
        sys.stderr.write(f"{point}\n")
        self.checked_s = time.monotonic()


def train_stage(
    number: int, stage: Stage, networks: Networks, limit_s: float, begun_s: float, seed: int
) -> tuple[Networks, list[Point]]:
    """The networks with one level trained further."""
    rng = np.random.default_rng([seed, number])
    # Rewards are measured against the level as it is when the stage begins.
    pool = Pool(stage.worlds, stage.slots, networks)

    def draw() -> int:
        return number * 10_000 + int(rng.integers(stage.worlds))

    level = RouteLevel if stage.level == "route" else PlaceLevel
    watch = Watch(number, stage, networks, limit_s, begun_s)
    model = PPO(
        PairPolicy, DummyVecEnv([lambda: level(pool, networks, draw)] * stage.environments), learning_rate=watch.rate,
        n_steps=stage.steps, batch_size=stage.batch, n_epochs=5, gamma=stage.gamma, gae_lambda=0.9, seed=seed,
        device="cpu", policy_kwargs={"spread": stage.spread},
    )  # fmt: skip
    before: Network | None = getattr(networks, stage.level)
    if before is not None:
        restore(model, before)
    model.learn(10**9, callback=watch)
    watch.check()
    return watch.best, watch.curve


def train(minutes: float, seed: int) -> tuple[Networks, dict[str, Any]]:
    """The networks, and what there is to tell of their training."""
    torch.set_num_threads(1)
    log_ratios([0], "check", PRIOR_ONLY, CHECK_LENGTH_S)  # kernels are compiled before the clock starts
    begun_s = time.monotonic()
    networks, curve = PRIOR_ONLY, []
    for number, stage in enumerate(STAGES):
        networks, points = train_stage(number, stage, networks, minutes * 60 * stage.part, begun_s, seed)
        curve += points
    steps = [max(p.steps for p in curve if p.stage == number) for number in range(len(STAGES))]
    return networks, {"minutes": round((time.monotonic() - begun_s) / 60, 1), "steps": steps, "curve": curve}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m evals.hdrl.train")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    given = parser.parse_args(arguments)
    networks, told = train(given.minutes, given.seed)
    save(given.out, networks)
    sys.stdout.buffer.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
