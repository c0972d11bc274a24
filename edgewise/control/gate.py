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

from edgewise.control.lift import Trust
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
    trust: Trust = Trust(),  # noqa: B008 (frozen)
) -> Ruling:
    """Weighs the challengers against the incumbent, which is always in the pool.

    margin: relative gain asked for beyond one standard error. check: why a plan may not be carried out. restored:
    the incumbent had to be mended (a node or a kind's last replica was lost), in words; then the mended one is
    accepted whatever the prediction says, as service comes first. trust: what past outcomes add to the margin, for
    all plans and for those of a proposer whose plans failed.
    """
    pool = [incumbent, *challengers]
    scores = np.asarray(evaluate([p.plan for p in pool]), dtype=np.float64)
    faults = [tuple(check(p.plan)) for p in pool]
    gains = [gain(scores[0], row) for row in scores]
    asked = [margin + trust.optimism + trust.handicap(p.source) + gains[i][1] for i, p in enumerate(pool)]
    winner = 0
    for i in range(1, len(pool)):
        wins = not faults[i] and gains[i][0] > asked[i]
        if wins and scores[i].mean() < scores[winner].mean():
            winner = i
    rival = _runner_up(scores, faults, winner)
    best = winner or rival
    required = asked[best] if math.isfinite(asked[best]) else margin
    words = _asked(required, margin, trust, pool[best].source, gains[best][1])
    lead = _lead(scores, winner, rival)
    verdict = Verdict(
        chosen=pool[winner].plan.id,
        runner_up=pool[rival].plan.id if rival != winner else "",
        margin=lead,
        required=float(required),
        accepted=winner != 0 or bool(restored),
        reason=_reason(pool, gains, winner, rival, lead, words, restored, faults[rival]),
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


def _asked(required: float, margin: float, trust: Trust, source: str, error: float) -> str:
    """What was asked for, and what it is made of where that is more than margin and the draws' error."""
    parts = [f"margin {margin:.1%}", f"draws ±{error:.1%}"]
    if trust.optimism > 0:
        parts.append(f"past predictions too high by {trust.optimism:.1%}")
    if (more := trust.handicap(source)) > 0:
        parts.append(f"failed {source} plans {more:.1%}")
    return f"{required:.1%} asked ({', '.join(parts)})"


def _reason(
    pool: Sequence[Proposed],
    gains: Sequence[tuple[float, float]],
    winner: int,
    rival: int,
    lead: float,
    asked: str,
    restored: str,
    fault: Sequence[str],
) -> str:
    """Why, against whom, and by how much, in a sentence. A plan's own words (a roll-back's) come with it."""
    if winner:
        why = f"{_name(pool[winner], pool[0])} predicted {gains[winner][0]:.1%} better than the incumbent, {asked}"
        return why if rival == 0 else f"{why}; runner-up: {_name(pool[rival], pool[0])}, {lead:.1%} behind"
    if restored:
        return f"restores service: {restored}"
    if rival == winner:
        return "nothing else was proposed"
    if not math.isfinite(gains[rival][0]):
        return f"kept: no prediction for the {pool[rival].source} plan"
    if fault:
        return f"kept: runner-up {_name(pool[rival], pool[0])} may not be carried out: {fault[0]}"
    return f"kept: runner-up {_name(pool[rival], pool[0])} predicted {gains[rival][0]:+.1%}, {asked}"


def _name(p: Proposed, base: Proposed) -> str:
    """A plan in words: whose it is, and how its replicas differ from the incumbent's. A roll-back has its own."""
    if p is base:
        return "the incumbent"
    if p.source == "roll-back" and p.plan.reason:
        return p.plan.reason
    new, old = set(p.plan.replicas), set(base.plan.replicas)
    if new == old:
        whose = f", {p.source}'s" if p.source != "optimiser" else ""
        return f"same replicas with new weights{whose}"
    return f"{p.source} plan (+{len(new - old)} −{len(old - new)} replicas)"
