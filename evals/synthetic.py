"""Generated arrivals: points of a unit process, placed where the mean number of arrivals so far reaches them.

A change of rate thus stretches or squeezes the same points, and one seed gives one pattern at every load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgewise.control.seeds import generator
from evals.draws import stream
from evals.mix import Mix, mixes
from evals.scenario import Scenario, SyntheticEntry
from evals.warp import Floats


def arrival_times(scenario: Scenario, seed: int) -> tuple[Floats, ...]:
    """The arrival times of each synthetic entry, run seconds, ascending, in [0, duration_s)."""
    found, parts = [], dict[str, int]()
    stretches = mixes(scenario)
    for i, entry in enumerate(scenario.workload.synthetic):
        part = parts[entry.model] = parts.get(entry.model, -1) + 1
        edges, mean = _intensity(entry, i, stretches, _chain(entry, scenario.duration_s, seed, part))
        rng = stream(seed, "arrival", entry.model, part)
        points = np.arange(math.ceil(mean[-1])) * 1.0 if entry.process == "deterministic" else _poisson(mean[-1], rng)
        found.append(_placed(points[points < mean[-1]], edges, mean))
    return tuple(found)


def _intensity(
    entry: SyntheticEntry, index: int, stretches: Sequence[Mix], switches: Floats
) -> tuple[Floats, Floats]:
    """Knots (run seconds) of the mean number of arrivals so far, which is linear between them, and that number.

    switches: when a calm turns to a burst or back, ascending; the first stretch of time is a calm."""
    begins = np.array([s.begin_s for s in stretches])
    end_s = stretches[-1].end_s
    edges = np.unique(np.concatenate((begins, switches[switches < end_s], (end_s,))))
    rates = np.array([s.entries[index] for s in stretches])[np.searchsorted(begins, edges[:-1], side="right") - 1]
    if entry.process == "mmpp":
        bursting = np.searchsorted(switches, edges[:-1], side="right") % 2 == 1
        # Half of the prompts in calms, which take b of 1 + b parts of the time; half in bursts.
        ratio = entry.burst_ratio
        calm = (1 + ratio) / (2 * ratio)
        rates = rates * np.where(bursting, calm * ratio, calm)
    return edges, np.concatenate(((0.0,), np.cumsum(rates * np.diff(edges))))


def _chain(entry: SyntheticEntry, duration_s: float, seed: int, part: int) -> Floats:
    """When the entry's bursts begin and end, alternating; a begin at 0 when the run starts within one."""
    if entry.process != "mmpp":
        return np.empty(0)
    group = entry.burst_group
    rng = stream(seed, "burst", entry.model, part) if group is None else generator("bursts", str(seed), group)
    calm_s = entry.burst_s * entry.burst_ratio
    starts_in_burst = rng.random() < 1 / (1 + entry.burst_ratio)  # the part of the time that is burst
    cycles = 8 + math.ceil(2 * duration_s / (calm_s + entry.burst_s))
    times = np.zeros(1) if starts_in_burst else np.empty(0)
    while times.size < 2 or times[-1] < duration_s:
        lengths = rng.exponential(size=2 * cycles)
        lengths *= np.where((np.arange(2 * cycles) + starts_in_burst) % 2 == 0, calm_s, entry.burst_s)
        times = np.concatenate((times, np.cumsum(lengths) + (times[-1] if times.size else 0.0)))
    return times


def _poisson(end: float, rng: np.random.Generator) -> Floats:
    """Points of a Poisson process of rate 1 up to beyond `end`."""
    chunk = math.ceil(end + 6 * math.sqrt(end)) + 16
    points = np.cumsum(rng.exponential(size=chunk))
    while points[-1] < end:
        points = np.concatenate((points, points[-1] + np.cumsum(rng.exponential(size=chunk))))
    return points


def _placed(points: Floats, edges: Floats, mean: Floats) -> Floats:
    """Where the mean number of arrivals reaches the points; after a gap without arrivals, not within it."""
    at = np.searchsorted(mean, points, side="right") - 1
    rate = np.diff(mean)[at] / np.diff(edges)[at]
    return np.minimum(edges[at] + (points - mean[at]) / rate, np.nextafter(edges[at + 1], -math.inf))
