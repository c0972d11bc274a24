"""The optimiser rung: problem and demand draws of an observation, placement search, weights and shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.control.forecast import Forecast, Track, draws, forecast
from edgewise.control.guard import project
from edgewise.control.rolling import demand_draws, marginal_rules, rolling, scene
from edgewise.control.seeds import generator
from edgewise.control.state import EpochResult, Future, Job, Proposed
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan, Source
from edgewise.domain.records import RecalledCase
from edgewise.optimise.estimate import Evaluate, Score, evaluator, scorer
from edgewise.optimise.placement import Limits, Planner, cover, fill_memory, neighbours, search
from edgewise.optimise.problem import Bools, Floats, Prices, Problem, problem
from edgewise.optimise.weights import make_plan, placed
from edgewise.settings import Settings

# Exponents of size in the on-node shares; larger favours short prompts more.
POWERS = (0.5, 1.0, 1.5)
# Fewer rollouts than this say too little; then the estimate is asked.
LEAST_DRAWS = 4
# A rollout lasts at least so many mean services; with fewer, a plan that cannot keep up has not shown it yet.
LEAST_SERVICES = 120.0
# Loss accepted for a spare replica in the first fill, relative.
SPARE_TOLERANCE = 0.004


@dataclass(frozen=True)
class Outlook:
    """A problem with its forecast: rates[m] expected per second. future: what will really come, if known."""

    problem: Problem
    forecast: Forecast
    future: Future | None = None

    @property
    def rates(self) -> Floats:
        return np.asarray(self.forecast.mean.sum(axis=0))

    @property
    def rollout_horizon(self) -> float:
        """Seconds of arrivals in a rollout: an epoch, but long enough for queues to build up from what is there."""
        total = float(self.rates.sum())
        mean_s = float((self.rates * self.problem.service).sum()) / total if total > 0 else 0.0
        return max(self.problem.horizon, LEAST_SERVICES * mean_s)

    def evaluate(self, settings: Settings, *names: str) -> Evaluate:
        """Predicted objectives on demand draws that depend on `names` alone."""
        return evaluator(self.problem, draws(self.forecast, generator(*names), settings.gate_draws))

    def score(self, settings: Settings, *names: str) -> Score:
        """Predicted mean objectives of placements, on draws as in `evaluate`."""
        rates = draws(self.forecast, generator(*names), settings.gate_draws)
        return scorer(self.problem, rates, self.rates)

    def rehearse(self, observation: Observation, settings: Settings, count: int, *names: str) -> Evaluate:
        """Objectives predicted by rollouts of the twin, on `count` draws that depend on `names` alone; fewer where
        the cluster is large, and the estimate where even LEAST_DRAWS rollouts of a plan would be too many events."""
        p = self.problem
        if self.future is not None:
            return self.future.evaluate(p)
        horizon = self.rollout_horizon
        events = 3.0 * (float(self.rates.sum()) * horizon + float(p.count.sum()))
        affordable = int(settings.rollout_events / max(1.0, events))
        if affordable < LEAST_DRAWS:
            return self.evaluate(settings, *names)
        stage = scene(observation)
        rng = generator(*names, "rollouts")
        rates = draws(self.forecast, rng, min(count, affordable))
        found = demand_draws(stage, observation, self.forecast, rates, p.access, rng, horizon)
        return rolling(stage, p, found, marginal_rules(), horizon)


def outlook(
    observation: Observation, track: Track, settings: Settings, *, free: bool = False, future: Future | None = None
) -> Outlook:
    """free: loads cost nothing (the first fill)."""
    prices = Prices(settings.alpha, 0.0 if free else settings.beta, settings.gamma)
    p = problem(observation, prices)
    ahead = forecast(track, p, settings.window_s)
    return Outlook(replace(p, burst=ahead.bursts), ahead, future)


def lease(observation: Observation, settings: Settings) -> tuple[float, float]:
    """(made_at_s, expires_s) of a plan made now."""
    return observation.at_s, observation.at_s + settings.lease_slots * observation.slot_s


def schedule(plan: Plan, ahead: Outlook, observation: Observation, settings: Settings, seed: str) -> Plan:
    """The plan with fresh routing weights and shares for its replicas: the share exponent is the one predicted
    best. Id, source, roles and reason stay."""
    here = placed(ahead.problem, plan)
    made = lease(observation, settings)
    options = [make_plan(ahead.problem, here, ahead.rates, power, plan.id, made) for power in POWERS]
    best = options[int(np.argmin(ahead.evaluate(settings, seed, "shares")(options).mean(axis=1)))]
    return replace(best, source=plan.source, roles=plan.roles or best.roles, alpha=plan.alpha, reason=plan.reason)


def first_fill(observation: Observation, track: Track, settings: Settings, plan_id: str) -> Plan:
    """A placement from nothing: every model somewhere, then memory filled with what helps most."""
    ahead = outlook(observation, track, settings, free=True)
    p = ahead.problem
    limits = Limits(p.held, p.fixed)
    score = ahead.score(settings, plan_id, "select")
    found = fill_memory(p, cover(p, p.held), limits, score)
    found = search(p, found.placement, limits, score, settings.search_iterations, generator(plan_id, "steps"))
    found = fill_memory(p, found.placement, limits, score, SPARE_TOLERANCE)
    return _planner(ahead, observation, settings, plan_id)(found.placement)


def optimise(
    observation: Observation,
    track: Track,
    incumbent: Plan | None,
    settings: Settings,
    plan_id: str,
    asked: int,
    future: Future | None = None,
) -> Plan:
    """The placement search, warm-started from the incumbent and within what is left of the thrash budget: local
    search by the estimate, then the best of what it found, its best neighbours and the start by rollouts."""
    if incumbent is None:
        return first_fill(observation, track, settings, plan_id)
    ahead = outlook(observation, track, settings, future=future)
    p = ahead.problem
    stood = placed(p, project(incumbent, observation, incumbent, settings, asked).plan)
    most = max(0, settings.max_changes_per_epoch - asked)
    limits = Limits(stood, p.fixed & stood, most)
    score = ahead.score(settings, plan_id, "select")
    found = search(p, stood, limits, score, settings.search_iterations, generator(plan_id, "steps"))
    near = [here for here in neighbours(p, found.placement) if limits.allow(here)]
    ranked = np.argsort(score(near), kind="stable")[: settings.finalists] if near else []
    plan_of = _planner(ahead, observation, settings, plan_id)
    finalists = [plan_of(here) for here in (found.placement, stood, *(near[i] for i in ranked))]
    rehearse = ahead.rehearse(observation, settings, settings.select_draws, plan_id, "final")
    return finalists[int(np.argmin(rehearse(finalists).mean(axis=1)))]


def epoch_plans(
    job: Job, cases: Sequence[RecalledCase], settings: Settings, result_id: str, future: Future | None = None
) -> EpochResult:
    """The optimiser's part of an epoch: its plan, and the placement of the nearest case that went well."""
    o = job.observation
    best = optimise(o, job.track, job.incumbent, settings, f"{result_id}-o", job.asked, future)
    plans = [Proposed("optimiser", replace(best, reason="placement search"))]
    if (case := worth(cases)) is not None:
        plans.append(from_case(case, o, settings))
    return EpochResult(result_id, o.epoch, o.at_s, tuple(plans), tuple(c.case.id for c in cases))


def from_case(case: RecalledCase, observation: Observation, settings: Settings) -> Proposed:
    """The placement of a case as a proposal."""
    made = lease(observation, settings)
    name = case.case.id
    plan = Plan(f"{name}-c", Source.OPTIMISER, *made, case.case.placement, reason=f"case {name}")
    return Proposed("case", plan, note=f"placement of case {name}")


def worth(cases: Sequence[RecalledCase]) -> RecalledCase | None:
    """The case with the best outcome among those recalled; their situations are alike enough to compare."""
    scored = [c for c in cases if c.case.outcome is not None and c.case.placement]
    return min(scored, key=lambda c: (c.case.outcome.objective if c.case.outcome else 0.0, c.case.id), default=None)


def _planner(ahead: Outlook, observation: Observation, settings: Settings, plan_id: str) -> Planner:
    made = lease(observation, settings)

    def plan_of(here: Bools) -> Plan:
        return make_plan(ahead.problem, here, ahead.rates, 1.0, plan_id, made)

    return plan_of
