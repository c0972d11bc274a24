"""Whether a planner call can be spared: the situation is as it was when the model last answered. Pure."""

from __future__ import annotations

from edgewise.control.state import Job, LastAsked
from edgewise.domain.observation import Observation
from edgewise.settings import Settings

# Triggers that ask the same question: the planner's cadence, and trouble in a slot like any other.
_CADENCE = frozenset({"slot", "epoch"})


def seen_now(job: Job, seconds: float) -> LastAsked:
    """What a model that answers this job has seen."""
    o = job.observation
    replicas = tuple(sorted(job.incumbent.replicas)) if job.incumbent else ()
    return LastAsked(_kind(o.trigger), o.epoch, replicas, tuple(sorted(rates(o).items())), seconds)


def unchanged(job: Job, settings: Settings) -> str:
    """Why there is nothing new to ask, in words; empty when there is. The first call of an epoch is made whatever the
    situation, unless llm_unchanged_epochs allows to spare it."""
    last, now = job.last_asked, seen_now(job, 0.0)
    if last is None or now.epoch - last.epoch > settings.llm_unchanged_epochs:
        return ""
    if (now.trigger, now.replicas) != (last.trigger, last.replicas):
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
