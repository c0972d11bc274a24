"""A stage, its calibration and prompts as a scenario, and runs of it in the twin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgewise.settings import Settings
from edgewise.twin.demand import Demand, Floats, Ints
from evals import draws
from evals.arrivals import Arrivals
from evals.scenario import (
    Hints,
    LinkEntry,
    Links,
    LoadTime,
    MeanService,
    ModelEntry,
    Scenario,
    TraceEntry,
    WorkloadEntry,
)
from evals.setting import Setting, setting
from evals.shadow.prompts import Prompts
from evals.shadow.stage import BATCHING_DOUBT, Stage
from evals.shadow.status_quo import status_quo
from evals.simulate import Simulated, run_policy, run_prepared

if TYPE_CHECKING:
    from evals.shadow.calibrate import Calibration

LINK_MS = 1.0  # one way between nodes, where nobody says: one room


def first_scenario(
    stage: Stage, trace: str, duration_s: float, slot_s: float, epoch_slots: int, link_ms: float, seed: int
) -> Scenario:  # fmt: skip
    """Everything but services: `scenario_of` puts them in."""
    models = tuple(
        ModelEntry(
            id=m.id,
            task=m.task,
            memory_gib=m.memory_gib,
            load_s=LoadTime(m.load_s),
            service_s=MeanService(1.0),
            max_concurrency=m.max_concurrency,
            deadline_s=m.deadline_s,
            batch_curve=curve(m.batching, m.max_concurrency),
        )
        for m in stage.models
    )
    return Scenario(
        name="shadow",
        nodes=stage.nodes,
        models=models,
        workload=WorkloadEntry(traces=tuple(TraceEntry(trace, model=m.id, rate_scale=1.0) for m in stage.models)),
        duration_s=duration_s,
        seed=seed,
        slot_s=slot_s,
        epoch_slots=epoch_slots,
        hints=Hints(noise=0.0),
        links=Links(LinkEntry(latency_ms=link_ms)),
        initial=initial(stage),
    )


def curve(batching: float, most: int) -> tuple[float, ...]:
    """Speed in all with 1 … most prompts at once, relative to one."""
    return tuple(k**batching for k in range(1, most + 1)) if batching else ()


def doubted(base: Scenario, stage: Stage, rng: np.random.Generator) -> Scenario:
    """Where nobody says how much batching gains, one draw of it: the same way off for all models."""
    off = rng.uniform(-BATCHING_DOUBT, BATCHING_DOUBT)
    models = tuple(
        entry if m.batching_said
        else replace(entry, batch_curve=curve(min(1.0, max(0.0, m.batching + off)), m.max_concurrency))
        for entry, m in zip(base.models, stage.models, strict=True)
    )  # fmt: skip
    return replace(base, models=models)


def initial(stage: Stage) -> dict[str, tuple[str, ...]]:
    """Who stood there first, as far as memory goes."""
    first = next((p for _, p in stage.timeline if p.any()), stage.placement)
    found = {}
    for n, node in enumerate(stage.nodes):
        free, mine = node.memory_gib + 1e-9, list[str]()
        for m in np.nonzero(first[n])[0]:
            if stage.models[m].memory_gib <= free:
                mine.append(stage.models[m].id)
                free -= stage.models[m].memory_gib
        if mine:
            found[node.id] = tuple(mine)
    return found


def scenario_of(stage: Stage, found: Calibration, base: Scenario) -> Scenario:
    """The scenario with what was calibrated."""
    models = tuple(
        replace(entry, service_s=MeanService(round(float(s), 6), round(float(cv), 4)))
        for entry, s, cv in zip(base.models, found.service_s, found.cv, strict=True)
    )
    nodes = tuple(replace(n, speed=round(float(v), 6)) for n, v in zip(base.nodes, found.speed, strict=True))
    return replace(base, models=models, nodes=nodes)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of one run: when prompts ended (inf: not), how long they took, of which model."""

    finished_s: Floats
    latency_s: Floats
    model: Ints

    def inside(self, window: tuple[float, float]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.asarray((self.finished_s > window[0]) & (self.finished_s <= window[1]))

    def means(self, window: tuple[float, float], models: int) -> Floats:
        """[M] of prompts that ended in the window, as a server's own counters have it; nan where none did."""
        inside = self.inside(window)
        counts = np.bincount(self.model[inside], minlength=models).astype(float)
        sums = np.bincount(self.model[inside], self.latency_s[inside], minlength=models)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(sums / counts)

    def mean(self, window: tuple[float, float]) -> float:
        inside = self.inside(window)
        return float(self.latency_s[inside].mean()) if inside.any() else float("nan")


def latencies(stage: Stage, scenario: Scenario, p: Prompts, settings: Settings, seed: int) -> Latencies:
    """The twin of what stands."""
    table = today(stage, scenario, p, settings, seed).prompts
    return Latencies(table.finished_s, table.finished_s - table.arrived_s, table.model)


def today(stage: Stage, scenario: Scenario, p: Prompts, settings: Settings, seed: int) -> Simulated:
    where, prepared = status_quo(stage, where_of(scenario, p, seed), settings)
    return run_prepared(where, "status-quo", prepared)


def with_edgewise(scenario: Scenario, p: Prompts, seed: int) -> Simulated:
    """The product on the same nodes, memory and prompts, from the same placement on."""
    return run_policy(where_of(scenario, p, seed), "edgewise", 1.0)


def where_of(scenario: Scenario, p: Prompts, seed: int) -> Setting:
    """The setting of these prompts; their service draws are fixed by the seed, and the same under every policy."""
    service_s, hint_s = np.empty(len(p)), np.empty(len(p))
    for j, entry in enumerate(scenario.models):
        mine = np.nonzero(p.model == j)[0]
        assert isinstance(entry.service_s, MeanService)
        expected_s = np.full(mine.size, entry.service_s.mean)
        service_s[mine] = draws.service_s(entry.service_s, expected_s, draws.stream(seed, "service", entry.id))
        hint_s[mine] = expected_s
    none = np.full(len(p), -1, np.int64)
    given = Arrivals(
        Demand(p.at_s, p.model, p.access, service_s, hint_s), p.input_tokens, p.output_tokens, none, none, none, ()
    )
    return setting(scenario, seed, given)
