"""The gate: a plan is carried out only because it is predicted to be better, never because it reads well.

Plans are compared with the incumbent on demand draws that had no part in selecting them (winner's curse), paired,
draw by draw. A challenger is accepted when its mean relative gain exceeds the margin plus one standard error.
Gains are relative to what a plan can change: the objective is never below 1 (every prompt alone on the fastest node,
all kinds alike), so the incumbent's excess over 1 is the base, and a lightly loaded cluster is not blind to gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.control.state import Proposed
from edgewise.domain.decision import Candidate, Score, Verdict
from edgewise.domain.plan import Plan
from edgewise.optimise.estimate import Evaluate
from edgewise.optimise.problem import Floats

Z95 = 1.959964
IDEAL = 1.0
# Below this excess there is nothing worth doing; it keeps the base from vanishing.
LEAST_EXCESS = 0.1
WORST = 1e9


@dataclass(frozen=True, slots=True)
class Ruling:
    verdict: Verdict
    candidates: tuple[Candidate, ...]
    chosen: Proposed


def judge(
    incumbent: Proposed,
    challengers: Sequence[Proposed],
    evaluate: Evaluate,
    margin: float,
    check: Callable[[Plan], Sequence[str]],
    restored: str = "",
) -> Ruling:
    """Weighs the challengers against the incumbent, which is always in the pool.

    margin: relative gain asked for beyond one standard error. check: why a plan may not be carried out. restored:
    the incumbent had to be mended (a node or a kind's last replica was lost), in words; then the mended one is
    accepted whatever the prediction says, as service comes first.
    """
    pool = [incumbent, *challengers]
    scores = np.asarray(evaluate([p.plan for p in pool]), dtype=np.float64)
    faults = [tuple(check(p.plan)) for p in pool]
    gains = [gain(scores[0], row) for row in scores]
    winner = 0
    for i in range(1, len(pool)):
        mean, error = gains[i]
        wins = not faults[i] and mean > margin + error
        if wins and scores[i].mean() < scores[winner].mean():
            winner = i
    rival = _runner_up(scores, faults, winner)
    best = winner if winner else rival
    required = margin + gains[best][1] if best else margin
    verdict = Verdict(
        chosen=pool[winner].plan.id,
        runner_up=pool[rival].plan.id if rival != winner else "",
        margin=_lead(scores, winner, rival),
        required=float(required) if math.isfinite(required) else margin,
        accepted=winner != 0 or bool(restored),
        reason=_reason(pool, gains, winner, rival, required, restored),
    )
    candidates = tuple(
        Candidate(p.source, p.plan, score(row), "; ".join(filter(None, (p.note, *fault))))
        for p, row, fault in zip(pool, scores, faults, strict=True)
    )
    return Ruling(verdict, candidates, pool[winner])


def gain(base: Floats, row: Floats) -> tuple[float, float]:
    """Mean gain of `row` over `base` relative to the latter's excess over the ideal (paired by draw; positive is
    better), and its standard error. A prediction that is not finite gains −∞."""
    if not (np.isfinite(base).all() and np.isfinite(row).all()):
        return -math.inf, 0.0
    saved = base - row
    scale = max(LEAST_EXCESS, float(base.mean()) - IDEAL)
    error = float(saved.std(ddof=1)) / math.sqrt(len(saved)) / scale if len(saved) > 1 else 0.0
    return float(saved.mean()) / scale, error


def score(row: Floats) -> Score:
    """Mean and 95 % interval of the mean over draws; what is not finite shows as WORST, which JSON can hold."""
    row = np.nan_to_num(row, nan=WORST, posinf=WORST, neginf=WORST)
    mean = float(row.mean())
    half = Z95 * float(row.std(ddof=1)) / math.sqrt(len(row)) if len(row) > 1 else 0.0
    return Score(mean, mean - half, mean + half)


def _runner_up(scores: Floats, faults: Sequence[tuple[str, ...]], winner: int) -> int:
    rest = [i for i in range(len(scores)) if i != winner]
    return min(
        rest, key=lambda i: (bool(faults[i]), not np.isfinite(scores[i]).all(), scores[i].mean(), i), default=winner
    )


def _lead(scores: Floats, winner: int, rival: int) -> float:
    lead = gain(scores[rival], scores[winner])[0]
    return lead if math.isfinite(lead) else 0.0


def _reason(
    pool: Sequence[Proposed],
    gains: Sequence[tuple[float, float]],
    winner: int,
    rival: int,
    required: float,
    restored: str,
) -> str:
    if winner:
        return (
            f"{pool[winner].source} predicted {gains[winner][0]:.1%} better than the incumbent, {required:.1%} asked"
        )
    if restored:
        return f"restores service: {restored}"
    if rival == winner:
        return "nothing else was proposed"
    if not math.isfinite(gains[rival][0]):
        return f"kept: no prediction for the {pool[rival].source} plan"
    return f"kept: {pool[rival].source} predicted {gains[rival][0]:+.1%}, {required:.1%} asked"
