"""How fast the case memory is when it is full: recalls of a Chroma folder with N cases, and what a case costs.

The cases are drawn as those of many runs on seven nodes with four models: loads, mixes and placements of all sorts.
`recall_p95_ms` is a whole recall as a slot makes it: neighbours from disk, feasibility, ranking, both kinds of
example. The folder is built in batches by the code that remembers single cases (`build_s`), opened anew (`open_s`),
and is gone afterwards. `remember_p95_ms` and `score_p95_ms`: one case written, and one measured, merging looked for.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.domain.plan import ReplicaGoal, Role
from edgewise.domain.records import Case, CaseOutcome, Reach, Situation
from memory.chroma import ChromaMemory

CASES = 10_000
RECALLS, WRITES = 200, 20
NODES, MODELS = 7, ("gpt2", "gpt2-large", "blip", "stable-diffusion")
COUNT = 3  # as the setting recall_cases
REACH = Reach(tuple((f"edge-{n + 1}", 8.0) for n in range(NODES)), tuple((m, 2.0) for m in MODELS))


def bench(cases: int = CASES) -> list[dict[str, Any]]:
    """One row, as `bench --json` gives it."""
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-") as folder:
        return [asyncio.run(_measure(Path(folder) / "memory", cases))]


async def _measure(path: Path, cases: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    memory = ChromaMemory(path, keep=2 * cases + WRITES)
    await memory.start()
    began = time.perf_counter()
    for start in range(0, cases, 5_000):
        await memory.remember_all([case(rng, i) for i in range(start, min(cases, start + 5_000))])
    build_s = time.perf_counter() - began
    await memory.aclose()
    memory = ChromaMemory(path, keep=2 * cases + WRITES)
    began = time.perf_counter()
    await memory.start()
    open_s = time.perf_counter() - began
    recalls, cpu = await _times(RECALLS, lambda i: memory.recall(situation(rng), COUNT, REACH, both=True))
    fresh = [replace(case(rng, cases + i), outcome=None) for i in range(WRITES)]
    writes, _ = await _times(WRITES, lambda i: memory.remember(fresh[i]))
    scores, _ = await _times(WRITES, lambda i: memory.score(fresh[i].id, _outcome(rng)))
    stored = await memory.count()
    await memory.aclose()
    return {
        "name": "memory",
        "size": str(cases),
        "stored": stored,
        "recall_p50_ms": float(np.quantile(recalls, 0.5)),
        "recall_p95_ms": float(np.quantile(recalls, 0.95)),
        "recall_cpu_p95_ms": float(np.quantile(cpu, 0.95)),
        "remember_p95_ms": float(np.quantile(writes, 0.95)),
        "score_p95_ms": float(np.quantile(scores, 0.95)),
        "build_s": build_s,
        "open_s": open_s,
        "mib": _mib(path),
    }


def _mib(path: Path) -> float:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 2**20


async def _times(count: int, call: Callable[[int], Awaitable[Any]]) -> tuple[list[float], list[float]]:
    """Milliseconds of wall clock, and of the process's CPU, of each call."""
    wall, cpu = [], []
    for i in range(count):
        began, used = time.perf_counter(), time.process_time()
        await call(i)
        wall.append((time.perf_counter() - began) * 1e3)
        cpu.append((time.process_time() - used) * 1e3)
    return wall, cpu


def situation(rng: np.random.Generator) -> Situation:
    """The features of edgewise.control.situation, of a state that could be."""
    load, mix = rng.uniform(0.1, 1.2), rng.dirichlet(np.full(len(MODELS), 2.0))
    features = {
        "load": load / (1 + load), "alive": rng.choice([1.0, 1.0, 1.0, 6 / 7]), "trend": rng.normal(0.5, 0.05),
        "bursts": rng.uniform(0.1, 0.4), "memory": rng.uniform(0.6, 1.0), "catalogue": 0.5,
        "role:spare": 0.0, "role:single": rng.integers(0, 4) / 7, "role:mixed": rng.integers(3, 8) / 7,
    }  # fmt: skip
    for m, part in zip(MODELS, mix, strict=True):
        waits = rng.exponential(0.3) * load
        features |= {f"mix:{m}": part, f"held:{m}": rng.integers(1, 6) / 28}
        features |= {f"waits:{m}": waits / (1 + waits), f"load:{m}": part * load / (1 + part * load)}
    return Situation(tuple((name, round(float(value), 6)) for name, value in features.items()))


def case(rng: np.random.Generator, number: int) -> Case:
    """A case with an outcome."""
    placed = rng.random((NODES, len(MODELS))) < 0.6
    placed[rng.integers(NODES, size=len(MODELS)), range(len(MODELS))] = True
    goals = tuple(ReplicaGoal(f"edge-{n + 1}", MODELS[m]) for n, m in np.argwhere(placed))
    roles = tuple(Role(f"edge-{n + 1}", "+".join(np.array(MODELS)[placed[n]]) or "spare") for n in range(NODES))
    words = "7 nodes, work 3.10 s/s (gpt2 40%, blip 30%, gpt2-large 20%, stable-diffusion 10%); placed 4×gpt2, 3×blip"
    return Case(
        f"bench-{number:07}", f"d-{number:06}", 30.0 * number, situation(rng), goals, 2.0, words, _outcome(rng), 2.2,
        "optimiser", roles,
    )  # fmt: skip


def _outcome(rng: np.random.Generator) -> CaseOutcome:
    return CaseOutcome(float(2.0 * rng.lognormal(0.0, 0.3)), 4.0, 0.9, 2)
