"""Service profiles from what was measured: a first guess, then the services under which the twin of what stands
shows the latencies that were measured.

*First guess.* Where the system states its service time, that. Else latency less queueing: where prompts of a node
share it evenly (M/G/1 processor sharing, insensitive to the spread: Kleinrock, Queueing Systems 2, ch. 4) model m has
T_m = s_m / (1 − ρ), and by Little's law ρ / (1 − ρ) = Σ λ_k T_k = N, the prompts there on average; so
s_m = T_m / (1 + N).

*Then the twin*: services are scaled, model by model, until the mean latency of prompts that end in the calibration
window is what was measured there. A step takes the power 1 / (1 + N) of the ratio, as there latency goes with service
to the power 1 / (1 − ρ) = 1 + N.

*Spread.* Where a system states service times, their spread is that of its buckets. Else it follows from that of the
latencies, which queueing widens: it is scaled likewise, until the twin's latencies spread as the measured ones do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.settings import Settings
from edgewise.twin.demand import Floats
from evals.scenario import Scenario
from evals.shadow.measured import LEAST_CV, MOST_CV, Mean, buckets_of, cv_of, mean_of, within
from evals.shadow.prompts import Prompts
from evals.shadow.stage import Stage
from evals.shadow.traffic import Timed, Traffic
from evals.shadow.twin import Latencies, latencies, scenario_of

DEFAULT_CV, DEFAULT_SERVICE_S = 1.0, 1.0
RIDGE = 20.0  # prompts' worth of belief that nodes are equally fast
STEPS = 8
FIT_RUNS, FIT_SEED = 4, 1000  # draws of services that a fit is made over: one would be taken for the truth
FURTHEST = 4.0  # a fit that wants more than this times the first guess is not a matter of calibration
ENOUGH = 5  # prompts of a model below which its latency is no target


@dataclass(frozen=True, slots=True)
class Calibration:
    """service_s, cv [M]: at speed 1, alone; speed [N]; how: where each model's first guess is from (stated, latency,
    other models); targets [M]: its latency in the calibration window, None
    where too few ended; shapes [M]: how that spreads, where nothing says how service does."""

    service_s: Floats
    cv: Floats
    speed: Floats
    how: tuple[str, ...]
    targets: tuple[Mean | None, ...]
    shapes: tuple[Shape | None, ...] = ()

    def with_service(self, service_s: Floats, cv: Floats | None = None) -> Calibration:
        return replace(self, service_s=service_s, cv=self.cv if cv is None else cv)


@dataclass(frozen=True, slots=True)
class Shape:
    """How latencies of a model spread: their cv, as it shows in buckets with these bounds (none: in single times)."""

    cv: float
    bounds: tuple[float, ...]

    def of(self, latency_s: Floats) -> float | None:
        """The cv of these latencies, seen the same way."""
        if not self.bounds:
            mean_s = float(latency_s.mean()) if latency_s.size else 0.0
            return float(latency_s.std()) / mean_s if mean_s > 0 else None
        buckets = tuple((le, float((latency_s <= le).sum())) for le in self.bounds)
        return cv_of([Timed("", "", 0.0, 0.0, float(latency_s.size), float(latency_s.sum()), buckets)])


def first_guess(seen: Traffic, stage: Stage, begin_s: float, end_s: float) -> Calibration:
    """From what ended in the window."""
    nodes, models = len(stage.nodes), len(stage.models)
    pairs, counts = np.full((nodes, models), np.nan), np.zeros((nodes, models))
    service, latency = within(seen.services, begin_s, end_s), within(seen.latencies, begin_s, end_s)
    how, cv = list[str](), np.full(models, DEFAULT_CV)
    targets: list[Mean | None] = []
    shapes: list[Shape | None] = []
    present = sum(t.sum_s for t in latency) / max(end_s - begin_s, 1e-9) / nodes  # N of a node
    for facts in stage.models:
        j = stage.model_of[facts.name]
        stated = [t for t in service if t.model == facts.name]
        timed = [t for t in latency if t.model == facts.name]
        target = mean_of(timed)
        targets.append(target if target is not None and target.count >= ENOUGH else None)
        used = stated if mean_of(stated) is not None else timed
        how.append("stated" if used is stated else "latency" if target is not None else "other models")
        cv[j] = cv_of(stated) or cv_of(timed) or DEFAULT_CV
        spread = cv_of(timed) if cv_of(stated) is None and targets[-1] is not None else None
        single = all(t.count == 1 and not t.buckets for t in timed)
        bounds = () if single else tuple(le for le, _ in buckets_of(timed))
        shapes.append(None if spread is None else Shape(spread, bounds))
        _fill(pairs, counts, used, stage, j, 1.0 if used is stated else 1.0 + present)
    speed, service_s = _split(pairs, counts, stage)
    return Calibration(service_s, cv, speed, tuple(how), tuple(targets), tuple(shapes))


def _fill(
    pairs: Floats, counts: Floats, times: Sequence[Timed], stage: Stage, j: int, over: float
) -> None:  # fmt: skip
    """Means by node; what ended somewhere counts for every node that holds the model."""
    for node in {t.node for t in times}:
        found = mean_of([t for t in times if t.node == node])
        if found is None or found.mean_s <= 0:
            continue
        where = [stage.node_of[node]] if node in stage.node_of else np.nonzero(stage.placement[:, j])[0].tolist()
        for n in where:
            pairs[n, j] = found.mean_s / over
            counts[n, j] += found.count / len(where)


def _split(pairs: Floats, counts: Floats, stage: Stage) -> tuple[Floats, Floats]:
    """ln s[n, m] = ln service_m − ln speed_n, least squares weighted by prompts, speeds held near 1. A node whose
    speed was given keeps it (that of 1 is left to be found)."""
    nodes, models = pairs.shape
    known = np.isfinite(pairs) & (counts > 0)
    if not known.any():
        return np.ones(nodes), np.full(models, DEFAULT_SERVICE_S)
    rows, right, weights = [], [], []
    for n, m in zip(*np.nonzero(known), strict=True):
        row = np.zeros(models + nodes)
        row[m], row[models + n] = 1.0, -1.0
        rows.append(row)
        right.append(np.log(pairs[n, m]))
        weights.append(counts[n, m])
    for n in range(nodes):
        given = stage.nodes[n].speed
        row = np.zeros(models + nodes)
        row[models + n] = 1.0
        rows.append(row)
        right.append(np.log(given))
        weights.append(RIDGE if given == 1.0 else 1e9)
    root = np.sqrt(np.array(weights))
    found, *_ = np.linalg.lstsq(np.array(rows) * root[:, None], np.array(right) * root, rcond=None)
    service_s = np.exp(found[:models])
    measured = known.any(axis=0)
    service_s[~measured] = np.exp(np.log(service_s[measured]).mean())
    return np.exp(found[models:]), service_s


def fit(
    stage: Stage, start: Calibration, p: Prompts, targets: Floats, window: tuple[float, float], settings: Settings,
    base: Scenario, seed: int,
) -> Calibration:  # fmt: skip
    """Services under which the twin shows `targets` [M] (nan: none) as mean latencies of prompts that end in the
    window, spread as they were."""
    found = start
    early, models = p.until(window[1]), len(stage.models)
    for _ in range(STEPS):
        scenario = scenario_of(stage, found, base)
        runs = [latencies(stage, scenario, early, settings, FIT_SEED * seed + i) for i in range(FIT_RUNS)]
        means = _mean([r.means(window, models) for r in runs])
        usable = np.isfinite(targets) & np.isfinite(means) & (means > 0)
        if not usable.any():
            break
        ratio = np.where(usable, targets / np.where(usable, means, 1.0), 1.0)
        present = float(np.nansum(np.where(usable, means, 0.0) * np.bincount(early.model, minlength=models)))
        present /= max(window[1], 1e-9) * len(stage.nodes)
        service_s = found.service_s * ratio ** (1.0 / (1.0 + present))
        service_s = np.clip(service_s, start.service_s / FURTHEST, start.service_s * FURTHEST)
        found = found.with_service(service_s, _spread(found, runs, window))
        if np.abs(np.log(ratio)).max() < 0.01:
            break
    return found


def _spread(found: Calibration, runs: Sequence[Latencies], window: tuple[float, float]) -> Floats:
    """[M] the next cv of services."""
    cv = found.cv.copy()
    for j, shape in enumerate(found.shapes):
        if shape is None:
            continue
        took = np.concatenate([r.latency_s[r.inside(window) & (r.model == j)] for r in runs])
        now = shape.of(took)
        if now is not None and now > 0:
            cv[j] = float(np.clip(cv[j] * shape.cv / now, LEAST_CV, MOST_CV))
    return cv


def _mean(runs: Sequence[Floats]) -> Floats:
    """[M] over the runs that have one; nan where none has."""
    several = np.array(runs)
    there = np.isfinite(several)
    counts = there.sum(axis=0)
    sums = np.where(there, several, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
