"""From one band's prompts on both sides to its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.twin.demand import Floats, Ints
from evals.fidelity.report import Band, Kind, aim_for
from evals.fidelity.stats import Compared, compare

BOOTSTRAP_SEED = 20_260


@dataclass(frozen=True, slots=True)
class BandRun:
    """One run of a band. real_s [P], twin_s [S, P]: latencies of the same prompts in order of arrival; model [P].
    doubted_s [S, P]: with the level of the machine drawn too.
    load, cpu_load: see Band. service: by model, (mean as the nodes
    counted, mean as the twin expected), s."""

    asked_load: float
    duration_s: float
    real_s: Floats
    twin_s: Floats
    doubted_s: Floats
    model: Ints
    load: float
    cpu_load: float
    service: Mapping[str, tuple[float, float]]
    levels: Mapping[str, float]
    others_cores: float
    calibration_others_cores: float = 0.0


def band_of(runs: Sequence[BandRun], models: Sequence[str]) -> Band:
    """All runs of one band pooled, one after the other."""
    real_s = np.concatenate([r.real_s for r in runs])
    twin_s = np.concatenate([r.twin_s for r in runs], axis=1)
    model = np.concatenate([r.model for r in runs])
    doubted_s = np.concatenate([r.doubted_s for r in runs], axis=1)
    weights = np.array([r.duration_s for r in runs])
    kinds = {}
    for i, name in enumerate(models):
        mine = model == i
        if mine.any():
            services = [r.service[name] for r in runs if name in r.service]
            service = sum(s[0] for s in services) / sum(s[1] for s in services) if services else None
            kinds[name] = _kind(real_s[mine], twin_s[:, mine], service)
    everything = _kind(real_s, twin_s, None)
    error = everything.mean.error
    return Band(
        load=float(np.average([r.load for r in runs], weights=weights)),
        cpu_load=float(np.average([r.cpu_load for r in runs], weights=weights)),
        asked_load=runs[0].asked_load,
        mean_error=error.value,
        half_width=error.half_width,
        doubted=compare(real_s, doubted_s, BOOTSTRAP_SEED)["mean"].error,
        aim=aim_for(runs[0].asked_load),
        prompts=len(real_s),
        runs=len(runs),
        duration_s=float(weights.sum()),
        all=everything,
        models=kinds,
        levels={m: float(np.average([r.levels[m] for r in runs], weights=weights)) for m in models},
        others_cores=float(np.average([r.others_cores for r in runs], weights=weights)),
        calibration_others_cores=max(r.calibration_others_cores for r in runs),
    )


def _kind(real_s: Floats, twin_s: Floats, service: float | None) -> Kind:
    found: dict[str, Compared] = compare(real_s, twin_s, BOOTSTRAP_SEED)
    return Kind(len(real_s), found["mean"], found["p50"], found["p95"], service)
