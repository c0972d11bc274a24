"""What a decision expects: its problem as arrays, and the demand to come."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgewise.control.announced import expecting, paths
from edgewise.control.forecast import Forecast, Track, averaged, draws, forecast
from edgewise.control.intents import aimed, aims
from edgewise.control.memo import Last
from edgewise.control.rolling import demand_draws, product_rules, rolling, scene
from edgewise.control.seeds import generator
from edgewise.control.state import Future
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation
from edgewise.optimise.estimate import Evaluate, Score, evaluator, scorer
from edgewise.optimise.problem import Floats, Prices, Problem, problem
from edgewise.settings import Settings

# Fewer rollouts than this say too little; then the estimate is asked.
LEAST_DRAWS = 4
# A rollout lasts at least so many mean services; with fewer, a plan that cannot keep up has not shown it yet.
LEAST_SERVICES = 120.0


@dataclass(frozen=True)
class Outlook:
    """A problem with its forecast: rates[m] expected per second. future: what will really come, if known."""

    problem: Problem
    forecast: Forecast
    future: Future | None = None

    @property
    def rates(self) -> Floats:
        return np.asarray(self.forecast.expected(self.problem.horizon).sum(axis=0))

    @property
    def rollout_horizon(self) -> float:
        """Seconds of arrivals in a rollout: an epoch, but long enough for queues to build up from what is there."""
        total = float(self.rates.sum())
        mean_s = float((self.rates * self.problem.service).sum()) / total if total > 0 else 0.0
        return max(self.problem.horizon, LEAST_SERVICES * mean_s)

    @property
    def rollout_events(self) -> float:
        """About so many events one rollout has."""
        return 3.0 * (float(self.rates.sum()) * self.rollout_horizon + float(self.problem.count.sum()))

    def evaluate(self, settings: Settings, *names: str, count: int | None = None) -> Evaluate:
        """Objectives by the estimate on demand draws that depend on `names` alone; as many as the gate takes."""
        return evaluator(self.problem, self._draws(generator(*names), count or settings.gate_draws))

    def score(self, count: int, *names: str, power: float = 1.0) -> Score:
        """Mean objectives of placements, on draws as in `evaluate`."""
        return scorer(self.problem, self._draws(generator(*names), count), self.rates, power)

    def _draws(self, rng: np.random.Generator, count: int) -> Floats:
        """rates[k, a, m] over the problem's horizon; announced demand by its part of it."""
        rates = draws(self.forecast, rng, count)
        if not self.forecast.coming:
            return rates
        return averaged(rates, paths(self.forecast, rng, count), self.problem.horizon)

    def rehearse(self, observation: Observation, settings: Settings, count: int, *names: str) -> Evaluate:
        """Objectives predicted by rollouts of the twin, on `count` draws that depend on `names` alone; fewer where
        the cluster is large, and the estimate where even LEAST_DRAWS rollouts of a plan would be too many events."""
        p = self.problem
        if self.future is not None:
            return self.future.evaluate(p)
        horizon = self.rollout_horizon
        affordable = int(settings.rollout_events / max(1.0, self.rollout_events))
        if affordable < LEAST_DRAWS:
            return self.evaluate(settings, *names, count=count)
        stage = scene(observation)
        rng = generator(*names, "rollouts")
        rates = draws(self.forecast, rng, min(count, affordable))
        ways = paths(self.forecast, rng, len(rates)) if self.forecast.coming else ()
        found = demand_draws(stage, observation, self.forecast, rates, p.access, rng, horizon, ways)
        return rolling(stage, p, found, product_rules(settings), horizon)


_LAST: Last[Outlook] = Last()


def outlook(
    observation: Observation,
    track: Track,
    settings: Settings,
    *,
    free: bool = False,
    future: Future | None = None,
    intents: tuple[Intent, ...] = (),
) -> Outlook:
    """free: loads cost nothing (the first fill). intents: the operator's; what they ask for is in it."""

    def make() -> Outlook:
        prices = Prices(settings.alpha, 0.0 if free else settings.beta, settings.gamma)
        p = problem(observation, prices)
        ahead = forecast(track, p, settings.window_s)
        ahead = expecting(ahead, intents, track, observation, p, settings.announced_trust)
        p = replace(p, burst=ahead.bursts)
        return Outlook(aimed(p, aims(intents, observation), ahead.mean) if intents else p, ahead)

    return replace(_LAST.get((observation, track, settings, free, intents), make), future=future)


def lease(observation: Observation, settings: Settings) -> tuple[float, float]:
    """(made_at_s, expires_s) of a plan made now."""
    return observation.at_s, observation.at_s + settings.lease_slots * observation.slot_s
