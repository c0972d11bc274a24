"""What would become of several plans from one observation on: the twin, on the same prompts for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.control.announced import paths
from edgewise.control.forecast import draws
from edgewise.control.gate import score
from edgewise.control.hindsight import demand_as_it_came, prompts_of
from edgewise.control.outlook import LEAST_DRAWS, Outlook, outlook
from edgewise.control.rolling import Scene, demand_draws, outcomes_of, product_rules, scene, scores
from edgewise.control.seeds import generator
from edgewise.control.state import Job
from edgewise.domain.decision import Score
from edgewise.domain.measures import jain_normalized
from edgewise.domain.plan import Plan
from edgewise.domain.records import PromptRow
from edgewise.optimise.problem import Floats, Problem
from edgewise.settings import Settings
from edgewise.twin.rollout import Draw, Outcomes

DRAWS = 16
LEAST_PART = 0.5  # of the horizon that must have been recorded for realised arrivals to be used


@dataclass(frozen=True, slots=True)
class Future:
    """One plan's: means over draws with their 95 % intervals. objective: with the α of the settings compared under.
    attainment: part of each model's prompts within its deadline."""

    objective: Score
    mean_latency_s: Score
    jain_normalized: Score
    attainment: tuple[tuple[str, Score], ...]


@dataclass(frozen=True, slots=True)
class Futures:
    """arrivals: realised | forecast. differences: of the last plan to the first, paired by draw, as in Future."""

    arrivals: str
    draws: int
    prompts: float
    horizon_s: float
    plans: tuple[Future, ...]
    differences: Future


def compare(job: Job, plans: Sequence[Plan], rows: Sequence[PromptRow], settings: Settings) -> Futures:
    """The plans' futures from the job's observation. rows: prompts that came afterwards, if they may be used; else,
    or where they end too early, prompts are drawn from the forecast."""
    o = job.observation
    stage, ahead = scene(o), outlook(o, job.track, settings, intents=job.intents)
    found, horizon_s, arrivals = _realised(job, stage, ahead, rows)
    if not found:
        found, horizon_s, arrivals = _forecast(job, stage, ahead, settings), ahead.rollout_horizon, "forecast"
    rules = product_rules(settings)
    out = outcomes_of(stage, plans, found, rules, horizon_s)
    columns = [_columns(i, out, ahead.problem, stage, horizon_s) for i in range(len(plans))]
    models = stage.models
    prompts = float(out.count.sum(axis=1).mean())
    return Futures(
        arrivals, len(found), prompts, horizon_s,
        tuple(_future(c, models) for c in columns),
        _future([b - a for a, b in zip(columns[0], columns[-1], strict=True)], models),
    )  # fmt: skip


def _realised(job: Job, stage: Scene, ahead: Outlook, rows: Sequence[PromptRow]) -> tuple[Sequence[Draw], float, str]:
    o = job.observation
    last_s = max((r.arrived_s for r in rows), default=o.at_s) - o.at_s
    span_s = min(ahead.rollout_horizon, last_s)
    if span_s <= 0 or span_s < LEAST_PART * ahead.rollout_horizon:
        return (), 0.0, ""
    came = prompts_of(rows, o, span_s)
    return demand_as_it_came(stage, o, came, job.decision_id, DRAWS), span_s, "realised"


def _forecast(job: Job, stage: Scene, ahead: Outlook, settings: Settings) -> Sequence[Draw]:
    affordable = int(settings.rollout_events / max(1.0, ahead.rollout_events))
    rng = generator(job.decision_id, "futures")
    rates = draws(ahead.forecast, rng, max(LEAST_DRAWS, min(DRAWS, affordable)))
    ways = paths(ahead.forecast, rng, len(rates)) if ahead.forecast.coming else ()
    access, horizon_s = ahead.problem.access, ahead.rollout_horizon
    return demand_draws(stage, job.observation, ahead.forecast, rates, access, rng, horizon_s, ways)


def _columns(i: int, out: Outcomes, p: Problem, stage: Scene, horizon_s: float) -> list[Floats]:
    """(objective, mean latency, J, attainment of each model) of plan i, each per draw; NaN where nothing came."""
    one = Outcomes(out.latency_s[i : i + 1], out.count, out.busy_s[i : i + 1], out.moves[i : i + 1], out.events)
    count = out.count
    total = np.maximum(count.sum(axis=1), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = out.latency_s[i] / count
        met = out.met[i] / count if out.met is not None else np.full(count.shape, np.nan)
    fair = [
        jain_normalized([min(1.0, float(p.ideal[m] / row[m])) if row[m] > 0 else 1.0 for m in np.nonzero(n)[0]])
        for row, n in zip(each, count, strict=True)
    ]
    objective = scores(p, one, stage.nodes, horizon_s)[0]
    return [objective, out.latency_s[i].sum(axis=1) / total, np.array(fair), *met.T]


def _future(columns: Sequence[Floats], models: Sequence[str]) -> Future:
    known = [(m, c[np.isfinite(c)]) for m, c in zip(models, columns[3:], strict=True)]
    objective, latency, fair = (score(c) for c in columns[:3])
    return Future(objective, latency, fair, tuple((m, score(c)) for m, c in known if c.size))
