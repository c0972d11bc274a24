"""Figures of two sides with their uncertainty. Pure; randomness is a seed.

Latencies of prompts that follow each other are alike (they waited in the same queue), so prompts are drawn in blocks:
the circular block bootstrap of Politis and Romano (1992). Both sides served the same prompts, so one draw takes the
same prompts on both, and what the arrivals alone make uncertain cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

DRAWS = 2000
LEVEL = 0.95
BLOCKS = 20  # a run is cut into about this many
LEAST_BLOCK = 5
FIGURES: dict[str, Callable[[Floats], Floats]] = {
    "mean": lambda x: np.asarray(x.mean(axis=-1)),
    "p50": lambda x: np.asarray(np.quantile(x, 0.50, axis=-1)),
    "p95": lambda x: np.asarray(np.quantile(x, 0.95, axis=-1)),
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure on both sides, s. real: interval over prompts. twin: the mean over seeds, and where 95 % of single
    seeds are. error: twin / real − 1; its interval counts the chance of both sides, once where it is the same."""

    real: Estimate
    twin: Estimate
    error: Estimate


def compare(real: Floats, twin: Floats, seed: int, draws: int = DRAWS) -> dict[str, Compared]:
    """The FIGURES of latencies `real` [P] and `twin` [S, P]: the same prompts in order of arrival, S seeds."""
    random = np.random.default_rng(seed)
    picks = block_draws(len(real), draws, random)
    chosen = random.integers(len(twin), size=draws)
    real_draws, twin_draws = real[picks], twin[chosen[:, None], picks]
    found = {}
    for name, figure in FIGURES.items():
        there, here = figure(twin), float(figure(real))
        ratios = figure(twin_draws) / np.maximum(figure(real_draws), 1e-12) - 1.0
        found[name] = Compared(
            _estimate(here, figure(real_draws)),
            _estimate(float(there.mean()), there),
            _estimate(float(there.mean()) / max(here, 1e-12) - 1.0, ratios),
        )
    return found


def block_draws(count: int, draws: int, random: np.random.Generator) -> Ints:
    """Indices [draws, count]: each row is made of blocks of neighbours, the last followed by the first."""
    length = min(count, max(LEAST_BLOCK, count // BLOCKS))
    blocks = -(-count // length)
    starts = random.integers(count, size=(draws, blocks))
    rows = (starts[:, :, None] + np.arange(length)) % count
    return np.asarray(rows.reshape(draws, -1)[:, :count], np.int64)


def _estimate(value: float, draws: Floats) -> Estimate:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))
