"""Plain forecasts to hold the product's against. Each gives a mean rate; its interval is that of its own past errors.

Constants are the textbook's (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed.), not fitted:
a plain method must be plain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgewise.twin.demand import Floats
from evals.backtest.scores import LEVELS, Predicted
from evals.backtest.series import Series

SMOOTHING = 0.3
TREND, DAMPING = 0.1, 0.8
Z = {0.8: 1.281552, 0.95: 1.959964}
LEAST_PAST = 8  # errors known before an interval says anything
Method = Callable[[Series], Floats]


def last_window(s: Series) -> Floats:
    """The rate of the window just seen goes on."""
    return s.seen()


def smoothed(s: Series) -> Floats:
    """Simple exponential smoothing of the slots' rates."""
    level, out = s.counts[0], []
    for t, row in enumerate(s.counts):
        if t in s.issued:
            out.append(level)
        level = level + SMOOTHING * (row - level)
    return np.array(out) / s.slot_s


def holt_damped(s: Series) -> Floats:
    """Holt's linear trend, damped; the mean over the slots ahead."""
    level, trend, out = s.counts[0], np.zeros_like(s.counts[0]), []
    reach = np.cumsum(DAMPING ** np.arange(1, s.ahead + 1)).mean()
    for t, row in enumerate(s.counts):
        if t in s.issued:
            out.append(np.maximum(0.0, level + reach * trend))
        before, expected = level, level + DAMPING * trend
        level = expected + SMOOTHING * (row - expected)
        trend = DAMPING * trend + TREND * (level - before - DAMPING * trend)
    return np.array(out) / s.slot_s


def running_mean(s: Series) -> Floats:
    """All that was seen so far, each slot alike: right when demand does not change."""
    sums = np.cumsum(s.counts, axis=0)
    at = np.array(s.issued)
    return np.asarray(sums[at - 1] / at[:, None, None] / s.slot_s)


def seasonal(s: Series) -> Floats:
    """What came one season ago, for as many slots. The season is the lag, from an epoch to a third of what was seen,
    at which the total resembled itself most; until one season lies behind, the last window."""
    seen, out = s.seen(), []
    total = s.counts.sum(axis=(1, 2))
    for i, t in enumerate(s.issued):
        lag = _season(total[:t], s.ahead)
        out.append(s.counts[t - lag : t - lag + s.ahead].mean(axis=0) / s.slot_s if lag else seen[i])
    return np.array(out)


def _season(total: Floats, least: int) -> int:
    """0 while too little was seen."""
    most = len(total) // 3
    if most <= least:
        return 0
    x = total - total.mean()
    alike = [float((x[lag:] * x[:-lag]).mean()) for lag in range(least, most)]
    return least + int(np.argmax(alike))


PLAIN: dict[str, Method] = {
    "last-window": last_window,
    "smoothed": smoothed,
    "holt-damped": holt_damped,
    "seasonal-naive": seasonal,
    "running-mean": running_mean,
}


def with_intervals(mean: Floats, truth: Floats, ahead: int) -> Predicted:
    """The forecast with normal intervals from the errors that were known when it was made, i.e. of forecasts that
    are at least `ahead` slots old. mean, truth: [I, ...]."""
    squares = np.cumsum((truth - mean) ** 2, axis=0)
    low, high = ({level: np.full_like(mean, np.nan) for level in LEVELS} for _ in range(2))
    for i in range(ahead + LEAST_PAST, len(mean)):
        sigma = np.sqrt(squares[i - ahead] / (i - ahead + 1))
        for level in LEVELS:
            low[level][i] = np.maximum(0.0, mean[i] - Z[level] * sigma)
            high[level][i] = mean[i] + Z[level] * sigma
    return Predicted(mean, low, high)
