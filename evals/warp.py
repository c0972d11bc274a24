"""Time warping: a trace's clock is scaled by one constant so that a stated number of its prompts fills a window.

Time is warped, never thinned: dropping rows would kill the bursts that make a trace worth replaying. A tape is a
trace without end: past its last row it starts again, one mean gap later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from edgewise.domain.errors import BadInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tape:
    """Row times of a trace, ascending, seconds on the trace's clock. Positions on the tape count 0, 1, 2, … without
    end; position p is row p mod len."""

    times_s: Floats

    @staticmethod
    def of(times_s: Sequence[float] | Floats) -> Tape:
        """Raises BadInput for no rows, or rows out of order."""
        times = np.asarray(times_s, dtype=np.float64)
        if times.size == 0:
            raise BadInput("a trace without rows cannot be warped", hint="check start_s and model_class")
        if not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise BadInput("the times of a trace must be finite and sorted")
        return Tape(times)

    @property
    def mean_gap_s(self) -> float:
        """Mean time between rows; 1 s for a tape that has no extent, which has no pace of its own."""
        span = float(self.times_s[-1] - self.times_s[0])
        return span / (self.times_s.size - 1) if span > 0 else 1.0

    @property
    def round_s(self) -> float:
        """Time from a row to itself one round later."""
        return float(self.times_s[-1] - self.times_s[0]) + self.mean_gap_s

    def rows(self, first: int, count: int) -> Ints:
        """The rows at positions first … first + count − 1."""
        return np.arange(first, first + count, dtype=np.int64) % self.times_s.size

    def turns(self, first: int, count: int) -> Ints:
        """How often the tape has started again at positions first … first + count − 1."""
        return np.arange(first, first + count, dtype=np.int64) // self.times_s.size

    def offsets_s(self, first: int, count: int) -> Floats:
        """Trace seconds from position `first` to the positions first … first + count − 1."""
        at = np.arange(first, first + count, dtype=np.int64)
        turns = at // self.times_s.size - first // self.times_s.size
        there = self.times_s[at % self.times_s.size]
        # Differences within a round come first, so that large trace times lose no digits to the rounds.
        offsets: Floats = (there - self.times_s[first % self.times_s.size]) + turns * self.round_s
        return offsets


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the run in which a trace contributes `count` prompts: [begin_s, end_s) on the run clock."""

    begin_s: float
    end_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Warped:
    """`rows[i]` arrives at `at_s[i]` (run clock, ascending), when the tape has started again `turns[i]` times.
    `scale` is run seconds per trace second (0: none); `position` is where the tape goes on."""

    rows: Ints
    turns: Ints
    at_s: Floats
    scale: float
    position: int


def warp(tape: Tape, position: int, stretch: Stretch) -> Warped:
    """The next `stretch.count` prompts of the tape, spread over the stretch by one constant: the first on its begin,
    the one after the last exactly on its end. Prompts keep their order, ties included.

    Prompts that tie with the one on the end arrive just before it: the count is exact, whatever the trace.
    """
    if not (stretch.count >= 0 and stretch.end_s > stretch.begin_s):
        raise BadInput(f"cannot spread {stretch.count} prompts over [{stretch.begin_s}, {stretch.end_s}) s")
    if stretch.count == 0:
        none = np.empty(0, np.int64)
        return Warped(none, none, np.empty(0), 0.0, position)
    offsets = tape.offsets_s(position, stretch.count + 1)
    extent = float(offsets[-1])
    window_s = stretch.end_s - stretch.begin_s
    # Prompts that all tie are one burst, and stay one.
    scale = window_s / extent if extent > 0 else 0.0
    last_s = math.nextafter(stretch.end_s, -math.inf)
    at_s = np.minimum(stretch.begin_s + offsets[:-1] * scale, last_s)
    rows, turns = tape.rows(position, stretch.count), tape.turns(position, stretch.count)
    return Warped(rows, turns, at_s, scale, position + stretch.count)


def warp_stretches(tape: Tape, position: int, stretches: Sequence[Stretch]) -> tuple[Warped, ...]:
    """One `Warped` per stretch: each has its own count and constant; the tape goes on from its place."""
    parts = []
    for stretch in stretches:
        part = warp(tape, position, stretch)
        parts.append(part)
        position = part.position
    return tuple(parts)


def warp_by_rate(tape: Tape, position: int, rate_scale: float, begin_s: float, end_s: float) -> Warped:
    """The prompts that fall in [begin_s, end_s) when the trace's clock runs `rate_scale` times as fast."""
    if not (rate_scale > 0 and math.isfinite(rate_scale) and end_s > begin_s):
        raise BadInput(f"cannot run a trace {rate_scale} times as fast over [{begin_s}, {end_s}) s")
    extent_s = (end_s - begin_s) * rate_scale
    rounds = int(extent_s // tape.round_s) + 2
    offsets = tape.offsets_s(position, rounds * tape.times_s.size)
    at_s = begin_s + offsets / rate_scale
    count = int(np.searchsorted(at_s, end_s, side="left"))
    rows, turns = tape.rows(position, count), tape.turns(position, count)
    return Warped(rows, turns, at_s[:count], 1 / rate_scale, position + count)


def draw_start(rows: int, count: int, random: Random) -> int:
    """Where on a tape of `rows` rows to start: uniform over the rows from which `count` prompts and the one on the
    end fit before it starts again; over all rows when there is none."""
    fitting = rows - count
    return random.randrange(fitting if fitting > 0 else rows)
