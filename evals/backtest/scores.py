"""How good forecasts were. Lower is better but for coverage, which is to be the level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgewise.twin.demand import Floats

LEVELS = (0.8, 0.95)


@dataclass(frozen=True)
class Predicted:
    """mean[I, ...] rates per second; low, high: ends of the central interval at each of LEVELS, NaN where a method
    does not say."""

    mean: Floats
    low: Mapping[float, Floats]
    high: Mapping[float, Floats]


@dataclass(frozen=True, slots=True)
class Scores:
    """wape: Σ|error| / Σ truth. mase: mean |error| over that of the last window. bias: Σ error / Σ truth, positive
    when too high. coverage80, coverage95: part of the truths inside the interval. pinball: mean quantile loss over
    the four ends, over the mean truth. None where nothing came, or a method has no intervals."""

    wape: float | None
    mase: float | None
    bias: float | None
    coverage80: float | None
    coverage95: float | None
    pinball: float | None


def score(found: Predicted, truth: Floats, naive: Floats) -> Scores:
    """All cells of [I, ...] as one. naive: the last window's forecast."""
    total, error = float(truth.sum()), found.mean - truth
    worst = float(np.abs(naive - truth).mean()) if truth.size else 0.0
    covered = {level: _covered(found, truth, level) for level in LEVELS}
    return Scores(
        wape=float(np.abs(error).sum()) / total if total > 0 else None,
        mase=float(np.abs(error).mean()) / worst if worst > 0 else None,
        bias=float(error.sum()) / total if total > 0 else None,
        coverage80=covered[0.8],
        coverage95=covered[0.95],
        pinball=_pinball(found, truth),
    )


def _covered(found: Predicted, truth: Floats, level: float) -> float | None:
    said = np.isfinite(found.low[level])
    inside = (found.low[level] <= truth) & (truth <= found.high[level])
    return float(inside[said].mean()) if said.any() else None


def _pinball(found: Predicted, truth: Floats) -> float | None:
    losses = []
    for level in LEVELS:
        said = np.isfinite(found.low[level])
        for end, q in ((found.low[level], (1 - level) / 2), (found.high[level], (1 + level) / 2)):
            over = (truth - end)[said]
            losses.append(np.maximum(q * over, (q - 1) * over))
        if not said.any() or truth[said].mean() <= 0:
            return None
    return float(np.concatenate(losses).mean() / truth[said].mean())
