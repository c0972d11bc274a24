"""What those who propose plans are worth, and when they are demoted for being worth less than nothing.

The language model is held against the optimiser by hindsight (by what is predicted, where nobody looks back): after
JUDGED decisions in a row of negative lift it is not asked for REST_EPOCHS. The optimiser and past cases cannot be
done without: whose accepted plans keep doing worse than what they replaced must win by so much more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.domain.decision import Decision, Hindsight, Replayed

JUDGED = 5  # decisions looked at; fewer say nothing
LEAST_LOSS = -0.01  # on average; less is chance
REST_EPOCHS = 10  # epochs a demoted model is not asked, and a failure of any proposer is held against it
REPEATED = 3  # of the plans judged, so many must have failed; one may be bad luck
MOST_HANDICAP = 0.2


@dataclass(frozen=True, slots=True)
class Trust:
    """What the gate asks for because of what became of past decisions. optimism: by how much predicted gains exceeded
    those of hindsight. handicaps: (source, further gain asked of its plans)."""

    optimism: float = 0.0
    handicaps: tuple[tuple[str, float], ...] = ()

    def handicap(self, source: str) -> float:
        return dict(self.handicaps).get(source, 0.0)


def lift(decision: Decision) -> float | None:
    """Predicted relative gain of the language model's plan over the optimiser's best in one decision; None when the
    decision compared none."""
    ours = [c.score.mean for c in decision.candidates if c.source == "optimiser"]
    theirs = [c.score.mean for c in decision.candidates if c.source == "llm"]
    if not ours or not theirs or min(ours) <= 0:
        return None
    return (min(ours) - min(theirs)) / min(ours)


def realised_lift(seen: Hindsight) -> float | None:
    """The same in hindsight: each side's plan that the gate thought best, on the prompts that came."""
    best: dict[str, Replayed] = {}
    for x in seen.plans:
        if x.source not in best or x.predicted < best[x.source].predicted:
            best[x.source] = x
    ours, theirs = best.get("optimiser"), best.get("llm")
    if ours is None or theirs is None or ours.hindsight <= 0:
        return None
    return (ours.hindsight - theirs.hindsight) / ours.hindsight


def demoted(lifts: Sequence[float]) -> bool:
    """Whether each of the latest JUDGED decisions would have been better off without the language model's plan."""
    last = lifts[-JUDGED:]
    return len(last) == JUDGED and all(x < 0 for x in last)


def handicap(gains: Sequence[float]) -> float:
    """What a proposer's plans must win by beyond the margin, from the realised gains of its accepted plans: what they
    lost on average, once REPEATED of the last JUDGED lost something."""
    last = gains[-JUDGED:]
    if sum(g < 0 for g in last) < REPEATED:
        return 0.0
    mean = sum(last) / len(last)
    return min(MOST_HANDICAP, -mean) if mean < LEAST_LOSS else 0.0
