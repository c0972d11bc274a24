"""The backtest of a scenario: every method on the prompts of each seed, scored on both halves of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from edgewise.twin.demand import Floats
from evals.backtest.methods import PLAIN, last_window, with_intervals
from evals.backtest.product import predict
from evals.backtest.scores import Predicted, Scores, score
from evals.backtest.series import Series, series_of
from evals.product import WINDOW_SLOTS
from evals.scenario import Scenario
from evals.setting import setting

PRODUCT = "edgewise"
HALVES = ("train", "held_out")  # constants may be chosen on the first half of a run, and are believed by the second


def backtest(scenario: Scenario, seeds: Sequence[int]) -> dict[str, Any]:
    """{scenario, seeds, traces, slot_s, ahead_slots, cells | models: {half: {method: scores}}, per_model}. Scores are
    means over seeds. Raises BadInput as reading the scenario's traces does."""
    found = [_seed(scenario, seed) for seed in seeds]
    models = [m.id for m in scenario.models]
    return {
        "scenario": scenario.name,
        "seeds": list(seeds),
        "recorded": [f.file for f in scenario.workload.traces],
        "notes": sorted({n for f in found for n in f["notes"]}),
        "slot_s": scenario.slot_s,
        "ahead_slots": scenario.epoch_slots,
        "cells": {half: _mean([f["cells"][half] for f in found]) for half in HALVES},
        "models": {half: _mean([f["models"][half] for f in found]) for half in HALVES},
        "per_model": {
            m: {half: _mean([f["per_model"][j][half] for f in found]) for half in HALVES}
            for j, m in enumerate(models)
        },
    }


def _seed(scenario: Scenario, seed: int) -> dict[str, Any]:
    where = setting(scenario, seed)
    slots = int(scenario.duration_s // scenario.slot_s)
    shape = (len(where.believed.nodes), len(where.believed.models))
    s = series_of(where.arrivals.demand, *shape, scenario.slot_s, slots, WINDOW_SLOTS, scenario.epoch_slots)
    cells, kinds = predict(s, where.believed, seed)
    whole = Series(s.counts.sum(axis=1, keepdims=True), s.slot_s, s.window, s.ahead)
    by_cell = _methods(s, cells)
    kinds = Predicted(*(_column(x) for x in (kinds.mean, kinds.low, kinds.high)))
    by_model = _methods(whole, kinds)
    return {
        "notes": where.arrivals.notes,
        "cells": _halves(s, by_cell),
        "models": _halves(whole, by_model),
        "per_model": [_halves(whole, by_model, j) for j in range(shape[1])],
    }


def _column(x: Any) -> Any:
    """[I, M] → [I, 1, M], also inside the intervals."""
    return {k: v[:, None] for k, v in x.items()} if isinstance(x, Mapping) else x[:, None]


def _methods(s: Series, ours: Predicted) -> dict[str, Predicted]:
    plain = {name: with_intervals(method(s), s.truth(), s.ahead) for name, method in PLAIN.items()}
    return {PRODUCT: ours, **plain}


def _halves(s: Series, found: Mapping[str, Predicted], model: int | None = None) -> dict[str, dict[str, Scores]]:
    truth, naive = s.truth(), last_window(s)
    half = len(truth) // 2
    # A forecast made before the middle is for slots behind it: between the halves lies one look ahead.
    cuts = dict(zip(HALVES, (slice(0, max(0, half - s.ahead)), slice(half, None)), strict=True))
    kind = slice(None) if model is None else slice(model, model + 1)

    def cut(x: Floats, rows: slice) -> Floats:
        return x[rows, :, kind]

    out = {}
    for name, rows in cuts.items():
        part = {
            m: Predicted(
                cut(f.mean, rows),
                {q: cut(x, rows) for q, x in f.low.items()},
                {q: cut(x, rows) for q, x in f.high.items()},
            )
            for m, f in found.items()
        }
        out[name] = {m: score(f, cut(truth, rows), cut(naive, rows)) for m, f in part.items()}
    return out


def _mean(rows: Sequence[Mapping[str, Scores]]) -> dict[str, dict[str, float | None]]:
    out: dict[str, dict[str, float | None]] = {}
    for method in rows[0]:
        plain = [asdict(row[method]) for row in rows]
        out[method] = {k: _known([p[k] for p in plain]) for k in plain[0]}
    return out


def _known(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return round(float(np.mean(there)), 5) if there else None
