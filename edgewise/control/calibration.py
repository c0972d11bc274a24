"""Are predicted gains believed rightly? Figures over the lines of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.control.regret import Entry
from edgewise.optimise.problem import Floats

# Gains are cut to this before a line is laid through them: one plan in deep overload would else be all there is.
WIDEST = 1.0
LEAST = 3  # lines through fewer points say nothing


@dataclass(frozen=True, slots=True)
class Calibration:
    """lines, accepted: counts. slope, intercept: of realised over predicted gains by least squares (1 and 0 are
    right), None for less than LEAST lines or equal predictions. bias: mean predicted − realised; spread: its standard
    deviation. right: part of all plans on which the gate was right (accepted and better, or kept out and not better
    by more than was asked); right_accepted: of the accepted ones; regretted: part of these that did worse than the
    incumbent by more than was asked. None where there is none."""

    lines: int
    accepted: int
    slope: float | None
    intercept: float | None
    bias: float | None
    spread: float | None
    right: float | None
    right_accepted: float | None
    regretted: float | None


def calibration(ledger: Sequence[Entry]) -> Calibration:
    """All lines alike; call it with some of them for one proposer's figures."""
    taken = [e for e in ledger if e.accepted]
    x = np.clip(np.array([e.predicted for e in ledger], np.float64), -WIDEST, WIDEST)
    y = np.clip(np.array([e.realised for e in ledger], np.float64), -WIDEST, WIDEST)
    slope, intercept = _line(x, y)
    return Calibration(
        lines=len(ledger),
        accepted=len(taken),
        slope=slope,
        intercept=intercept,
        bias=float((x - y).mean()) if x.size else None,
        spread=float((x - y).std(ddof=1)) if x.size > 1 else None,
        right=_part([e.right for e in ledger]),
        right_accepted=_part([e.right for e in taken]),
        regretted=_part([e.realised < -e.required for e in taken]),
    )


def _line(x: Floats, y: Floats) -> tuple[float | None, float | None]:
    if x.size < LEAST or float(np.ptp(x)) < 1e-9:
        return None, None
    centred = x - x.mean()
    slope = float((centred * (y - y.mean())).sum() / (centred * centred).sum())
    return slope, float(y.mean() - slope * x.mean())


def _part(words: Sequence[bool]) -> float | None:
    return sum(words) / len(words) if words else None
