"""A small correction of the optimiser's routing weights and on-node shares, as a candidate of its own.

A weight or share is multiplied by `times`, within [LEAST_TIMES, MOST_TIMES], and its row made to sum to 1 again: no
correction can route to where nothing stands, take all from anyone, or move a replica.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from edgewise.control.floors import floored
from edgewise.control.intents import aims
from edgewise.control.state import Job, Proposed, Reweighting, RouteTimes, ShareTimes
from edgewise.domain.plan import ANY, Plan, Route, Share, Source
from edgewise.settings import Settings

LEAST_TIMES, MOST_TIMES = 0.2, 5.0
SOURCE = "llm-scheduler"


def with_reweighting(job: Job, ready: Sequence[Proposed], plan_id: str, settings: Settings) -> tuple[Proposed, ...]:
    """The challengers, and one more: the first of them (the incumbent's replicas with fresh weights) corrected."""
    if job.reweighting is None or not ready:
        return tuple(ready)
    found, notes = reweighed(ready[0].plan, job.reweighting, [n.id for n in job.observation.node_specs])
    if (found.routes, found.shares) == (ready[0].plan.routes, ready[0].plan.shares):
        return tuple(ready)
    why = job.reweighting.reason
    floors = (*aims(job.intents, job.observation).floors, *found.floors)
    plan = floored(replace(found, id=plan_id, source=Source.LLM, reason=why), settings.floor_share, floors)
    note = "; ".join(filter(None, (job.reweighting.note, *notes)))
    return (*ready, Proposed(SOURCE, plan, job.reweighting.rung, note))


def reweighed(plan: Plan, wanted: Reweighting, access_nodes: Sequence[str]) -> tuple[Plan, tuple[str, ...]]:
    """The plan with corrected weights and shares, and what of the correction did not apply, in words."""
    notes: list[str] = []
    rows = _routes(plan, wanted.routes, access_nodes, notes)
    routes = tuple(
        Route(access, model, node, weight)
        for (access, model), row in sorted(rows.items())
        for node, weight in _normal(row).items()
    )
    return replace(plan, routes=routes, shares=_shares(plan, wanted.shares, notes)), tuple(dict.fromkeys(notes))


def _routes(
    plan: Plan, wanted: Sequence[RouteTimes], access_nodes: Sequence[str], notes: list[str]
) -> dict[tuple[str, str], dict[str, float]]:
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for r in plan.routes:
        rows.setdefault((r.access_node, r.model), {})[r.node] = r.weight
    # Corrections for all access nodes first: those for one are taken on top.
    for w in sorted(wanted, key=lambda w: w.access_node != ANY):
        general = rows.get((ANY, w.model), {})
        if w.access_node != ANY and w.access_node in access_nodes and general:
            rows.setdefault((w.access_node, w.model), dict(general))
        mine = [
            row
            for (access, model), row in rows.items()
            if model == w.model and w.access_node in (ANY, access) and w.node in row
        ]
        if not mine:
            notes.append(f"no route of {w.model} from {w.access_node} to {w.node} to correct")
        for row in mine:
            row[w.node] *= _times(w.times)
    return rows


def _shares(plan: Plan, wanted: Sequence[ShareTimes], notes: list[str]) -> tuple[Share, ...]:
    rows: dict[str, dict[str, float]] = {}
    for s in plan.shares:
        rows.setdefault(s.node, {})[s.model] = s.share
    for w in wanted:
        if w.model in rows.get(w.node, {}):
            rows[w.node][w.model] *= _times(w.times)
        else:
            notes.append(f"no share of {w.model} on {w.node} to correct")
    return tuple(Share(n, m, x) for n, row in rows.items() for m, x in _normal(row).items())


def _times(times: float) -> float:
    return min(MOST_TIMES, max(LEAST_TIMES, times)) if math.isfinite(times) else 1.0


def _normal(row: dict[str, float]) -> dict[str, float]:
    total = sum(row.values())
    return {k: v / total for k, v in row.items()} if total > 0 else row
