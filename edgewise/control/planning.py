"""The optimiser rung: problem and demand draws of an observation, placement search, weights and shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgewise.control import cellwise
from edgewise.control.forecast import Track
from edgewise.control.guard import project
from edgewise.control.intents import pins_of
from edgewise.control.merit import is_good, standing
from edgewise.control.outlook import Outlook, lease, outlook
from edgewise.control.seeds import generator
from edgewise.control.state import EpochResult, Future, Job, Proposed
from edgewise.control.thrash import budget
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan, Source
from edgewise.domain.records import RecalledCase
from edgewise.optimise.estimate import Evaluate, Score
from edgewise.optimise.fluid import gap, pack, repair, spread
from edgewise.optimise.placement import Limits, Planner, cover, fill_memory, neighbours, search
from edgewise.optimise.problem import Bools, Floats, Problem
from edgewise.optimise.weights import make_plan, placed
from edgewise.settings import Settings

# Exponents of size in the on-node shares; larger favours short prompts more.
POWERS = (0.5, 1.0, 1.5)
# Loss accepted for a spare replica in the first fill, relative.
SPARE_TOLERANCE = 0.004
# A first fill may be so far above the fluid bound; beyond it its score rises UNEVEN times as fast as the gap.
LEVEL_ENOUGH, UNEVEN, WORST_GAP = 0.005, 10.0, 10.0


def rehearse(ahead: Outlook, observation: Observation, settings: Settings, count: int, *names: str) -> Evaluate:
    """Objectives predicted by rollouts, on `count` draws that depend on `names` alone; by cells where those are
    several."""
    if ahead.future is not None or not cellwise.is_large(observation):
        return ahead.rehearse(observation, settings, count, *names)
    found = cellwise.cells(observation, ahead, ahead.problem.held)
    return cellwise.rehearse(found, settings, count, *names)


def schedule(plan: Plan, ahead: Outlook, observation: Observation, settings: Settings, seed: str) -> Plan:
    """The plan with fresh routing weights and shares for its replicas: the share exponent is the one predicted
    best. Id, source, roles, floors, pins and reason stay."""
    here = placed(ahead.problem, plan)
    power = 1.0  # of a large cluster: the middle one, as the estimate of the whole would cost more than it gains
    if not cellwise.is_large(observation):
        scores = [ahead.score(settings.gate_draws, seed, "shares", power=x)([here])[0] for x in POWERS]
        power = POWERS[int(np.argmin(scores))]
    best = make_plan(ahead.problem, here, ahead.rates, power, plan.id, lease(observation, settings))
    return replace(
        best, source=plan.source, roles=plan.roles or best.roles, alpha=plan.alpha, reason=plan.reason,
        floors=plan.floors, pins=plan.pins, asks_until_s=plan.asks_until_s,
    )  # fmt: skip


def first_fill(
    observation: Observation, track: Track, settings: Settings, plan_id: str, intents: tuple[Intent, ...] = ()
) -> Plan:
    """A placement from nothing: every model somewhere, then memory filled with what helps most."""
    ahead = outlook(observation, track, settings, free=True, intents=intents)
    p = ahead.problem
    if cellwise.is_large(observation):
        start = pack(p, ahead.rates) if not p.held.any() else cover(p, p.held)
        return _planner(ahead, observation, settings, plan_id)(spread(p, start, ahead.rates))
    limits = Limits(p.held, p.fixed)
    score = ahead.score(settings.gate_draws, plan_id, "select")
    if track.levels:  # without demand seen the rates are a guess, and not worth levelling to
        score = _level_first(p, ahead.rates, score)
    found = fill_memory(p, cover(p, p.held), limits, score)
    if track.levels and not p.held.any():
        packed = spread(p, pack(p, ahead.rates), ahead.rates)
        found = found if found.score <= score([packed])[0] else replace(found, placement=packed)
    found = search(p, found.placement, limits, score, settings.search_iterations, generator(plan_id, "steps"))
    found = fill_memory(p, found.placement, limits, score, SPARE_TOLERANCE)
    return _planner(ahead, observation, settings, plan_id)(found.placement)


def _level_first(p: Problem, rates: Floats, score: Score) -> Score:
    """The score of a first fill for known demand: what cannot be levelled to the fluid bound counts as so much worse,
    since the estimate alone forgives a busy node too much."""

    def levelled_score(here: Sequence[Bools]) -> Floats:
        gaps = np.array([min(gap(p, one, rates), WORST_GAP) for one in here])
        return score(here) * (1 + UNEVEN * np.maximum(0.0, gaps - LEVEL_ENOUGH))

    return levelled_score


def optimise(
    observation: Observation,
    track: Track,
    incumbent: Plan | None,
    settings: Settings,
    plan_id: str,
    asked: int,
    future: Future | None = None,
    intents: tuple[Intent, ...] = (),
) -> Plan:
    """The placement search, warm-started from the incumbent and within what is left of the thrash budget: local
    search by the estimate, then the best of what it found, its best neighbours and the start by rollouts."""
    if incumbent is None:
        return first_fill(observation, track, settings, plan_id, intents)
    ahead = outlook(observation, track, settings, future=future, intents=intents)
    p = ahead.problem
    pins = pins_of(incumbent, intents, observation)
    mended = project(incumbent, observation, incumbent, settings, asked, replicas_only=True, pins=pins).plan
    stood = placed(p, mended)
    most = budget(settings, len(observation.node_specs), asked)
    fixed = p.fixed if not pins else p.fixed | placed(p, replace(mended, replicas=pins))
    limits = Limits(stood, fixed & stood, most)
    plan_of = _planner(ahead, observation, settings, plan_id)
    if cellwise.is_large(observation) and future is None:
        return _optimise_cells(observation, ahead, stood, limits, settings, plan_id)
    score = ahead.score(settings.gate_draws, plan_id, "select")
    found = search(p, stood, limits, score, settings.search_iterations, generator(plan_id, "steps"))
    around = [here for here in neighbours(p, found.placement) if limits.allow(here)]
    ranked = np.argsort(score(around), kind="stable")[: settings.finalists].tolist() if around else []
    finalists = [plan_of(here) for here in (found.placement, stood, *(around[i] for i in ranked))]
    scores = ahead.rehearse(observation, settings, settings.select_draws, plan_id, "final")(finalists)
    return finalists[int(np.argmin(scores.mean(axis=1)))]


def _optimise_cells(
    observation: Observation, ahead: Outlook, stood: Bools, limits: Limits, settings: Settings, plan_id: str
) -> Plan:
    """As `optimise` for several cells: the busiest nodes relieved, then local search in the cells that need it most;
    rollouts say which of the stages is best."""
    p, most = ahead.problem, limits.most or 0
    relieved = repair(p, stood, ahead.rates, limits.fixed, most)
    found = cellwise.cells(observation, ahead, relieved)
    better = cellwise.improve(found, relieved, stood, limits.fixed, most, settings, plan_id)
    plan_of = _planner(ahead, observation, settings, plan_id)
    stages = [stood]
    for here in (relieved, better):
        if not any((here == other).all() for other in stages):
            stages.append(here)
    plans = [plan_of(here) for here in stages]
    if len(plans) == 1:
        return plans[0]
    scores = cellwise.rehearse(found, settings, settings.select_draws, plan_id, "final")(plans)
    return plans[int(np.argmin(scores.mean(axis=1)))]


def epoch_plans(
    job: Job, cases: Sequence[RecalledCase], settings: Settings, result_id: str, future: Future | None = None
) -> EpochResult:
    """The optimiser's part of an epoch: its plan, and the placement of the nearest case that went well."""
    o = job.observation
    best = optimise(o, job.track, job.incumbent, settings, f"{result_id}-o", job.asked, future, job.intents)
    plans = [Proposed("optimiser", replace(best, reason="placement search"))]
    if (case := worth(cases)) is not None:
        plans.append(from_case(case, o, settings))
    return EpochResult(result_id, o.epoch, o.at_s, tuple(plans), tuple(c.case.id for c in cases))


def from_case(case: RecalledCase, observation: Observation, settings: Settings) -> Proposed:
    """The placement of a case as a proposal; weights, shares and roles are made for what it becomes now."""
    made = lease(observation, settings)
    name = case.case.id
    plan = Plan(f"{name}-c", Source.OPTIMISER, *made, case.case.placement, reason=f"case {name}")
    return Proposed("case", plan, note=f"placement of case {name}")


def worth(cases: Sequence[RecalledCase]) -> RecalledCase | None:
    """The one that went best among the recalled cases that went well. Bad ones are recalled for a language model to
    learn from; the optimiser has no use for them."""
    good = [c for c in cases if c.case.placement and is_good(c)]
    return min(good, key=lambda c: (standing(c), c.distance, c.case.id), default=None)


def _planner(ahead: Outlook, observation: Observation, settings: Settings, plan_id: str) -> Planner:
    made = lease(observation, settings)

    def plan_of(here: Bools) -> Plan:
        return make_plan(ahead.problem, here, ahead.rates, 1.0, plan_id, made)

    return plan_of
