"""A cluster of other make whose truth is known: run in the twin, and seen as its counters would show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgewise.domain.model import Task
from edgewise.policy import dispatch
from edgewise.policy.sample import SAMPLE
from edgewise.twin.arrays import FIXED, Rules
from edgewise.twin.demand import Demand
from evals import draws
from evals.arrivals import Arrivals
from evals.policies import Prepared
from evals.scenario import (
    Hints,
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
from evals.setting import Setting, setting
from evals.shadow.recorder import Poll
from evals.shadow.status_quo import AsSeen
from evals.simulate import Simulated, run_prepared
from tools.foreign.records import Busy, Count, NodeMemory, Reading, Resident, What
from tools.foreign.systems import Kind

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)


@dataclass(frozen=True)
class Home:
    """A model that one node serves: its load there, and what a prompt takes."""

    model: str
    node: str
    load: float
    service_s: float


@dataclass(frozen=True)
class ForeignCluster:
    """Each prompt is served at the node it comes in at, first come, first served."""

    where: Setting
    homes: tuple[Home, ...]
    ran: Simulated

    def polls(self, interval_s: float, missed: tuple[int, ...] = ()) -> list[Poll]:
        """What looks each interval_s show; those numbered in `missed` fail."""
        found = []
        for k in range(int(self.where.scenario.duration_s / interval_s) + 1):
            at_s = k * interval_s
            for home in self.homes:
                reading = None if k in missed else self._reading(home, at_s)
                found.append(Poll(home.node, at_s, 1e9 + at_s, reading, "" if reading else "no answer"))
        return found

    @property
    def kinds(self) -> dict[str, Kind]:
        return {home.node: Kind.VLLM for home in self.homes}

    def mean_s(self, begin_s: float, end_s: float) -> float:
        """True mean latency of prompts that ended then."""
        p = self.ran.prompts
        inside = (p.finished_s > begin_s) & (p.finished_s <= end_s)
        return float((p.finished_s - p.arrived_s)[inside].mean())

    def _reading(self, home: Home, at_s: float) -> Reading:
        p = self.ran.prompts
        names = [m.id for m in self.where.scenario.models]
        mine = p.model == names.index(home.model)
        ended = mine & (p.finished_s <= at_s)
        took = (p.finished_s - p.arrived_s)[ended]
        there = float((mine & (p.arrived_s <= at_s)).sum() - ended.sum())

        def count(what: What, value: float, le: float = 0.0) -> Count:
            return Count("", home.model, what, value, le)

        counts = [
            count(What.FINISHED, float(took.size)),
            count(What.LATENCY_S, float(took.sum())),
            count(What.LATENCY_COUNT, float(took.size)),
            *(count(What.LATENCY_BUCKET, float((took <= le).sum()), le) for le in BUCKETS),
        ]
        return Reading(
            counts=tuple(counts),
            busy=(Busy("", home.model, min(there, 1.0), max(0.0, there - 1.0)),),
            resident=(Resident("", home.model, "ready", 1.0),),
            memory=(NodeMemory("", 3.0),),
            models=(home.model,),
        )


def foreign_cluster(homes: tuple[Home, ...], duration_s: float, seed: int = 1, cv: float = 0.7) -> ForeignCluster:
    scenario = Scenario(
        name="foreign",
        nodes=tuple(NodeEntry(h.node, 3.0) for h in homes),
        models=tuple(
            ModelEntry(h.model, Task.TEXT_GENERATION, 1.0, LoadTime(5.0), MeanService(h.service_s, cv)) for h in homes
        ),
        workload=WorkloadEntry(synthetic=tuple(SyntheticEntry(h.model, h.load / h.service_s) for h in homes)),
        duration_s=duration_s,
        slot_s=10.0,
        epoch_slots=5,
        hints=Hints(noise=0.0),
        links=Links(LinkEntry(latency_ms=1.0)),
        initial={h.node: (h.model,) for h in homes},
    )
    return run_homes(scenario, homes, seed)


def run_homes(scenario: Scenario, homes: tuple[Home, ...], seed: int) -> ForeignCluster:
    at, model, service = [], [], []
    for j, entry in enumerate(scenario.workload.synthetic):
        rng = draws.stream(seed, "foreign", entry.model)
        gaps = rng.exponential(1.0 / entry.rate_per_s, int(3 * entry.rate_per_s * scenario.duration_s) + 10)
        times = np.cumsum(gaps)
        times = times[times < scenario.duration_s]
        expected = np.full(times.size, homes[j].service_s)
        at.append(times)
        model.append(np.full(times.size, j))
        service.append(draws.service_s(scenario.models[j].service_s, expected, rng))
    at_s, models, service_s = (np.concatenate(c) for c in (at, model, service))
    order = np.argsort(at_s, kind="stable")
    models = models[order].astype(np.int64)
    hints = np.array([h.service_s for h in homes])[models]
    none = np.full(models.size, -1, np.int64)
    demand = Demand(at_s[order], models, models.copy(), service_s[order], hints)
    where = setting(scenario, seed, Arrivals(demand, none, none, none, none, none, ()))
    placement = np.eye(len(homes), dtype=bool)
    rules = Rules(dispatch.SLOT_WEIGHTS, FIXED, 1.0, 1.0, 0.0, False, SAMPLE)
    today = AsSeen(((0.0, placement),), np.ones(len(homes)), homes=True, fixed=True)
    return ForeignCluster(where, homes, run_prepared(where, "today", Prepared(rules, today)))
