"""Clusters and prompts small enough to reckon with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewise.domain.model import Task
from edgewise.twin.demand import Demand
from evals.scenario import (
    Event,
    LinkEntry,
    Links,
    LoadTime,
    MeanService,
    ModelEntry,
    NodeEntry,
    Scenario,
    SyntheticEntry,
    WorkloadEntry,
)


def tiny_scenario(
    speeds: Sequence[float] = (1.0,),
    *,
    models: Sequence[ModelEntry] | None = None,
    memory_gib: Sequence[float] | None = None,
    latency_ms: float = 0.0,
    shedding: bool = False,
    events: Sequence[Event] = (),
    duration_s: float = 600.0,
    rate_per_s: float = 0.3,
) -> Scenario:
    """Nodes n-0, n-1, …; one model m-0 unless others are given, each with Poisson arrivals."""
    chosen = tuple(models or (tiny_model("m-0"),))
    room = memory_gib or [8.0] * len(speeds)
    return Scenario(
        name="tiny",
        nodes=tuple(NodeEntry(f"n-{i}", room[i], s) for i, s in enumerate(speeds)),
        models=chosen,
        workload=WorkloadEntry(synthetic=tuple(SyntheticEntry(m.id, rate_per_s) for m in chosen)),
        duration_s=duration_s,
        shedding=shedding,
        links=Links(LinkEntry(latency_ms=latency_ms, bandwidth_mbps=1e9)),
        events=tuple(events),
    )


def tiny_model(name: str, *, memory_gib: float = 1.0, deadline_s: float = 60.0, mean_s: float = 1.0) -> ModelEntry:
    return ModelEntry(
        name, Task.TEXT_GENERATION, memory_gib, LoadTime(1.0), MeanService(mean_s), deadline_s=deadline_s
    )


def tiny_demand(
    at_s: Sequence[float],
    service_s: Sequence[float],
    access: Sequence[int] | None = None,
    model: Sequence[int] | None = None,
) -> Demand:
    size = len(at_s)
    service = np.array(service_s, dtype=np.float64)
    return Demand(
        np.array(at_s, dtype=np.float64),
        np.array(model if model is not None else [0] * size, np.int64),
        np.array(access if access is not None else [0] * size, np.int64),
        service,
        service,
    )
