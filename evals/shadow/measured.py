"""What was measured, window by window: means exactly as counted, quantiles and spread interpolated from buckets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.shadow.traffic import Timed

LEAST_CV, MOST_CV = 0.05, 3.0
BATCHES = 8  # of batch means


@dataclass(frozen=True, slots=True)
class Mean:
    """count prompts that took mean_s on average; error: standard error of it, relative, by batch means (inf: too few
    to say)."""

    count: float
    mean_s: float
    error: float


def within(times: Iterable[Timed], begin_s: float, end_s: float) -> list[Timed]:
    """Those whose stretch lies inside."""
    return [t for t in times if t.begin_s >= begin_s - 1e-9 and t.end_s <= end_s + 1e-9]


def mean_of(times: Sequence[Timed]) -> Mean | None:
    """None: nothing ended."""
    count, total = sum(t.count for t in times), sum(t.sum_s for t in times)
    if count <= 0:
        return None
    return Mean(count, total / count, _error(times, total / count))


def _error(times: Sequence[Timed], mean_s: float) -> float:
    """Batch means: neighbours in time are alike, so prompts are no independent draws; long stretches nearly are."""
    first, last = min(t.begin_s for t in times), max(t.end_s for t in times)
    if mean_s <= 0 or last <= first:
        return math.inf
    sums, counts = np.zeros(BATCHES), np.zeros(BATCHES)
    for t in times:
        b = min(BATCHES - 1, int((t.begin_s - first) / (last - first) * BATCHES))
        sums[b] += t.sum_s
        counts[b] += t.count
    used = counts > 0
    if used.sum() < 3:
        return math.inf
    # Standard error of a ratio of sums (Cochran, Sampling Techniques, ch. 6).
    off = sums[used] - mean_s * counts[used]
    k = int(used.sum())
    return float(math.sqrt((off**2).sum() * k / (k - 1)) / (counts.sum() * mean_s))


def buckets_of(times: Iterable[Timed]) -> tuple[tuple[float, float], ...]:
    """(upper bound, prompts at most that long), summed; those of single prompts are their own bounds."""
    sums: dict[float, float] = {}
    singles: list[float] = []
    for t in times:
        for le, count in t.buckets:
            sums[le] = sums.get(le, 0.0) + count
        if not t.buckets and t.count == 1:
            singles.append(t.sum_s)
    if singles and not sums:
        ordered = sorted(singles)
        return tuple((x, float(i + 1)) for i, x in enumerate(ordered))
    return tuple(sorted(sums.items()))


def quantile(times: Sequence[Timed], q: float) -> float | None:
    """Linear within its bucket, whose bounds are all that is known; None: no buckets, or beyond the last."""
    buckets, total = buckets_of(times), sum(t.count for t in times)
    below, low = 0.0, 0.0
    for le, count in buckets:
        if count >= q * total and count > below:
            return low + (le - low) * (q * total - below) / (count - below)
        below, low = count, le
    return None


def cv_of(times: Sequence[Timed]) -> float | None:
    """Coefficient of variation, prompts of a bucket taken at its middle; None: no buckets."""
    buckets, found = buckets_of(times), mean_of(times)
    if not buckets or found is None or found.mean_s <= 0 or found.count < 5:
        return None
    if all(t.count == 1 and not t.buckets for t in times):
        values = np.array([t.sum_s for t in times])
        return float(np.clip(values.std() / values.mean(), LEAST_CV, MOST_CV))
    square, below, low = 0.0, 0.0, 0.0
    for le, count in buckets:
        square += (count - below) * ((low + le) / 2 - found.mean_s) ** 2
        below, low = count, le
    square += max(0.0, found.count - below) * (1.5 * low - found.mean_s) ** 2  # beyond the last bound
    return float(np.clip(math.sqrt(square / found.count) / found.mean_s, LEAST_CV, MOST_CV))
