"""Figures the planner may ask for: series of the last slots, the present, what is expected. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agents.names import nearest
from agents.tables import table
from agents.tool_specs import BY_SLOT, FAIRNESS, NOW
from edgewise.control.outlook import outlook
from edgewise.control.state import EpochResult, Job
from edgewise.domain.observation import Observation
from edgewise.domain.records import SlotModel, SlotSummary
from edgewise.settings import Settings

Z80 = 1.2816


def telemetry_tables(job: Job, _: EpochResult, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The series named, for one model or all."""
    names = asked.get("series")
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not names:
        return {"error": "`series` is a list of names"}
    known = [*BY_SLOT, FAIRNESS, *NOW]
    wanted = [n for n in known if n in names]
    out: dict[str, Any] = {}
    if len(wanted) < len(set(map(str, names))):
        out["note"] = f"unknown series left out; known: {', '.join(known)}"
    models = models_asked(job.observation, asked)
    if not models:
        return {"error": "no such model"}
    slots = _slots(job, asked)
    for name in wanted:
        if name in BY_SLOT:
            out[name] = _series(name, slots, models)
        elif name == FAIRNESS:
            out[name] = table(["slot", "jain_normalized"], [[s.slot, s.jain_normalized] for s in slots])
        else:
            out[name] = _present(name, job.observation, models)
    return out


def forecast_tables(job: Job, _: EpochResult, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Expected prompts per second of each model with their 80 % interval, and the load they make."""
    models = models_asked(job.observation, asked)
    ahead = outlook(job.observation, job.track, settings, intents=job.intents)
    seen = {m.id: 0.0 for m in job.observation.model_specs}
    for d in job.observation.telemetry.demand:
        if d.model in seen:
            seen[d.model] += d.rate_per_s
    rows = []
    for j, model in enumerate(ahead.problem.models):
        if model in models:
            rate = float(ahead.rates[j])
            spread = Z80 * rate / math.sqrt(max(1e-9, float(ahead.forecast.shape[j])))
            load = rate * float(ahead.problem.service[j])
            bursts = float(ahead.forecast.bursts[j])
            rows.append([model, seen[model], rate, max(0.0, rate - spread), rate + spread, load, bursts])
    columns = ["model", "seen_per_s", "expected_per_s", "low_80", "high_80", "load", "dispersion"]
    return {"capacity": round(float(ahead.problem.capacity), 3), "forecast": table(columns, rows)}


def models_asked(o: Observation, asked: Mapping[str, Any]) -> list[str]:
    """All models, or the one asked for; none when it is unknown."""
    known = tuple(m.id for m in o.model_specs)
    name = asked.get("model")
    if name in (None, "", "*", "all"):
        return list(known)
    found = nearest(name, known) if isinstance(name, str) else None
    return [found] if found else []


def _slots(job: Job, asked: Mapping[str, Any]) -> tuple[SlotSummary, ...]:
    count = asked.get("slots")
    whole = isinstance(count, int) and not isinstance(count, bool) and count > 0
    return job.lately[-count:] if whole and isinstance(count, int) else job.lately


def _series(name: str, slots: tuple[SlotSummary, ...], models: list[str]) -> dict[str, Any]:
    def value(s: SlotSummary, model: str) -> Any:
        found: SlotModel | None = next((x for x in s.models if x.model == model), None)
        return getattr(found, name) if found else None

    return table(["slot", *models], [[s.slot, *(value(s, m) for m in models)] for s in slots])


def _present(name: str, o: Observation, models: list[str]) -> dict[str, Any]:
    facts = o.telemetry
    if name == "demand":
        rows = [[d.access_node, d.model, d.rate_per_s, d.age_s] for d in facts.demand if d.arrivals]
        return table(["access_node", "model", "per_s", "age_s"], [r for r in rows if r[1] in models])
    if name == "work":
        found = [[x.node, x.model, x.queued, x.in_flight, x.work_s, x.age_s] for x in facts.loads]
        return table(
            ["node", "model", "queued", "in_flight", "work_s", "age_s"], [r for r in found if r[1] in models]
        )
    times = [
        [s.node, s.model, s.count, s.seen_s / s.expected_s if s.expected_s > 0 else None, s.age_s]
        for s in facts.services
    ]
    return table(["node", "model", "prompts", "times_expected", "age_s"], [r for r in times if r[1] in models])
