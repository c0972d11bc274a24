"""Demand forecast: per (access node, model) a rate with its uncertainty, from overlapping windows of counts.

A robust exponentially weighted mean with a damped trend follows each rate; an innovation beyond CLIP standard
deviations is cut, so that one burst does not move the forecast, unless the whole kind has shifted: then it follows
at once, half-way with each observation, as a window that straddles a shift or a burst is half right. Beside it runs a
usual rate, to which bursts return (docs/decisions/0021-forecast.md has the backtest). Draws are gamma (a Poisson rate
known from a finite count), widened by the measured dispersion and by what demand moves on meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.domain.observation import Observation
from edgewise.optimise.problem import Floats, Problem

CLIP = 3.0
# The level's time constant in windows; shorter follows noise (and moves models for it), longer misses drift.
TIME_CONSTANT = 1.0
SHIFT_SIGMA = 4.0
SHIFT_COUNT = 6
SHIFT_GAIN = 0.5
MOST_DISPERSION = 50.0
SHIFT_LEARNS, SHIFT_MOST = 0.3, 10.0
# Of what a rate is above its usual, at least so much is expected to last over a planning horizon: bursts end, shifts
# stay. The less a kind comes in bursts, the more it is.
LASTING = 0.5
# The usual rate's time constant in windows; until so many were seen it is their plain mean.
USUAL_CONSTANT = 8.0
# Recorded traces of text, captions and images all arrive in bursts; Poisson until proved otherwise would be naive.
PRIOR_DISPERSION = 2.0
# Before any prompt came: each kind is expected to bring the same work, to half the capacity.
PRIOR_LOAD = 0.5
# A kind that was not seen keeps this many arrivals per window, so that it still counts for something.
LEAST_ARRIVALS = 0.1
# By so much the variance of a kind's rate is wider than its count and dispersion say. 2 makes the intervals hold what
# they should, and the gate slower: see the note on the backtest before changing it.
WIDER = 1.0


@dataclass(frozen=True, slots=True)
class Level:
    """What is followed of one (access node, model): rate per second, its trend per slot; usual: the rate it returns
    to after a burst (None: as the rate)."""

    access_node: str
    model: str
    rate: float
    trend: float = 0.0
    usual: float | None = None

    @property
    def base(self) -> float:
        return self.rate if self.usual is None else self.usual


@dataclass(frozen=True, slots=True)
class Spread:
    """Index of dispersion of one model's window counts (1: Poisson), seconds of demand its level rests on, and
    seconds its usual rate rests on."""

    model: str
    dispersion: float = PRIOR_DISPERSION
    seen_s: float = 0.0
    usual_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """What was usual, per second, before an intent's announced demand (access_node ANY: of all together)."""

    intent: str
    model: str
    access_node: str
    rate: float


@dataclass(frozen=True, slots=True)
class Track:
    """The state a forecast carries from slot to slot; small, plain, stored with the decision."""

    at_s: float = -1.0
    levels: tuple[Level, ...] = ()
    spreads: tuple[Spread, ...] = ()
    marks: tuple[Mark, ...] = ()


# What becomes of a draw's demand: (seconds from now, factors [a, m] of its rates from then on), by time.
Path = tuple[tuple[float, Floats], ...]


@dataclass(frozen=True)
class Coming:
    """Announced demand. in_s: seconds from now (negative: late); times [a, m]: factors of the mean rates from then
    on, NaN where nothing is said; trust: probability that it comes. time_error_s: σ; rate_error: σ of the logarithm
    of the rate."""

    in_s: float
    times: Floats
    trust: float
    time_error_s: float
    rate_error: float


@dataclass(frozen=True)
class Forecast:
    """mean[a, m]: expected rates per second; shape[m]: gamma shape of a kind's total rate (its relative error is
    1/√shape); counts[a, m]: arrivals the split over access nodes rests on. bursts[m]: index of dispersion. coming:
    what is announced, by time."""

    mean: Floats
    shape: Floats
    counts: Floats
    bursts: Floats
    coming: tuple[Coming, ...] = ()

    def expected(self, horizon_s: float) -> Floats:
        """Mean rates [a, m] over a horizon, announced demand as far as it is believed."""
        mean = self.mean
        for c in self.coming:
            part = c.trust * min(1.0, max(0.0, 1 - c.in_s / horizon_s))
            mean = mean + np.where(np.isnan(c.times), 0.0, part * (c.times - 1.0)) * self.mean
        return np.asarray(np.maximum(mean, 0.0))


def shift(track: Track, observation: Observation) -> str:
    """Which kinds' demand has moved beyond chance since the track was made, in words; empty when none."""
    window_s, counts = _counts(observation)
    if not track.levels or window_s <= 0:
        return ""
    words = []
    rates, arrived, spreads = _rates(track), _arrived(counts), _spreads(track)
    for model in sorted({m.id for m in observation.model_specs}):
        expected, seen = rates.get(model, 0.0) * window_s, arrived.get(model, 0)
        if _is_shift(expected, seen, spreads.get(model, Spread(model)).dispersion):
            words.append(f"{model} {expected / window_s:.2f} → {seen / window_s:.2f}/s")
    return ", ".join(words)


def follow(track: Track, observation: Observation) -> Track:
    """The track after one more observation; itself when the figures are no newer."""
    at_s = observation.telemetry.at_s
    window_s, counts = _counts(observation)
    if window_s <= 0 or at_s <= track.at_s:
        return track
    step_s = min(window_s, at_s - track.at_s) if track.levels else window_s
    gain = 1 - math.exp(-step_s / (TIME_CONSTANT * window_s))
    old = {(x.access_node, x.model): x for x in track.levels}
    by_model: dict[str, list[tuple[str, str]]] = {model: [] for _, model in (*old, *counts)}
    # A pair nobody has seen a prompt of has a level of 0, and needs none.
    for key in sorted({*old, *(k for k, count in counts.items() if count)}):
        by_model[key[1]].append(key)
    levels: list[Level] = []
    spreads: list[Spread] = []
    rates, arrived, known = _rates(track), _arrived(counts), _spreads(track)
    for model, mine in sorted(by_model.items()):
        expected, seen = rates.get(model, 0.0) * window_s, arrived.get(model, 0)
        spread = known.get(model, Spread(model))
        shifted = bool(track.levels) and _is_shift(expected, seen, spread.dispersion)
        usual_s = min(USUAL_CONSTANT * window_s, spread.usual_s + step_s)
        slow = step_s / max(usual_s, step_s)
        for k in mine:
            rate, was = counts.get(k, 0) / window_s, old.get(k, Level(*k, 0.0))
            if not track.levels:
                levels.append(Level(*k, rate))
                continue
            # A kind that comes in bursts anyway has not shifted for good when it comes in one.
            lasting = max(slow, SHIFT_GAIN / spread.dispersion) if shifted else slow
            usual = was.base + lasting * (rate - was.base)
            step = max(gain, SHIFT_GAIN) * (rate - was.rate)
            moved, trend = (was.rate + step, 0.0) if shifted else _moved(was, rate, gain, window_s)
            levels.append(Level(*k, moved, trend, usual))
        # A shift is no dispersion; but what comes in bursts looks like one at first, and must be able to show it.
        learns, most = (SHIFT_LEARNS * gain, SHIFT_MOST) if shifted else (gain, MOST_DISPERSION)
        if track.levels:
            spread = _respread(spread, expected, seen, learns, most, step_s, window_s)
        else:
            spread, usual_s = Spread(model), window_s
        spread = replace(spread, usual_s=usual_s)
        spreads.append(replace(spread, seen_s=window_s / 2) if shifted or not track.levels else spread)
    return Track(at_s, tuple(levels), tuple(spreads), track.marks)


def forecast(track: Track, p: Problem, window_s: float) -> Forecast:
    """Rates of the next slots for the arrays of a problem."""
    at_access = {a: i for i, a in enumerate(p.access)}
    at_model = {m: j for j, m in enumerate(p.models)}
    mean = np.zeros((len(p.access), len(p.models)))
    shape, trust = np.full(len(p.models), 2.0), np.full(len(p.models), window_s)
    bursts = np.full(len(p.models), PRIOR_DISPERSION)
    spreads = _spreads(track)
    lasts = {m: LASTING + (1 - LASTING) / spreads.get(m, Spread(m)).dispersion for m in p.models}
    for x in track.levels:
        if x.access_node in at_access and x.model in at_model:
            soon = min(max(x.rate + x.trend, 0.5 * x.rate), 2.0 * x.rate)
            ahead = x.base + lasts[x.model] * (soon - x.base)
            mean[at_access[x.access_node], at_model[x.model]] = ahead
    if mean.sum() <= 0:
        prior = PRIOR_LOAD * p.capacity / len(p.models) / p.service
        mean[:] = prior / max(1, len(p.access))
        return Forecast(mean, shape, mean * window_s, bursts)
    mean += LEAST_ARRIVALS / window_s / max(1, len(p.access))
    for s in track.spreads:
        if s.model in at_model:
            j = at_model[s.model]
            trust[j] = max(window_s / 2, s.seen_s)
            bursts[j] = s.dispersion
            shape[j] = max(0.5, mean[:, j].sum() * trust[j] / (WIDER * max(1.0, s.dispersion)))
    return Forecast(mean, shape, mean * trust, bursts)


def draws(f: Forecast, rng: np.random.Generator, count: int) -> Floats:
    """rates[k, a, m]: `count` draws of what demand may be, per second."""
    totals = f.mean.sum(axis=0)
    total = rng.gamma(f.shape, totals / f.shape, size=(count, f.shape.size))
    split = rng.gamma(f.counts + 0.5, size=(count, *f.counts.shape))
    return np.asarray(total[:, None, :] * split / split.sum(axis=1, keepdims=True))


def stretches(rates: Floats, path: Path, horizon_s: float) -> list[tuple[float, float, Floats]]:
    """A draw's demand as (from, until, rates [a, m]) over the horizon."""
    starts = [0.0, *(min(s, horizon_s) for s, _ in path)]
    ends = [*starts[1:], horizon_s]
    levels = [rates, *(rates * times for _, times in path)]
    return [(a, b, x) for a, b, x in zip(starts, ends, levels, strict=True) if b > a or not path]


def averaged(rates: Floats, paths: Sequence[Path], horizon_s: float) -> Floats:
    """rates[k, a, m] over the horizon of draws that go these ways."""
    rows = []
    for rate, path in zip(rates, paths, strict=True):
        rows.append(sum(((b - a) / horizon_s * x for a, b, x in stretches(rate, path, horizon_s)), 0.0 * rate))
    return np.array(rows)


def _counts(observation: Observation) -> tuple[float, dict[tuple[str, str], int]]:
    rows = observation.telemetry.demand
    known = {m.id for m in observation.model_specs}
    window_s = max((d.window_s for d in rows), default=0.0)
    counts: dict[tuple[str, str], int] = {}
    for d in rows:
        if d.model in known:
            key = (d.access_node, d.model)
            counts[key] = counts.get(key, 0) + max(0, d.arrivals)
    return window_s, counts


def _spreads(track: Track) -> dict[str, Spread]:
    return {s.model: s for s in track.spreads}


def _rates(track: Track) -> dict[str, float]:
    """Followed rate of each model, over all access nodes."""
    total: dict[str, float] = {}
    for x in track.levels:
        total[x.model] = total.get(x.model, 0.0) + x.rate
    return total


def _arrived(counts: dict[tuple[str, str], int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for (_, model), count in counts.items():
        total[model] = total.get(model, 0) + count
    return total


def _is_shift(expected: float, seen: float, dispersion: float) -> bool:
    distance = abs(seen - expected)
    return distance >= SHIFT_COUNT and distance > SHIFT_SIGMA * math.sqrt(max(1.0, expected) * dispersion)


def _moved(level: Level, rate: float, gain: float, window_s: float) -> tuple[float, float]:
    """(rate, trend) of a level after one more window."""
    bound = CLIP * math.sqrt(max(level.rate, 1 / window_s) / window_s)
    error = min(bound, max(-bound, rate - level.rate))
    return max(0.0, level.rate + gain * error), 0.8 * level.trend + 0.1 * gain * error


def _respread(
    spread: Spread,
    expected: float,
    seen: float,
    gain: float,
    most: float,
    step_s: float,
    window_s: float,
) -> Spread:
    measured = min(most, (seen - expected) ** 2 / max(1.0, expected))
    dispersion = spread.dispersion + 0.3 * gain * (measured - spread.dispersion)
    longest = 3 * TIME_CONSTANT * window_s
    return replace(spread, dispersion=max(1.0, dispersion), seen_s=min(longest, spread.seen_s + step_s))
