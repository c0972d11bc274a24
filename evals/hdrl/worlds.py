"""The training distribution: small clusters drawn at random, and the prompts of one run in each.

Streams of draws are named `hdrl/…`, and model ids are of their own, so no draw of an evaluation is ever seen here.
"""

from __future__ import annotations

import numpy as np

from edgewise.control.seeds import generator
from edgewise.domain.model import Task
from evals.scenario import (
    LinkEntry,
    Links,
    LoadTime,
    MeanService,
    ModelEntry,
    NodeEntry,
    PopularityShift,
    Scenario,
    SyntheticEntry,
    WorkloadEntry,
)
from evals.setting import Setting, setting

MOST_NODES, MOST_MODELS = 10, 6
MOST_PER_S = 12.0  # prompts: smaller models do not teach more, and take long to simulate
SEEDS = {"train": 40_000_000, "check": 50_000_000, "held-out": 60_000_000}  # of the prompts of world 0

Rng = np.random.Generator


def world(kind: str, index: int, duration_s: float) -> Setting:
    """World `index` of a kind ("train", "held-out"), 4–10 nodes × 3–6 models at a load of 0.4–0.95."""
    rng = generator("hdrl", kind, str(index))
    return setting(scenario(rng, f"hdrl-{kind}-{index}", duration_s), SEEDS[kind] + index)


def scenario(rng: Rng, name: str, duration_s: float) -> Scenario:
    """One draw of the distribution."""
    while True:
        nodes, models = _nodes(rng), _models(rng)
        memory, need = sum(n.memory_gib for n in nodes), sum(m.memory_gib for m in models)
        largest = max(m.memory_gib for m in models)
        # Memory forces choices, and leaves some: at least two nodes for the largest model.
        if 1.2 * need <= memory <= 6 * need and sum(n.memory_gib >= largest for n in nodes) >= 2:
            break
    sizes = np.array([_mean_s(m) for m in models])
    rates = rng.dirichlet(np.full(len(models), 1.5)) / sizes
    load = rng.uniform(0.4, 0.95)
    capacity = sum(n.speed for n in nodes)
    load = min(load, MOST_PER_S / rates.sum() / capacity)
    spatial = rng.dirichlet(np.full(len(nodes), 2.0))
    return Scenario(
        name=name,
        nodes=nodes,
        models=models,
        duration_s=duration_s,
        links=Links(LinkEntry(float(rng.uniform(2, 20)), float(np.exp(rng.uniform(np.log(100), np.log(1000)))))),
        workload=WorkloadEntry(
            synthetic=tuple(_entry(rng, m, float(r)) for m, r in zip(models, rates, strict=True)),
            spatial={n.id: float(s) for n, s in zip(nodes, spatial, strict=True)},
            target_load=float(load),
        ),
        events=tuple(_shifts(rng, models, sizes, duration_s)),
    )


def _nodes(rng: Rng) -> tuple[NodeEntry, ...]:
    roomy = rng.uniform(0.8, 1.6)
    return tuple(
        NodeEntry(f"n{i}", float(roomy * rng.uniform(4, 8)), float(np.exp(rng.uniform(np.log(0.5), np.log(1.8)))))
        for i in range(rng.integers(4, MOST_NODES + 1))
    )


def _models(rng: Rng) -> tuple[ModelEntry, ...]:
    found = []
    for i in range(rng.integers(3, MOST_MODELS + 1)):
        need = float(np.exp(rng.uniform(np.log(0.8), np.log(5.5))))
        found.append(
            ModelEntry(
                id=f"hdrl-{i}",
                task=Task.TEXT_GENERATION,
                memory_gib=need,
                load_s=LoadTime(float((3 + 3.5 * need) * rng.uniform(0.7, 1.3)), 0.2),
                service_s=MeanService(
                    float(np.exp(rng.uniform(np.log(0.5), np.log(10.0)))), float(rng.uniform(0.2, 1.2))
                ),
                request_kib=float(np.exp(rng.uniform(np.log(2), np.log(300)))),
                response_kib=float(np.exp(rng.uniform(np.log(1), np.log(400)))),
            )
        )
    return tuple(found)


def _mean_s(model: ModelEntry) -> float:
    assert isinstance(model.service_s, MeanService)
    return model.service_s.mean


def _entry(rng: Rng, model: ModelEntry, rate_per_s: float) -> SyntheticEntry:
    if rng.random() < 0.4:
        return SyntheticEntry(model.id, rate_per_s)
    return SyntheticEntry(model.id, rate_per_s, "mmpp", float(rng.uniform(2, 6)), float(rng.uniform(20, 120)))


def _shifts(
    rng: Rng, models: tuple[ModelEntry, ...], sizes: np.ndarray[tuple[int], np.dtype[np.float64]], duration_s: float
) -> list[PopularityShift]:
    """Up to two changes of popularity, each to another draw of the demand."""
    found = []
    for at_s in np.sort(rng.uniform(0.1, 0.9, rng.integers(0, 3))) * duration_s:
        parts = rng.dirichlet(np.full(len(models), 1.5)) / sizes
        parts /= parts.sum()
        shares = {m.id: float(p) for m, p in zip(models, parts, strict=True)}
        found.append(PopularityShift(float(at_s), "popularity-shift", shares))
    return found
