"""The plan that edgewise would go by now: one decision on what stood and came in."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edgewise.control.intake import merge
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import (
    ClusterFacts,
    DemandFact,
    ModelFact,
    NodeFact,
    Observation,
    ReplicaFact,
    TelemetryFacts,
)
from evals.scenario import Scenario
from evals.scenario_world import to_world
from evals.shadow.prompts import Prompts
from evals.shadow.stage import Stage

WINDOW_S = 600.0  # of demand that a plan is made for: the last so many seconds


def observation(stage: Stage, scenario: Scenario, p: Prompts, means_s: list[float | None]) -> Observation:
    """The end of the recording as a controller would see it. means_s [M]: measured latencies."""
    world, end_s = to_world(scenario), scenario.duration_s
    window_s = min(WINDOW_S, end_s)
    recent = p.at_s >= end_s - window_s
    counts = Counter(zip(p.access[recent].tolist(), p.model[recent].tolist(), strict=True))
    ends = np.bincount(p.model[recent], minlength=len(stage.models))
    stands = stage.timeline[-1][1] if stage.timeline and stage.timeline[-1][1].any() else stage.placement
    replicas = []
    used = np.zeros(len(stage.nodes))
    for n, m in zip(*np.nonzero(stands), strict=True):
        need = stage.models[m].memory_gib
        if used[n] + need <= stage.nodes[n].memory_gib + 1e-9:  # what was guessed may not add up
            used[n] += need
            replicas.append(ReplicaFact(stage.nodes[n].id, stage.models[m].id, ReplicaState.READY, 0.0))
    facts = ClusterFacts(
        end_s,
        tuple(NodeFact(x.id, True, x.memory_gib, float(u)) for x, u in zip(stage.nodes, used, strict=True)),
        tuple(replicas),
    )
    telemetry = TelemetryFacts(
        at_s=end_s,
        loads=(),
        demand=tuple(
            DemandFact(stage.nodes[a].id, stage.models[m].id, n, window_s) for (a, m), n in sorted(counts.items())
        ),
        models=tuple(
            ModelFact(facts_.id, int(ends[j]), window_s, means_s[j], None, None, 0)
            for j, facts_ in enumerate(stage.models)
        ),
    )
    return merge(
        world, facts, telemetry, at_s=end_s, slot=round(end_s / scenario.slot_s), slot_s=scenario.slot_s,
        epoch_slots=scenario.epoch_slots,
    )  # fmt: skip
