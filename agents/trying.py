"""What the planner may look up or try: replicas, cases, the optimiser's word, a placement in the twin. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agents.briefing import allowed_names, case_of, placement_of, replicas_table
from agents.figures import models_asked
from agents.mending import Cut, clean_text
from agents.shape import shaped
from agents.tables import rounded, table
from edgewise.control.state import EpochResult, Job
from edgewise.control.trial import Tried, trial
from edgewise.domain.plan import Plan, ReplicaGoal, Source
from edgewise.settings import Settings


def replicas_of(job: Job, _: EpochResult, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Replicas (of a node, of a model), and what memory is free."""
    o = job.observation
    models = models_asked(o, asked)
    node = asked.get("node")
    nodes = [n.id for n in o.node_specs if node in (None, "", "*", "all", n.id)]
    found = replicas_table(o)
    rows = [r for r in found["rows"] if r[0] in nodes and r[1] in models]
    free = [[f.node, f.alive, f.memory_gib - f.memory_used_gib, f.age_s] for f in o.cluster.nodes if f.node in nodes]
    return {
        "replicas": found | {"rows": rows},
        "nodes": table(["node", "alive", "free_gib", "age_s"], free),
    }


def cases_of(job: Job, _: EpochResult, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    return {"cases": [case_of(c) for c in job.cases]}


def optimiser_says(job: Job, result: EpochResult, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The optimiser's placement and its prediction beside the incumbent's."""
    plan = result.plans[0].plan
    found = trial(job, [job.incumbent or plan, plan], settings)
    return {"placement": placement_of(plan), "predicted": _scores(("incumbent", "optimised"), found)}


def tried(job: Job, result: EpochResult, settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The placement asked for in the twin, as it would be carried out."""
    o = job.observation
    read = shaped(dict(asked), True, allowed_names(o))
    if isinstance(read, Cut):
        return {"error": read.reason}
    answer, notes = read
    if answer.alpha is not None:
        settings = settings.model_copy(update={"alpha": answer.alpha})
    optimised = result.plans[0].plan
    mine = Plan(
        f"{job.decision_id}-t",
        Source.LLM,
        o.at_s,
        optimised.expires_s,
        tuple(ReplicaGoal(*p) for p in answer.pairs()),
    )
    found = trial(job, [job.incumbent or optimised, optimised, replace(mine, alpha=answer.alpha)], settings)
    changed = [clean_text(n, 120) for n in (*notes, *found[2].changed)][:8]
    return {
        "predicted": _scores(("incumbent", "optimised", "yours"), found),
        "yours_made_feasible": placement_of(found[2].plan),
        "changed": changed,
    }


def _scores(names: tuple[str, ...], found: tuple[Tried, ...]) -> dict[str, Any]:
    rows = [
        [name, rounded(t.score.mean), [t.score.low, t.score.high], *t.gain]
        for name, t in zip(names, found, strict=True)
    ]
    return table(["plan", "score", "interval_95", "gain", "gain_error"], rows)
