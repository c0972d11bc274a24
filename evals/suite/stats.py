"""Means with intervals over seeds, and ratios paired by seed. Never NaN: what cannot be said is None with a reason.

Which interval: Student's t for latencies, counts and the like (means over thousands of prompts, near normal over
seeds). Measures that are bounded (attainment, Jain's index) or made of few prompts (p99) have skewed means: from
MANY seeds on theirs is the bootstrap of the seeds, bias-corrected and accelerated (Efron 1987), from a fixed
generator. With fewer a bootstrap is too narrow (of five values, normal or log-normal, it covers the mean in 81 to
82 % of cases, Student's t in 92 to 94 %), so theirs is Student's t too. All are cut to the range of the measure.

Ratios of two policies pair what they did on the same prompts: geometric mean of the ratios by seed, interval from
Student's t on their logarithms. Where a value is zero there is no such ratio; the mean difference with its interval
stands in. Intervals are each at 95 % for themselves: of twenty comparisons that hold nothing, one
will look significant. The verdict therefore looks at few, named beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy import stats

LEVEL: Final = 0.95
RESAMPLES: Final = 4999
SEED: Final = 20_260_207  # of the bootstrap's generator, so that the same values give the same interval
MANY: Final = 10  # seeds from which the bootstrap is used
BOUNDED: Final = frozenset({  # in [0, 1]
    "jain", "jain_normalized", "jain_inverse_latency", "jain_service_ratio", "service_ratio", "worst_attainment",
})  # fmt: skip
SIGNED: Final = frozenset({"adaptation"})  # all others are never negative
SKEWED: Final = BOUNDED | {"p99_latency_s"}

Value = float | None


def summary(values: Sequence[Value], metric: str) -> dict[str, Any]:
    """{mean, ci95, per_seed} of one metric, in the order of the seeds; and `why` where one of them is None.

    ci95 is [low, high]; seeds without a value (None) are left out of both and counted.
    """
    present = finite(values)
    found: dict[str, Any] = {"mean": _mean(present), "ci95": None, "per_seed": [_plain(v) for v in values]}
    if not present:
        return found | {"why": "no seed has a value"}
    if len(present) == 1:
        return found | {"why": "an interval needs two seeds"}
    found["ci95"] = interval(present, metric)
    if len(present) < len(values):
        found["why"] = f"{len(values) - len(present)} of {len(values)} seeds have no value"
    return found


def paired(a: Sequence[Value], b: Sequence[Value]) -> dict[str, Any]:
    """{ratio, ci95} of a over b, values of the same seeds in the same order. Below 1: a is less.

    Where no ratio can be said: ratio None, `why`, and `difference` {mean, ci95} of a − b if there is one.
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    pairs = [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]
    if len(pairs) < len(a) or not pairs:
        return {"ratio": None, "ci95": None, "why": "a seed has no value"}
    if min(min(p) for p in pairs) <= 0:
        gaps = [x - y for x, y in pairs]
        around = None if len(gaps) == 1 else bootstrap_interval(gaps) if len(gaps) >= MANY else t_interval(gaps)
        difference = {"mean": _mean(gaps), "ci95": around}
        return {"ratio": None, "ci95": None, "why": "a value is not above zero", "difference": difference}
    logs = [math.log(x / y) for x, y in pairs]
    ratio = math.exp(sum(logs) / len(logs))
    if len(logs) == 1:
        return {"ratio": ratio, "ci95": None, "why": "an interval needs two seeds"}
    low, high = t_interval(logs)
    return {"ratio": ratio, "ci95": [math.exp(low), math.exp(high)]}


def interval(values: Sequence[float], metric: str) -> list[float]:
    """[low, high] of the mean at 95 %, as the module's text says; at least two values."""
    if metric in SKEWED and len(values) >= MANY:
        return bootstrap_interval(values)
    low, high = t_interval(values)
    return [low if metric in SIGNED else max(low, 0.0), min(high, 1.0) if metric in BOUNDED else high]


def t_interval(values: Sequence[float]) -> list[float]:
    """[low, high] of the mean at 95 %, Student's t; at least two values."""
    x = np.asarray(values, dtype=np.float64)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, x.size - 1) * x.std(ddof=1) / math.sqrt(x.size))
    return [float(x.mean()) - half, float(x.mean()) + half]


def bootstrap_interval(values: Sequence[float]) -> list[float]:
    """[low, high] of the mean at 95 %, BCa bootstrap; at least two values. All alike: the interval is that value."""
    x = np.asarray(values, dtype=np.float64)
    if np.ptp(x) <= 1e-12 * max(1.0, float(np.abs(x).max())):
        return [float(x.mean()), float(x.mean())]
    for method in ("BCa", "percentile"):  # BCa has no answer when no resample falls below the mean
        found = stats.bootstrap(
            (x,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=LEVEL,
            method=method,
            rng=np.random.default_rng(SEED),
        ).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            break
    return [float(found.low), float(found.high)]


def finite(values: Sequence[Value]) -> list[float]:
    return [float(v) for v in values if v is not None and math.isfinite(v)]


def _mean(values: Sequence[float]) -> Value:
    return math.fsum(values) / len(values) if values else None


def _plain(value: Value) -> Value:
    """As JSON may hold it: counts stay whole, what is not finite is None."""
    return value if value is not None and math.isfinite(value) else None
