"""Whether a planner call can be spared: the situation is as it was when the model last answered. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edgewise.control.intents import due
from edgewise.control.state import Job, LastAsked
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan, ReplicaGoal
from edgewise.settings import Settings

# Triggers that ask the same question: the planner's cadence, and trouble in a slot like any other.
WORK_SLOTS = 0.5
LEAST_RATE = 0.1  # prompts per second
_CADENCE = frozenset({"slot", "epoch"})


def seen_now(job: Job, seconds: float) -> LastAsked:
    """What a model that answers this job has seen."""
    o = job.observation
    replicas = tuple(sorted(job.incumbent.replicas)) if job.incumbent else ()
    meant = tuple(i.id for i in due(job.intents, o))
    return LastAsked(_kind(o.trigger), o.epoch, replicas, tuple(sorted(rates(o).items())), seconds, meant)


def unchanged(job: Job, settings: Settings) -> str:
    """Why there is nothing new to ask, in words; empty when there is. The first call of an epoch is made whatever the
    situation, unless llm_unchanged_epochs allows to spare it."""
    last, now = job.last_asked, seen_now(job, 0.0)
    if last is None or now.epoch - last.epoch > settings.llm_unchanged_epochs:
        return ""
    if (now.trigger, now.replicas, now.intents) != (last.trigger, last.replicas, last.intents):
        return ""
    was, tolerance = dict(last.rates), settings.llm_same_demand
    # One prompt more or less in the window is no news.
    least = 1.0 / max(1e-9, max((d.window_s for d in job.observation.telemetry.demand), default=1.0))
    for model, rate in now.rates:
        before = was.get(model, 0.0)
        if abs(rate - before) > max(least, tolerance * before):
            return ""
    return f"nothing changed since the answer in epoch {last.epoch}"


def rates(o: Observation) -> dict[str, float]:
    """Prompts per second of each model, over all access nodes."""
    found = {m.id: 0.0 for m in o.model_specs}
    for d in o.telemetry.demand:
        if d.model in found:
            found[d.model] += d.rate_per_s
    return found


def _kind(trigger: str) -> str:
    return "cadence" if trigger in _CADENCE else trigger


@dataclass(frozen=True, slots=True)
class Standing:
    """What a scheduler looks at: replicas, prompts per second by model, seconds of work left by node."""

    replicas: tuple[ReplicaGoal, ...]
    rates: tuple[tuple[str, float], ...]
    work_s: tuple[tuple[str, float], ...]


def standing(job: Job, plan: Plan) -> Standing:
    o = job.observation
    work = {n.id: 0.0 for n in o.node_specs}
    for x in o.telemetry.loads:
        work[x.node] = work.get(x.node, 0.0) + x.work_s
    return Standing(tuple(sorted(plan.replicas)), tuple(sorted(rates(o).items())), tuple(sorted(work.items())))


def moved(now: Standing, before: Standing | None, slot_s: float, settings: Settings) -> bool:
    """Whether a scheduler has something new to look at: other replicas, other demand, or work that piled up or went
    by more than WORK_SLOTS slots."""
    if before is None or now.replicas != before.replicas:
        return True
    tolerance, was = settings.llm_same_demand, dict(before.rates)
    if any(abs(r - was.get(m, 0.0)) > max(LEAST_RATE, tolerance * was.get(m, 0.0)) for m, r in now.rates):
        return True
    left = dict(before.work_s)
    return any(
        abs(w - left.get(n, 0.0)) > max(WORK_SLOTS * slot_s, tolerance * left.get(n, 0.0)) for n, w in now.work_s
    )
